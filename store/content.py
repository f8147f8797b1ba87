"""Writing one content: bytes in from a Source, durable chunks and their layout out. Metadata is the caller's.

Theory of operation. One slab of bytes is read first. If the content ends in it, its chunks are put whole: one group-committed call per
volume. Otherwise two slabs take turns: while the source fills one, the other is hashed in a thread and written to all volumes in one hop.
A volume that fails at a metachunk's first slab is replaced; later the metachunk goes on without it. When so many fail that the quorum is
missed but what was written can still be read (a host went down), it is read back and written anew to other volumes, then goes on there.
A full metachunk is committed beside the next one's first slabs; the last one when every digest is known and verified, because its chunks
carry the object's record. Whatever goes wrong, `undo` leaves nothing of it.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractContextManager, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import msgspec
import trio

from node.buffers import BufferPool
from node.errors import FrazilError, NotEnoughServices
from node.lane import PENDING, Job
from node.log import get_logger
from node.threads import run_blocking
from rawx.chunk import Buffer, ChunkRecord, ObjectRecord, UploadRecord
from rawx.fanout import Put
from store.delete import delete_places
from store.digests import DIGEST_INLINE_BYTES_MAX, Digests
from store.fleet import OF_A_PART, SLABS_AT_ONCE, ChunkFinding, Fleet
from store.get import NOT_READ, MetachunkReader, Subject, room_bytes
from store.layout import EMPTY, Draft, Layout
from store.metachunk import CLEANUP_S, MetachunkWriter, Piece
from store.parallel import Errand, crew
from store.policy import METACHUNK_BYTES, Policy, PolicySet
from store.sealing import SealingSource
from store.source import Source, Summary

Naming = Callable[[Layout], Awaitable[AbstractContextManager[Job]]]
POOLLESS_BYTES_MAX = 16 << 10
"""Bodies up to here don't ask the pool; a connection has at most one."""
Incoming = Source | SealingSource
Finish = Callable[[int], "Tail | None"]
Hashing = Digests | SealingSource
"""A SealingSource hashes plain bytes by itself, for the store sees sealed ones only."""
log = get_logger("store.content")
_PROCESSORS = len(os.sched_getaffinity(0))


class Tail(msgspec.Struct, frozen=True):
    """What the chunks of the last metachunk say beside the rest."""

    object: ObjectRecord | None = None
    upload: UploadRecord | None = None


@dataclass(frozen=True, slots=True)
class Room:
    """Memory of one PUT: one or two slabs and the parity of one under the policy that it was taken for."""

    policy: Policy
    slabs: tuple[memoryview, ...]
    parity: memoryview


@dataclass(frozen=True, slots=True)
class Run:
    """Bytes of a content that is put together from several runs.

    source           the bytes; what it is to digest is its own business
    kept             metachunks that hold these bytes already: they are copied on their volumes, and `source` is read only if that can't be
    metachunk_bytes  least size of a full metachunk of it, where that is less than the policy's
    """

    source: Incoming
    kept: Layout = EMPTY
    metachunk_bytes: int = METACHUNK_BYTES


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
        self._given_up: list[MetachunkWriter] = []
        self._metachunk_bytes = METACHUNK_BYTES

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
        digests: Hashing = source if isinstance(source, SealingSource) else Digests(source.digests)
        return await self._receive(source, digests, lambda size: self._finish(source, digests, size), name)

    async def _receive(self, source: Incoming, digests: Hashing, finish: Finish, name: Naming | None = None) -> Layout:
        """finish: called with the number of bytes received, before the records of the last metachunk are written."""
        usable = await self._fleet.usable()
        length = source.length
        self.policy = policy = self._policies.choose(length, usable)
        if length is not None and length <= POOLLESS_BYTES_MAX and not policy.coded:
            slab = memoryview(bytearray(length + 1))  # one more: a full buffer would leave the end in doubt
            room = Room(self.policy, (slab,), memoryview(b""))
            count = await source.fill(room.slabs[0])
            return await self._write_whole(digests, room, count, finish, name)
        async with self._lease(length) as room:
            count = await source.fill(room.slabs[0])
            if count < len(room.slabs[0]):
                self.policy = self._policies.choose(count, usable)
                return await self._write_whole(digests, room, count, finish, name)
            return await self._write_slabs(source, digests, room, finish)

    async def begin_whole(self, data: memoryview) -> list[Put]:
        """The chunks of a small content, for who puts them together with others'; `end_whole` is to be told what came of them.

        Raises: NotEnoughServices; then `undo` is still to be called.
        """
        self.policy = policy = self._policies.choose(len(data), await self._fleet.usable())
        assert not policy.coded, "small contents are kept as copies"
        digests = Digests(())
        digests.update(data)
        self.summary = Summary(len(data), digests.finish()["md5"].hex(), {})
        self._writers.append(await MetachunkWriter.place(self._fleet, policy, memoryview(b"")))
        return self._writers[0].puts(data, self._common(0, last=self._describe(self.summary)))

    def end_whole(self, outcomes: Sequence[FrazilError | None]) -> Layout | None:
        """outcomes: of its chunks, in order. None where one is missing: then `undo` is to be called."""
        self._writers[0].took(outcomes)
        return self._layout() if self._writers[0].whole else None

    async def copy(self, source: Layout, tail: Tail | None) -> Layout:
        """Copies the chunks of another content, each on its volume. Raises: NotEnoughServices; then `undo` is still to be called."""
        for number, metachunk in enumerate(source.metachunks):
            self.policy = source.policies[metachunk.policy]
            writer = MetachunkWriter.copying(self._fleet, self.policy, metachunk, source.volumes)
            self._writers.append(writer)
            last = tail if number == len(source.metachunks) - 1 else None
            await writer.copy(metachunk, self._common(len(self._writers) - 1, last=last))
        return self._layout()

    async def assemble(self, runs: Sequence[Run], describe: Callable[[Sequence[int]], Tail]) -> Layout:
        """Writes runs behind each other as one content.

        describe: called with the number of metachunks that each run has become, before the records of the last one are written (or before
        the last run, if that is kept)

        Raises: as write; then `undo` is still to be called.
        """
        counts: list[int] = []

        def finish(_: int) -> Tail | None:
            if len(counts) < len(runs) - 1:
                return None
            return describe([*counts, len(self._writers) - sum(counts)])

        try:
            for run in runs:
                self._metachunk_bytes = run.metachunk_bytes
                kept = len(run.kept.metachunks)
                tail = describe([*counts, kept]) if kept and len(counts) == len(runs) - 1 else None
                if not kept or not await self._keep(run.kept, tail):
                    await self._receive(run.source, Digests((), etag=False), finish)
                counts.append(len(self._writers) - sum(counts))
        except NotEnoughServices as error:
            raise self._fleet.shortage(error) from error
        return self._layout()

    async def _keep(self, kept: Layout, tail: Tail | None) -> bool:
        """Copies metachunks on their volumes; False, and nothing is left of it but what is to be deleted, when that can't be."""
        first = len(self._writers)
        try:
            await self.copy(kept, tail)
        except NotEnoughServices:  # a volume is away, full or retired, a chunk is damaged: the bytes may be read all the same
            self._given_up += self._writers[first:]
            del self._writers[first:]
            return False
        return True

    async def undo(self) -> Layout:
        """Aborts and deletes everything, also when cancelled. The chunks that could not be deleted, for the container's list."""
        left: set[tuple[str, str]] = set()
        with trio.CancelScope(shield=True):
            for writer in (*self._writers, *self._given_up):
                await writer.abort()
            with trio.move_on_after(CLEANUP_S):
                places = [(piece.volume, piece.id) for piece in self._pieces() if piece.committed]
                left = set(places)
                left = await delete_places(self._fleet, places)
        return self._rest([piece for piece in self._pieces() if (piece.volume, piece.id) in left])

    @property
    def whole(self) -> bool:
        """Nothing is to be said of it: no chunk is missing, none was given up."""
        return not self._given_up and all(writer.whole for writer in self._writers)

    def doubtful(self) -> Layout:
        """Chunks that were given up though they may have become durable: to be deleted, the content doesn't name them."""
        given_up = {piece for writer in self._given_up for piece in writer.pieces}
        return self._rest([piece for piece in self._pieces() if piece.committed and (piece.error is not None or piece in given_up)])

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
        return [piece for writer in (*self._writers, *self._given_up) for piece in writer.pieces]

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
            room = Room(policy, tuple(view[index * slab : (index + 1) * slab] for index in range(slabs)), view[slabs * slab :])
            try:
                yield room
            finally:
                # Even an empty view keeps its map: the writers hold one, in a cycle that the collector may find minutes later.
                for part in (*room.slabs, room.parity):
                    part.release()

    async def _write_whole(self, digests: Hashing, room: Room, count: int, finish: Finish, name: Naming | None) -> Layout:
        data = room.slabs[0][:count]
        if count <= DIGEST_INLINE_BYTES_MAX or not digests.dear:
            digests.update(data)
        else:
            async with self._fleet.slabs:
                await run_blocking(digests.update, data)
        index = len(self._writers)
        buffer = await self._begin_whole(room.slabs[0], count, room.parity)
        record = self._common(index, last=finish(count))
        layout = EMPTY

        async def naming() -> AbstractContextManager[Job]:
            nonlocal layout
            layout = self._layout()
            assert name is not None
            return await name(layout)

        try:
            self.named = await self._writers[index].put_whole(buffer, count, record, naming if name else None)
        except NotEnoughServices:
            if self._policies.lower(self.policy, await self._fleet.usable()) is self.policy:
                raise
            self._given_up.append(self._writers.pop())  # so many volumes just failed that its policy can't be met: a lower one
            buffer = await self._begin_whole(buffer, count, room.parity)
            await self._writers[index].put_whole(buffer, count, record)
        return self._layout() if self.named is PENDING else layout

    async def _begin_whole(self, buffer: memoryview, count: int, parity: memoryview) -> memoryview:
        """Adds a writer for `count` bytes, under a lower policy when its own can't be met; the buffer to write them from."""
        policy = self._policies.lower(self.policy, await self._fleet.usable())
        if policy is not self.policy:
            fitting = memoryview(bytearray(policy.fragment_bytes(count) * policy.data if policy.coded else count))
            fitting[:count] = buffer[:count]
            self.policy, buffer, parity = policy, fitting, _parity(policy, len(fitting))
        self._writers.append(await MetachunkWriter.place(self._fleet, policy, parity))
        return buffer

    async def _write_slabs(self, source: Incoming, digests: Hashing, room: Room, finish: Finish) -> Layout:
        """The first slab is full already."""
        filled, turn, first = len(room.slabs[0]), 0, len(self._writers)
        committing: Errand[None] | None = None
        async with crew() as nursery:
            while filled:
                if len(self._writers) == first or self._writers[-1].size >= min(self._metachunk_bytes, self.policy.metachunk_bytes):
                    if committing is not None:
                        await committing.result()
                    if len(self._writers) > first:
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
            tail = finish(sum(writer.size for writer in self._writers[first:]))
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
                await self._append(slab, count, update)
                return
            writing = Errand(nursery, self._append, slab, count)
            await run_blocking(update)
            await writing.result()
        finally:
            slabs.release()

    async def _append(self, slab: memoryview, count: int, before: Callable[[], None] | None = None) -> None:
        try:
            await self._writers[-1].write(slab, count, before=before)
        except NotEnoughServices as error:
            await self._move(len(self._writers) - 1, error, following=len(slab))

    async def _next_writer(self, room: Room) -> None:
        """Under a lower policy where so many volumes went away that this one could not be met any more."""
        slab = len(room.slabs[0])
        policy = self._policies.lower(self.policy, await self._fleet.usable())
        parity = room.parity
        if policy is not room.policy:
            if slab % policy.stripe_bytes:
                raise NotEnoughServices(f"policy {self.policy.name} can't be met any more: too few volumes are usable for writing")
            parity = _parity(policy, slab)
        self.policy = policy
        self._writers.append(await MetachunkWriter.place(self._fleet, policy, parity))

    async def _commit(self, index: int, tail: Tail | None) -> None:
        record = self._common(index, last=tail)
        try:
            await self._writers[index].commit(record)
        except NotEnoughServices as error:
            await self._move(index, error)
            await self._writers[index].commit(record)
        await self._writers[index].drop_failed()

    async def _move(self, index: int, error: NotEnoughServices, *, following: int = 0) -> None:
        """Writes what a metachunk holds anew to volumes that are usable now; the old chunks are given up.

        following: bytes at a time in which more is to be written to it; 0: no more is. Raises: NotEnoughServices, that given when what is
        there can't be read back, or when what follows would not come in whole stripes of the policy that can be met now.
        """
        old = self._writers[index]
        policy = self._policies.lower(old.policy, await self._fleet.usable())
        if following % policy.stripe_bytes or not old.policy.tolerates or not await old.save(self._common(index, last=None)):
            raise error
        log.warning("too many volumes failed under a write; it is moved to others", extra={"content": self.content, "error": str(error)})
        slab = following or policy.slab_bytes
        fresh = await MetachunkWriter.place(self._fleet, policy, _parity(policy, slab))
        self._given_up.append(fresh)
        await copy_metachunk(self._fleet, old, fresh, self.record, slab)
        self._given_up.remove(fresh)
        self._given_up.append(old)
        self._writers[index] = fresh
        if following:
            self.policy = policy

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


def _parity(policy: Policy, slab: int) -> memoryview:
    return memoryview(bytearray(slab // policy.data * policy.parity))


async def copy_metachunk(fleet: Fleet, source: MetachunkWriter, target: MetachunkWriter, record: ChunkRecord, slab: int) -> None:
    """All durable bytes of one metachunk into another, verified on the way. Raises: NotEnoughServices."""
    draft = Draft()
    source.add_to(draft)
    layout = draft.layout()
    buffer, filled = memoryview(bytearray(slab)), 0

    async def take(piece: Buffer) -> None:
        nonlocal filled
        view = memoryview(piece)
        while view:
            part = view[: slab - filled]
            buffer[filled : filled + len(part)] = part
            filled, view = filled + len(part), view[len(part) :]
            if filled == slab:
                await target.write(buffer, slab)
                filled = 0

    reader = MetachunkReader(fleet, Subject(record.bucket, record.key, OF_A_PART), 0, layout, layout.metachunks[0])
    try:
        await reader.read(0, source.size, memoryview(bytearray(room_bytes(source.policy))), take)
    except NOT_READ as error:
        raise NotEnoughServices(f"what was written can't be read back: {error}") from error
    finally:
        await reader.aclose()
    if filled:
        await target.write(buffer, filled)


def _bytes(policy: Policy, slabs: int, slab: int) -> int:
    """Memory of so many slabs and the parity of one; a coded slab is a whole number of units for each data fragment."""
    return slabs * slab + slab // policy.data * policy.parity
