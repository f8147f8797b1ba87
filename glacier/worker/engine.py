"""Asks the scheduler what to do next and does it: powers disks, and has one job after the other done. One task: the bus has one disk."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from math import inf

import trio

from glacier.protocol import DiskReport, DiskState, Freezer
from glacier.schedule import Action, Bus, Off, Power, Rest, Run
from glacier.worker.clearing import go_on_clearing, reopen
from glacier.worker.core import Core, Doing
from glacier.worker.desk import Desk
from glacier.worker.errand import RETRY_S_MAX, Errands
from glacier.worker.ledger import DELETE, Entry
from glacier.worker.loss import Losses
from glacier.worker.order import Order, Orders
from glacier.worker.protocol import Verb
from glacier.worker.shelf import FULL, REOPEN_FREE
from glacier.worker.stock import take_stock
from node.errors import (
    Busy,
    ChunkNotFound,
    DeadlineExceeded,
    DiskAsleep,
    DiskFailed,
    FrazilError,
    PowerBudgetSpent,
    Unavailable,
    VolumeNotFound,
)
from node.log import get_logger

Dial = Callable[[], AbstractAsyncContextManager[Freezer]]
REST_S_MAX = 60.0
"""The longest sleep: the wall clock may jump."""
CHECKS_AT_ONCE = 200
EMPTY_AT_ONCE = 100
DUE_S = 3600.0
"""How often it is looked for disks whose checks are due, and for disks to compact."""
log = get_logger("glacier.worker")


class Engine:
    def __init__(self, core: Core, dial: Dial) -> None:
        self._core = core
        self._dial = dial
        self._connected = False
        self._doing = Doing("starting")
        self._due_at = -inf
        losses = Losses(core)
        self._errands = Errands(core, losses)
        self._orders = Orders()
        self.desk = Desk(core, losses, self._orders, lambda: (self._connected, self._doing))

    @property
    def connected(self) -> bool:
        return self._connected

    def __repr__(self) -> str:
        return f"<Engine {self._core!r} {self._doing.words}>"

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
                    self._doing = Doing(f"can't go on: {error}")
                    log.warning("the worker can't go on now", extra={"board": self._core.report.board, "error": str(error)})
                self._connected = False
                while order := self._orders.take():  # none is for later
                    self._refuse(order, Unavailable(f"the freezer does not answer: {self._doing.words}"))
                await trio.sleep(self._core.options.retry_s)

    # What needs no disk

    async def _keep_tidy(self) -> None:
        while True:
            try:
                failed: set[str] = set()
                while await self._tidy(failed):
                    pass
            except FrazilError as error:
                log.warning("files can't be emptied now", extra={"error": str(error)})
            self._take_up()
            await trio.sleep(self._core.options.tidy_s)

    async def _tidy(self, failed: set[str]) -> bool:
        """Empties files whose time is over; whether there may be more. failed: volumes that are left out, those that fail now are added."""
        core = self._core
        entries = await core.ledger.to_tidy(core.now_us, EMPTY_AT_ONCE, core.usable() - failed)
        emptied, before = 0, len(failed)
        for entry in entries:
            if entry.volume in failed:
                continue
            try:
                await core.tidy(entry)
                emptied += 1
            except ChunkNotFound:
                await self._gone(entry)
            except FrazilError as error:
                log.info("a file can't be emptied now", extra={"volume": entry.volume, "chunk": entry.chunk, "error": str(error)})
                if isinstance(error, Unavailable | VolumeNotFound):
                    failed.add(entry.volume)
        return emptied == EMPTY_AT_ONCE or len(failed) > before

    def _take_up(self) -> None:
        """Failed jobs whose time has come, or is so far away that a clock was set back."""
        core = self._core
        for number in [number for number, at_s in core.later.items() if not core.now_s < at_s <= core.now_s + RETRY_S_MAX]:
            task = core.tasks.get(number)
            if task is None:
                del core.later[number]
            elif task.task == DELETE or task.volume in core.volumes:  # else its cold disk would be powered on for nothing
                core.wait_for(task)

    async def _gone(self, entry: Entry) -> None:
        async with self._core.hands:
            await self._core.change(lambda book, changes: self._core.vanished(book, entry, changes))

    # The bus

    async def _serve(self, freezer: Freezer) -> None:
        """Until the connection breaks. Raises: FrazilError."""
        core = self._core
        await self._look_around(freezer)
        self._connected = True
        while not getattr(freezer, "broken", False):
            while order := self._orders.take():
                await self._obey(freezer, order)
            if not core.now_s < self._due_at <= core.now_s + DUE_S:
                self._due_at = core.now_s + DUE_S
                await self._find_due()
            core.away = {disk: each for disk, each in core.away.items() if core.rest_s(disk)}
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
                    core.set_away(disk, 0.0, str(error))
        core.bus = Bus(powered, core.now_s, core.now_s)

    async def _learn(self, report: DiskReport) -> None:
        core = self._core
        core.reports[report.disk] = report
        if report.bytes_total and report.bytes_total != core.shelf.totals.get(report.disk):
            await core.ledger.write(lambda book: book.measured(report.disk, report.bytes_total))
            core.shelf.totals[report.disk] = report.bytes_total
        is_roomy = report.bytes_total and report.bytes_free >= REOPEN_FREE * report.bytes_total
        if core.shelf.closed.get(report.disk) == FULL and is_roomy:
            await reopen(core, report.disk)
        if report.state is DiskState.FAILED or report.rest_ms:
            core.set_away(report.disk, report.rest_ms / 1000, report.problem or "it did not come up")
            await self._errands.leave(report.disk)

    async def _do(self, freezer: Freezer, action: Action) -> None:
        core = self._core
        if isinstance(action, Off | Rest) and core.bus.disk is not None and await self._check_more(core.bus.disk):
            return
        match action:
            case Run(job):
                self._doing = Doing(f"{job.kind.name.lower()} on disk {job.disk}", job.disk, job.kind.name.lower())
                await self._errands.run(freezer, core.tasks[job.id])
                core.bus = replace(core.bus, busy_s=core.now_s)
            case Power(disk):
                await self._power(freezer, disk)
            case Off():
                await self._power_off(freezer)
            case Rest(until_s):
                self._doing = Doing("resting" if core.bus.disk is None else f"disk {core.bus.disk} is idle")
                await self._look_at_those_away(freezer)
                wait_s = min(until_s - core.now_s, REST_S_MAX, self._due_at - core.now_s, *map(core.rest_s, core.away))
                await core.bell.wait(max(wait_s, 0.01))

    async def _power(self, freezer: Freezer, disk: int) -> None:
        """Switches to a disk, if it can be powered now."""
        core = self._core
        await self._power_off(freezer)
        try:
            await self._power_on(freezer, disk)
        except DiskFailed:
            return  # told, and left alone
        except PowerBudgetSpent:  # the other buses of the board have it all now, or somebody switched a disk on beside this worker
            if not await self._take_over(freezer):
                await trio.sleep(core.options.retry_s)
            return
        if core.now_s >= core.stocked.get(disk, -inf) + core.options.verify_s / 2:
            await self._take_stock(freezer, disk)
        await self._check_more(disk)

    async def _power_on(self, freezer: Freezer, disk: int, *, force: bool = False) -> None:
        """Nothing else has power on the bus. Raises: DiskFailed, PowerBudgetSpent."""
        core = self._core
        self._doing = Doing(f"powering disk {disk} on", disk)
        core.rising = (disk, core.now_s)
        try:
            report = await freezer.power_on(disk, force=force)
        except DiskFailed as error:
            core.counts["power_ons"] += 1
            log.warning("a cold disk did not come up", extra={"disk": disk, "board": core.report.board, "error": str(error)})
            core.reports[disk] = report = await freezer.probe(disk)
            core.set_away(disk, report.rest_ms / 1000, str(error))
            await self._errands.leave(disk)
            raise
        finally:
            core.rising = None
        core.counts["power_ons"] += 1
        await self._learn(report)
        core.away.pop(disk, None)
        core.bus = Bus(disk, core.now_s, core.now_s, core.bus.away - {disk})

    async def _take_over(self, freezer: Freezer) -> bool:
        """Takes a disk of this bus that has power without this worker's doing for the powered one: used, and switched off when idle."""
        core = self._core
        for disk in core.report.disks:
            if (await freezer.probe(disk)).state is DiskState.ON:
                core.bus = Bus(disk, core.now_s, core.now_s, core.bus.away)
                return True
        return False

    # Orders

    async def _obey(self, freezer: Freezer, order: Order) -> None:
        """Raises: FrazilError when it is the freezer itself that can't be used."""
        core = self._core
        core.notes.pop(order.disk, None)
        try:
            match order.verb:
                case Verb.OFF:
                    outcome = await self._order_off(freezer, order.disk)
                case Verb.ON | Verb.FORCE:
                    outcome = await self._order_on(freezer, order.disk, force=order.verb is Verb.FORCE)
                case Verb.FSCK | Verb.REPAIR:
                    outcome = await self._order_fsck(freezer, order.disk, repair=order.verb is Verb.REPAIR)
        except FrazilError as error:
            self._refuse(order, error)
            if not isinstance(error, DiskFailed | DiskAsleep | PowerBudgetSpent | Busy):
                raise
        else:
            log.info("an operator's order was carried out", extra={"disk": order.disk, "order": order.verb.value, "outcome": outcome})
            order.end(outcome)

    def _refuse(self, order: Order, error: FrazilError) -> None:
        if order.late:
            self._core.notes[order.disk] = f"{order.verb.words}: {error}"
        order.end(error)

    async def _order_on(self, freezer: Freezer, disk: int, *, force: bool) -> str:
        core = self._core
        if core.bus.disk is not None and core.bus.disk != disk:
            words = f"disk {core.bus.disk} has power, and bus {core.report.bus} has it for one disk at a time: switch that one off first"
            raise PowerBudgetSpent(words)
        if core.bus.disk is None:
            await self._power_on(freezer, disk, force=force)
        core.bus = replace(core.bus, busy_s=core.now_s)
        return f"disk {disk} is on"

    async def _order_off(self, freezer: Freezer, disk: int) -> str:
        core = self._core
        core.reports[disk] = await freezer.power_off(disk)
        if core.bus.disk == disk:
            core.bus = replace(core.bus, disk=None)
        waits = any(task.disk == disk for task in core.tasks.values())
        return f"disk {disk} is off" + ("; it gets power again when the jobs that wait for it press" if waits else "")

    async def _order_fsck(self, freezer: Freezer, disk: int, *, repair: bool) -> str:
        core = self._core
        await self._order_on(freezer, disk, force=False)
        self._doing = Doing(f"checking the file system of disk {disk}", disk, "fsck")
        try:
            report = await freezer.fsck(disk, repair=repair)
        finally:
            after = await freezer.probe(disk)
            await self._learn(after)
            if after.state is not DiskState.ON:
                core.bus = replace(core.bus, disk=None)
        core.bus = replace(core.bus, busy_s=core.now_s)
        word = "repaired" if report.repaired else "whole" if report.clean else "damaged"
        core.notes[disk] = f"its file system is {word}" + ("" if report.clean and not report.repaired else f": {report.text.strip()}")
        return f"disk {disk}: {core.notes[disk]}"

    async def _check_more(self, disk: int) -> bool:
        """Checks for a disk that has power and nothing else to do, of what was not read for half its time; whether there are any."""
        core = self._core
        period_us = int(core.options.verify_s * 1e6)
        due = await core.ledger.to_verify(disk, core.now_us - period_us // 2, CHECKS_AT_ONCE, core.usable())
        fresh = [entry for entry in due if (entry.volume, entry.chunk) not in core.checking]
        for entry in fresh:
            core.check_soon(entry, at_s=(entry.verified_us + period_us / 2) / 1e6)
        return bool(fresh)

    async def _power_off(self, freezer: Freezer) -> None:
        """What is powered, if anything is."""
        core = self._core
        if core.bus.disk is not None:
            core.reports[core.bus.disk] = await freezer.power_off(core.bus.disk)
            core.bus = replace(core.bus, disk=None)

    async def _look_at_those_away(self, freezer: Freezer) -> None:
        """What kept a disk from being used may be over sooner than was thought: somebody forced it, or what held it let go."""
        core = self._core
        for disk in list(core.away):
            before, report = core.reports.get(disk), await freezer.probe(disk)
            core.reports[disk] = report
            if before is not None and before.problem and not report.problem and report.state is not DiskState.FAILED:
                del core.away[disk]

    async def _take_stock(self, freezer: Freezer, disk: int) -> None:
        """What fails then fails again with the jobs that are the disk's, where it is dealt with; stock is taken another time."""
        core = self._core
        core.stocked[disk] = core.now_s
        try:
            await take_stock(core, freezer, disk)
        except (DiskFailed, DiskAsleep, DeadlineExceeded) as error:
            log.warning("no stock of a cold disk could be taken", extra={"disk": disk, "board": core.report.board, "error": str(error)})

    async def _find_due(self) -> None:
        """Checks that no session came for, and disks that deletions emptied."""
        core = self._core
        period_us = int(core.options.verify_s * 1e6)
        for disk in core.report.disks:
            for entry in await core.ledger.to_verify(disk, core.now_us - period_us * 3 // 4, 1, core.usable()):
                core.check_soon(entry, at_s=(entry.verified_us + period_us / 2) / 1e6)
        await go_on_clearing(core)
        await core.look_for_absent()
