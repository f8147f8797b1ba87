"""A large chunk on its way into a volume of this host."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Awaitable, Callable
from typing import Any

import trio

from node.errors import DeadlineExceeded, FrazilError, InvalidArgument, VolumeReadOnly
from rawx import attributes, system
from rawx.chunk import Buffer, ChunkRecord
from rawx.commit import Arrival, Request
from rawx.folders import Folders, NewFile
from rawx.gate import Gate
from rawx.health import Health

WRITE_BACK_BYTES = 8 << 20
"""After so many new bytes their write-back begins, so that the sync at the end, and the small chunks that share it, wait for little."""
WRITE_BACK_S = 5.0
"""So long one call waits for write-back that gets on; what one piece may take is the caller's bound (Volume.wait_s)."""

RESERVE_BYTES = 8 << 20
"""Blocks are taken so many bytes ahead while the size hint says that more will come: 12 ms of processor for 64 MiB, else 17 (ext4)."""
RESERVE_AFTER_BYTES = 1 << 20
"""Not for a small first write: it may be all there is."""
WRITTEN_IN_LANE_BYTES = 1 << 20
"""Up to this size the committer's sync may write the bytes out; more is written out before, so that no small chunk waits for it."""

HOLE_BYTES_MIN = 64 << 10
"""Zeros that come in pieces of this size and more are left out of the file: what a program made larger by truncate(2) takes no disk."""
_ZEROS = bytes(1 << 20)

BlockingCall = Callable[..., Awaitable[Any]]
Submit = Callable[[Request], Awaitable[list[str]]]


class LocalUpload:
    """Upload into a local volume (protocol: rawx.protocol.Upload). One caller at a time; the first write makes the file, in its thread."""

    def __init__(
        self, chunk: str, size_hint: int, *, folders: Folders, gate: Gate, health: Health, run: BlockingCall, submit: Submit
    ) -> None:
        self._chunk = chunk
        self._gate = gate
        self._folders = folders
        self._health = health
        self._run = run
        self._submit = submit
        self._file: NewFile | None = None
        self._written = 0
        self._handed_over = 0
        self._reserved = 0
        self._size_hint = size_hint
        self._failure: FrazilError | None = None
        self._over = False
        self._writing = False
        self._lock = threading.Lock()  # between a thread that begins or ends and the loop that aborts: one of them discards the file

    def __repr__(self) -> str:
        return f"<LocalUpload {self._chunk} written={self._written} over={self._over}>"

    def write_blocking(self, data: Buffer) -> None:
        """Appends; for node.threads.gang, which runs it in a thread together with those of other volumes. Raises: as write."""
        self._begin()
        try:
            if self._file is None:
                self._file = self._folders.new_file(self._chunk)
                self._gate.enter(self._chunk)  # `abort` takes it back
            if _is_hole(data):
                self._leave_hole(self._file.descriptor, len(data))
                return
            if self._reserved < self._size_hint and self._written + len(data) >= max(self._reserved, RESERVE_AFTER_BYTES):
                count = min(RESERVE_BYTES, self._size_hint - self._reserved)
                system.reserve(self._file.descriptor, self._reserved, count)
                self._reserved += count
            attributes.write_all_bytes(self._file.descriptor, data)
            self._written += len(data)
            if self._written - self._handed_over >= WRITE_BACK_BYTES:
                system.start_write_back(self._file.descriptor, self._handed_over, self._written - self._handed_over)
                self._handed_over = self._written
        except OSError as error:
            self._failure = self._health.write_failed(error, f"writing chunk {self._chunk}")
            raise self._failure from error
        except VolumeReadOnly as error:
            self._failure = error
            raise
        finally:
            self._end()

    def _leave_hole(self, descriptor: int, count: int) -> None:
        """Zeros that take no blocks. A later write goes on behind them."""
        self._written += count
        os.ftruncate(descriptor, self._written)
        os.lseek(descriptor, self._written, os.SEEK_SET)

    def stalled(self, error: FrazilError) -> None:
        """Says that a write was given up because the disk hangs: nothing may be committed any more, and the volume is sick."""
        self._failure = error
        self._health.sick = str(error)

    async def write(self, data: Buffer) -> None:
        self._check()
        try:
            await self._run(self.write_blocking, data)
        except FrazilError as error:
            self._failure = error
            raise

    async def commit(self, record: ChunkRecord, units: bytes) -> None:
        self._check()
        if record.size != self._written:
            raise InvalidArgument(f"the record says {record.size} bytes, {self._written} were written")
        attributes.check_units(record, self._written, units)
        if self._written > WRITTEN_IN_LANE_BYTES or self._reserved > self._written:
            done = 0
            while done < self._written or self._reserved > self._written:
                done = await self._run(self._finish_write_back, done)
        file, self._file = self._file, None  # the committer's from here on, whatever happens
        self._over = True
        await self._submit(Arrival(self._chunk, record, units, None, file))

    async def abort(self) -> None:
        if self._over:
            return
        with self._lock:
            self._over = True
            if self._file is None or self._writing:  # a thread that still writes discards the file itself
                return
        with trio.CancelScope(shield=True):  # bounded by `run`; freeing 64 MiB of cached pages takes milliseconds: not in the event loop
            try:
                await self._run(self._discard)
            except FrazilError:  # the disk hangs; that thread still closes the file when the disk comes back
                return

    def _check(self) -> None:
        if self._failure is not None:
            raise self._failure
        if self._over:
            raise InvalidArgument("the upload is over")
        if self._writing:  # the thread of a write that was given up: two would share the descriptor, and one would close it
            raise DeadlineExceeded("an earlier write still waits for the disk")
        self._health.admit_write()

    def _begin(self) -> None:
        """In a thread, before it touches the file: it may come after the caller left and aborted. Raises: as `_check`."""
        with self._lock:
            self._check()
            self._writing = True

    def _end(self) -> None:
        with self._lock:
            self._writing = False
            over = self._over
        if over:  # aborted while this thread hung
            self._discard()

    def _finish_write_back(self, done: int) -> int:
        """How far the file is written out after some seconds: a disk that is slow is not taken for one that hangs while it gets on."""
        until = time.monotonic() + WRITE_BACK_S
        self._begin()
        try:
            assert self._file is not None
            if self._reserved > self._written:
                os.ftruncate(self._file.descriptor, self._written)  # same size; gives back the blocks behind it
                self._reserved = self._written
            while done < self._written and time.monotonic() < until:
                system.finish_write_back(self._file.descriptor, done, WRITE_BACK_BYTES)
                done += WRITE_BACK_BYTES
            return done
        except OSError as error:
            self._failure = self._health.write_failed(error, f"writing chunk {self._chunk}")
            raise self._failure from error
        finally:
            self._end()

    def _discard(self) -> None:
        file, self._file = self._file, None
        if file is not None:
            self._folders.discard(file)
            try:
                self._gate.leave(self._chunk)
            except OSError as error:  # it stays noted, as of a process that was killed
                self._health.write_failed(error, "writing the journal")


def _is_hole(data: Buffer) -> bool:
    """Whether it is zeros, and enough of them. Of other bytes mostly the first tells."""
    size = len(data)
    if size < HOLE_BYTES_MIN or data[0] or data[-1]:
        return False
    view = memoryview(data)
    return all(_ZEROS.startswith(view[at : at + len(_ZEROS)]) for at in range(0, size, len(_ZEROS)))
