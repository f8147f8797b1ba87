"""A store that goes away is waited for, in bounded time; what must not happen twice is asked once."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, nullcontext
from typing import cast

import pytest
import trio

from fs.connection import ABSENT, Connection, Describe
from fs.patience import HELD_S, LATE_S, PAUSE_S_MAX, PROBE_S, Unknown, patient
from meta.client import TIMEOUT_S
from meta.protocol.folder import BrowsePage, Node
from meta.protocol.object import Attributes, Condition, ObjectRow
from node.errors import (
    Busy,
    Conflict,
    ContentAway,
    ContentLost,
    DeadlineExceeded,
    FrazilError,
    NotConnected,
    ObjectNotFound,
    PeerUnreachable,
    PreconditionFailed,
    VolumeFull,
)
from rawx.volume import WAIT_S
from store.source import BytesSource

PATIENCE_S = 10.0


class Store:
    """Objects by key, each with its content. Fails the first calls as it is told, before or after it has done what they ask."""

    def __init__(self, *failures: FrazilError, done: bool = False) -> None:
        self.failures = list(failures)
        self.done = done
        self.asked = 0
        self.objects = {"a": ObjectRow("a", content="1"), "z": ObjectRow("z", content="2"), "d/x/y": ObjectRow("d/x/y", content="3")}

    def _answer(self, act: Callable[[], None] = lambda: None) -> None:
        self.asked += 1
        failure = self.failures.pop(0) if self.failures else None
        if failure is None or self.done:
            act()
        if failure is not None:
            raise failure

    def _take(self, prefix: str) -> dict[str, ObjectRow]:
        found = {
            key: self.objects.pop(key) for key in list(self.objects) if key == prefix or (prefix[-1] == "/" and key.startswith(prefix))
        }
        if not found:
            raise ObjectNotFound(prefix)
        return found

    async def row(self, bucket: str, key: str) -> ObjectRow:
        if key not in self.objects:
            raise ObjectNotFound(key)
        return self.objects[key]

    async def browse(self, bucket: str, prefix: str, begin: str = "", limit: int = 1) -> BrowsePage:
        for key, row in sorted(self.objects.items()):
            if key.startswith(prefix):
                folder, slash, _ = key[len(prefix) :].partition("/")
                return BrowsePage([Node(prefix + folder + slash, None if slash else row)])
        return BrowsePage([])

    async def remove(self, bucket: str, key: str) -> None:
        self._answer()

    async def remove_folder(self, bucket: str, prefix: str) -> None:
        self._answer(lambda: self._take(prefix) and None)

    async def make_bucket(self, bucket: str) -> None:
        self._answer()

    async def peek(self, bucket: str, key: str) -> None:
        self._answer()

    async def put(self, bucket: str, key: str, source: object, attributes: Attributes, *, condition: Condition, **_: object) -> ObjectRow:
        def put() -> None:
            if key in self.objects and condition == ABSENT:
                raise PreconditionFailed(key)
            self.objects[key] = ObjectRow(key, content=f"put {self.asked}", attributes=attributes)

        self._answer(put)
        return self.objects[key]

    async def rewrite(self, bucket: str, row: ObjectRow, source: object, size: int, describe: Describe) -> ObjectRow:
        def rewrite() -> None:
            if self.objects[row.key].content != row.content:
                raise Conflict("another content has its key")
            attributes = describe(self.objects[row.key].attributes)
            self.objects[row.key] = ObjectRow(row.key, size=size, content=f"rewrite {self.asked}", attributes=attributes)

        self._answer(rewrite)
        return self.objects[row.key]

    async def move(self, bucket: str, source: str, target: str, *, replace: bool) -> None:
        def move() -> None:
            for key, row in self._take(source).items():
                self.objects[target + key[len(source) :]] = row

        self._answer(move)

    async def exchange(self, bucket: str, one: str, other: str) -> None:
        def exchange() -> None:
            self.objects[one], self.objects[other] = self.objects[other], self.objects[one]

        self._answer(exchange)


class Opened(Store):
    """As an open version whose bytes can't be read at first."""

    async def window(self, bucket: str, row: ObjectRow) -> AbstractAsyncContextManager[Opened]:
        return nullcontext(self)

    async def read(self, start: int, into: memoryview) -> None:
        self._answer()
        into[:] = b"bytes"

    async def hold(self) -> None:
        pass


def connect(store: Store) -> Connection:
    return patient(cast(Connection, store), PATIENCE_S)


def lost() -> FrazilError:
    return PeerUnreachable("the peer closed the connection without an answer")


def contents(store: Store) -> dict[str, str]:
    return {key: row.content for key, row in store.objects.items()}


TIMES = Attributes(metadata={"mtime": "1.000000001"})


@pytest.mark.parametrize("done", [False, True])
async def test_a_move_whose_answer_was_lost_happens_once(done: bool, autojump_clock: trio.testing.MockClock) -> None:
    store = Store(lost(), lost(), done=done)
    await connect(store).move("b", "a", "z", replace=True)
    assert contents(store) == {"z": "1", "d/x/y": "3"}
    store = Store(lost(), lost(), done=done)
    await connect(store).move("b", "d/", "e/", replace=False)
    assert contents(store) == {"a": "1", "z": "2", "e/x/y": "3"}


async def test_a_move_that_was_late_is_known_by_what_it_left(autojump_clock: trio.testing.MockClock) -> None:
    class Late(Store):
        async def move(self, bucket: str, source: str, target: str, *, replace: bool) -> None:
            self.asked += 1
            if self.asked == 2:  # the first comes through just before it comes again
                self.objects[target] = self.objects.pop(source)
                raise ObjectNotFound(source)
            raise lost()

    store = Late()
    await connect(store).move("b", "a", "z", replace=True)
    assert contents(store)["z"] == "1"


@pytest.mark.parametrize("done", [False, True])
async def test_what_is_made_only_where_nothing_is_and_what_is_changed_in_part_are_known_by_their_times(
    done: bool, autojump_clock: trio.testing.MockClock
) -> None:
    store = Store(lost(), done=done)
    made = await connect(store).put("b", "new", lambda: BytesSource(b""), TIMES, condition=ABSENT)
    assert (made.content, store.asked) == (contents(store)["new"], 1 if done else 2)
    store = Store(lost(), done=done)
    changed = await connect(store).rewrite("b", store.objects["a"], list, 7, lambda _: TIMES)
    assert (changed.size, store.asked) == (7, 1 if done else 2)


async def test_what_another_put_there_meanwhile_is_not_taken_for_ones_own(autojump_clock: trio.testing.MockClock) -> None:
    store = Store(lost())
    store.objects["new"] = ObjectRow("new", content="4", attributes=Attributes(metadata={"mtime": "2"}))
    with pytest.raises(PreconditionFailed):
        await connect(store).put("b", "new", lambda: BytesSource(b""), TIMES, condition=ABSENT)


async def test_a_folder_that_is_gone_when_its_removal_comes_again_was_removed(autojump_clock: trio.testing.MockClock) -> None:
    store = Store(lost(), done=True)
    await connect(store).remove_folder("b", "d/")
    with pytest.raises(ObjectNotFound):
        await connect(store).remove_folder("b", "d/")


async def test_an_exchange_is_known_by_its_outcome_and_never_made_twice(autojump_clock: trio.testing.MockClock) -> None:
    store = Store(lost(), done=True)
    await connect(store).exchange("b", "a", "z")
    assert (contents(store)["a"], store.asked) == ("2", 1)
    store = Store(NotConnected("nobody listens"), lost())
    with pytest.raises(Unknown, match="not known"):
        await connect(store).exchange("b", "a", "z")
    assert store.asked == 2


async def test_a_bucket_is_made_again_only_if_the_store_had_not_heard_it(autojump_clock: trio.testing.MockClock) -> None:
    store = Store(NotConnected("nobody listens"), lost())
    with pytest.raises(PeerUnreachable):
        await connect(store).make_bucket("b")
    assert store.asked == 2


async def test_a_store_that_hangs_is_waited_for_once_and_then_asked_shortly(autojump_clock: trio.testing.MockClock) -> None:
    class Hanging(Store):
        hangs = True

        async def remove(self, bucket: str, key: str) -> None:
            self.asked += 1
            if self.hangs:
                await trio.sleep(TIMEOUT_S)
                raise DeadlineExceeded("no answer")

        async def ask(self) -> None:
            if self.hangs:
                await trio.sleep(TIMEOUT_S)

    store = Hanging()
    connection = patient(cast(Connection, store), PATIENCE_S, probe=store.ask)
    began = trio.current_time()
    with pytest.raises(DeadlineExceeded):
        await connection.remove("b", "a")
    assert trio.current_time() - began <= TIMEOUT_S + PATIENCE_S
    began = trio.current_time()
    for _ in range(10):
        with pytest.raises(DeadlineExceeded):
            await connection.remove("b", "a")
    assert trio.current_time() - began <= 2 * PROBE_S
    assert store.asked == 1
    store.hangs = False
    await trio.sleep(2 * PROBE_S)
    await connection.remove("b", "a")


@pytest.mark.parametrize(
    ("seconds", "failure"),
    [
        (300.0, PeerUnreachable("the store restarts while a large object is put")),
        (WAIT_S, DeadlineExceeded("no answer from the disk")),
        (HELD_S + 2 * LATE_S, DeadlineExceeded("this process was stopped")),
    ],
    ids=lambda value: value.code if isinstance(value, FrazilError) else None,
)
async def test_a_call_that_took_longer_than_the_patience_is_made_again(
    seconds: float, failure: FrazilError, autojump_clock: trio.testing.MockClock
) -> None:
    class Slow(Store):
        async def remove(self, bucket: str, key: str) -> None:
            if self.failures:
                await trio.sleep(seconds)
            self._answer()

    store = Slow(failure)
    await connect(store).remove("b", "a")
    assert store.asked == 2


@pytest.mark.parametrize("failure", [ContentAway("its volume probes itself"), Busy("all threads wait for disks")])
async def test_bytes_that_are_away_are_waited_for(failure: FrazilError, autojump_clock: trio.testing.MockClock) -> None:
    window = Opened(failure, failure)
    async with await connect(window).window("b", ObjectRow("a")) as opened:
        into = memoryview(bytearray(5))
        await opened.read(0, into)
        assert bytes(into) == b"bytes"


async def test_bytes_that_stay_away_or_are_lost_are_told_in_time_and_to_who_comes_later_at_once(
    autojump_clock: trio.testing.MockClock,
) -> None:
    window = Opened(ContentLost("gone"), *(ContentAway("no volume") for _ in range(1_000)))
    async with await connect(window).window("b", ObjectRow("a")) as opened:
        began = trio.current_time()
        with pytest.raises(ContentLost):
            await opened.read(0, memoryview(bytearray(5)))
        assert trio.current_time() == began
        for _ in range(5):
            with pytest.raises(ContentAway):
                await opened.read(0, memoryview(bytearray(5)))
        assert trio.current_time() - began <= PATIENCE_S + PAUSE_S_MAX


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
