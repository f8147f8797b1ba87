"""What mounts of this host have answered and not stored yet, and how whoever looks at the store has it stored first.

    FIRST/run/debts            a byte for each mount, 1 while it owes something; every process of the store has it mapped
    FIRST/run/debts-<n>.sock   where the mount in place n listens:  [bucket, key] in msgpack  ->  a line end, once that is stored
    FIRST/run/debts.lock       held while a place is taken, or that of a dead mount is cleared

A mount may answer close(2) and unlink(2) before the store knows of it, so that many of them share a transaction. A gateway looks at the
bytes before each request (0.1 us), other mounts before they look up a name; those that find a debt have it paid first.
So what a mount answered is seen by all, and nothing that S3 ever showed is less than durable.
"""

from __future__ import annotations

import fcntl
import math
import mmap
import os
import socket
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path

import msgspec
import trio

from node.errors import ConfigError
from node.log import get_logger
from node.threads import run_blocking
from store.settings import short_path

PLACES = 64
"""Mounts of a host that may owe anything at a time."""
CALL_BYTES_MAX = 16 << 10
PAY_S = 5.0
"""How long others wait for a mount that doesn't answer (it is stopped, or the store is away); what it owes is then not seen."""
SILENT_S = 5.0
"""For so long it is not asked again."""
_FILE, _LOCK, _SOCKET = "debts", "debts.lock", "debts-%d.sock"
_PAID = b"\n"
log = get_logger("store.debts")

Pay = Callable[[str, str], Awaitable[None]]
"""(bucket, key): stores what is owed of the key; of everything, when it is ""."""


class Debts:
    """As one process sees them: those of others, and, in a mount, its own. run: FIRST/run; None: there are none, of many hosts' mounts."""

    def __init__(self, run: Path | None) -> None:
        self._run = run
        self._bytes: mmap.mmap | bytes = bytes(PLACES) if run is None else _mapped(run / _FILE)
        self._expected = bytes(PLACES)
        self._own = -1
        self._silent_until = [-math.inf] * PLACES

    def __repr__(self) -> str:
        return f"<Debts {[place for place, owed in enumerate(self._bytes[:]) if owed]} own={self._own}>"

    @property
    def shared(self) -> bool:
        """Whether a mount's debts are seen by all who use the store."""
        return self._run is not None

    @property
    def open(self) -> bool:
        """Whether another owes something."""
        return self._bytes[:] != self._expected

    async def settle(self, bucket: str = "", key: str = "") -> None:
        """Waits until others have stored what they owe of a key, or everything; for each of them PAY_S at the most."""
        for place, owed in enumerate(self._bytes[:]):
            if owed and place != self._own and trio.current_time() >= self._silent_until[place]:
                await self._ask(place, msgspec.msgpack.encode((bucket, key)))

    async def _ask(self, place: int, call: bytes) -> None:
        with trio.move_on_after(PAY_S) as limit:
            try:
                async with await self._connected(place) as stream:
                    await stream.send_all(call)
                    await stream.send_eof()
                    if await stream.receive_some(1) == _PAID:
                        return
            except (FileNotFoundError, ConnectionRefusedError):
                await run_blocking(self._clear_dead, place)
                return
            except (OSError, trio.BrokenResourceError):  # it ended meanwhile
                return
        if limit.cancelled_caught:
            self._silent_until[place] = trio.current_time() + SILENT_S
            log.warning("a mount doesn't say that it stored what was written to it; it is not waited for", extra={"place": place})

    async def _connected(self, place: int) -> trio.SocketStream:
        with short_path(self._path(place)) as path:
            return await trio.open_unix_socket(path)

    def _path(self, place: int) -> str:
        assert self._run is not None
        return str(self._run / (_SOCKET % place))

    def _clear_dead(self, place: int) -> None:
        with self._locked():
            if not _answers(self._path(place)):
                self._set(place, 0)

    # A mount's own

    async def serve(self, pay: Pay, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """For a mount, until cancelled: has `pay` called when others want what it owes. Raises: ConfigError beyond PLACES."""
        listener = await run_blocking(self._take_place)

        async def answer(stream: trio.SocketStream) -> None:
            with suppress(trio.BrokenResourceError, msgspec.DecodeError):  # who asked waits no more, or only knocked
                async with stream:
                    call = b""
                    while len(call) < CALL_BYTES_MAX and (piece := await stream.receive_some(CALL_BYTES_MAX)):
                        call += piece
                    await pay(*msgspec.msgpack.decode(call, type=tuple[str, str]))
                    await stream.send_all(_PAID)

        try:
            listening = trio.SocketListener(trio.socket.from_stdlib_socket(listener))
            await trio.serve_listeners(answer, [listening], task_status=task_status)  # type: ignore[arg-type]
        finally:
            self._leave()

    def owe(self, owing: bool) -> None:
        """In a mount: what it answers from here on may not be stored; or all is. One that doesn't serve has nobody to tell."""
        if self._own < 0 or self._bytes[self._own] == owing:
            return
        self._set(self._own, int(owing))
        self._expected = bytes(int(owing and place == self._own) for place in range(PLACES))

    def _leave(self) -> None:
        self.owe(False)
        Path(self._path(self._own)).unlink(missing_ok=True)
        self._own = -1

    def _set(self, place: int, value: int) -> None:
        assert isinstance(self._bytes, mmap.mmap)
        self._bytes[place] = value

    def _take_place(self) -> socket.socket:
        with self._locked():
            for place in range(PLACES):
                path = self._path(place)
                if not _answers(path):
                    Path(path).unlink(missing_ok=True)
                    listener = socket.socket(socket.AF_UNIX)
                    with short_path(path) as short:
                        listener.bind(short)
                    listener.listen()
                    self._own = place
                    self.owe(False)
                    return listener
        raise ConfigError(f"{PLACES} mounts of this store are there already; mount with -o nobehind")

    def _locked(self) -> _Locked:
        assert self._run is not None
        return _Locked(self._run / _LOCK)


class _Locked:
    def __init__(self, path: Path) -> None:
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)

    def __enter__(self) -> None:
        fcntl.flock(self._descriptor, fcntl.LOCK_EX)

    def __exit__(self, *_: object) -> None:
        os.close(self._descriptor)


def _mapped(path: Path) -> mmap.mmap:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        if os.fstat(descriptor).st_size < PLACES:
            os.ftruncate(descriptor, PLACES)
        return mmap.mmap(descriptor, PLACES)
    finally:
        os.close(descriptor)


def _answers(path: str) -> bool:
    """Whether somebody listens."""
    with socket.socket(socket.AF_UNIX) as probe, short_path(path) as short:
        probe.setblocking(False)
        try:
            probe.connect(short)
        except BlockingIOError:  # it is stopped, and has as many callers waiting as the kernel holds
            return True
        except OSError:
            return False
        return True
