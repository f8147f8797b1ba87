"""Does what waits: asks the scheduler, powers disks, carries chunks. One task, one job at a time: the bus has one disk."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from math import inf

import msgspec
import trio

from glacier.backlog import Kind
from glacier.protocol import DiskReport, DiskState, Freezer
from glacier.schedule import Action, Bus, Off, Power, Rest, Run
from glacier.worker import carry
from glacier.worker.carry import ColdLost, HotTrouble
from glacier.worker.core import Changes, Core
from glacier.worker.desk import Desk
from glacier.worker.ledger import (
    CHECK,
    CHECKED,
    COLD,
    DELETE,
    FILLED,
    FREEZE,
    LOST,
    MELT,
    MOVE,
    ON_DISK,
    SENT,
    STRAY,
    THAW,
    WANTED,
    Book,
    Entry,
    Task,
)
from glacier.worker.shelf import EMPTYING, FULL, REOPEN_FREE
from node.errors import (
    ChunkNotFound,
    Damaged,
    DeadlineExceeded,
    DiskAsleep,
    DiskFailed,
    FrazilError,
    PowerBudgetSpent,
    Unavailable,
    VolumeFull,
    VolumeReadOnly,
    VolumeSick,
)
from node.log import get_logger
from rawx.chunk import ChunkRecord

Dial = Callable[[], AbstractAsyncContextManager[Freezer]]
REST_S_MAX = 60.0
"""The longest sleep: the wall clock may jump."""
RETRY_S_MAX = 3600.0
FAILED_DISK_S = 600.0
"""A disk that did not come up is left alone so long at the least; the freezer says when it rests longer."""
FAILURES_IN_A_ROW = 3
"""Jobs that failed for their disk, one after the other, until it is left alone."""
DELETES_AT_ONCE = 1_000
CHECKS_PER_SESSION = 200
EMPTY_AT_ONCE = 100
STOCK_PAGE = 1_000
DUE_S = 3600.0
"""How often it is looked for disks whose checks are due, and for disks to compact."""
MOVES_AT_ONCE = 10_000
log = get_logger("glacier.worker")


class Engine:
    def __init__(self, core: Core, dial: Dial) -> None:
        self._core = core
        self._dial = dial
        self._connected = False
        self._doing = "starting"
        self._due_at = -inf
        self._in_a_row = 0
        self.desk = Desk(core, lambda: (self._connected, self._doing))

    def __repr__(self) -> str:
        return f"<Engine {self._core!r} {self._doing}>"

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """For ever. Raises: what the ledger raises when it can't be read at all."""
        await self._core.load()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._keep_tidy)
            task_status.started()
            while True:
                try:
                    async with self._dial() as freezer:
                        await self._serve(freezer)
                except FrazilError as error:
                    self._doing = f"the freezer can't be used: {error}"
                    log.warning("the freezer can't be used now", extra={"board": self._core.report.board, "error": str(error)})
                self._connected = False
                await trio.sleep(self._core.options.retry_s)

    # What needs no disk

    async def _keep_tidy(self) -> None:
        while True:
            try:
                while await self._tidy():
                    pass
            except FrazilError as error:
                log.warning("files can't be emptied now", extra={"error": str(error)})
            self._take_up()
            await trio.sleep(self._core.options.tidy_s)

    async def _tidy(self) -> bool:
        """Empties files whose time is over; whether there may be more."""
        core = self._core
        entries = await core.ledger.to_tidy(core.now_us, EMPTY_AT_ONCE)
        emptied = 0
        for entry in entries:
            try:
                await core.tidy(entry)
                emptied += 1
            except ChunkNotFound:
                await self._gone(entry)
            except FrazilError as error:  # this volume is away; others are not
                log.info("a file can't be emptied now", extra={"volume": entry.volume, "chunk": entry.chunk, "error": str(error)})
        return emptied == EMPTY_AT_ONCE

    def _take_up(self) -> None:
        """Failed jobs whose time has come."""
        core = self._core
        for number in [number for number, at_s in core.later.items() if at_s <= core.now_s]:
            del core.later[number]
            if number in core.tasks:
                core.wait_for(core.tasks[number])

    async def _gone(self, entry: Entry) -> None:
        async with self._core.hands:
            await self._core.change(lambda book: _with(lambda changes: self._core.vanished(book, entry, changes)))

    # The bus

    async def _serve(self, freezer: Freezer) -> None:
        """Until the connection breaks. Raises: FrazilError."""
        core = self._core
        await self._look_around(freezer)
        self._connected = True
        while not getattr(freezer, "broken", False):
            if core.now_s >= self._due_at:
                self._due_at = core.now_s + DUE_S
                await self._find_due()
            core.away = {disk: each for disk, each in core.away.items() if each[0] > core.now_s}
            core.bus = replace(core.bus, away=frozenset(disk for disk in core.report.disks if core.problem(disk)))
            await self._do(freezer, core.scheduler(core.backlog, core.bus, core.now_s))

    async def _look_around(self, freezer: Freezer) -> None:
        """Which disk has power: the freezer outlives its workers."""
        core = self._core
        if freezer.bus != core.report:
            await core.ledger.set_bus(freezer.bus)
            core.report = freezer.bus
            core.shelf.disks = freezer.bus.disks
        powered: int | None = None
        for disk in core.report.disks:
            report = await freezer.probe(disk)
            await self._learn(report)
            if report.state in (DiskState.ON, DiskState.RISING):
                if powered is not None:
                    await freezer.power_off(disk)
                    continue
                try:
                    await freezer.power_on(disk)
                    powered = disk
                except DiskFailed as error:
                    self._set_away(disk, 0.0, str(error))
        core.bus = Bus(powered, core.now_s, core.now_s)

    async def _learn(self, report: DiskReport) -> None:
        core = self._core
        if report.bytes_total and report.bytes_total != core.shelf.totals.get(report.disk):
            await core.ledger.write(lambda book: book.measured(report.disk, report.bytes_total))
            core.shelf.totals[report.disk] = report.bytes_total
        is_roomy = report.bytes_total and report.bytes_free >= REOPEN_FREE * report.bytes_total
        if core.shelf.closed.get(report.disk) == FULL and is_roomy:
            await self._reopen(report.disk)
        if report.state is DiskState.FAILED or report.rest_ms:
            self._set_away(report.disk, report.rest_ms / 1000, report.problem or "it did not come up")
            await self._elect_anew(report.disk)

    async def _reopen(self, disk: int) -> None:
        """It takes chunks again."""
        core = self._core
        log.info("a cold disk has room again", extra={"disk": disk, "board": core.report.board})
        async with core.hands:
            await core.ledger.write(lambda book: book.reopen_disk(disk, core.shelf.used[disk]))
            core.shelf.reopen(disk)

    def _set_away(self, disk: int, rest_s: float, why: str) -> None:
        self._core.away[disk] = (self._core.now_s + max(rest_s, FAILED_DISK_S), why)

    async def _do(self, freezer: Freezer, action: Action) -> None:
        core = self._core
        match action:
            case Run(job):
                await self._run(freezer, core.tasks[job.id])
                core.bus = replace(core.bus, busy_s=core.now_s)
            case Power(disk):
                await self._power(freezer, disk)
            case Off():
                assert core.bus.disk is not None
                await freezer.power_off(core.bus.disk)
                core.bus = replace(core.bus, disk=None)
            case Rest(until_s):
                self._doing = "resting" if core.bus.disk is None else f"disk {core.bus.disk} is idle"
                wait_s = min(
                    until_s - core.now_s, REST_S_MAX, self._due_at - core.now_s, *(at - core.now_s for at, _ in core.away.values())
                )
                await core.bell.wait(max(wait_s, 0.01))

    async def _power(self, freezer: Freezer, disk: int) -> None:
        core = self._core
        if core.bus.disk is not None:
            await freezer.power_off(core.bus.disk)
            core.bus = replace(core.bus, disk=None)
        self._doing = f"powering disk {disk} on"
        core.counts["power_ons"] += 1
        try:
            report = await freezer.power_on(disk)
        except DiskFailed as error:
            log.warning("a cold disk did not come up", extra={"disk": disk, "board": core.report.board, "error": str(error)})
            self._set_away(disk, (await freezer.probe(disk)).rest_ms / 1000, str(error))
            await self._elect_anew(disk)
            return
        except PowerBudgetSpent:  # the other buses of the board have it all now
            await trio.sleep(core.options.retry_s)
            return
        await self._learn(report)
        core.bus = Bus(disk, core.now_s, core.now_s, core.bus.away)
        period_us = int(core.options.verify_s * 1e6)
        if core.now_s >= core.stocked.get(disk, -inf) + core.options.verify_s / 2:
            await self._take_stock(freezer, disk)
        for entry in await core.ledger.to_verify(disk, core.now_us - period_us // 2, CHECKS_PER_SESSION):
            self.desk.check_soon(entry, at_s=(entry.verified_us + period_us / 2) / 1e6)

    async def _take_stock(self, freezer: Freezer, disk: int) -> None:
        """What lies on the powered disk without the ledger knowing: what an interrupted deletion or a lost ledger left."""
        core, after = self._core, ""
        while ids := await freezer.list(disk, after, STOCK_PAGE):
            for chunk in await core.ledger.write(lambda book, ids=ids: [each for each in ids if _is_unknown(book, each, disk)]):  # type: ignore[misc]
                await self._found(freezer, disk, chunk)
            after = ids[-1]
            if len(ids) < STOCK_PAGE:
                break
        core.stocked[disk] = core.now_s

    async def _found(self, freezer: Freezer, disk: int, chunk: str) -> None:
        """A second copy goes; an only one becomes a stray, for the metadata to judge."""
        core = self._core
        try:
            head = await freezer.head(disk, chunk)
            record = ChunkRecord.parse(head.record)
        except Damaged as error:
            log.warning("a chunk on a cold disk can't be read", extra={"disk": disk, "chunk": chunk, "error": str(error)})
            return

        def steps(book: Book, changes: Changes) -> None:
            others = [entry for entry in book.named(chunk) if entry.state in ON_DISK]
            if others:
                changes.asked.append(book.ask(core.task(DELETE, Kind.DELETE, others[0], disk=disk)))
                return
            key = (record.bucket, record.key, record.content, record.metachunk)
            book.put(Entry("", chunk, STRAY, disk, -1, head.size, *key, 0, core.now_us))
            core.shelf.add(disk, head.size)

        async with core.hands:
            await core.change(lambda book: _with(lambda changes: steps(book, changes)))

    async def _elect_anew(self, disk: int) -> None:
        """What was to go to a disk that can't be used goes to others."""
        tasks = [task for task in self._core.tasks.values() if task.disk == disk and task.task == FREEZE]
        for task in tasks:
            await self._elsewhere(task)

    async def _elsewhere(self, task: Task) -> None:
        core = self._core

        def steps(book: Book, changes: Changes) -> None:
            entry = book.entry(task.volume, task.chunk)
            book.done(task.id)
            changes.over.append(task.id)
            if entry is None or entry.state != WANTED:
                return
            core.shelf.drop(entry.disk, entry.size)
            changes.asked.append(book.ask(core.task(DELETE, Kind.DELETE, entry)))  # half of it may lie there
            core.want(book, entry, changes, without=frozenset({task.disk}))

        try:
            async with core.hands:
                await core.change(lambda book: _with(lambda changes: steps(book, changes)))
        except VolumeFull as error:
            await self._failed(task, str(error))

    async def _find_due(self) -> None:
        """Checks that no session came for, and disks that deletions emptied."""
        core = self._core
        period_us = int(core.options.verify_s * 1e6)
        for disk in core.report.disks:
            for entry in await core.ledger.to_verify(disk, core.now_us - period_us * 3 // 4, 1):
                self.desk.check_soon(entry, at_s=(entry.verified_us + period_us / 2) / 1e6)
        for disk in [disk for disk, why in core.shelf.closed.items() if why == EMPTYING]:
            if core.shelf.count[disk]:
                await self.clear(disk)  # what was hot then, or more than a call takes
            elif not any(task.disk == disk for task in core.tasks.values()):
                await self._reopen(disk)
        disk_or_none = core.shelf.to_compact()
        if disk_or_none is not None:
            await self.clear(disk_or_none)

    async def clear(self, disk: int) -> None:
        """Has all chunks of a disk moved to others: each comes back to its file, and goes out again."""
        core = self._core

        def steps(book: Book, entries: list[Entry], changes: Changes) -> None:
            book.close_disk(disk, EMPTYING)
            core.shelf.closed[disk] = EMPTYING
            for entry in entries:
                if entry.state == COLD:
                    changes.asked.append(book.ask(core.task(THAW, Kind.BULK, entry, purpose=MOVE)))

        entries = (await core.ledger.on_disk(disk))[:MOVES_AT_ONCE]
        async with core.hands:
            await core.change(lambda book: _with(lambda changes: steps(book, entries, changes)))
        log.info("a disk that deletions emptied is cleared", extra={"disk": disk, "chunks": len(entries)})

    # Jobs

    async def _run(self, freezer: Freezer, task: Task) -> None:
        """One job; what goes wrong with it harms no other. Raises: FrazilError when it is the freezer that can't be used."""
        core = self._core
        self._doing = f"{task.kind.name.lower()} on disk {task.disk}"
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
            self._in_a_row = 0
        except HotTrouble as error:
            if isinstance(error.cause, ChunkNotFound):
                await self._vanished(task)
            else:
                await self._failed(task, str(error))
        except ColdLost as error:
            log.error("a cold disk lost a chunk", extra={"disk": task.disk, "chunk": task.chunk, "error": str(error)})
            core.drop([task.id])
            entry = await core.ledger.write(lambda book: book.entry(task.volume, task.chunk))
            if entry is not None:
                await self.desk.lose_chunk(entry, str(error))
        except (VolumeFull, VolumeReadOnly) as error:
            await self._full(task, error)
        except (DiskAsleep, DiskFailed) as error:
            core.bus = replace(core.bus, disk=None)
            await self._failed(task, str(error))
            if isinstance(error, DiskFailed):
                await self._broke(freezer, task.disk, str(error))
        except FrazilError as error:
            if isinstance(error, Unavailable) and not isinstance(error, VolumeSick | DeadlineExceeded):
                raise  # the way to the freezer, not this job
            await self._failed(task, str(error))

    async def _broke(self, freezer: Freezer, disk: int, why: str) -> None:
        """A job failed for its disk. A bad sector is one chunk's; a disk with several in a row is left alone, as if it had not come up."""
        self._in_a_row += 1
        if self._in_a_row < FAILURES_IN_A_ROW:
            return
        self._in_a_row = 0
        log.warning("a cold disk fails", extra={"disk": disk, "board": self._core.report.board, "error": why})
        with contextlib.suppress(DiskFailed):  # then it keeps its power, which the freezer accounts for
            await freezer.power_off(disk)
        self._set_away(disk, 0.0, why)
        await self._elect_anew(disk)

    async def _failed(self, task: Task, problem: str) -> None:
        core = self._core
        log.warning("a job on a cold disk failed", extra={"job": task.kind.name, "disk": task.disk, "chunk": task.chunk, "error": problem})
        core.backlog.discard(task.id)
        tries = task.tries + 1
        core.tasks[task.id] = msgspec.structs.replace(task, tries=tries, problem=problem)
        core.later[task.id] = core.now_s + min(core.options.retry_s * 2**tries, RETRY_S_MAX)
        if task.task != CHECK:
            await core.ledger.write(lambda book: book.failed(task.id, problem))

    async def _full(self, task: Task, error: FrazilError) -> None:
        """The cold disk takes no more: it is closed, and what was to go there goes elsewhere."""
        core = self._core
        if task.task != FREEZE:
            await self._failed(task, str(error))
            return
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
            await core.change(lambda book: _with(lambda changes: steps(book, changes)))

    async def _freeze(self, freezer: Freezer, task: Task) -> None:
        core = self._core
        entry = await core.ledger.write(lambda book: book.entry(task.volume, task.chunk))
        if entry is None or entry.state != WANTED or entry.disk != task.disk:
            await self._over(task)
            return
        await carry.send(freezer, task.disk, core.files_of(task.volume), task.chunk)

        def steps(book: Book, changes: Changes) -> None:
            book.done(task.id)
            changes.over.append(task.id)
            now = book.entry(task.volume, task.chunk)
            if now is None or now.state != WANTED or now.disk != task.disk:  # forgotten meanwhile: so is its copy
                changes.asked.append(book.ask(core.task(DELETE, Kind.DELETE, entry)))
                return
            if now.also not in (-1, task.disk):
                changes.asked.append(book.ask(core.task(DELETE, Kind.DELETE, now, disk=now.also)))
            book.put(msgspec.structs.replace(now, state=SENT, also=-1, verified_us=core.now_us))
            book.sent(task.disk, now.size)
            core.shelf.stored[task.disk] += now.size

        async with core.hands:
            await core.change(lambda book: _with(lambda changes: steps(book, changes)))
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
            await core.change(lambda book: _with(lambda changes: self._thawed(book, task, now, changes)))

    def _thawed(self, book: Book, task: Task, entry: Entry, changes: Changes) -> None:
        core = self._core
        book.done(task.id)
        changes.over.append(task.id)
        if task.purpose == MELT:
            core.forget(book, entry, changes)
        elif task.purpose == MOVE:
            core.shelf.drop(entry.disk, entry.size)
            core.want(book, msgspec.structs.replace(entry, also=entry.disk), changes, without=frozenset({entry.disk}))
        else:
            book.put(msgspec.structs.replace(entry, state=FILLED))

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

        await core.change(lambda book: _with(lambda changes: steps(book, changes)))
        for each in tasks:
            if each.chunk in failed:
                await self._failed(each, "the cold disk could not delete it")

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
                await self.desk.found_whole(entry)

        def steps(book: Book) -> None:
            now = book.entry(task.volume, task.chunk)
            if now is not None and now.disk == task.disk:
                book.put(msgspec.structs.replace(now, verified_us=core.now_us))

        await core.ledger.write(steps)

    async def _over(self, task: Task) -> None:
        """Nothing is to be done for it any more."""
        await self._core.ledger.write(lambda book: book.done(task.id))
        self._core.drop([task.id])


def _with(steps: Callable[[Changes], None]) -> Changes:
    changes = Changes()
    steps(changes)
    return changes


def _is_unknown(book: Book, chunk: str, disk: int) -> bool:
    return not book.is_leaving(chunk, disk) and not any(disk in (entry.disk, entry.also) for entry in book.named(chunk))


def _still_there(book: Book, tasks: list[Task]) -> set[str]:
    """Chunks that came back to the same disk after their deletion was asked for."""
    found = set()
    for task in tasks:
        entry = book.entry(task.volume, task.chunk)
        if entry is not None and task.disk in (entry.disk, entry.also):
            found.add(task.chunk)
    return found
