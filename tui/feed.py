"""The gatherer's thread: the store's code runs on trio, Textual on asyncio, so each has a loop of its own."""

from __future__ import annotations

import threading
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, suppress
from typing import Protocol, TypeVar

import trio

from glacier.worker.protocol import Verb
from node.errors import FrazilError, Unavailable
from node.logbook import Line
from tui.snapshot import Snapshot


class Reader(Protocol):
    """Where snapshots come from, and what steers."""

    async def read(self) -> Snapshot:
        """Raises: FrazilError, OSError."""

    async def steer(self, job: int, state: str) -> None:
        """Pauses, resumes or aborts a job: state "paused", "running", "aborted". Raises: FrazilError."""

    async def lock(self, service: str, *, locked: bool) -> None:
        """Has a service take nothing new, or again. Raises: FrazilError."""

    async def order(self, bus: str, disk: int, verb: Verb) -> str:
        """Asks something of a cold disk; what came of it. bus: BOARD/BUS, the board as snapshots name it. Raises: FrazilError."""

    async def verify(self, bus: str, disk: int) -> str:
        """Has all chunks of a cold disk read and compared; what will be. Raises: FrazilError."""

    async def pace(self, bus: str, rate_bytes: int) -> str:
        """Limits the bytes per second to a bus and from it. Raises: FrazilError."""

    async def log(self, service: str) -> Sequence[Line]:
        """The last lines of a service's log, "" = of the store's own processes. Raises: FrazilError."""


T = TypeVar("T")
Opening = Callable[[], AbstractAsyncContextManager[Reader]]
READ_S_MAX = 10.0
"""A reading that takes longer is given up: the screen says how old what it shows is."""


class Feed:
    """Reads again and again in a thread and hands over what it got.

    show, fail: called in that thread, with a snapshot or the words of what went wrong.
    """

    def __init__(self, opening: Opening, every_s: float, show: Callable[[Snapshot], None], fail: Callable[[str], None]) -> None:
        self._opening = opening
        self._every_s = every_s
        self._show = show
        self._fail = fail
        self._reader: Reader | None = None
        self._token: trio.lowlevel.TrioToken | None = None
        self._scope: trio.CancelScope | None = None
        self._thread = threading.Thread(target=self._run, name="feed", daemon=True)
        self._over = threading.Event()

    def __repr__(self) -> str:
        return f"<Feed every={self._every_s} s>"

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._over.set()
        if self._token is not None and self._scope is not None:
            with suppress(trio.RunFinishedError):
                self._token.run_sync_soon(self._scope.cancel)
        self._thread.join(READ_S_MAX)

    def call(self, order: Callable[[Reader], Awaitable[T]]) -> T:
        """Carries an order out in the feed's loop; blocking, for a thread of the caller's. Raises: FrazilError."""
        reader, token = self._reader, self._token
        if reader is None or token is None:
            raise FrazilError("not connected to the store yet")

        async def carry_out() -> T:
            with trio.fail_after(READ_S_MAX):
                return await order(reader)

        try:
            return trio.from_thread.run(carry_out, trio_token=token)
        except trio.TooSlowError as error:
            raise Unavailable(f"no answer within {READ_S_MAX:g} s; it may still be done") from error
        except (trio.RunFinishedError, trio.Cancelled) as error:
            raise Unavailable("the dashboard ends") from error

    def _run(self) -> None:
        try:
            trio.run(self._main)
        except Exception as error:  # noqa: BLE001 - the thread's last word goes to the screen
            self._fail(f"{type(error).__name__}: {error}")

    async def _main(self) -> None:
        self._token = trio.lowlevel.current_trio_token()
        with trio.CancelScope() as self._scope:
            while not self._over.is_set():
                try:
                    async with self._opening() as self._reader:
                        await self._read_on(self._reader)
                except (FrazilError, OSError, trio.TooSlowError) as error:
                    self._reader = None
                    self._fail(str(error) or type(error).__name__)
                await trio.sleep(self._every_s)

    async def _read_on(self, reader: Reader) -> None:
        while not self._over.is_set():
            with trio.fail_after(READ_S_MAX):
                snapshot = await reader.read()
            self._show(snapshot)
            await trio.sleep(self._every_s)
