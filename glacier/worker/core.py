"""What the parts of a worker share: the ledger, what waits, the volumes, and the transitions that several of them need.

Only the event loop's thread touches it, but for `shelf`, which belongs to the ledger's transactions. Who changes files and ledger together
holds `hands`: so no two see the same chunk in different states. It is never held while a disk is waited for.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TypeVar

import msgspec
import trio

from glacier.backlog import Backlog, Job, Kind
from glacier.pace import Rate
from glacier.protocol import BusReport, DiskReport
from glacier.schedule import DEFAULT_TERMS, Bus, Scheduler, Terms
from glacier.worker.ledger import CHECK, COLD, DELETE, FILLED, FREEZE, SENT, STRAY, THAW, WANTED, Book, Entry, Ledger, Task
from glacier.worker.shelf import LOST_DISK, Shelf
from node.clock import Clock
from node.errors import ChunkCorrupt, VolumeNotFound
from rawx.cold import ColdChunks
from rawx.mark import FILLED as MARK_FILLED
from rawx.mark import Mark
from rawx.volume import Volume
from store.afterwork import Bell

T = TypeVar("T")
DAY_S = 86400.0
DISK_BYTES = 8 * 10**12
VERIFY_DAYS = 90.0
FAILED_DISK_S = 600.0
"""A disk that did not come up is left alone so long at the least; the freezer says when it rests longer."""


@dataclass(frozen=True, slots=True)
class Options:
    """hot_s: how long a thawed chunk stays when nobody says; verify_s: within which every cold chunk is read again.

    kin_max     chunks of one metachunk that a disk may hold
    disk_bytes  of a disk that never had power
    site        the data centre of the boards, "" = here;  rate: of the bytes to them and from them
    place       where the freezer is
    tidy_s      how often it is looked for files to empty;  retry_s: until a freezer is dialled again, and before a job's second try
    """

    hot_s: float = DAY_S
    verify_s: float = VERIFY_DAYS * DAY_S
    kin_max: int = 1
    disk_bytes: int = DISK_BYTES
    tidy_s: float = 1.0
    retry_s: float = 5.0
    scheduler: Scheduler | None = None
    site: str = ""
    rate: Rate = field(default_factory=Rate)
    place: str = ""

    def schedule(self) -> Scheduler:
        """The scheduler, with checks that wait for company until half their time is over."""
        if self.scheduler is not None:
            return self.scheduler
        quarter = self.verify_s / 4
        return Scheduler(terms={**DEFAULT_TERMS, Kind.VERIFY: Terms(quarter, quarter, 2 * quarter)})


class Core:
    def __init__(self, ledger: Ledger, volumes: Mapping[str, Volume], bus: BusReport, options: Options, clock: Clock) -> None:
        self.ledger = ledger
        self.volumes = volumes
        self.report = bus
        self.options = options
        self.clock = clock
        self.shelf = Shelf(bus.disks, disk_bytes=options.disk_bytes, kin_max=options.kin_max)
        self.scheduler = options.schedule()
        self.backlog = Backlog()
        self.tasks: dict[int, Task] = {}
        self.bus = Bus()
        self.later: dict[int, float] = {}
        """Jobs that failed: when they are tried again, by the wall clock in seconds."""
        self.away: dict[int, tuple[float, str]] = {}
        """Disks that can't be powered: until when (monotonic clock, seconds), and why."""
        self.reports: dict[int, DiskReport] = {}
        """What the freezer told of each disk last."""
        self.absent: dict[str, float] = {}
        """Volumes of chunks that are not there: since when it is known (wall clock, seconds)."""
        self.notes: dict[int, str] = {}
        """What came of orders."""
        self.rising: tuple[int, float] | None = None
        """The disk that is being powered on, and since when (wall clock, seconds)."""
        self.stocked: dict[int, float] = {}
        """When what lies on each disk was last held against the ledger."""
        self.checking: dict[tuple[str, str], int] = {}
        """Chunks for which a check waits, and its job."""
        self._checks = 0
        self.bell = Bell()
        self.hands = trio.Lock()
        self.counts: Counter[str] = Counter()

    def __repr__(self) -> str:
        return f"<Core {self.report.board}/{self.report.bus} {self.backlog!r} {self.bus!r}>"

    @property
    def now_us(self) -> int:
        return self.clock.now_us()

    @property
    def now_s(self) -> float:
        return self.clock.now_us() / 1e6

    def problem(self, disk: int) -> str:
        """Why a disk can't be used, "" when it can."""
        if self.shelf.closed.get(disk) == LOST_DISK:
            return "it is lost"
        until_s, why = self.away.get(disk, (0.0, ""))
        return why if until_s > self.clock.monotonic() else ""

    def rest_s(self, disk: int) -> float:
        """How long it is left alone yet."""
        return max(self.away[disk][0] - self.clock.monotonic(), 0.0) if disk in self.away else 0.0

    def set_away(self, disk: int, rest_s: float, why: str) -> None:
        """It is left alone for so long, or for FAILED_DISK_S when that is longer."""
        self.away[disk] = (self.clock.monotonic() + max(rest_s, FAILED_DISK_S), why)

    def place(self, disk: int) -> str:
        return f"{self.report.board}/{self.report.bus}/{disk}"

    def files_of(self, volume: str) -> ColdChunks:
        """Raises: VolumeNotFound."""
        found = self.volumes.get(volume)
        if found is None:
            raise VolumeNotFound(f"the worker of {self.report.board}/{self.report.bus} doesn't look after volume {volume}, or it is away")
        return ColdChunks(found)

    def usable(self) -> set[str]:
        """The volumes that are there and serve: of others nothing is read or emptied now."""
        return {name for name in self.volumes if (volume := self.volumes.get(name)) is not None and not volume.health.sick}

    async def look_for_absent(self) -> None:
        """Which volumes the ledger names that are not there."""
        gone = {volume for volume in await self.ledger.volumes() if volume not in self.volumes}
        self.absent = {volume: self.absent.get(volume, self.now_s) for volume in gone}

    async def load(self) -> None:
        """What the ledger says; at the start."""
        await self.reckon()
        for task in await self.ledger.tasks():
            self.wait_for(task)

    async def reckon(self) -> None:
        """How full the disks are, anew: after a transaction that elected disks and failed."""
        self.shelf.load(await self.ledger.disks(), await self.ledger.usage())

    def wait_for(self, task: Task) -> None:
        """A job is to be done."""
        self.tasks[task.id] = task
        self.later.pop(task.id, None)
        self.backlog.add(Job(task.id, task.disk, task.kind, task.at_us / 1e6, task.size))
        self.bell.ring()

    def check_soon(self, entry: Entry, *, at_s: float) -> None:
        """A check is in no ledger: which are due follows from when the last was."""
        if (entry.volume, entry.chunk) in self.checking:
            return
        self._checks -= 1
        self.checking[entry.volume, entry.chunk] = self._checks
        self.wait_for(Task(self._checks, CHECK, Kind.VERIFY, entry.disk, entry.volume, entry.chunk, entry.size, round(at_s * 1e6)))

    def drop(self, numbers: Iterable[int]) -> None:
        """Jobs that are not to be done any more, or are done."""
        for number in numbers:
            task = self.tasks.pop(number, None)
            if task is not None and task.task == CHECK:
                self.checking.pop((task.volume, task.chunk), None)
            self.later.pop(number, None)
            self.backlog.discard(number)

    async def change(self, steps: Callable[[Book, Changes], object]) -> None:
        """A transaction, and what follows from it for what waits. Raises: as Ledger.write; then nothing was changed."""

        def all_of_them(book: Book) -> Changes:
            changes = Changes()
            steps(book, changes)
            return changes

        try:
            changes = await self.ledger.write(all_of_them)
        except BaseException:
            with trio.CancelScope(shield=True):
                await self.reckon()
            raise
        self.drop(changes.over)
        for task in changes.asked:
            self.wait_for(task)

    def task(self, what: str, kind: Kind, entry: Entry, *, disk: int | None = None, purpose: str = "") -> Task:
        at = entry.disk if disk is None else disk
        size = 0 if what == DELETE else entry.size
        return Task(0, what, kind, at, entry.volume, entry.chunk, size, self.now_us, purpose)

    # Steps of a chunk, each within a transaction of the caller's

    def forget(self, book: Book, entry: Entry, changes: Changes) -> None:
        """Nobody needs its copies any more."""
        self.end_thaws(book, entry, changes)
        for disk in {entry.disk, entry.also} - {-1}:
            self.leave(book, entry, disk, changes)
        book.forget(entry)
        if entry.disk >= 0:
            self.shelf.drop(entry.disk, entry.size)

    def leave(self, book: Book, entry: Entry, disk: int, changes: Changes) -> None:
        """Its copy on a disk is to go, when that has power next: a lost one never has."""
        if self.shelf.closed.get(disk) != LOST_DISK:
            changes.asked.append(book.ask(self.task(DELETE, Kind.DELETE, entry, disk=disk)))

    def end_thaws(self, book: Book, entry: Entry, changes: Changes) -> None:
        """And whatever else waits for the chunk, but for deletions."""
        over = [task.id for task in book.tasks_of(entry.volume, entry.chunk) if task.task != DELETE]
        check = self.checking.get((entry.volume, entry.chunk))
        changes.over += over if check is None else [*over, check]
        for number in over:
            book.done(number)

    def vanished(self, book: Book, entry: Entry, changes: Changes) -> None:
        """Its file is gone, and nobody had told: it was deleted before it was ever marked, or moved, or its volume was wiped."""
        if entry.state == WANTED:
            self.forget(book, entry, changes)
            return
        over = [task.id for task in book.tasks_of(entry.volume, entry.chunk) if task.task != DELETE]
        for number in over:
            book.done(number)
        changes.over += over
        book.put(msgspec.structs.replace(entry, state=STRAY))

    def want(self, book: Book, entry: Entry, changes: Changes, *, without: frozenset[int] = frozenset()) -> None:
        """Its bytes are in its file; a disk is elected for them. Raises: VolumeFull."""
        disk = self.shelf.elect(entry.size, book.kin(entry), without=without | frozenset(self.away))
        wanted = msgspec.structs.replace(entry, state=WANTED, disk=disk)
        book.put(wanted)
        changes.asked.append(book.ask(self.task(FREEZE, Kind.FREEZE, wanted)))

    def cool(self, book: Book, entry: Entry, changes: Changes) -> None:
        """Its file was emptied; if somebody wanted it hot meanwhile, it comes back."""
        now = book.entry(entry.volume, entry.chunk)
        if now is None:
            return
        book.put(msgspec.structs.replace(now, state=COLD))
        if now.until_us > self.now_us:
            changes.asked.append(book.ask(self.task(THAW, Kind.STANDARD, now, purpose="read")))

    async def tidy(self, entry: Entry) -> None:
        """Gives the file's blocks back, or has it say that its bytes are elsewhere too, if that is still to be. Raises: FrazilError."""
        async with self.hands:
            now = await self.ledger.write(lambda book: book.entry(entry.volume, entry.chunk))
            if now is None or now.state not in (SENT, FILLED):
                return
            if now.until_us > self.now_us:
                if now.state == SENT and await self.keep(now, self.filled_mark(now)):
                    await self.ledger.write(lambda book: book.put(msgspec.structs.replace(now, state=FILLED)))
                return
            await self.files_of(entry.volume).empty(entry.chunk, self.place(now.disk))
            await self.change(lambda book, changes: self.cool(book, now, changes))
            self.counts["emptied"] += 1

    async def keep(self, entry: Entry, mark: Mark | None) -> bool:
        """Marks a file that has its bytes, and whether it does: the emptying of one that is on a cold disk too may have been cut off after
        the file was empty, and before that was noted. Then it is now. `hands` is held. Raises: FrazilError."""
        try:
            await self.files_of(entry.volume).finish(entry.chunk, mark)
        except ChunkCorrupt:
            await self.change(lambda book, changes: self.cool(book, entry, changes))
            return False
        return True

    def filled_mark(self, entry: Entry) -> Mark:
        return Mark(MARK_FILLED, self.place(entry.disk), entry.until_us)


@dataclass(frozen=True, slots=True)
class Doing:
    """What a worker does now, in words; on which disk, and as which kind of job, if on any."""

    words: str
    disk: int | None = None
    job: str = ""


class Changes:
    """What a transaction did to the jobs."""

    def __init__(self) -> None:
        self.asked: list[Task] = []
        self.over: list[int] = []


def by_volume(items: Iterable[T], volume_of: Callable[[T], str]) -> dict[str, list[T]]:
    found: dict[str, list[T]] = {}
    for item in items:
        found.setdefault(volume_of(item), []).append(item)
    return found
