"""A store that goes away is waited for, in bounded time; what must not happen twice is asked once."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

import pytest
import trio

from fs.connection import ABSENT, Connection
from fs.patience import patient
from meta.protocol.object import Attributes
from node.errors import Busy, FrazilError, NotConnected, ObjectNotFound, PeerUnreachable, VolumeFull
from store.source import BytesSource

PATIENCE_S = 10.0


class Store:
    """Fails the first calls as it is told; moves say their tokens."""

    def __init__(self, *failures: FrazilError) -> None:
        self.failures = list(failures)
        self.asked = 0
        self.tokens: list[str] = []

    def _answer(self) -> None:
        self.asked += 1
        if self.failures:
            raise self.failures.pop(0)

    async def remove(self, bucket: str, key: str) -> None:
        self._answer()

    async def exchange(self, bucket: str, one: str, other: str) -> None:
        self._answer()

    async def peek(self, bucket: str, key: str) -> None:
        self._answer()

    async def put(self, *_: object, **__: object) -> None:
        self._answer()

    async def move(self, bucket: str, source: str, target: str, *, replace: bool, token: str) -> None:
        self.tokens.append(token)
        self._answer()


def connect(store: Store) -> Connection:
    return patient(cast(Connection, store), PATIENCE_S)


def lost() -> FrazilError:
    return PeerUnreachable("the peer closed the connection without an answer")


async def test_an_objects_move_comes_again_with_the_token_it_had_and_the_next_has_another(autojump_clock: trio.testing.MockClock) -> None:
    store = Store(lost(), lost())
    connection = connect(store)
    await connection.move("b", "a", "z", replace=True)
    await connection.move("b", "a", "z", replace=True)
    assert store.tokens[0]
    assert store.tokens[0] == store.tokens[1] == store.tokens[2] != store.tokens[3]


async def _move_folder(connection: Connection) -> None:
    await connection.move("b", "a/", "z/", replace=True)


async def _exchange(connection: Connection) -> None:
    await connection.exchange("b", "a", "z")


async def _make(connection: Connection) -> None:
    await connection.put("b", "a", lambda: BytesSource(b""), Attributes(), condition=ABSENT)


@pytest.mark.parametrize("call", [_move_folder, _exchange, _make])
async def test_what_must_not_happen_twice_is_asked_again_only_if_the_store_had_not_heard_it(
    call: Callable[[Connection], object], autojump_clock: trio.testing.MockClock
) -> None:
    store = Store(NotConnected("nobody listens"), lost())
    with pytest.raises(PeerUnreachable):
        await call(connect(store))  # type: ignore[misc]
    assert store.asked == 2


async def test_a_refusal_is_not_asked_again(autojump_clock: trio.testing.MockClock) -> None:
    for refusal in (ObjectNotFound("none"), VolumeFull("full")):
        store = Store(refusal)
        with pytest.raises(type(refusal)):
            await connect(store).remove("b", "a")
        assert store.asked == 1


async def test_all_calls_together_wait_as_long_as_one_for_a_store_that_stays_away(autojump_clock: trio.testing.MockClock) -> None:
    store = Store(*(NotConnected("nobody listens") for _ in range(1_000)))
    connection = connect(store)
    began = trio.current_time()
    for _ in range(5):
        with pytest.raises(NotConnected):
            await connection.remove("b", "a")
    assert trio.current_time() - began <= PATIENCE_S


async def test_a_store_that_answered_or_was_long_not_asked_is_waited_for_anew(autojump_clock: trio.testing.MockClock) -> None:
    away = [NotConnected("nobody listens") for _ in range(1_000)]
    store = Store(*away)
    connection = connect(store)
    with pytest.raises(NotConnected):
        await connection.remove("b", "a")
    store.failures = []
    await connection.remove("b", "a")
    store.failures = [lost()]
    await connection.remove("b", "a")
    store.failures = list(away)
    with pytest.raises(NotConnected):
        await connection.remove("b", "a")
    await trio.sleep(10 * PATIENCE_S)
    store.failures = [lost()]
    await connection.remove("b", "a")


async def test_one_object_that_stays_busy_ends_though_others_are_answered(
    nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    class Half(Store):
        async def remove(self, bucket: str, key: str) -> None:
            if key == "busy":
                raise Busy("later")

    connection = connect(Half())

    async def others() -> None:
        while True:
            await connection.remove("b", "other")
            await trio.sleep(0.01)

    nursery.start_soon(others)
    began = trio.current_time()
    with pytest.raises(Busy):
        await connection.remove("b", "busy")
    assert trio.current_time() - began <= PATIENCE_S
    nursery.cancel_scope.cancel()


async def test_reads_that_succeed_dont_prolong_the_wait_for_writes(autojump_clock: trio.testing.MockClock) -> None:
    store = Store(*(NotConnected("nobody listens") for _ in range(1_000)))
    connection = connect(store)
    began = trio.current_time()
    with pytest.raises(NotConnected):
        await connection.remove("b", "a")
    kept, store.failures = store.failures, []
    await connection.peek("b", "a")
    store.failures = kept
    with pytest.raises(NotConnected):
        await connection.remove("b", "a")
    assert trio.current_time() - began <= PATIENCE_S
