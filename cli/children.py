"""Processes beside the main one (gateways, a freezer, its workers): started, watched, restarted, and ended with it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import trio

import frazil
from node.errors import Unavailable
from node.log import get_logger

BACKOFF_FIRST_S = 0.2
BACKOFF_MAX_S = 10.0
STEADY_S = 60.0
"""A process that ran this long begins with the first back-off again."""
READY_TIMEOUT_S = 30.0
END_TIMEOUT_S = 45.0
"""After the drain's own time-out: what hasn't ended then is killed."""
_log = get_logger("processes")


class ChildProcess:
    """One supervised process. `command` is its argument list without the interpreter; it understands --parent and --ready-fd."""

    def __init__(self, name: str, command: Sequence[str]) -> None:
        self._name = name
        self._command = command
        self._process: subprocess.Popen[bytes] | None = None
        self._starts = 0

    def __repr__(self) -> str:
        state = f"pid={self._process.pid}" if self._process else "down"
        return f"<ChildProcess {self._name} {state} starts={self._starts}>"

    async def run(self, drain: trio.Event, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Keeps the process running until `drain` is set, then ends it. Started once it serves.

        Raises: Unavailable when the very first start fails: something is wrong that trying again won't change.
        """
        await self._run_once(drain, first=True, serves=task_status.started)
        backoff_s = BACKOFF_FIRST_S
        while not drain.is_set():
            _log.warning("%s ended; starting it again in %.1f s", self._name, backoff_s)
            with trio.move_on_after(backoff_s):
                await drain.wait()
            began = trio.current_time()
            await self._run_once(drain, first=False)
            backoff_s = BACKOFF_FIRST_S if trio.current_time() - began > STEADY_S else min(BACKOFF_MAX_S, backoff_s * 2)

    async def _run_once(self, drain: trio.Event, *, first: bool, serves: Callable[[], None] = lambda: None) -> None:
        """From a start to the end of the process or of us."""
        try:
            if not drain.is_set():
                await self._start()
            serves()
            await self._until_end(drain)
        except Unavailable as error:
            if drain.is_set():
                return
            if first:
                raise
            _log.warning("%s: %s", self._name, error)
        finally:
            await self._end()

    async def _start(self) -> None:
        """Raises: Unavailable when it doesn't serve in time."""
        reader, writer = os.pipe2(os.O_CLOEXEC)
        self._starts += 1
        try:
            launcher = str(Path(frazil.__file__).parent / "__main__.py")
            arguments = [sys.executable, launcher, *self._command, "--parent", str(os.getpid()), "--ready-fd", str(writer)]
            # From this, the main thread: the kernel ends the child when the thread that started it ends.
            # In a group of its own: Ctrl-C goes to the main process, which drains them all.
            self._process = subprocess.Popen(arguments, stdin=subprocess.DEVNULL, pass_fds=(writer,), process_group=0)  # noqa: ASYNC220 (2 ms)
        finally:
            os.close(writer)
        os.set_blocking(reader, False)
        try:
            with trio.move_on_after(READY_TIMEOUT_S):
                await trio.lowlevel.wait_readable(reader)
                if os.read(reader, 1024):
                    return
        finally:
            os.close(reader)
        raise Unavailable(f"{self._name} did not begin to serve")

    async def _until_end(self, drain: trio.Event) -> None:
        async with trio.open_nursery() as nursery:

            async def drained() -> None:
                await drain.wait()
                nursery.cancel_scope.cancel()

            nursery.start_soon(drained)
            await self._ended()
            nursery.cancel_scope.cancel()

    async def _ended(self) -> None:
        if self._process is None:
            return
        descriptor = os.pidfd_open(self._process.pid)
        try:
            await trio.lowlevel.wait_readable(descriptor)
        finally:
            os.close(descriptor)

    async def _end(self) -> None:
        """SIGTERM, a while, SIGKILL; reaps it. When cancelled (a second signal) at once."""
        process = self._process
        if process is None:
            return
        try:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
                with trio.move_on_after(END_TIMEOUT_S):
                    await self._ended()
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()
            self._process = None
