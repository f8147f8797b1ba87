"""Requests are read by one task while handlers don't wait, by others while they do."""

from __future__ import annotations

import os
import select
from collections.abc import Iterator
from typing import Any

import pytest
import trio
import trio.lowlevel

from fs import inlet
from fs.inlet import TURNS_MAX, Inlet, stepping


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    reading, writing = os.pipe()
    yield reading, writing
    os.close(reading)


class Server:
    """Tasks as pyfuse3 has them: a byte is a request; "w" waits for `go`, all others are answered at once."""

    def __init__(self, descriptor: int, monkeypatch: pytest.MonkeyPatch) -> None:
        self.inlet = Inlet(descriptor)
        monkeypatch.setattr(inlet, "_inlet", self.inlet)
        self.go = trio.Event()
        self.answered: list[tuple[str, bytes]] = []
        self._descriptor = descriptor

    async def serve(self, name: str) -> None:
        while await self.inlet.readable():
            request = os.read(self._descriptor, 1)
            if not request or request == b"e":  # the mount's end, which came behind the look that saw a request
                return
            await stepping(self._handle(name, request))

    async def _handle(self, name: str, request: bytes) -> None:
        if request == b"w":
            await self.go.wait()
        self.answered.append((name, request))


async def test_a_task_goes_on_reading_and_others_read_while_it_waits(pipe: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    server = Server(pipe[0], monkeypatch)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(server.serve, "one")
        await trio.testing.wait_all_tasks_blocked(0.01)
        nursery.start_soon(server.serve, "other")
        await trio.testing.wait_all_tasks_blocked(0.01)
        os.write(pipe[1], b"ab")
        await trio.testing.wait_all_tasks_blocked(0.01)
        assert server.answered == [("one", b"a"), ("one", b"b")]
        os.write(pipe[1], b"wc")
        await trio.testing.wait_all_tasks_blocked(0.01)
        assert server.answered[2:] == [("other", b"c")]
        server.go.set()
        await trio.testing.wait_all_tasks_blocked(0.01)
        assert server.answered[3:] == [("one", b"w")]
        os.close(pipe[1])


async def test_other_tasks_have_their_turn_beside_a_program_that_never_stops_asking(
    pipe: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    server = Server(pipe[0], monkeypatch)
    turns = 0
    os.write(pipe[1], b"x" * 10 * TURNS_MAX)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(server.serve, "one")
        while len(server.answered) < 10 * TURNS_MAX:
            await trio.lowlevel.checkpoint()
            turns += 1
        os.close(pipe[1])
    assert turns >= 10


async def test_the_end_of_a_mount_ends_all_tasks(pipe: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    server = Server(pipe[0], monkeypatch)
    with trio.fail_after(5):
        async with trio.open_nursery() as nursery:
            for name in ("one", "other", "third"):
                nursery.start_soon(server.serve, name)
            await trio.testing.wait_all_tasks_blocked(0.01)
            os.close(pipe[1])


async def test_what_is_thrown_into_a_waiting_handler_reaches_it_and_it_may_answer_that(
    pipe: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    os.close(pipe[1])

    async def handler() -> str:
        with trio.move_on_after(0.01):
            await trio.sleep_forever()
        await trio.lowlevel.checkpoint()
        return "too late"

    async def failing() -> None:
        await trio.lowlevel.checkpoint()
        raise KeyError("failed")

    assert await stepping(handler()) == "too late"
    with pytest.raises(KeyError, match="failed"):
        await stepping(failing())


async def test_a_request_that_is_taken_back_before_it_is_read_doesnt_end_the_task(
    pipe: tuple[int, int], nursery: trio.Nursery, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken: list[bytes] = []
    found = select.select

    def found_and_taken(*arguments: Any) -> Any:
        """As when its program is killed: the kernel drops what waits."""
        ready = found(*arguments)
        if ready[0] and not taken:
            taken.append(os.read(pipe[0], 1))
        return ready

    served = Inlet(pipe[0])
    served._quick = True
    monkeypatch.setattr(select, "select", found_and_taken)
    os.write(pipe[1], b"a")

    async def write_later() -> None:
        await trio.testing.wait_all_tasks_blocked(0.01)
        os.write(pipe[1], b"b")

    nursery.start_soon(write_later)
    with trio.fail_after(5):
        assert await served.readable()
    assert (taken, os.read(pipe[0], 1)) == ([b"a"], b"b")
    os.close(pipe[1])


async def test_all_tasks_end_when_one_ended_in_silence(
    pipe: tuple[int, int], monkeypatch: pytest.MonkeyPatch, autojump_clock: trio.testing.MockClock
) -> None:
    server = Server(pipe[0], monkeypatch)
    with trio.fail_after(5):
        async with trio.open_nursery() as nursery:
            for name in ("one", "other", "third"):
                nursery.start_soon(server.serve, name)
            nursery.start_soon(server.inlet.watch)
            await trio.testing.wait_all_tasks_blocked(0.01)
            os.write(pipe[1], b"e")
            await trio.testing.wait_all_tasks_blocked(0.01)
            os.close(pipe[1])


async def test_of_many_idle_tasks_those_that_read_last_go_on(pipe: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    """Each that reads a large request keeps its buffer: taken in turn, all would have one."""
    server = Server(pipe[0], monkeypatch)
    async with trio.open_nursery() as nursery:
        for number in range(8):
            nursery.start_soon(server.serve, str(number))
            await trio.testing.wait_all_tasks_blocked(0.01)
        for _ in range(10):
            os.write(pipe[1], b"w")
            await trio.testing.wait_all_tasks_blocked(0.01)
            os.write(pipe[1], b"a")
            await trio.testing.wait_all_tasks_blocked(0.01)
            server.go.set()
            await trio.testing.wait_all_tasks_blocked(0.01)
            server.go = trio.Event()
        os.close(pipe[1])
    assert len(server.answered) == 20
    assert len({name for name, _ in server.answered}) == 2
