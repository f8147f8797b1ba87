"""Writing one content: bytes in from a Source, durable chunks and their layout out. Metadata is the caller's.

Theory of operation. One slab of bytes is read first. If the content ends in it, its chunks are put whole: one group-committed call per
volume. Otherwise two slabs take turns: while the source fills one, the other is hashed in a thread and written to all volumes in one hop.
A full metachunk is committed beside the next one's first slabs; the last one when every digest is known and verified, because its chunks
carry the object's record. Whatever goes wrong, `undo` leaves nothing of it.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractContextManager, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import msgspec
import trio

from node.buffers import BufferPool
from node.errors import NotEnoughServices
from node.lane import PENDING, Job
from node.threads import run_blocking
from rawx.chunk import ChunkRecord, ObjectRecord, UploadRecord
from store.delete import delete_places
from store.digests import DIGEST_INLINE_BYTES_MAX, Digests
from store.fleet import SLABS_AT_ONCE, ChunkFinding, Fleet
from store.layout import EMPTY, Draft, Layout
from store.metachunk import CLEANUP_S, MetachunkWriter, Piece
from store.parallel import Errand, crew
from store.policy import Policy, PolicySet
from store.sealing import SealingSource
from store.source import Source, Summary

Naming = Callable[[Layout], Awaitable[AbstractContextManager[Job]]]
POOLLESS_BYTES_MAX = 16 << 10
"""Bodies up to here don't ask the pool; a connection has at most one."""
Incoming = Source | SealingSource
Hashing = Digests | SealingSource
"""A SealingSource hashes plain bytes by itself, for the store sees sealed ones only."""
_PROCESSORS = len(os.sched_getaffinity(0))


class Tail(msgspec.Struct, frozen=True):
    """What the chunks of the last metachunk say beside the rest."""

    object: ObjectRecord | None = None
    upload: UploadRecord | None = None


@dataclass(frozen=True, slots=True)
class Room:
    """Memory of one PUT: one or two slabs and the parity of one."""

    slabs: tuple[memoryview, ...]
    parity: memoryview


class ContentWriter:
    """One content being written."""

    def __init__(
        self, fleet: Fleet, buffers: BufferPool, policies: PolicySet, record: ChunkRecord, describe: Callable[[Summary], Tail]
    ) -> None:
        """record: bucket, key, content, account; describe: called once, before the records of the last metachunk are written."""
        self.content = record.content
        self.summary: Summary
        self.policy: Policy
        self._fleet = fleet
        self._buffers = buffers
        self._policies = policies
        self.record = record
        self.named: Any = PENDING
        self._describe = describe
        self._writers: list[MetachunkWriter] = []

    def __repr__(self) -> str:
        return f"<ContentWriter {self.record.content} metachunks={len(self._writers)}>"

    async def write(self, source: Incoming, name: Naming | None = None) -> Layout:
        """The layout of what is now durable.

        name: makes the metadata transaction that names the content; it follows at once where a thread can go on from the chunks to it.
        `named` is then what came of it, its result or exception; PENDING when it is still to be done.

        Raises: what the source raises, NotEnoughServices, VolumeFull, Busy; then `undo` is still to be called.
        """
        try:
            return await self._write(source, name)
        except NotEnoughServices as error:
            raise self._fleet.shortage(error) from error

    async def _write(self, source: Incoming, name: Naming | None) -> Layout:
        usable = await self._fleet.usable()
        length = source.length
        self.policy = policy = self._policies.choose(length, usable)
        digests: Hashing = source if isinstance(source, SealingSource) else Digests(source.digests)
        if length is not None and length <= POOLLESS_BYTES_MAX and not policy.coded:
            room = Room((memoryview(bytearray(length + 1)),), memoryview(b""))  # one more: a full buffer would leave the end in doubt
            count = await source.fill(room.slabs[0])
            return await self._write_whole(source, digests, room, count, name)
        async with self._lease(length) as room:
            count = await source.fill(room.slabs[0])
            if count < len(room.slabs[0]):
                self.policy = self._policies.choose(count, usable)
                return await self._write_whole(source, digests, room, count, name)
            return await self._write_slabs(source, digests, room)

    async def copy(self, source: Layout, tail: Tail) -> Layout:
        """Copies the chunks of another content, each on its volume. Raises: NotEnoughServices; then `undo` is still to be called."""
        for index, metachunk in enumerate(source.metachunks):
            self.policy = source.policies[metachunk.policy]
            writer = MetachunkWriter.copying(self._fleet, self.policy, metachunk, source.volumes)
            self._writers.append(writer)
            last = tail if index == len(source.metachunks) - 1 else None
            await writer.copy(metachunk, self._common(index, last=last))
        return self._layout()

    async def undo(self) -> Layout:
        """Aborts and deletes everything, also when cancelled. The chunks that could not be deleted, for the container's list."""
        left: set[tuple[str, str]] = set()
        with trio.CancelScope(shield=True):
            for writer in self._writers:
                await writer.abort()
            with trio.move_on_after(CLEANUP_S):
                places = [(piece.volume, piece.id) for piece in self._pieces() if piece.committed]
                left = set(places)
                left = await delete_places(self._fleet, places)
        return self._rest([piece for piece in self._pieces() if (piece.volume, piece.id) in left])

    @property
    def whole(self) -> bool:
        """Nothing is to be said of it: no chunk is missing, none was given up."""
        return all(writer.whole for writer in self._writers)

    def doubtful(self) -> Layout:
        """Chunks that were given up though they may have become durable: to be deleted, the content doesn't name them."""
        return self._rest([piece for piece in self._pieces() if piece.committed and piece.error is not None])

    def places(self) -> list[tuple[str, str]]:
        """(volume, chunk) of every committed chunk."""
        return [(piece.volume, piece.id) for piece in self._pieces() if piece.committed]

    def unwritten(self, bucket: str, key: str, version: int) -> list[ChunkFinding]:
        """The positions that the write went without."""
        return [
            ChunkFinding(bucket, key, version, index, position, "", "", "unwritten")
            for index, writer in enumerate(self._writers)
            for position in sorted(writer.missing)
        ]

    def _pieces(self) -> list[Piece]:
        return [piece for writer in self._writers for piece in writer.pieces]

    def _rest(self, pieces: list[Piece]) -> Layout:
        draft = Draft()
        if pieces:
            draft.add(self.policy, 0, [piece.place for piece in pieces])
        return draft.layout()

    @asynccontextmanager
    async def _lease(self, length: int | None) -> AsyncIterator[Room]:
        """Room for what comes: less when the pool is pressed, down to one slab of one stripe."""
        policy = self.policy
        slabs, slab = 2, policy.slab_bytes
        if length is not None and length < slab:
            slabs, slab = 1, policy.fragment_bytes(length + 1) * policy.data if policy.coded else length + 1
        else:
            share = self._buffers.share(_bytes(policy, 2, slab), _bytes(policy, 1, policy.stripe_bytes))
            if share < _bytes(policy, 2, slab):
                slabs, slab = 1, slab if share >= _bytes(policy, 1, slab) else policy.stripe_bytes
        async with self._buffers.take(_bytes(policy, slabs, slab)) as view:
            room = Room(tuple(view[index * slab : (index + 1) * slab] for index in range(slabs)), view[slabs * slab :])
            try:
                yield room
            finally:
                # Even an empty view keeps its map: the writers hold one, in a cycle that the collector may find minutes later.
                for part in (*room.slabs, room.parity):
                    part.release()

    async def _write_whole(self, source: Incoming, digests: Hashing, room: Room, count: int, name: Naming | None) -> Layout:
        data = room.slabs[0][:count]
        if count <= DIGEST_INLINE_BYTES_MAX or not digests.dear:
            digests.update(data)
        else:
            async with self._fleet.slabs:
                await run_blocking(digests.update, data)
        tail = self._finish(source, digests, count)
        writer = await self._next_writer(room)
        layout = EMPTY

        async def naming() -> AbstractContextManager[Job]:
            nonlocal layout
            layout = self._layout()
            assert name is not None
            return await name(layout)

        self.named = await writer.put_whole(room.slabs[0], count, self._common(0, last=tail), naming if name else None)
        return self._layout() if self.named is PENDING else layout

    async def _write_slabs(self, source: Incoming, digests: Hashing, room: Room) -> Layout:
        """The first slab is full already."""
        filled, turn = len(room.slabs[0]), 0
        committing: Errand[None] | None = None
        async with crew() as nursery:
            while filled:
                if not self._writers or self._writers[-1].full:
                    if committing is not None:
                        await committing.result()
                    if self._writers:
                        committing = Errand(nursery, self._commit, len(self._writers) - 1, None)
                    await self._next_writer(room)
                slab = room.slabs[turn]
                turn = (turn + 1) % len(room.slabs)
                more = filled == len(slab)
                filling = Errand(nursery, source.fill, room.slabs[turn]) if more and len(room.slabs) > 1 else None
                await self._take_in(nursery, digests, slab, filled)
                if filling is not None:
                    filled = await filling.result()
                else:
                    filled = await source.fill(room.slabs[turn]) if more else 0
            tail = self._finish(source, digests, sum(writer.size for writer in self._writers))
            await self._commit(len(self._writers) - 1, tail)
            if committing is not None:
                await committing.result()
        return self._layout()

    async def _take_in(self, nursery: trio.Nursery, digests: Hashing, slab: memoryview, count: int) -> None:
        """Hashes and writes one slab: in two threads side by side while processors are free for it, else in one hop: a fifth less
        processor time."""
        slabs = self._fleet.slabs
        side_by_side = digests.dear and SLABS_AT_ONCE - slabs.value < _PROCESSORS
        update = partial(digests.update, slab[:count])
        try:
            slabs.acquire_nowait()  # without giving way: what fills the next slab would have the loop first, and hashing waited for it
        except trio.WouldBlock:
            await slabs.acquire()
        try:
            if not side_by_side:
                await self._writers[-1].write(slab, count, before=update)
                return
            writing = Errand(nursery, self._writers[-1].write, slab, count)
            await run_blocking(update)
            await writing.result()
        finally:
            slabs.release()

    async def _next_writer(self, room: Room) -> MetachunkWriter:
        writer = await MetachunkWriter.place(self._fleet, self.policy, room.parity)
        self._writers.append(writer)
        return writer

    async def _commit(self, index: int, tail: Tail | None) -> None:
        await self._writers[index].commit(self._common(index, last=tail))
        await self._writers[index].drop_failed()

    def _finish(self, source: Incoming, digests: Hashing, size: int) -> Tail:
        if isinstance(source, SealingSource):
            self.summary = source.summary()
        else:
            assert isinstance(digests, Digests)
            found = digests.finish()
            self.summary = Summary(size, found["md5"].hex(), source.complete(found))
        return self._describe(self.summary)

    def _common(self, index: int, *, last: Tail | None) -> ChunkRecord:
        """What the records of all chunks of a metachunk have in common."""
        offset = sum(writer.size for writer in self._writers[:index])
        if last is None:
            return msgspec.structs.replace(self.record, metachunk=index, offset=offset)
        return msgspec.structs.replace(
            self.record, metachunk=index, metachunks=index + 1, offset=offset, object=last.object, upload=last.upload
        )

    def _layout(self) -> Layout:
        draft = Draft()
        for writer in self._writers:
            writer.add_to(draft)
        return draft.layout()


def _bytes(policy: Policy, slabs: int, slab: int) -> int:
    """Memory of so many slabs and the parity of one; a coded slab is a whole number of units for each data fragment."""
    return slabs * slab + slab // policy.data * policy.parity
