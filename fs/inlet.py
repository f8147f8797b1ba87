"""Takes the kernel's requests one after the other: what pyfuse3 does between two of them, for less.

Theory of operation. pyfuse3 has a task read each request, and hands reading on to another task under a lock before the request is worked
on: two switches of tasks, and a turn of trio's loop, for requests most of which are answered without waiting for anything. Here the task
that read a request goes on reading once it answered; only a handler that is about to wait (`stepping` sees that) calls another task to
read meanwhile. A program that asks again at once is waited for in the thread itself, LINGER_S at most, and trio's loop has its turn after
TURNS_MAX requests: a lookup costs 60 us of processor time less so.
"""

from __future__ import annotations

import contextlib
import os
import select
import time
from collections.abc import Coroutine, Generator
from functools import partial
from types import coroutine
from typing import Any, TypeVar

import pyfuse3
import trio

LINGER_S = 50e-6
END_CHECK_S = 1.0
"""Between two looks whether the mount's end was missed."""
TURNS_MAX = 16
"""So many requests in a row may keep other tasks of this process waiting."""
DESCRIPTORS_MAX = 1024
"""From this one on select(2) can't wait for a descriptor: FD_SETSIZE."""
T = TypeVar("T")


class Inlet:
    """Of a mount. `readable` stands for pyfuse3's function of that purpose."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._poll = select.poll()
        self._poll.register(descriptor, select.POLLIN)
        self._idle: list[trio.lowlevel.Task] = []
        self._waiting = False  # a task waits for the next request
        self._closed = False
        self._turns = 0
        self._quick = False  # the last request came within LINGER_S

    def __repr__(self) -> str:
        return f"<Inlet idle={len(self._idle)} waiting={self._waiting}>"

    async def readable(self) -> bool:
        """False when the mount ends."""
        while not self._closed:
            if self._waiting:
                await self._park()
            elif self._quick and self._turns < TURNS_MAX and select.select([self._descriptor], [], [], LINGER_S)[0]:
                self._turns += 1
                if self._look():  # else its program was killed, and the kernel took it back
                    return True
            else:
                await self._wait()
                if self._look():
                    return True
        return False

    def _look(self) -> bool:
        """Whether there is a request to read; or the mount's end, which each task reads before it ends itself."""
        found = self._poll.poll(0)
        if found and found[0][1] & ~select.POLLIN:
            self._close()
        return bool(found)

    async def _wait(self) -> None:
        self._turns, self._waiting, began = 0, True, time.perf_counter()
        try:
            await trio.lowlevel.wait_readable(self._descriptor)
        except trio.ClosedResourceError:
            self._close()
        finally:
            self._waiting = False
        self._quick = time.perf_counter() - began < LINGER_S

    def left(self) -> None:
        """The task that read the last request waits for something else."""
        if self._idle and not self._waiting:
            trio.lowlevel.reschedule(self._idle.pop())

    async def _park(self) -> None:
        """Until it is called. Who came last is called first: a task that took a large request once keeps its MiB for the next."""
        task = trio.lowlevel.current_task()
        self._idle.append(task)

        def leave(_: object) -> trio.lowlevel.Abort:
            self._idle.remove(task)
            return trio.lowlevel.Abort.SUCCEEDED

        await trio.lowlevel.wait_task_rescheduled(leave)

    async def watch(self) -> None:
        """Until the mount ends. A task that saw a request, and read the mount's end in its place, ends itself without a word: then
        nobody reads, and the others would wait for ever."""
        while not self._closed:
            await trio.sleep(END_CHECK_S)
            self._look()

    def _close(self) -> None:
        self._closed = True
        while self._idle:
            trio.lowlevel.reschedule(self._idle.pop())


_inlet: Inlet | None = None
"""A process has one mount."""


@coroutine
def stepping(call: Coroutine[Any, Any, T]) -> Generator[Any, Any, T]:
    """Does what the coroutine does; before it waits for the first time, another task is called to read requests."""
    try:
        trap = call.send(None)
    except StopIteration as done:
        return done.value  # type: ignore[no-any-return]
    if _inlet is not None:
        _inlet.left()
    while True:
        try:
            answer = yield trap
        except BaseException as error:  # noqa: BLE001 - the coroutine's to handle
            go_on = partial(call.throw, error)
        else:
            go_on = partial(call.send, answer)
        try:
            trap = go_on()
        except StopIteration as done:
            return done.value  # type: ignore[no-any-return]


def install() -> None:
    """In pyfuse3, once its mount was made. Another version of it may have no such function: then it reads as it does by itself."""
    global _inlet
    descriptor = _fuse_descriptor()
    if descriptor is not None and descriptor < DESCRIPTORS_MAX and hasattr(pyfuse3, "_wait_fuse_readable"):
        _inlet = Inlet(descriptor)
        pyfuse3._wait_fuse_readable = _inlet.readable


async def watch() -> None:
    """In a mount, beside pyfuse3's tasks."""
    if _inlet is not None:
        await _inlet.watch()


def _fuse_descriptor() -> int | None:
    """pyfuse3 doesn't tell it."""
    for name in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):  # that of the folder that is read here
            if os.readlink(f"/proc/self/fd/{name}") == "/dev/fuse":
                return int(name)
    return None
