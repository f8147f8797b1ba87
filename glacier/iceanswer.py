"""What a freezer answers in ICE: values to bytes and back, sans-IO. Each layout stands here once, as the list of fields that `encode`
writes and `parse` reads; glacier/README.md shows them as tables.
"""

from __future__ import annotations

from glacier.ice import ERRORS, SMALL_BYTES_MAX, Code
from glacier.icefield import Reader, Writer, read_head, read_ids, write_head
from glacier.protocol import BusReport, ChunkHead, DiskReport, DiskState, FsckReport, Sent
from node.errors import FrameMalformed, FrazilError
from rawx.chunk import Buffer

LONG_TEXT_BYTES_MAX = SMALL_BYTES_MAX - 64


def encode_head(head: ChunkHead) -> bytes:
    """GO of GET_DATA."""
    return write_head(Writer(), head).done()


def parse_head(data: Buffer) -> ChunkHead:
    reader = Reader(data)
    head = read_head(reader)
    reader.end()
    return head


def parse_ids(data: Buffer) -> list[str]:
    reader = Reader(data)
    chunks = read_ids(reader)
    reader.end()
    return chunks


_REPORT = "HBQQQQIIIQIIIIQ"


def encode_report(report: DiskReport) -> bytes:
    """REPLY of PROBE_DISK, DISK_POWER_ON, DISK_POWER_OFF: `_REPORT`'s fields in order, then volume, problem, last error as texts."""
    writer = Writer().numbers(
        _REPORT,
        report.disk,
        report.state,
        report.bytes_total,
        report.bytes_free,
        report.measured_us,
        report.since_us,
        report.ready_ms,
        report.rest_ms,
        report.power_cycles,
        report.powered_s,
        report.failed_starts,
        report.read_errors,
        report.write_errors,
        report.checksum_errors,
        report.last_error_us,
    )
    return writer.text(report.volume).text(report.problem).text(report.last_error).done()


def parse_report(data: Buffer) -> DiskReport:
    reader = Reader(data)
    disk, state, total, free, measured, since, ready, rest, cycles, powered, failed, reads, writes, sums, last_us = reader.numbers(_REPORT)
    volume, problem, last_error = reader.text(), reader.text(), reader.text()
    reader.end()
    try:
        return DiskReport(
            disk,
            DiskState(state),
            total,
            free,
            measured,
            since,
            ready,
            rest,
            cycles,
            powered,
            failed,
            reads,
            writes,
            sums,
            last_us,
            volume,
            problem,
            last_error,
        )
    except ValueError as error:
        raise FrameMalformed(f"there is no disk state {state}") from error


def encode_welcome(report: BusReport) -> bytes:
    """WELCOME: bus u16, buses u16, powered at a time per bus u16 and per board u16, spin_up_ms u32, start_ms_max u32, disks (u16 number,
    u16 each), the board's name as a text."""
    writer = Writer().numbers(
        "HHHHII",
        report.bus,
        report.buses,
        report.bus_powered_max,
        report.board_powered_max,
        report.spin_up_ms,
        report.start_ms_max,
    )
    writer.numbers("H", len(report.disks)).numbers(f"{len(report.disks)}H", *report.disks)
    return writer.text(report.board).done()


def parse_welcome(data: Buffer) -> BusReport:
    reader = Reader(data)
    bus, buses, bus_max, board_max, spin_up_ms, start_ms_max = reader.numbers("HHHHII")
    disks = reader.numbers(f"{reader.number('H')}H")
    report = BusReport(reader.text(), bus, buses, disks, bus_max, board_max, spin_up_ms, start_ms_max)
    reader.end()
    return report


def encode_sent(sent: Sent) -> bytes:
    """REPLY of SEND_DATA: existed u8, checked u8, bytes_free u64."""
    return Writer().numbers("BBQ", sent.existed, sent.checked, sent.bytes_free).done()


def parse_sent(data: Buffer) -> Sent:
    reader = Reader(data)
    existed, checked, free = reader.numbers("BBQ")
    reader.end()
    return Sent(bool(existed), bool(checked), free)


def encode_fsck(report: FsckReport) -> bytes:
    """REPLY of FSCK_DISK: clean u8, repaired u8, text."""
    return Writer().numbers("BB", report.clean, report.repaired).text(report.text, LONG_TEXT_BYTES_MAX).done()


def parse_fsck(data: Buffer) -> FsckReport:
    reader = Reader(data)
    clean, repaired = reader.numbers("BB")
    report = FsckReport(bool(clean), bool(repaired), reader.text())
    reader.end()
    return report


def encode_total(count: int) -> bytes:
    """END of SEND_DATA and REPLY of GET_DATA: bytes sent u64."""
    return Writer().numbers("Q", count).done()


def parse_total(data: Buffer) -> int:
    reader = Reader(data)
    count = reader.number("Q")
    reader.end()
    return count


def encode_error(code: Code, message: str) -> bytes:
    """REPLY of ERROR: code u16, text."""
    return Writer().numbers("H", code).text(message).done()


def parse_error(data: Buffer) -> tuple[int, FrazilError]:
    """The code, and the error to raise for it; of an unknown code the root of all."""
    reader = Reader(data)
    number, message = reader.number("H"), reader.text()
    reader.end()
    kind = ERRORS[Code(number)] if number in ERRORS else FrazilError
    return number, kind(message or f"the freezer answered with code {number}")
