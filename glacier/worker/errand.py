"""Does one job on the powered disk: freeze, thaw, delete or check. What goes wrong with it harms no other.

What fails is tried again, later and later. A job that the cold disk failed TRIES_MAX times is given up: a freeze goes to another disk; of a
thaw or check the chunk counts as lost there and is made anew from other chunks; what a deletion leaves is found when stock is taken.
"""

from __future__ import annotations

import contextlib
from dataclasses import replace

import msgspec

from glacier.protocol import Freezer
from glacier.worker import carry
from glacier.worker.carry import ColdLost, HotTrouble
from glacier.worker.core import Changes, Core
from glacier.worker.ledger import CHECK, CHECKED, COLD, DELETE, FILLED, FREEZE, LOST, MELT, MOVE, SENT, WANTED, Book, Entry, Task
from glacier.worker.loss import Losses
from glacier.worker.shelf import FULL
from node.errors import (
    AlreadyExists,
    Busy,
    ChunkNotFound,
    Damaged,
    DeadlineExceeded,
    DiskAsleep,
    DiskFailed,
    FrazilError,
    Unavailable,
    VolumeFull,
    VolumeReadOnly,
)
from node.log import get_logger

RETRY_S_MAX = 3600.0
TRIES_MAX = 5
"""Of a job that its disk fails. With the waiting between them a disk gets five minutes at the least to come round."""
FAILURES_IN_A_ROW = 3
"""Different jobs that failed for their disk, and none done between them, until it is left alone."""
DELETES_AT_ONCE = 1_000
log = get_logger("glacier.worker")


class Errands:
    def __init__(self, core: Core, losses: Losses) -> None:
        self._core = core
        self._losses = losses
        self._failing: set[int] = set()

    def __repr__(self) -> str:
        return f"<Errands failed in a row={len(self._failing)}>"

    async def run(self, freezer: Freezer, task: Task) -> None:
        """One job. Raises: FrazilError when it is the freezer, or the ledger, that can't be used."""
        core = self._core
        try:
            match task.task:
                case "freeze":
                    await self._freeze(freezer, task)
                case "thaw":
                    await self._thaw(freezer, task)
                case "delete":
                    await self._delete(freezer, task)
                case _:
                    await self._check(freezer, task)
            core.counts[task.kind.name.lower()] += 1
            self._failing.clear()
        except HotTrouble as error:
            if isinstance(error.cause, ChunkNotFound):
                await self._vanished(task)
            else:
                await self._failed(task, str(error))
        except ColdLost as error:
            await self._lost(task, str(error))
        except DiskAsleep as error:  # somebody switched it off
            core.bus = replace(core.bus, disk=None)
            await self._failed(task, str(error))
        except (DiskFailed, DeadlineExceeded) as error:
            await self._disk_failed(freezer, task, str(error))
        except FrazilError as error:
            if isinstance(error, Unavailable) and not isinstance(error, VolumeReadOnly):
                raise  # the way to the freezer, not this job
            await self._failed_or_given_up(task, str(error), for_its_disk=isinstance(error, Damaged | AlreadyExists))

    async def leave(self, disk: int) -> None:
        """What was to go to a disk that can't be used goes to others."""
        for task in [task for task in self._core.tasks.values() if task.disk == disk and task.task == FREEZE]:
            await self._elsewhere(task)

    # What goes wrong

    async def _disk_failed(self, freezer: Freezer, task: Task, why: str) -> None:
        """A bad sector is one chunk's: the disk is mounted anew for the others. One that fails several in a row is left alone, as if it had
        not come up."""
        core, disk = self._core, task.disk
        await self._failed_or_given_up(task, why, for_its_disk=True)
        if getattr(freezer, "broken", False):
            return
        core.bus = replace(core.bus, disk=None)
        with contextlib.suppress(DiskFailed, Busy):  # then it keeps its power, which the freezer accounts for
            core.reports[disk] = await freezer.power_off(disk)
        self._failing.add(task.id)
        if len(self._failing) >= FAILURES_IN_A_ROW:
            self._failing.clear()
            log.warning("a cold disk fails", extra={"disk": disk, "board": core.report.board, "error": why})
            core.set_away(disk, 0.0, why)
            await self.leave(disk)

    async def _failed_or_given_up(self, task: Task, why: str, *, for_its_disk: bool) -> None:
        if not for_its_disk or task.tries + 1 < TRIES_MAX:
            await self._failed(task, why)
            return
        place = self._core.place(task.disk)
        log.error("a job on a cold disk is given up", extra={"job": task.task, "place": place, "chunk": task.chunk, "error": why})
        self._core.counts["given_up"] += 1
        if task.task == FREEZE:
            await self._elsewhere(task)
        elif task.task == DELETE:
            await self._over(task)
        else:
            await self._lost(task, why)

    async def _failed(self, task: Task, problem: str) -> None:
        core = self._core
        log.warning("a job on a cold disk failed", extra={"job": task.kind.name, "disk": task.disk, "chunk": task.chunk, "error": problem})
        core.backlog.discard(task.id)
        tries = task.tries + 1
        core.tasks[task.id] = msgspec.structs.replace(task, tries=tries, problem=problem)
        core.later[task.id] = core.now_s + min(core.options.retry_s * 2**tries, RETRY_S_MAX)
        if task.task == CHECK:
            core.checking[task.volume, task.chunk] = task.id  # or another would be made, which begins with no tries
        else:
            await core.ledger.write(lambda book: book.failed(task.id, problem))

    async def _lost(self, task: Task, why: str) -> None:
        """Another time, when its volume can't be told now."""
        core = self._core
        entry = await core.ledger.write(lambda book: book.entry(task.volume, task.chunk))
        if entry is not None:
            try:
                with carry.hot():
                    await self._losses.lose(entry, why)
            except HotTrouble as error:
                await self._failed(task, f"{why}; {error}")
                return
        core.drop([task.id])

    async def _elsewhere(self, task: Task) -> None:
        core = self._core

        def steps(book: Book, changes: Changes) -> None:
            entry = book.entry(task.volume, task.chunk)
            book.done(task.id)
            changes.over.append(task.id)
            if entry is None or entry.state != WANTED:
                return
            core.shelf.drop(entry.disk, entry.size)
            if task.tries:  # something of it may lie there; what a kill left is found when stock is taken
                core.leave(book, entry, entry.disk, changes)
            core.want(book, entry, changes, without=frozenset({task.disk}))

        try:
            async with core.hands:
                await core.change(steps)
        except VolumeFull as error:
            await self._failed(task, str(error))

    async def _full(self, task: Task) -> None:
        """The cold disk takes no more: it is closed, and what was to go there goes elsewhere."""
        core = self._core
        await core.ledger.write(lambda book: book.close_disk(task.disk, FULL))
        core.shelf.closed[task.disk] = FULL
        await self._elsewhere(task)

    async def _vanished(self, task: Task) -> None:
        """The chunk's file is gone."""
        core = self._core

        def steps(book: Book, changes: Changes) -> None:
            book.done(task.id)
            changes.over.append(task.id)
            entry = book.entry(task.volume, task.chunk)
            if entry is not None:
                core.vanished(book, entry, changes)

        async with core.hands:
            await core.change(steps)

    async def _over(self, task: Task) -> None:
        """Nothing is to be done for it any more."""
        await self._core.ledger.write(lambda book: book.done(task.id))
        self._core.drop([task.id])

    # What is done

    async def _freeze(self, freezer: Freezer, task: Task) -> None:
        core = self._core
        entry = await core.ledger.write(lambda book: book.entry(task.volume, task.chunk))
        if entry is None or entry.state != WANTED or entry.disk != task.disk:
            await self._over(task)
            return
        try:
            await carry.send(freezer, task.disk, core.files_of(task.volume), task.chunk)
        except (VolumeFull, VolumeReadOnly):
            await self._full(task)
            return

        def steps(book: Book, changes: Changes) -> None:
            book.done(task.id)
            changes.over.append(task.id)
            now = book.entry(task.volume, task.chunk)
            if now is None or now.state != WANTED or now.disk != task.disk:  # forgotten meanwhile: so is its copy
                core.leave(book, entry, entry.disk, changes)
                return
            if now.also not in (-1, task.disk):
                core.leave(book, now, now.also, changes)
            book.put(msgspec.structs.replace(now, state=SENT, also=-1, verified_us=core.now_us))
            book.sent(task.disk, now.size)
            core.shelf.stored[task.disk] += now.size

        async with core.hands:
            await core.change(steps)
        with carry.hot():
            await core.tidy(msgspec.structs.replace(entry, state=SENT))

    async def _thaw(self, freezer: Freezer, task: Task) -> None:
        core = self._core
        entry = await core.ledger.write(lambda book: book.entry(task.volume, task.chunk))
        if entry is None or entry.state != COLD:
            await self._over(task)
            return
        files = core.files_of(task.volume)
        await carry.fetch(freezer, entry.disk, files, task.chunk)
        async with core.hands:
            task = core.tasks.get(task.id, task)
            now = await core.ledger.write(lambda book: book.entry(task.volume, task.chunk))
            if now is None or now.state != COLD:
                return
            if task.id not in core.tasks:  # not wanted any more
                await files.empty(task.chunk, core.place(now.disk))
                return
            with carry.hot():
                await files.finish(task.chunk, None if task.purpose == MELT else core.filled_mark(now))
            await core.change(lambda book, changes: self._thawed(book, task, now, changes))

    def _thawed(self, book: Book, task: Task, entry: Entry, changes: Changes) -> None:
        core = self._core
        book.done(task.id)
        changes.over.append(task.id)
        if task.purpose == MELT:
            core.forget(book, entry, changes)
        elif task.purpose != MOVE or not self._moved(book, entry, changes):
            book.put(msgspec.structs.replace(entry, state=FILLED))

    def _moved(self, book: Book, entry: Entry, changes: Changes) -> bool:
        """Whether another disk was elected; else there is no room for it now, and it stays on the disk that is cleared."""
        core = self._core
        try:
            core.want(book, msgspec.structs.replace(entry, also=entry.disk), changes, without=frozenset({entry.disk}))
        except VolumeFull as error:
            log.info("a chunk stays on a disk that is cleared", extra={"disk": entry.disk, "chunk": entry.chunk, "error": str(error)})
            return False
        core.shelf.drop(entry.disk, entry.size)
        return True

    async def _delete(self, freezer: Freezer, task: Task) -> None:
        """All deletions that wait for this disk at once."""
        core = self._core
        tasks = [each for each in core.tasks.values() if each.disk == task.disk and each.task == DELETE and each.id not in core.later]
        tasks = tasks[:DELETES_AT_ONCE]
        wanted = {task.chunk for task in tasks} - await core.ledger.write(lambda book: _still_there(book, tasks))
        failed = set(await freezer.delete(task.disk, sorted(wanted)))
        done = [each.id for each in tasks if each.chunk not in failed]

        def steps(book: Book, changes: Changes) -> None:
            for number in done:
                book.done(number)
            changes.over += done

        await core.change(steps)
        for each in tasks:
            if each.chunk in failed:
                await self._failed_or_given_up(each, "the cold disk could not delete it", for_its_disk=True)

    async def _check(self, freezer: Freezer, task: Task) -> None:
        core = self._core
        core.drop([task.id])
        entry = await core.ledger.write(lambda book: book.entry(task.volume, task.chunk))
        if entry is None or entry.state not in CHECKED or entry.disk != task.disk:
            return
        with carry.hot():
            stored, _ = await core.files_of(task.volume).stored(task.chunk)
        await carry.check(freezer, task.disk, task.chunk, bytes.fromhex(stored.record.checksum))
        if entry.state == LOST:
            with carry.hot():
                await self._losses.found_whole(entry)

        def steps(book: Book) -> None:
            now = book.entry(task.volume, task.chunk)
            if now is not None and now.disk == task.disk:
                book.put(msgspec.structs.replace(now, verified_us=core.now_us))

        await core.ledger.write(steps)


def _still_there(book: Book, tasks: list[Task]) -> set[str]:
    """Chunks that came back to the same disk after their deletion was asked for."""
    found = set()
    for task in tasks:
        entry = book.entry(task.volume, task.chunk)
        if entry is not None and task.disk in (entry.disk, entry.also):
            found.add(task.chunk)
    return found
