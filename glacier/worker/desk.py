"""Takes what a worker is asked for (protocol: glacier.worker.protocol.ColdDoor): notes it and answers; nothing waits for a disk here."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Sequence
from functools import partial

import msgspec

from glacier.backlog import THAWS, Kind
from glacier.pace import RATE_BYTES_MIN
from glacier.protocol import DiskReport, DiskState
from glacier.schedule import outlook
from glacier.worker.clearing import clear
from glacier.worker.core import Changes, Core, Doing, by_volume
from glacier.worker.ledger import CHECKED, COLD, DELETE, FILLED, FREEZE, LOST, MELT, READ, SENT, STRAY, THAW, WANTED, Book, Entry, Task
from glacier.worker.loss import Losses
from glacier.worker.order import Orders, answer
from glacier.worker.protocol import ITEMS_MAX, ChunkState, DiskStatus, Item, QueuedJob, Status, Stray, Verb
from glacier.worker.shelf import LOST_DISK
from node.errors import ChunkNotFound, DiskNotFound, InvalidArgument, Unavailable, VolumeFull, VolumeNotFound, VolumeSick
from node.text import bytes_text
from rawx.protocol import Examined

QUEUE_MAX = 10_000
ABSENT_S = 3600.0
"""Of a volume that is not there for so long the metadata is asked whether its chunks are still needed; what is named stays."""
_KINDS = frozenset(kind.name.lower() for kind in Kind)
Step = Callable[[Book, Entry, Changes], None]


class Desk:
    def __init__(self, core: Core, losses: Losses, orders: Orders, doing: Callable[[], tuple[bool, Doing]]) -> None:
        """doing: whether the freezer answers, and what is being done."""
        self._core = core
        self._orders = orders
        self._losses = losses
        self._doing = doing

    def __repr__(self) -> str:
        return f"<Desk {self._core!r}>"

    async def create(self, items: Sequence[Item]) -> None:
        for volume, mine in by_volume(_checked(items), lambda item: item.volume).items():
            files = self._core.files_of(volume)
            looks = await files.volume.examine([item.chunk for item in mine], deep=False)
            well = [look for look in looks if not look.problem and look.size]
            cancelled: list[Entry] = []
            await self._steps(partial(self._create_all, volume, well, cancelled))
            for entry in cancelled:
                await self._empty_again(entry)

    def _create_all(self, volume: str, looks: Sequence[Examined], cancelled: list[Entry], book: Book, changes: Changes) -> None:
        for look in looks:
            self._create(book, volume, look, cancelled, changes)

    def _create(self, book: Book, volume: str, look: Examined, cancelled: list[Entry], changes: Changes) -> None:
        assert look.record is not None
        old = book.entry(volume, look.chunk)
        if old is None:
            if look.cold:
                return  # another worker's, or of a ledger that is gone: see `frazil glacier verify`
            record = look.record
            entry = Entry(volume, look.chunk, WANTED, -1, -1, look.size, record.bucket, record.key, record.content, record.metachunk, 0, 0)
            self._core.want(book, entry, changes)
            return
        book.put(msgspec.structs.replace(old, until_us=0))
        if old.state == COLD:
            _take_back(book, old, (READ, MELT), cancelled, changes)
        elif old.state == WANTED:
            changes.asked.append(book.ask(self._core.task(FREEZE, Kind.FREEZE, old)))

    async def _empty_again(self, entry: Entry) -> None:
        """After a thaw was taken back: some of it may be in the file. Another thaw may have been asked for since, or be done."""
        core = self._core
        async with core.hands:
            now, tasks = await core.ledger.write(lambda book: _look_up(book, entry))
            if now is None or now.state != COLD or any(task.task == THAW for task in tasks):
                return
            try:
                await core.files_of(entry.volume).empty(entry.chunk, core.place(now.disk))
            except ChunkNotFound:  # deleted meanwhile
                pass

    async def get(self, items: Sequence[Item], kind: Kind, until_us: int) -> None:
        core = self._core
        until_us = until_us or core.now_us + int(core.options.hot_s * 1e6)
        over: list[Entry] = []

        def step(book: Book, entry: Entry, changes: Changes) -> None:
            kept = msgspec.structs.replace(entry, until_us=max(entry.until_us, until_us))
            if entry.state in (SENT, FILLED) and entry.until_us <= core.now_us:  # to be emptied, or empty already: it is looked at
                kept = msgspec.structs.replace(kept, state=SENT)
                over.append(kept)
            book.put(kept)
            if entry.state == COLD:
                purposes = {task.purpose for task in book.tasks_of(entry.volume, entry.chunk) if task.task == THAW}
                purpose = MELT if MELT in purposes else READ
                changes.asked.append(book.ask(core.task(THAW, kind, kept, purpose=purpose)))

        await self._each(items, step)
        for entry in over:
            try:
                await core.tidy(entry)
            except ChunkNotFound:  # deleted meanwhile
                pass

    async def waive(self, items: Sequence[Item]) -> None:
        waived: list[Entry] = []

        def step(book: Book, entry: Entry, changes: Changes) -> None:
            if entry.state == COLD and _take_back(book, entry, (READ,), waived, changes):
                book.put(msgspec.structs.replace(entry, until_us=0))

        await self._each(items, step)
        for entry in waived:
            await self._empty_again(entry)

    async def melt(self, items: Sequence[Item]) -> None:
        core = self._core

        def step(book: Book, entry: Entry, changes: Changes) -> None:
            if entry.state == COLD:
                changes.asked.append(book.ask(core.task(THAW, Kind.BULK, entry, purpose=MELT)))
            else:
                core.forget(book, entry, changes)

        async with core.hands:
            hot = await core.ledger.write(lambda book: [entry for item in items if (entry := book.entry(item.volume, item.chunk))])
            for entry in hot:
                try:
                    if entry.state in (SENT, FILLED):
                        await core.keep(entry, None)  # else it comes back first
                    elif entry.state == WANTED:
                        await core.files_of(entry.volume).set_mark(entry.chunk, None)
                except ChunkNotFound:  # deleted meanwhile
                    continue
            await self._each(items, step, held=True)

    async def delete(self, items: Sequence[Item]) -> None:
        """Also of volumes that are gone, as long as something of them is known."""
        known = set(await self._core.ledger.volumes()) | {""}
        for item in _checked(items):
            if item.volume not in known:
                self._core.files_of(item.volume)
        await self._forget(items)

    async def _each(self, items: Sequence[Item], step: Step, *, held: bool = False) -> None:
        """A step for every chunk that is known, in one transaction."""
        for item in _checked(items):
            self._core.files_of(item.volume)

        def steps(book: Book, changes: Changes) -> None:
            for item in items:
                entry = book.entry(item.volume, item.chunk)
                if entry is not None and entry.state not in (STRAY, LOST):
                    step(book, entry, changes)

        await self._steps(steps, held=held)

    async def _forget(self, items: Sequence[Item]) -> None:
        def steps(book: Book, changes: Changes) -> None:
            for item in items:
                entry = book.entry(item.volume, item.chunk)
                if entry is not None:
                    self._core.forget(book, entry, changes)

        await self._steps(steps)

    async def _steps(self, steps: Callable[[Book, Changes], object], *, held: bool = False) -> None:
        if held:
            await self._core.change(steps)
            return
        async with self._core.hands:
            await self._core.change(steps)

    async def states(self, items: Sequence[Item]) -> list[ChunkState]:
        core = self._core
        _checked(items)
        found = await core.ledger.write(lambda book: [_look_up(book, item) for item in items])
        views = outlook(
            core.backlog, core.bus, core.scheduler.rates, {entry.disk for entry, _ in found if entry is not None and entry.disk >= 0}
        )
        ranks = {disk: place * core.report.buses + core.report.bus for place, disk in enumerate(core.report.disks)}

        def told(entry: Entry | None, tasks: Sequence[Task]) -> ChunkState:
            if entry is None:
                return ChunkState()
            if entry.state in (STRAY, LOST):
                return ChunkState("lost")
            thaws = [task for task in tasks if task.task == THAW]
            view = views[entry.disk]
            problem = next((task.problem for task in thaws if task.problem), "") or core.problem(entry.disk)
            rank = ranks.get(entry.disk, 0)
            return ChunkState(entry.state, bool(thaws), entry.until_us, entry.disk, rank, view.power_ons, view.wait_s, problem)

        return [told(entry, tasks) for entry, tasks in found]

    async def status(self) -> Status:
        core = self._core
        connected, doing = self._doing()
        waiting: dict[int, Counter[str]] = {}
        for task in core.tasks.values():
            waiting.setdefault(task.disk, Counter())[task.kind.name.lower()] += 1
        total = Counter(task.kind.name.lower() for task in core.tasks.values())
        done = {name: number for name, number in core.counts.items() if name in _KINDS}
        oldest_us = await core.ledger.oldest_us()
        report = core.report
        return Status(
            report.board,
            report.bus,
            connected,
            doing.words,
            sorted(core.volumes),
            [self._disk(disk, dict(waiting.get(disk, {})), doing) for disk in report.disks],
            dict(total),
            done,
            core.counts["power_ons"],
            oldest_us,
            core.counts["lost"],
            await core.ledger.strays_count(),
            core.options.site,
            core.options.rate.bytes_s,
            core.options.place,
        )

    def _disk(self, disk: int, waiting: dict[str, int], doing: Doing) -> DiskStatus:
        core, shelf = self._core, self._core.shelf
        told = core.reports.get(disk, DiskReport(disk, DiskState.OFF))
        powered, rising = disk == core.bus.disk, core.rising is not None and core.rising[0] == disk
        state = DiskState.RISING if rising else DiskState.ON if powered else told.state
        ready_s = core.rising[1] + core.report.spin_up_ms / 1000 - core.now_s if rising and core.rising is not None else 0.0
        return DiskStatus(
            disk,
            shelf.totals.get(disk, 0),
            shelf.used[disk],
            shelf.count[disk],
            shelf.closed.get(disk, ""),
            core.problem(disk),
            waiting,
            powered,
            state=state.name.lower(),
            ready_s=max(ready_s, 0.0),
            rest_s=core.rest_s(disk),
            doing=doing.job if doing.disk == disk else "",
            cycles=told.power_cycles,
            powered_s=told.powered_s + (int(core.now_s - core.bus.since_s) if powered else 0),
            errors=told.errors,
            last_error=told.last_error,
            last_error_us=told.last_error_us,
            note=core.notes.get(disk, ""),
        )

    async def queue(self, limit: int) -> list[QueuedJob]:
        if not 0 < limit <= QUEUE_MAX:
            raise InvalidArgument(f"a queue is shown with 1 to {QUEUE_MAX} jobs")
        core = self._core
        tasks = sorted(core.tasks.values(), key=lambda task: (task.kind, task.at_us, task.id))[:limit]
        disks = {task.disk for task in core.tasks.values() if task.kind in THAWS and not core.problem(task.disk)}
        views = outlook(core.backlog, core.bus, core.scheduler.rates, disks)
        switches_s = len(disks - {core.bus.disk}) * core.scheduler.rates.switch_s

        def told(task: Task) -> QueuedJob:
            wait_s = -1.0
            if task.kind in THAWS and task.disk in disks:
                held_s = task.at_us / 1e6 + core.scheduler.terms[task.kind].hold_s - core.now_s
                wait_s = views[task.disk].wait_s + (0.0 if task.disk == core.bus.disk else switches_s + max(held_s, 0.0))
            what = (task.id, task.kind.name.lower(), task.disk, task.volume, task.chunk, task.size)
            return QueuedJob(*what, task.at_us, task.tries, task.problem, wait_s)

        return [told(task) for task in tasks]

    async def strays(self, after: Item, limit: int) -> list[Stray]:
        core = self._core
        absent = [volume for volume, since_s in core.absent.items() if core.now_s - since_s >= ABSENT_S]
        entries = await core.ledger.strays((after.volume, after.chunk), min(limit, ITEMS_MAX), absent)
        return [Stray(entry.volume, entry.chunk, entry.bucket, entry.key, entry.content) for entry in entries]

    async def verify(self, disk: int) -> int:
        core = self._core
        disks = self._known(disk)
        count = 0
        for each in disks:
            for entry in await core.ledger.on_disk(each):
                if entry.state in CHECKED:
                    core.check_soon(entry, at_s=core.now_s - core.scheduler.terms[Kind.VERIFY].hold_s)
                    count += 1
        return count

    async def clear(self, disk: int) -> int:
        shelf = self._core.shelf
        self._known(disk, only=True)
        if shelf.closed.get(disk) == LOST_DISK:
            raise DiskNotFound(f"disk {disk} was given up: what lay on it is made anew from other chunks")
        if shelf.room(without=disk) < shelf.used[disk]:
            raise VolumeFull(f"the other disks of the bus have no room for the {bytes_text(shelf.used[disk])} on disk {disk}")
        count = shelf.count[disk]
        await clear(self._core, disk)
        return count

    async def pace(self, rate_bytes: float) -> None:
        if rate_bytes and rate_bytes < RATE_BYTES_MIN:
            raise InvalidArgument(f"a limit is at least {RATE_BYTES_MIN} bytes per second; 0 is none")
        self._core.options.rate.bytes_s = rate_bytes

    async def lose(self, disk: int) -> int:
        core = self._core
        self._known(disk, only=True)
        async with core.hands:
            await self._steps(lambda book, _: book.close_disk(disk, LOST_DISK), held=True)
            await core.reckon()
        entries = await core.ledger.on_disk(disk)  # now that nothing more can be meant for it
        left = 0
        for entry in entries:
            try:
                await self._losses.lose(entry, f"disk {disk} is lost")
            except (VolumeNotFound, VolumeSick):  # its file can't be told; the others' can
                left += 1
        await self._steps(lambda book, changes: self._drop_all(book, disk, changes))
        if left:
            words = f"disk {disk} is given up, but {left} of its {len(entries)} chunks are of volumes that are away"
            raise Unavailable(f"{words}: bring them back, or give those up too, and say it again")
        return len(entries)

    async def order(self, disk: int, verb: Verb) -> str:
        self._known(disk, only=True)
        connected, doing = self._doing()
        if not connected:
            raise Unavailable(f"the worker has no freezer to ask now: {doing.words}")
        if verb is not Verb.OFF and self._core.shelf.closed.get(disk) == LOST_DISK:
            raise DiskNotFound(f"disk {disk} was given up: what lay on it is made anew from other chunks")
        order = self._orders.add(disk, verb)
        self._core.bell.ring()
        return await answer(order)

    def _drop_all(self, book: Book, disk: int, changes: Changes) -> None:
        over = [task.id for task in self._core.tasks.values() if task.disk == disk and task.task == DELETE]
        for number in over:
            book.done(number)
        changes.over += over

    def _known(self, disk: int, *, only: bool = False) -> tuple[int, ...]:
        disks = self._core.report.disks
        if disk == -1 and not only:
            return disks
        if disk not in disks:
            raise DiskNotFound(f"there is no disk {disk} on this bus; there are {disks[0]} to {disks[-1]}")
        return (disk,)


def _take_back(book: Book, entry: Entry, purposes: Collection[str], taken: list[Entry], changes: Changes) -> bool:
    """Ends the thaws of a cold chunk for these purposes; whether there were any."""
    over = [task.id for task in book.tasks_of(entry.volume, entry.chunk) if task.task == THAW and task.purpose in purposes]
    for number in over:
        book.done(number)
    changes.over += over
    taken += [entry] if over else []
    return bool(over)


def _look_up(book: Book, item: Item | Entry) -> tuple[Entry | None, list[Task]]:
    return book.entry(item.volume, item.chunk), book.tasks_of(item.volume, item.chunk)


def _checked(items: Sequence[Item]) -> Sequence[Item]:
    if len(items) > ITEMS_MAX:
        raise InvalidArgument(f"a call is about at most {ITEMS_MAX} chunks")
    return items
