"""Rows of each page: from a snapshot's values to cells. Pure."""

from __future__ import annotations

from node.logbook import Line
from node.text import bytes_text, span_text
from tui.listing import Row
from tui.snapshot import (
    BoardView,
    BucketView,
    DiskState,
    ElectionView,
    EventView,
    HostView,
    JobView,
    Level,
    ServiceView,
    VolumeView,
    WaitingView,
)
from tui.text import bar, clock

VOLUME_COLUMNS = ("Volume", "Fill", "#Used", "#Size", "State")
BUCKET_COLUMNS = ("Bucket", "Account", "#Versions", "#Bytes", "Classes")
JOB_COLUMNS = ("#Job", "State", "What", "Progress", "#Pace", "Message")
WAITING_COLUMNS = ("Priority", "Kind", "What", "#Bytes", "#Age", "#Due", "Disk", "State")
SERVICE_COLUMNS = ("Location", "Kind", "#Placing", "#Reading", "Note", "Service")
ELECTION_COLUMNS = ("Shard", "Leader", "#Epoch", "#Lag", "Peers")
HOST_COLUMNS = ("Host", "#Services", "#Busy", "Fill", "#Size", "Note", "Runs")
BOARD_COLUMNS = ("Board", "#Disks", "#On", "#Failed", "Fill", "#Size", "State")
EVENT_COLUMNS = ("Time", "Event")
LOG_COLUMNS = ("Time", "Level", "What")
_LOG_LEVELS = {"warning": Level.WARNING, "error": Level.BAD, "critical": Level.BAD}
_FILL_WIDTH = 10
_STATES = {"failed": Level.BAD, "aborted": Level.WARNING, "paused": Level.WARNING}


def volume_row(volume: VolumeView) -> Row:
    used = volume.bytes_total - volume.bytes_free
    share = used / volume.bytes_total if volume.bytes_total else 0.0
    cells = (volume.name, bar(share, _FILL_WIDTH), bytes_text(used), bytes_text(volume.bytes_total), volume.trouble or "healthy")
    return Row(volume.name, cells, (volume.name, share, used, volume.bytes_total, volume.trouble), volume.level)


def bucket_row(bucket: BucketView) -> Row:
    classes = ", ".join(f"{name} {bytes_text(held)}" for name, (_, held) in sorted(bucket.classes.items()))
    cells = (bucket.name, bucket.account, f"{bucket.versions:,}", bytes_text(bucket.bytes), classes)
    return Row(bucket.name, cells, (bucket.name, bucket.account, bucket.versions, bucket.bytes, classes))


def job_row(job: JobView) -> Row:
    pace = f"{bytes_text(job.pace)}/s" if job.pace else "free"
    cells = (str(job.id), job.state, job.what, job.progress, pace, job.message)
    return Row(str(job.id), cells, (job.id, *cells[1:4], job.pace, job.message), _STATES.get(job.state, Level.GOOD))


def waiting_row(job: WaitingView) -> Row:
    late = 0 <= job.due_s < 1
    cells = (job.priority, job.kind, job.subject, bytes_text(job.bytes), span_text(job.age_s), span_text(job.due_s), job.disk, job.state)
    order = (job.priority, job.kind, job.subject, job.bytes, job.age_s, job.due_s, job.disk, job.state)
    return Row(job.id, cells, order, Level.WARNING if late else Level.GOOD)


def service_row(service: ServiceView) -> Row:
    note = "locked by an operator" if service.locked else service.reason
    cells = (service.location, service.kind, str(service.placing), str(service.reading), note, service.name)
    level = Level.GOOD if service.placing else Level.WARNING if service.reading or service.locked else Level.BAD
    return Row(service.name, cells, (*cells[:2], service.placing, service.reading, *cells[4:]), level)


def election_row(election: ElectionView) -> Row:
    epoch = str(election.epoch) if election.epoch else "-"
    cells = (election.shard, election.leader or "none", epoch, str(election.lag), " ".join(election.peers))
    level = Level.GOOD if election.leader else Level.BAD
    return Row(election.shard, cells, (*cells[:2], election.epoch, election.lag, cells[4]), level)


def host_row(host: HostView) -> Row:
    used = host.bytes_total - host.bytes_free
    share = used / host.bytes_total if host.bytes_total else 0.0
    services = f"{host.usable} of {host.services}"
    fill, size = bar(share, _FILL_WIDTH), bytes_text(host.bytes_total)
    cells = (host.name, services, f"{host.busy:.0f} %", fill, size, host.note, " ".join(host.kinds))
    return Row(host.name, cells, (host.name, host.usable - host.services, host.busy, share, host.bytes_total, *cells[5:]), host.level)


def board_row(board: BoardView) -> Row:
    used, total = sum(disk.bytes_used for disk in board.disks), sum(disk.bytes_total for disk in board.disks)
    on = sum(disk.state in (DiskState.ON, DiskState.BUSY, DiskState.SPINNING_UP) for disk in board.disks)
    failed = sum(disk.state is DiskState.FAILED for disk in board.disks)
    share = used / total if total else 0.0
    fill, state = bar(share, _FILL_WIDTH), board.trouble or "well"
    cells = (board.name, str(len(board.disks)), str(on), str(failed), fill, bytes_text(total), state)
    level = Level.BAD if board.trouble else Level.WARNING if failed else Level.GOOD
    return Row(board.name, cells, (board.name, len(board.disks), on, failed, share, total, state), level)


def log_row(number: int, line: Line) -> Row:
    cells = (clock(line.at_us), line.level, line.text)
    return Row(f"{line.at_us}-{number}", cells, (line.at_us, *cells[1:]), _LOG_LEVELS.get(line.level, Level.GOOD))


def event_row(number: int, event: EventView) -> Row:
    return Row(str(number), (clock(event.at_us), event.text), (event.at_us, event.text), event.level)
