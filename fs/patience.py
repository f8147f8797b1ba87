"""A connection that waits for a store that restarts: what may be asked twice is asked again for a while, then fails.

Behind the same protocol as what it wraps. Where an answer was lost, what could be misunderstood when it comes twice is looked for first: a
move by the content that is at its new place, a new or changed object by its times, which are this call's to the nanosecond. An exchange,
which twice is none, and the making of a bucket are asked again only if the store surely had not heard them.
"""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial, wraps
from typing import Any, TypeVar, cast

import trio

from fs.connection import Connection, Describe, MakePatches, MakeSource
from fs.stage import Uploads
from fs.witness import witness_of
from meta.client import TIMEOUT_S
from meta.protocol.folder import FOLDER_END
from meta.protocol.object import NO_CONDITION, Attributes, Condition, ObjectRow
from node.errors import (
    ContentAway,
    DeadlineExceeded,
    FrazilError,
    NotConnected,
    NotFound,
    ObjectNotFound,
    PeerUnreachable,
    VolumeFull,
    VolumeReadOnly,
)
from store.window import Window

PAUSE_S = 0.1
PAUSE_S_MAX = 2.0
HELD_S = TIMEOUT_S
"""So long in all a call is held by a store or a disk that heard it and doesn't answer."""
LATE_S = 5.0
"""A call that was held so much longer than that was not held by them: this process had no turn (SIGSTOP, a machine that was paused)."""
PROBE_S = 2.0
"""How long a store that left a question unanswered for meta.client.TIMEOUT_S is given before it is asked anything else, by all together."""
ONCE = frozenset(("begin", "make_bucket"))
GONE = frozenset(("remove_folder", "remove_bucket"))
"""When they come again, what they are to remove may be gone: by the first of them."""
READS = frozenset(("buckets", "parts", "settings", "peek", "browse", "row", "window", "changes", "volumes", "quota"))
"""Where they are answered from this host's disks, they don't tell whether the store's process answers."""
AWAY = PeerUnreachable, DeadlineExceeded, ContentAway
T = TypeVar("T")
Again = Callable[[FrazilError], bool]


def may_help(error: FrazilError) -> bool:
    return error.transient and not isinstance(error, VolumeFull | VolumeReadOnly)


def was_not_made(error: FrazilError) -> bool:
    return isinstance(error, NotConnected)


class Unknown(FrazilError):
    """Whether it was done nobody can tell by now."""


class Outage:
    """The store is away: all calls wait for the same outage, so whoever comes late, or asks several times, waits no longer.

    ends: until when it is waited for;  probe: a question that takes no time, where the store answers at all
    """

    def __init__(self, probe: Callable[[], Awaitable[object]] | None = None) -> None:
        self.ends = self._seen = self._probed = -math.inf
        self.silent = False
        self._probe = probe
        self._lock = trio.Lock()

    def seen(self, asked: float, now: float, patience_s: float, *, silent: bool) -> None:
        """A call from `asked` to now got no answer; silent: though it was heard. One that is long past was another outage."""
        if now - self._seen > patience_s + PAUSE_S_MAX:
            self.ends = _end(asked, now, patience_s, silent=silent)
        self._seen = now
        self.silent = silent

    def over(self) -> None:
        self._seen = -math.inf
        self.silent = False

    async def check(self) -> None:
        """Keeps calls from waiting one after the other for a store that hangs. Raises: DeadlineExceeded, what the probe raises."""
        if not self.silent or self._probe is None:
            return
        async with self._lock:
            if self.silent and trio.current_time() - self._probed > PROBE_S:
                self._probed = trio.current_time()
                with trio.move_on_after(PROBE_S):
                    await self._probe()
                    self.over()
            if self.silent:
                raise DeadlineExceeded("the store's process does not answer")


def _end(asked: float, now: float, patience_s: float, *, silent: bool) -> float:
    """Until when a call is made again that failed now for the first time: what it took until then, as a large put does, is no patience."""
    if silent and now - asked <= HELD_S + LATE_S:
        return max(asked + patience_s, min(now + patience_s, asked + HELD_S))
    return now + patience_s


async def patiently(call: Callable[[], Awaitable[T]], *, again: Again = may_help, patience_s: float, outage: Outage | None = None) -> T:
    """Raises: what the call raises last."""
    ends = math.inf
    pause_s = PAUSE_S
    while True:
        asked = trio.current_time()
        try:
            if outage is not None:
                await outage.check()
            answer = await call()
        except FrazilError as error:
            now, silent = trio.current_time(), isinstance(error, DeadlineExceeded)
            ends = min(ends, _end(asked, now, patience_s, silent=silent))
            if outage is not None and isinstance(error, AWAY):
                outage.seen(asked, now, patience_s, silent=silent)
                ends = min(ends, outage.ends)
            elif outage is not None:
                outage.over()
            if not again(error) or now + pause_s > ends:
                raise
        else:
            if outage is not None:
                outage.over()
            return answer
        await trio.sleep(pause_s)
        pause_s = min(pause_s * 2, PAUSE_S_MAX)


class PatientWindow:
    """An open version that is read again while what has its bytes is away. outage: of all windows of a mount."""

    def __init__(self, window: Window, patience_s: float, outage: Outage) -> None:
        self._window, self._patience_s, self._outage = window, patience_s, outage
        self.hold = window.hold

    def __repr__(self) -> str:
        return f"<PatientWindow {self._window!r}>"

    async def read(self, start: int, into: memoryview) -> None:
        try:
            await self._window.read(start, into)
        except FrazilError as error:
            if not may_help(error):
                raise
            read = partial(self._window.read, start, into)
            await patiently(read, patience_s=self._patience_s, outage=self._outage)


class Patient:
    """Implements Connection by asking another again."""

    def __init__(
        self,
        connection: Connection,
        patience_s: float,
        *,
        reads_tell: bool = False,
        probe: Callable[[], Awaitable[object]] | None = None,
    ) -> None:
        """reads_tell: whether it is the store that answers reads, too; probe: of Outage."""
        self._connection = connection
        self._patience_s = patience_s
        self._silent = frozenset() if reads_tell else READS
        self._outage, self._unread = Outage(probe), Outage()

    def __repr__(self) -> str:
        return f"<Patient {self._connection!r}>"

    async def put(
        self,
        bucket: str,
        key: str,
        source: MakeSource,
        attributes: Attributes,
        *,
        condition: Condition = NO_CONDITION,
        describe: Describe | None = None,
    ) -> ObjectRow:
        def put() -> Awaitable[ObjectRow]:
            return self._connection.put(bucket, key, source, attributes, condition=condition, describe=describe)

        if condition == NO_CONDITION:
            return await self._ask(put, may_help)
        assert describe is None, "an object whose attributes may change is not known by them"
        return await self._certain(put, lambda: self._own(bucket, key, lambda _: attributes))

    async def rewrite(self, bucket: str, row: ObjectRow, source: MakePatches, size: int, describe: Describe) -> ObjectRow:
        async def own() -> ObjectRow | None:
            found = await self._own(bucket, row.key, describe)
            return found if found is not None and found.size == size and found.content != row.content else None

        return await self._certain(lambda: self._connection.rewrite(bucket, row, source, size, describe), own)

    async def move(self, bucket: str, source: str, target: str, *, replace: bool) -> None:
        witness = await witness_of(cast(Connection, self), bucket, source)

        async def move() -> bool:
            await self._connection.move(bucket, source, target, replace=replace)
            return True

        async def moved() -> bool | None:
            there = witness is not None and await witness.is_at(self._connection, bucket, target)
            return True if there and witness is not None and not await witness.is_at(self._connection, bucket, source) else None

        await self._certain(move, moved)

    async def exchange(self, bucket: str, one: str, other: str) -> None:
        first, second = [await witness_of(cast(Connection, self), bucket, key) for key in (one, other)]

        async def exchange() -> bool:
            await self._connection.exchange(bucket, one, other)
            return True

        async def exchanged() -> bool | None:
            if first is None or second is None:
                return None
            places = _exchanged(one, other)
            there = await first.is_at(self._connection, bucket, places[0]) and await second.is_at(self._connection, bucket, places[1])
            return True if there else None

        await self._certain(exchange, exchanged, repeat=False)

    async def window(self, *arguments: Any) -> AbstractAsyncContextManager[Window]:
        return self._reading(await self._asking("window")(*arguments))

    @asynccontextmanager
    async def _reading(self, opened: AbstractAsyncContextManager[Window]) -> AsyncIterator[Window]:
        async with opened as window:
            yield cast(Window, PatientWindow(window, self._patience_s, self._unread))

    def __getattr__(self, name: str) -> Any:
        self.__dict__[name] = found = self._asking(name)
        return found

    def _asking(self, name: str) -> Callable[..., Awaitable[Any]]:
        method = getattr(self._connection, name)
        if name in GONE:
            return self._removing(method)
        again = was_not_made if name in ONCE else may_help
        outage = None if name in self._silent else self._outage

        @wraps(method)
        async def found(*arguments: Any, **named: Any) -> Any:
            if name in READS:  # most of what is asked: nothing is begun for it that it doesn't need
                try:
                    return await method(*arguments, **named)
                except FrazilError as error:
                    if not again(error):
                        raise
            return await patiently(lambda: method(*arguments, **named), again=again, patience_s=self._patience_s, outage=outage)

        return found

    def _removing(self, method: Callable[..., Awaitable[None]]) -> Callable[..., Awaitable[bool]]:
        async def found(*arguments: Any, **named: Any) -> bool:
            async def remove() -> bool:
                await method(*arguments, **named)
                return True

            return await self._certain(remove, _nothing, gone=True)

        return found

    async def _certain(
        self, call: Callable[[], Awaitable[T]], seen: Callable[[], Awaitable[T | None]], *, repeat: bool = True, gone: bool = False
    ) -> T:
        """A call that is made again only when what it does is not to be seen. seen: its answer, if it is; repeat: whether it may be made
        again though the first may still be on its way; gone: whether NotFound then means that it was done.

        Raises: Unknown; what the call raises last.
        """
        doubt: FrazilError | None = None

        async def once() -> T:
            nonlocal doubt
            if doubt is not None:
                answer = await seen()
                if answer is not None:
                    return answer
                if not repeat:
                    raise Unknown(f"whether it was done is not known: {doubt}") from doubt
            try:
                return await call()
            except FrazilError as error:
                if doubt is not None:
                    answer = await seen()
                    if answer is not None:
                        return answer
                    if gone and isinstance(error, NotFound):
                        return cast(T, True)
                elif may_help(error) and not was_not_made(error):
                    doubt = error
                raise

        return await self._ask(once, may_help)

    async def _own(self, bucket: str, key: str, describe: Describe) -> ObjectRow | None:
        """The object, if its metadata is what this call wants it to be, its times included."""
        try:
            row = await self._connection.row(bucket, key)
        except ObjectNotFound:
            return None
        return row if row.attributes.metadata and describe(row.attributes).metadata == row.attributes.metadata else None

    async def _ask(self, call: Callable[[], Awaitable[T]], again: Again) -> T:
        return await patiently(call, again=again, patience_s=self._patience_s, outage=self._outage)


async def _nothing() -> bool | None:
    return None


def _exchanged(one: str, other: str) -> tuple[str, str]:
    """Where each is after they were exchanged: a folder's key keeps its slash."""
    bare_one, bare_other = one.removesuffix(FOLDER_END), other.removesuffix(FOLDER_END)
    return (
        bare_other + (FOLDER_END if one.endswith(FOLDER_END) else ""),
        bare_one + (FOLDER_END if other.endswith(FOLDER_END) else ""),
    )


def patient(
    connection: Connection, patience_s: float, *, reads_tell: bool = False, probe: Callable[[], Awaitable[object]] | None = None
) -> Connection:
    return cast(Connection, Patient(connection, patience_s, reads_tell=reads_tell, probe=probe))


def patient_uploads(uploads: Uploads, patience_s: float) -> Uploads:
    return cast(Uploads, Patient(cast(Connection, uploads), patience_s))
