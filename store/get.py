"""Reading: verified bytes of a content, whatever up to m of its chunks are missing, corrupt, or slow to answer.

Theory of operation. A metachunk's slice is read unit after unit (copies) or stripe after stripe (codes). Intact data is read straight from
the data chunks, without decoding. A chunk that fails is not asked again for this metachunk: the next copy takes over at the failing unit,
or parity is read in its place and the stripe rebuilt. A volume of this host that does not answer within HEDGE_S counts as failed for this
read, and is asked last by others for a while, as are those that the conscience says are down. Of chunks on other hosts those of a stripe
are read side by side, and long before HEDGE_S further ones are asked as well: those that are late, by how long reads take lately, may
still win (`store/hedge.py`). Every unit has been checked against its checksum, and the list of checksums against metadata, before a byte
of it is handed on.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, TypeVar

import msgspec
import trio

from node.buffers import BufferPool
from node.errors import Busy, ChunkCold, ChunkNotFound, ContentAway, ContentCold, ContentLost, DeadlineExceeded, FrazilError, Unavailable
from node.log import get_logger
from rawx.chunk import Buffer
from rawx.protocol import Reader
from store.codec import codec
from store.fleet import ChunkFinding, Fleet, problem_of
from store.hedge import Race
from store.layout import Chunk, Layout, Metachunk, Slice
from store.parallel import Errand, crew, gather
from store.policy import Policy

HEDGE_S = 1.0
"""A volume that holds one piece longer is treated as lost for this read, when there is another way to the bytes."""
PATIENCE_S = 30.0
"""The bound when there is no other way."""

AHEAD_BYTES = 3 << 20
"""What is asked of other hosts at once for a long read; as much again is on its way to the client."""

BUSY_TRIES = 200
BUSY_PAUSE_S = 0.02

NOT_READ = (ContentLost, ContentAway)
"""What a read that finds too little raises: it may lie elsewhere by now."""

T = TypeVar("T")
Sink = Callable[[Buffer], Awaitable[None]]
Step = Callable[[memoryview], Awaitable[Sequence[memoryview]]]
"""Fills a buffer, and returns those views of it that come next."""
log = get_logger("store")


class Subject(msgspec.Struct, frozen=True):
    """Which object is read, for findings."""

    bucket: str
    key: str
    version: int


class MetachunkReader:
    """Reads one metachunk; keeps its chunks open and remembers which failed."""

    def __init__(self, fleet: Fleet, subject: Subject, index: int, layout: Layout, metachunk: Metachunk) -> None:
        self._fleet = fleet
        self._subject = subject
        self._index = index
        self._volumes = layout.volumes
        self._metachunk = metachunk
        self._policy: Policy = layout.policies[metachunk.policy]
        self._chunks: dict[int, Chunk] = {chunk.position: chunk for chunk in metachunk.chunks}
        self._readers: dict[int, Reader] = {}
        self._lost: dict[int, FrazilError] = {}
        self._doubted = self._doubts() if fleet.doubts else frozenset()
        self._far = _is_spread(fleet, layout, metachunk)

    def _doubts(self) -> frozenset[int]:
        """Positions on volumes that will probably not answer: they are asked when nothing else is left."""
        return frozenset(position for position, chunk in self._chunks.items() if not self._fleet.likely(self._volumes[chunk.volume]))

    def __repr__(self) -> str:
        return f"<MetachunkReader {self._index} {self._policy.name} open={sorted(self._readers)} lost={sorted(self._lost)}>"

    async def aclose(self) -> None:
        for reader in self._readers.values():
            await reader.aclose()
        self._readers.clear()

    async def read(self, start: int, stop: int, buffer: memoryview, sink: Sink) -> None:
        """Hands bytes [start, stop) of the metachunk on. buffer: `room_bytes` of its policy; twice that or more, and what is on other
        hosts comes while the sink has the bytes before.

        Raises: ContentLost, ContentAway, ContentCold; what the sink raises.
        """
        if self._policy.coded and not self._far:
            await self._read_coded(start, stop, buffer, sink)
        elif self._far and len(buffer) >= 2 * room_bytes(self._policy):
            half = len(buffer) // 2
            await self._read_ahead(self._steps(start, stop, half), (buffer[:half], buffer[half:]), sink)
        else:
            for step in self._steps(start, stop, len(buffer)):
                for piece in await step(buffer):
                    await sink(piece)

    async def _read_ahead(self, steps: Iterator[Step], buffers: Sequence[memoryview], sink: Sink) -> None:
        async with crew() as nursery:
            pieces: Sequence[memoryview] = ()
            for number, step in enumerate(steps):
                coming = Errand(nursery, step, buffers[number % 2])
                for piece in pieces:
                    await sink(piece)
                pieces = await coming.result()
        for piece in pieces:
            await sink(piece)

    async def fill(self, start: int, into: memoryview, buffer: memoryview) -> None:
        """Fills `into` with the metachunk's bytes from `start` on; whole units of copies go there at once. buffer, raises: as read."""
        if self._policy.coded:
            filled = 0

            async def keep(piece: Buffer) -> None:
                nonlocal filled
                into[filled : filled + len(piece)] = piece
                filled += len(piece)

            await self.read(start, start + len(into), buffer, keep)
            return
        stop = start + len(into)
        for at, size in self._units(start, stop):
            if start <= at and at + size <= stop:
                await self._fetch_copy(at, into[at - start : at - start + size])
            else:
                await self._fetch_copy(at, buffer[:size])
                first, last = max(start, at), min(stop, at + size)
                into[first - start : last - start] = buffer[first - at : last - at]

    def _steps(self, start: int, stop: int, room: int) -> Iterator[Step]:
        """The read of bytes [start, stop) in steps, each a buffer of `room`; none is begun before the one before ended. From other hosts
        as many stripes, or units of copies, come by one call as have room, but for the first one, which somebody waits for."""
        step_bytes, count = self._policy.stripe_bytes, 1
        at = start // step_bytes
        while at * step_bytes < stop:
            count = min(count, -(-stop // step_bytes) - at)
            yield partial(self._stripes if self._policy.coded else self._copies, at, count, start, stop)
            at += count
            count = room // room_bytes(self._policy) if self._far else 1

    async def _copies(self, number: int, count: int, start: int, stop: int, buffer: memoryview) -> Sequence[memoryview]:
        """So many units of a copy; what they have of the bytes [start, stop). Raises: ContentLost, ContentAway, ContentCold."""
        at = number * self._policy.unit_bytes
        size = min(count * self._policy.unit_bytes, self._metachunk.size - at)
        await self._fetch_copy(at, buffer[:size])
        return [buffer[max(start - at, 0) : min(stop - at, size)]]

    async def _stripes(self, number: int, count: int, start: int, stop: int, buffer: memoryview) -> Sequence[memoryview]:
        """So many stripes, their chunks side by side; what they have of the bytes [start, stop). Raises: as `_copies`."""
        policy = self._policy
        size = policy.chunk_bytes(min(count * policy.stripe_bytes, self._metachunk.size - number * policy.stripe_bytes))
        slots = [buffer[position * size : (position + 1) * size] for position in range(policy.chunks)]
        pieces = list(self._pieces(number, count, start, stop))
        await self._read_stripes(slots, number * policy.unit_bytes, sorted({position for position, _, _ in pieces}))
        return [slots[position][first:last] for position, first, last in pieces]

    def _pieces(self, number: int, count: int, start: int, stop: int) -> Iterator[tuple[int, int, int]]:
        """The bytes [start, stop) of so many stripes, in order: position, and from where to where in its bytes of these stripes."""
        policy = self._policy
        for stripe in range(number, number + count):
            base, skipped = stripe * policy.stripe_bytes, (stripe - number) * policy.unit_bytes
            unit = policy.fragment_bytes(min(policy.stripe_bytes, self._metachunk.size - base))
            for position in range(policy.data):
                at = base + position * unit
                first, last = max(start, at), min(stop, at + unit)
                if first < last:
                    yield position, skipped + first - at, skipped + last - at

    def _units(self, start: int, stop: int) -> Iterator[tuple[int, int]]:
        """Place and size of those that hold the bytes [start, stop)."""
        unit_bytes, size = self._policy.unit_bytes, self._metachunk.size
        for at in range(start // unit_bytes * unit_bytes, stop, unit_bytes):
            yield at, min(unit_bytes, size - at)

    async def _fetch_copy(self, at: int, unit: memoryview) -> None:
        """From whichever copy has it whole. Raises: ContentLost, ContentAway, ContentCold."""
        if self._far:
            await self._read_copy(at, unit)
            return
        while positions := self._usable():
            if await self._fetch(positions[0], at, unit):
                return
        raise self.unreadable()

    async def _read_copy(self, at: int, unit: memoryview) -> None:
        """Fills `unit` from whichever copy is first; each further one has memory of its own until it has won. Raises: as `_fetch_copy`."""
        order = self._usable()
        own: dict[int, memoryview] = {0: unit}

        async def attempt(place: int) -> bool:
            if place:
                own[place] = memoryview(bytearray(len(unit)))
            return await self._fetch(order[place], at, own[place])

        race = Race.for_one([partial(attempt, place) for place in range(len(order))])
        won = await self._run(race, order, 1, len(unit))
        if not won:
            raise self.unreadable()
        if 0 not in won:
            unit[:] = own[min(won)]

    async def _run(self, race: Race, order: Sequence[int], at_once: int, size: int) -> set[int]:
        """size: what each is asked for. Who lost it is asked last from now on."""
        won = await race.run(at_once, self._fleet.pace.delay_of(self._unit_count(size)))
        for place in race.late:
            self._doubted |= {order[place]}
            self._fleet.lagged(self._volumes[self._chunks[order[place]].volume])
        return won

    async def _read_coded(self, start: int, stop: int, buffer: memoryview, sink: Sink) -> None:
        """Unit after unit, each handed on before the next is read."""
        policy, stripe_bytes = self._policy, self._policy.stripe_bytes
        for number in range(start // stripe_bytes, -(-stop // stripe_bytes)):
            unit = policy.fragment_bytes(min(stripe_bytes, self._metachunk.size - number * stripe_bytes))
            slots = [buffer[position * unit : (position + 1) * unit] for position in range(policy.chunks)]
            pieces = list(self._pieces(number, 1, start, stop))
            for place, (position, first, last) in enumerate(pieces):
                offset = number * policy.unit_bytes
                if position in self._lost or position in self._doubted or not await self._fetch(position, offset, slots[0]):
                    await self._rebuild(slots, offset, [position for position, _, _ in pieces[place:]])
                    for position, first, last in pieces[place:]:
                        await sink(slots[position][first:last])
                    break
                await sink(slots[0][first:last])

    async def _read_stripes(self, slots: Sequence[memoryview], offset: int, wanted: Sequence[int]) -> None:
        """Fills slots[wanted] of one or more stripes from their own chunks, side by side, or rebuilds them. Raises: as `_rebuild`."""
        data = self._policy.data
        usable = self._usable()
        first = [position for position in usable if position in wanted and position not in self._doubted]
        order = [*first, *(position for position in usable if position not in first)]
        goal = {order.index(position) if position in order else -1 for position in wanted}

        def further(done: set[int], hoped: set[int]) -> int:
            return 0 if goal <= done | hoped else max(0, data - len(done | hoped))

        attempts = [partial(self._fetch, position, offset, slots[position]) for position in order]
        race = Race(attempts, enough=lambda done: goal <= done or len(done) >= data, further=further)
        got = {order[place] for place in await self._run(race, order, len(first), len(slots[0]))}
        if not got >= set(wanted):
            await self._rebuild(slots, offset, wanted, got)

    async def _rebuild(self, slots: Sequence[memoryview], offset: int, wanted: Sequence[int], got: set[int] | None = None) -> None:
        """Fills slots[wanted] of one or more stripes: reads them from `data` chunks that are left, side by side, decodes the rest.

        got: positions whose slots are filled already. Raises: ContentLost, ContentAway.
        """
        policy = self._policy
        got = set() if got is None else got
        while True:
            candidates = [position for position in self._usable() if position not in got]
            asked = candidates[: policy.data - len(got)]
            if len(got) + len(asked) < policy.data:
                raise self.unreadable()
            if not asked:
                break
            results = await gather([lambda position=position: self._fetch(position, offset, slots[position]) for position in asked])  # type: ignore[misc]
            for position, result in zip(asked, results, strict=True):
                if isinstance(result, FrazilError):  # Busy: nothing is lost, there is just too much to do
                    raise result
                if result:
                    got.add(position)
        lost = [position for position in wanted if position not in got]
        if lost:
            units = {position: slots[position] for position in got}
            codec(policy.data, policy.parity).rebuild(units, lost, [slots[position] for position in lost])

    def _usable(self) -> list[int]:
        """Positions that may still answer: data before parity; among copies every content begins with another one."""
        positions = [position for position in sorted(self._chunks) if position not in self._lost]
        if not self._policy.coded and len(positions) > 1:
            turn = self._metachunk.chunks[0].id[0] % len(positions)
            positions = positions[turn:] + positions[:turn]
            positions.sort(key=lambda position: position not in self._readers)  # what is open first; the others if that fails
            if self._far:
                positions.sort(key=self._is_far)
        if self._doubted:
            positions.sort(key=self._doubted.__contains__)
        return positions

    def _is_far(self, position: int) -> bool:
        """Whether the chunk is on another host."""
        return self._fleet.is_far(self._volumes[self._chunks[position].volume])

    async def _fetch(self, position: int, offset: int, into: memoryview) -> bool:
        """Fills `into` from one chunk; False, and the chunk is lost for this read, when it can't."""
        chunk = self._chunks.get(position)
        if chunk is None:
            self._lost[position] = ChunkNotFound("it was never written")
            return False
        began = trio.current_time() if self._far else 0.0
        try:
            await unhurried(self._read_from, chunk, offset, into)
        except Busy:
            raise
        except FrazilError as error:
            self.lose(chunk, error)
            return False
        if self._far and self._is_far(position):
            self._fleet.answered(self._volumes[chunk.volume], (trio.current_time() - began) / self._unit_count(len(into)))
        return True

    def _unit_count(self, size: int) -> int:
        return max(-(-size // self._policy.unit_bytes), 1)

    async def _read_from(self, chunk: Chunk, offset: int, into: memoryview) -> None:
        # In a race nobody waits for who is late, so it may take its time: others may turn out to be later still.
        spare = not self._far and len(self._chunks) - len(self._lost) > self._policy.needed
        with trio.move_on_after(HEDGE_S if spare else PATIENCE_S):
            reader = self._readers.get(chunk.position)
            if reader is None:
                volume = self._fleet.volume(self._volumes[chunk.volume])
                reader = self._readers[chunk.position] = await volume.open(chunk.name, chunk.checksum)
            await reader.read(offset, into)
            return
        raise DeadlineExceeded(f"volume {self._volumes[chunk.volume]} did not answer in time")

    def lose(self, chunk: Chunk, error: FrazilError) -> None:
        """The chunk is not asked again for this read, and reported for repair, unless its bytes are elsewhere by intent."""
        self._lost[chunk.position] = error
        if isinstance(error, ChunkCold):
            return
        if isinstance(error, Unavailable):
            self._fleet.slow(self._volumes[chunk.volume])
        volume, subject = self._volumes[chunk.volume], self._subject
        self._fleet.found(
            ChunkFinding(
                subject.bucket, subject.key, subject.version, self._index, chunk.position, chunk.name, volume, problem_of(error), str(error)
            )
        )

    def unreadable(self) -> ContentLost | ContentAway | ContentCold:
        """The error that says why nothing is left to read; ContentCold when a thaw would help, ContentAway when only waiting would."""
        causes = "; ".join(f"{position}: {error}" for position, error in sorted(self._lost.items()))
        there = len(self._chunks.keys() - self._lost.keys())
        kind, cold = shortage(self._policy.needed, there, self._lost, self._may_be_whole)
        if kind is ContentCold:
            return kind(f"{cold} of the chunks lie on cold disks: it must be restored before it can be read")
        return kind(f"metachunk {self._index} needs {self._policy.needed} chunks, {there} are readable ({causes})")

    def _may_be_whole(self, position: int, error: FrazilError) -> bool:
        chunk = self._chunks.get(position)
        return chunk is not None and self._fleet.may_be_whole(self._volumes[chunk.volume], error)


def shortage(
    needed: int, there: int, failures: Mapping[int, FrazilError], may_be_whole: Callable[[int, FrazilError], bool]
) -> tuple[type[ContentLost | ContentAway | ContentCold], int]:
    """Why a metachunk of which `there` chunks answer can't be read, and how many are cold. failures: of the others, by position."""
    cold = sum(isinstance(error, ChunkCold) for error in failures.values())
    if cold and there + cold >= needed:
        return ContentCold, cold
    away = sum(may_be_whole(position, error) for position, error in failures.items())
    return (ContentAway if away and there + cold + away >= needed else ContentLost), cold


async def unhurried(call: Callable[..., Awaitable[T]], *arguments: Any) -> T:
    """A call that is made again while all threads are busy: that says nothing about the chunk. Raises: Busy after BUSY_TRIES."""
    for _ in range(BUSY_TRIES):
        try:
            return await call(*arguments)
        except Busy:
            await trio.sleep(BUSY_PAUSE_S)
    return await call(*arguments)


def _is_spread(fleet: Fleet, layout: Layout, metachunk: Metachunk) -> bool:
    """Whether some of its chunks are on other hosts."""
    return fleet.topology is not None and any(fleet.is_far(layout.volumes[chunk.volume]) for chunk in metachunk.chunks)


def room_bytes(policy: Policy) -> int:
    """Buffer that a read under this policy needs: a unit of a copy, all units of a stripe."""
    return policy.unit_bytes * (policy.chunks if policy.coded else 1)


async def read_content(fleet: Fleet, buffers: BufferPool, subject: Subject, layout: Layout, start: int, stop: int, sink: Sink) -> None:
    """Hands bytes [start, stop) of a content on, in order. The buffer given to `sink` is used again when it returns.

    Raises: ContentLost, ContentAway, ContentCold, Busy; what the sink raises.
    """
    slices: list[Slice] = list(layout.slices(start, stop))
    if not slices:
        return
    index = {id(metachunk): number for number, metachunk in enumerate(layout.metachunks)}
    need = max(room_bytes(layout.policies[each.metachunk.policy]) for each in slices)
    if fleet.topology is not None:
        ahead = min(AHEAD_BYTES, stop - start)  # a short read takes no more of the pool than it can use
        wanted = 2 * need * max(ahead // max(policy.stripe_bytes for policy in layout.policies), 1)
        need = max(buffers.share(wanted, need) // (2 * need) * 2 * need, need)
    async with buffers.take(need) as buffer:
        for each in slices:
            reader = MetachunkReader(fleet, subject, index[id(each.metachunk)], layout, each.metachunk)
            try:
                await reader.read(each.start, each.stop, buffer, sink)
            finally:
                await reader.aclose()
