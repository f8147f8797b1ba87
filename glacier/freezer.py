"""The freezer of one board: switches, mounts, copies with checks, counts. It decides nothing.

Theory of operation. A disk is OFF, RISING, ON, FALLING or FAILED; whoever changes that holds its lock, and a change of power runs to its
end even when whoever asked is gone. A disk has its grant (glacier/power.py) from before its switch is closed until the board says that it
is open, whatever fails in between; so no order of calls, failures and cancellations powers more disks than the budget.
A transfer needs ON; who switches off needs no transfer. Both checks and what follows from them are without await, so they can't interleave.
"""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import trio

from glacier.board import Board, Shelf
from glacier.drive import Drive, Notes, load_notes, save_notes
from glacier.power import Budget, Grants
from glacier.protocol import WHOLE, BusReport, ChunkHead, ChunkIds, DiskReport, DiskState, FsckReport, Incoming, Resume, Sent
from glacier.transfer import Arrival, LocalIncoming, checked_record, is_there
from node.clock import Clock
from node.errors import Busy, ChunkCorrupt, Damaged, DeadlineExceeded, DiskFailed, DiskNotFound, FrazilError, VolumeFull, VolumeSick
from node.log import get_logger
from node.threads import run_blocking
from rawx.chunk import Buffer, ChunkRecord
from rawx.housekeeping import LIST_LIMIT_MAX, verify

RELEASE_PERIOD_S = 15.0
"""How often the freezer tries to take the power from disks that kept it: what used them may be gone."""
STOP_S_MAX = 120.0
"""Unmounting writes out what is left: 8 GB of dirty pages at 70 MB/s."""
_log = get_logger("freezer")


@dataclass(frozen=True, slots=True)
class Pace:
    """spin_up_s: from power-on to mounted, about;  start_s_max: a disk that isn't mounted by then has failed."""

    spin_up_s: float = 15.0
    start_s_max: float = 60.0


class BoardFreezer:
    """All buses of one board. Its calls are those of `bus(number)`."""

    def __init__(self, board: Board, *, budget: Budget, pace: Pace, clock: Clock, notes: Path | None = None) -> None:
        """notes: the file that keeps counters and failures; None: memory only. Blocking. Raises: ConfigError."""
        self.board = board
        self._grants = Grants(board.layout, budget)
        self._budget = budget
        self._pace = pace
        self._clock = clock
        self._notes = notes
        self._saving = trio.Lock()
        known = load_notes(notes) if notes is not None else {}
        self.drives = {disk: Drive(disk, board.layout.bus_of(disk), known.get(disk, Notes())) for disk in board.layout.disks}

    def __repr__(self) -> str:
        return f"<BoardFreezer {self.board.layout.board} {self._grants!r}>"

    def bus(self, number: int) -> BusFreezer:
        """Raises: DiskNotFound when the board has no such bus."""
        layout = self.board.layout
        if not 0 <= number < len(layout.buses):
            raise DiskNotFound(f"board {layout.board} has no bus {number}; it has {len(layout.buses)}")
        return BusFreezer(
            self,
            BusReport(
                board=layout.board,
                bus=number,
                buses=len(layout.buses),
                disks=layout.buses[number],
                bus_powered_max=self._budget.bus,
                board_powered_max=self._budget.board,
                spin_up_ms=round(self._pace.spin_up_s * 1000),
                start_ms_max=round(self._pace.start_s_max * 1000),
            ),
        )

    async def begin(self) -> None:
        """Nobody knows what an earlier process left: everything off first. A disk that keeps its power keeps a grant, too."""
        with trio.CancelScope(shield=True):
            failure = ""
            try:
                await self.board.clean()
            except (FrazilError, OSError) as error:
                failure = str(error)
            for disk in sorted(self.board.meter.powered & self.drives.keys()):
                self._keeps_power(self.drives[disk], failure)
            await self._save()

    async def end(self) -> None:
        """Everything off; what can't be is logged."""
        with trio.CancelScope(shield=True):
            await self._clean(self.drives.values(), force=True)

    async def keep_releasing(self) -> None:
        """For ever: disks that could not be switched off are, once whoever held them lets go; a killed process takes its time to end."""
        while True:
            await trio.sleep(RELEASE_PERIOD_S)
            for drive in [drive for drive in self.drives.values() if drive.stuck]:
                with suppress(DiskFailed, Busy):  # told when it began
                    await self.power_off(drive, force=True)
                    _log.info("disk has no power any more", extra={"disk": drive.number})

    def report(self, disk: int) -> DiskReport:
        return self.drives[disk].report(self._clock.now_us())

    async def power_on(self, drive: Drive, *, force: bool) -> None:
        """Raises: DiskFailed, PowerBudgetSpent."""
        async with drive.lock:
            if drive.state is DiskState.ON:
                return
            if not force:
                drive.admit_start(self._clock.now_us())
            if drive.number not in self._grants.granted:  # else it still has power that could not be taken away
                self._grants.take(drive.number)
            with trio.CancelScope(shield=True):
                await self._start(drive)

    async def _start(self, drive: Drive) -> None:
        """Raises: DiskFailed; the disk has no power then, or its grant still."""
        now_us = self._clock.now_us()
        drive.enter(DiskState.RISING, now_us)
        drive.ready_at_us = now_us + round(self._pace.spin_up_s * 1e6)
        try:
            if drive.number in self.board.meter.powered:
                await self.board.power_down(drive.number)
            drive.powered_since_us = now_us
            drive.notes.power_cycles += 1
            with trio.fail_after(self._pace.start_s_max):
                await self.board.power_up(drive.number)
                shelf = await self.board.mount(drive.number, drive.notes.volume)
            drive.started(shelf, self._clock.now_us())
            await self._measure(drive, shelf)
        except (FrazilError, OSError, trio.TooSlowError) as error:
            words = f"no answer within {self._pace.start_s_max:g} s" if isinstance(error, trio.TooSlowError) else str(error)
            drive.failed(words, self._clock.now_us())
            _log.error("disk did not come up", extra={"disk": drive.number, "reason": words, "in_a_row": drive.notes.failures})
            await self._fall(drive)
            raise DiskFailed(f"disk {drive.number} did not come up: {words}") from error
        finally:
            await self._save()

    async def _measure(self, drive: Drive, shelf: Shelf) -> int:
        """Bytes free."""
        usage = await shelf.usage()
        drive.notes.bytes_total, drive.notes.bytes_free, drive.notes.measured_us = usage.total, usage.free, self._clock.now_us()
        return usage.free

    async def power_off(self, drive: Drive, *, force: bool = False) -> None:
        """force: transfers fail instead. Raises: Busy, DiskFailed (it still has power, and its grant)."""
        async with drive.lock:
            if drive.number not in self._grants.granted:
                return
            if drive.transfers and not force:
                raise Busy(f"disk {drive.number} is used by {len(drive.transfers)} transfers")
            with trio.CancelScope(shield=True):
                await self._stop(drive)

    async def _stop(self, drive: Drive) -> None:
        drive.enter(DiskState.FALLING, self._clock.now_us())  # from here on no transfer begins
        for scope in drive.transfers:
            scope.cancel()
        while drive.transfers:
            drive.transfers_over = trio.Event()
            await drive.transfers_over.wait()
        try:
            failure = await self._fall(drive)
        finally:
            await self._save()
        if failure:
            raise DiskFailed(f"disk {drive.number} can't be switched off: {failure}")

    async def _fall(self, drive: Drive) -> str:
        """Closed, unmounted, without power; why not, if not. Never raises what a disk can cause."""
        try:
            with trio.fail_after(STOP_S_MAX):
                shelf = drive.shelf
                await drive.drop_cut()
                drive.take_faults()
                if shelf is not None:
                    await shelf.close()
                await self.board.unmount(drive.number)
                await self.board.power_down(drive.number)
        except (FrazilError, OSError, trio.TooSlowError) as error:
            words = f"no answer within {STOP_S_MAX:g} s" if isinstance(error, trio.TooSlowError) else str(error)
            self._keeps_power(drive, words)
            return words
        assert drive.number not in self.board.meter.powered, f"the board took no power from disk {drive.number}"
        self._grants.give_back(drive.number)
        drive.lost_power(self._clock.now_us())
        return ""

    def _keeps_power(self, drive: Drive, why: str) -> None:
        if not drive.stuck:
            _log.error("disk keeps its power", extra={"disk": drive.number, "reason": why})
        drive.keeps_power(why, self._clock.now_us())
        self._grants.granted.add(drive.number)

    async def clean(self, drives: Sequence[Drive], *, force: bool) -> None:
        """Raises: Busy, and nothing is done; DiskFailed when one can't be switched off, after the others were."""
        busy = [drive.number for drive in drives if drive.transfers]
        if busy and not force:
            raise Busy(f"disk {busy[0]} is used by transfers")
        failed = await self._clean(drives, force=force)
        if failed:
            raise failed[0]

    async def _clean(self, drives: Iterable[Drive], *, force: bool) -> list[DiskFailed]:
        failed = []
        for drive in drives:
            try:
                await self.power_off(drive, force=force)
            except DiskFailed as error:
                failed.append(error)
        return failed

    async def fsck(self, drive: Drive, *, repair: bool) -> FsckReport:
        async with drive.lock:
            shelf = drive.ready()
            if drive.transfers:
                raise Busy(f"disk {drive.number} is used by {len(drive.transfers)} transfers")
            drive.enter(DiskState.RISING, self._clock.now_us())
            drive.take_faults()
            try:
                with trio.CancelScope(shield=True):
                    await drive.drop_cut()
                    await shelf.close()
                    await self.board.unmount(drive.number)
                return await self.board.fsck(drive.number, repair=repair)
            finally:
                with trio.CancelScope(shield=True):
                    await self._mount_again(drive)

    async def _mount_again(self, drive: Drive) -> None:
        try:
            drive.started(await self.board.mount(drive.number, drive.notes.volume), self._clock.now_us())
        except (FrazilError, OSError) as error:
            drive.failed(str(error), self._clock.now_us())
            await self._fall(drive)
        finally:
            await self._save()

    @contextmanager
    def using(self, drive: Drive) -> Iterator[Shelf]:
        """A transfer: the disk stays on meanwhile. Raises: DiskAsleep, DiskFailed (also when the disk breaks), Busy (was cleaned)."""
        shelf = drive.ready()
        with trio.CancelScope() as scope:
            drive.transfers.add(scope)
            try:
                yield shelf
            except (Damaged, DeadlineExceeded) as error:
                drive.met(str(error), self._clock.now_us())
                raise
            except VolumeSick as error:
                drive.met(str(error), self._clock.now_us())
                raise DiskFailed(f"disk {drive.number}: {error}") from error
            finally:
                drive.transfers.discard(scope)
                drive.transfers_over.set()
        if scope.cancelled_caught:
            raise Busy(f"disk {drive.number} was switched off by force")

    async def send(self, drive: Drive, head: ChunkHead, data: AsyncIterable[Buffer], *, check: bool, resume: Resume | None) -> Sent:
        record = checked_record(head)
        with self.using(drive) as shelf:
            if await is_there(shelf, head, check=check):
                return Sent(existed=True, checked=check, bytes_free=await self._measure(drive, shelf))
            arrival = self._take_up(drive, head, resume)
            if arrival is None and await self._measure(drive, shelf) < head.size:
                raise VolumeFull(f"disk {drive.number} has {drive.notes.bytes_free} bytes left, the chunk has {head.size}")
            arrival = arrival or await Arrival.begin(shelf, head)
            try:
                await arrival.receive(record, data)
            finally:
                if arrival.is_cut:
                    await self._keep(drive, arrival, kept=resume is not None and drive.shelf is shelf)
            if check:
                await self._read_back(shelf, head)
            return Sent(existed=False, checked=check, bytes_free=await self._measure(drive, shelf))

    @staticmethod
    def _take_up(drive: Drive, head: ChunkHead, resume: Resume | None) -> Arrival | None:
        """The same chunk where its way in broke, if it is kept. No await: two tries at once would share it."""
        if resume is None or drive.cut is None or drive.cut.head != head:
            return None
        arrival, drive.cut = drive.cut, None
        resume(arrival.done)
        return arrival

    @staticmethod
    async def _keep(drive: Drive, arrival: Arrival, *, kept: bool) -> None:
        """One chunk for each disk: the last that was cut."""
        dropped = drive.cut if kept else arrival
        if kept:
            drive.cut = arrival
        if dropped is not None:
            await dropped.abort()

    @staticmethod
    async def _read_back(shelf: Shelf, head: ChunkHead) -> None:
        """Raises: ChunkCorrupt; the chunk is put aside then."""
        try:
            _, reader = await shelf.open(head.chunk, head.checksum, from_disk=True)
            try:
                await verify(reader)
            finally:
                await reader.aclose()
        except ChunkCorrupt as error:
            await shelf.put_aside(head.chunk, f"read back wrong after writing: {error}")
            raise

    async def _save(self) -> None:
        if self._notes is None:
            return
        async with self._saving:
            notes = {drive.number: drive.notes for drive in self.drives.values()}
            try:
                await run_blocking(save_notes, self._notes, notes)
            except (FrazilError, OSError) as error:  # counters only; what holds the budget is in memory
                _log.error("the freezer's notes can't be saved", extra={"path": str(self._notes), "error": str(error)})


class BusFreezer:
    """One bus of the board (protocol: glacier.protocol.Freezer); several may be open for the same bus."""

    def __init__(self, board: BoardFreezer, bus: BusReport) -> None:
        self._board = board
        self.bus = bus

    def __repr__(self) -> str:
        return f"<BusFreezer {self.bus.board} bus={self.bus.bus}>"

    def _drive(self, disk: int) -> Drive:
        if disk not in self.bus.disks:
            raise DiskNotFound(f"bus {self.bus.bus} of board {self.bus.board} has no disk {disk}")
        return self._board.drives[disk]

    async def probe(self, disk: int) -> DiskReport:
        await trio.lowlevel.checkpoint()
        self._drive(disk)
        return self._board.report(disk)

    async def list(self, disk: int, after: str, limit: int) -> ChunkIds:
        found: ChunkIds = []
        with self._board.using(self._drive(disk)) as shelf:
            while len(found) < limit:
                wanted = min(limit - len(found), LIST_LIMIT_MAX)
                page = await shelf.list(found[-1] if found else after, wanted)
                found += page
                if len(page) < wanted:
                    break
        return found

    async def power_on(self, disk: int, *, force: bool = False) -> DiskReport:
        await self._board.power_on(self._drive(disk), force=force)
        return self._board.report(disk)

    async def power_off(self, disk: int) -> DiskReport:
        await self._board.power_off(self._drive(disk))
        return self._board.report(disk)

    async def send(
        self, disk: int, head: ChunkHead, data: AsyncIterable[Buffer], *, check: bool = True, resume: Resume | None = None
    ) -> Sent:
        return await self._board.send(self._drive(disk), head, data, check=check, resume=resume)

    @asynccontextmanager
    async def get(self, disk: int, chunk: str, *, checksum: bytes = b"", offset: int = 0, count: int = WHOLE) -> AsyncIterator[Incoming]:
        with self._board.using(self._drive(disk)) as shelf:
            head, reader = await shelf.open(chunk, checksum, from_disk=False)
            try:
                yield LocalIncoming(head, reader, offset, count)
            finally:
                await reader.aclose()

    async def head(self, disk: int, chunk: str, *, checksum: bytes = b"", check: bool = False) -> ChunkHead:
        with self._board.using(self._drive(disk)) as shelf:
            head, reader = await shelf.open(chunk, checksum, from_disk=check)
            try:
                if check:
                    await verify(reader)
            finally:
                await reader.aclose()
            return head

    async def delete(self, disk: int, chunks: Sequence[str]) -> ChunkIds:
        with self._board.using(self._drive(disk)) as shelf:
            return await shelf.delete(chunks)

    async def link(self, disk: int, source: str, target: str, record: bytes) -> None:
        parsed = ChunkRecord.parse(record)
        with self._board.using(self._drive(disk)) as shelf:
            await shelf.link(source, target, parsed)

    async def fsck(self, disk: int, *, repair: bool) -> FsckReport:
        return await self._board.fsck(self._drive(disk), repair=repair)

    async def clean(self, *, board: bool = False, force: bool = False) -> None:
        drives = [drive for drive in self._board.drives.values() if board or drive.bus == self.bus.bus]
        await self._board.clean(drives, force=force)
