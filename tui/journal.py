"""What has changed from one look to the next, as lines that a person reads: pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from tui.snapshot import BoardView, DiskState, ElectionView, EventView, JobView, Level, ServiceView, VolumeView

EVENTS_KEPT = 500
_JOB_LEVELS = {"failed": Level.BAD, "aborted": Level.WARNING}


class Journal:
    """Notes nothing of what was there when it was opened, but troubles."""

    def __init__(self) -> None:
        self.events: list[EventView] = []
        self._seen: dict[str, Mapping[str, str]] = {}
        self._now_us = 0

    def __repr__(self) -> str:
        return f"<Journal events={len(self.events)}>"

    def look(self, now_us: int) -> None:
        """What is noted from now on is noted at this time."""
        self._now_us = now_us

    def volumes(self, volumes: Iterable[VolumeView]) -> None:
        before, now = self._swap("volumes", {volume.name: volume.trouble for volume in volumes})
        for name, trouble in now.items():
            if trouble != before.get(name, ""):
                self._tell(Level.BAD if trouble else Level.GOOD, f"volume {name}: {trouble or 'healthy again'}")

    def jobs(self, jobs: Iterable[JobView]) -> None:
        views = {str(job.id): job for job in jobs}
        first = "jobs" not in self._seen
        before, now = self._swap("jobs", {name: job.state for name, job in views.items()})
        for name, state in () if first else sorted(now.items(), key=lambda each: int(each[0])):
            if before.get(name) != state:
                job = views[name]
                words = f"job {name} ({job.what.partition(' ')[0].rstrip(',')}) is {state}"
                self._tell(_JOB_LEVELS.get(state, Level.GOOD), words + (f": {job.message}" if job.message else ""))

    def services(self, services: Iterable[ServiceView]) -> None:
        views = {service.name: service for service in services}
        first = "services" not in self._seen
        before, now = self._swap("services", {name: _word(service) for name, service in views.items()})
        for name in before.keys() - now.keys():
            self._tell(Level.WARNING, f"service {name} is not known any more")
        for name, word in now.items():
            if word != before.get(name, "" if first else None):
                level = Level.GOOD if word in ("", "locked by an operator") else Level.BAD
                words = word or ("serves again" if name in before else "serves")
                self._tell(level, f"{views[name].kind} {views[name].location}: {words}")

    def elections(self, elections: Iterable[ElectionView]) -> None:
        first = "elections" not in self._seen
        before, now = self._swap("elections", {each.shard: each.leader for each in elections})
        for name, leader in now.items():
            if not first and leader != before.get(name):
                words = f"{leader} leads {name} now" if leader else f"nobody leads {name}"
                self._tell(Level.GOOD if leader else Level.BAD, words)

    def boards(self, boards: Sequence[BoardView]) -> None:
        notes = {f"board {board.name}, disk {disk.number}": disk.note for board in boards for disk in board.disks if disk.note}
        noted, notes_now = self._swap("notes", notes)
        for name, words in notes_now.items():
            if words != noted.get(name):
                self._tell(Level.GOOD, f"{name}: {words}")
        failed = {
            f"board {board.name}, disk {disk.number}": disk.doing or "failed"
            for board in boards
            for disk in board.disks
            if disk.state is DiskState.FAILED
        }
        before, now = self._swap("boards", failed)
        for name, words in now.items():
            if name not in before:
                self._tell(Level.BAD, f"{name}: {words}")
        for name in before.keys() - now.keys():
            self._tell(Level.GOOD, f"{name} is well again")

    def _swap(self, kind: str, now: Mapping[str, str]) -> tuple[Mapping[str, str], Mapping[str, str]]:
        before = self._seen.get(kind, {})
        self._seen[kind] = now
        return before, now

    def _tell(self, level: Level, text: str) -> None:
        self.events.append(EventView(self._now_us, level, text))
        del self.events[:-EVENTS_KEPT]


def _word(service: ServiceView) -> str:
    """What is wrong with it."""
    return "locked by an operator" if service.locked else "" if service.placing else service.reason or "its score is 0"
