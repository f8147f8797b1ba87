"""Writing one metachunk: its chunks on their volumes, in step, in spite of some that fail."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from functools import partial
from typing import Any

import msgspec
import trio

from node.errors import FrazilError, NotEnoughServices
from node.lane import PENDING, Job
from rawx.chunk import Buffer, ChunkRecord, chunk_checksum, new_chunk_id, unit_digest, unit_digests
from rawx.fanout import Put, put_all, write_all
from rawx.patience import Patience
from rawx.protocol import Upload
from rawx.upload import LocalUpload
from store.codec import codec
from store.fleet import Fleet
from store.layout import Draft, Metachunk
from store.parallel import gather
from store.policy import Policy

CLEANUP_S = 10.0
"""Bound on undoing what a failed write left; cancellation does not interrupt it."""


Naming = Callable[[], Awaitable[AbstractContextManager[Job]]]
"""Makes the metadata's part of a PUT: a job, good while the context lasts."""


class Piece:
    """One chunk in the making. error: why it was given up; committed: durable, or it may be (an answer was lost)."""

    __slots__ = ("checksum", "committed", "error", "id", "position", "size", "units", "upload", "volume")

    def __init__(self, position: int, volume: str) -> None:
        self.position, self.volume = position, volume
        self.id = new_chunk_id()
        self.units = bytearray()
        self.checksum = b""
        self.size = 0
        self.upload: Upload | None = None
        self.error: FrazilError | None = None
        self.committed = False

    def __repr__(self) -> str:
        return f"<Piece {self.position} on {self.volume} {self.error or ('committed' if self.committed else 'open')}>"

    @property
    def place(self) -> tuple[int, str, bytes, bytes]:
        """As a layout's Draft takes it."""
        return self.position, self.volume, bytes.fromhex(self.id), self.checksum


class MetachunkWriter:
    """Slabs in, chunks out. Use either `write` (whole stripes each, but the last) and `commit`, or `put_whole`; after any failure, `abort`.

    parity: room for the parity of one slab, unused for copies; it and the slabs may still be read after a failure, by a disk that hangs.
    """

    def __init__(self, fleet: Fleet, policy: Policy, places: Iterable[tuple[int, str]], parity: memoryview) -> None:
        """places: (position, volume id) of each chunk to write."""
        self.policy = policy
        self.pieces = [Piece(position, volume) for position, volume in places]
        self.size = 0
        self._fleet = fleet
        self._parity = parity

    def __repr__(self) -> str:
        return f"<MetachunkWriter {self.policy.name} size={self.size} pieces={len(self.alive)}/{self.policy.chunks}>"

    @classmethod
    async def place(cls, fleet: Fleet, policy: Policy, parity: memoryview) -> MetachunkWriter:
        """Draws the volumes. Raises: NotEnoughServices."""
        return cls(fleet, policy, enumerate(await fleet.draw(policy.quorum, policy.chunks, policy=policy.draws)), parity)

    @classmethod
    def copying(cls, fleet: Fleet, policy: Policy, source: Metachunk, volumes: Sequence[str]) -> MetachunkWriter:
        """For `copy`: each chunk on the volume of its source. Raises: NotEnoughServices when one of them takes nothing new."""
        if any(volumes[chunk.volume] in fleet.retired for chunk in source.chunks):
            raise NotEnoughServices("a volume of the source is being emptied and takes no copies")
        if fleet.doubts and not all(fleet.likely(volumes[chunk.volume]) for chunk in source.chunks):
            raise NotEnoughServices("a volume of the source will probably not answer")
        return cls(fleet, policy, [(chunk.position, volumes[chunk.volume]) for chunk in source.chunks], memoryview(b""))

    @property
    def alive(self) -> list[Piece]:
        return [piece for piece in self.pieces if piece.error is None]

    @property
    def whole(self) -> bool:
        """Every chunk was written, each at the first try."""
        return len(self.pieces) == self.policy.chunks and all(piece.error is None for piece in self.pieces)

    @property
    def missing(self) -> set[int]:
        """Positions that no durable chunk has."""
        return set(range(self.policy.chunks)) - {piece.position for piece in self.alive}

    def add_to(self, draft: Draft) -> None:
        alive = self.alive
        quality = self._fleet.quality([piece.volume for piece in alive], self.policy.draws)
        draft.add(self.policy, self.size, [piece.place for piece in alive], quality)

    async def write(self, buffer: memoryview, count: int, *, before: Callable[[], None] | None = None) -> None:
        """Appends buffer[:count]. A code's short last stripe is padded with zeros in the buffer, behind `count`.

        before: blocking work on the same bytes that shares the thread hop. Raises: NotEnoughServices when too many volumes failed.
        """
        parts, first = self._split(buffer, count), not self.size
        self.size += count
        waiting = self.alive
        while waiting or before is not None:
            await self._append(waiting, parts, before)
            before = None
            waiting = await self._replacements([piece for piece in waiting if piece.error is not None]) if first else []
        self._check_quorum()

    async def _append(self, pieces: list[Piece], parts: list[list[memoryview]], before: Callable[[], None] | None) -> None:
        """Its part to each of these pieces."""
        jobs: list[tuple[Upload, Buffer]] = []
        owners: list[Piece] = []
        for piece in pieces:
            try:
                if piece.upload is None:
                    piece.upload = await self._fleet.volume(piece.volume).create(
                        piece.id, self.policy.chunk_bytes(self.policy.metachunk_bytes)
                    )
            except FrazilError as error:
                self._fail(piece, error)
                continue
            mine = parts[piece.position]
            if len(mine) > 1 and not isinstance(piece.upload, LocalUpload):
                mine = [memoryview(b"".join(mine))]  # calls to a remote volume run side by side and would lose their order
            jobs += [(piece.upload, part) for part in mine]
            owners += [piece] * len(mine)
        for piece, outcome in zip(owners, await write_all(jobs, before=before, least=self.policy.quorum), strict=True):
            if outcome is not None and piece.error is None:
                self._fail(piece, outcome)

    async def put_whole(self, buffer: memoryview, count: int, record: ChunkRecord, name: Naming | None = None) -> Any:
        """A metachunk of one slab in one step. A code makes it one stripe; a chunk that fails gets another volume while there are any.

        name: what is to follow when all chunks are durable at the first try. Returned is its result or exception, PENDING when it was
        not begun. Raises: NotEnoughServices.
        """
        if self.policy.coded:
            self.policy = replace(self.policy, unit_bytes=self.policy.fragment_bytes(count))
        parts = self._split(buffer, count)
        self.size = count
        waiting, result = self.pieces, PENDING
        while waiting:
            puts = [self._put(piece, parts[piece.position][0], record) for piece in waiting]
            if name is None:
                outcomes, _ = await put_all(puts, least=self.policy.quorum)
            else:
                with await name() as job:
                    outcomes, result = await put_all(puts, job, least=self.policy.quorum)
                name = None
            for piece, outcome in zip(waiting, outcomes, strict=True):
                if outcome is not None:
                    self._fail(piece, outcome)
            waiting = await self._replacements([piece for piece in waiting if piece.error is not None])
        self._check_quorum()
        return result

    def puts(self, data: memoryview, record: ChunkRecord) -> list[Put]:
        """For who puts a metachunk of copies together with others: its chunks. `took` is to be told what came of them."""
        parts = self._split(data, len(data))
        self.size = len(data)
        return [self._put(piece, parts[piece.position][0], record) for piece in self.pieces]

    def took(self, outcomes: Iterable[FrazilError | None]) -> None:
        """outcomes: of `puts`, in order."""
        for piece, outcome in zip(self.pieces, outcomes, strict=True):
            if outcome is not None:
                self._fail(piece, outcome)

    async def copy(self, source: Metachunk, record: ChunkRecord) -> None:
        """Durable copies of the source's chunks. Raises: NotEnoughServices."""
        self.size = source.size
        for piece, chunk in zip(self.pieces, source.chunks, strict=True):
            piece.size, piece.checksum = self.policy.chunk_bytes(source.size), chunk.checksum
        await gather([partial(self._copy, piece, chunk.name, record) for piece, chunk in zip(self.pieces, source.chunks, strict=True)])
        self._check_quorum()

    async def commit(self, record: ChunkRecord) -> None:
        """Makes what was written durable; record: what all chunks have in common. Raises: NotEnoughServices."""
        await self._commit_all(record)
        self._check_quorum()

    async def save(self, record: ChunkRecord) -> bool:
        """Makes durable what is left of a metachunk that missed its quorum; whether it can be read back from that."""
        await self._commit_all(record)
        return len(self.alive) >= self.policy.needed

    async def _commit_all(self, record: ChunkRecord) -> None:
        patience = Patience(self.policy.quorum)
        await gather([partial(self._commit, piece, record, patience) for piece in self.alive if not piece.committed])

    async def abort(self) -> None:
        """Drops what is not committed, bounded, also when cancelled. Committed chunks are the caller's to delete."""
        uploads = [piece.upload for piece in self.pieces if piece.upload is not None]
        with trio.CancelScope(deadline=trio.current_time() + CLEANUP_S, shield=True):
            async with trio.open_nursery() as nursery:
                for upload in uploads:
                    nursery.start_soon(upload.abort)

    async def drop_failed(self) -> None:
        """Frees what the given-up pieces hold."""
        for piece in self.pieces:
            if piece.error is not None and piece.upload is not None:
                await piece.upload.abort()

    def _split(self, buffer: memoryview, count: int) -> list[list[memoryview]]:
        """What each position appends; notes the checksums of the units. Inline: 1.5 MiB of 6+3 take 0.2 ms, a hop to a thread as long."""
        policy = self.policy
        if not policy.coded:
            digests = unit_digests(buffer[:count], policy.unit_bytes)
            for piece in self.pieces:
                piece.units += digests
                piece.size += count
            return [[buffer[:count]]] * policy.chunks
        parts: list[list[memoryview]] = [[] for _ in range(policy.chunks)]
        room = self._parity
        for start in range(0, count, policy.stripe_bytes):
            unit = policy.fragment_bytes(min(policy.stripe_bytes, count - start))
            end = start + unit * policy.data
            if end > count:
                buffer[count:end] = bytes(end - count)
            parity, room = room[: unit * policy.parity], room[unit * policy.parity :]
            codec(policy.data, policy.parity).encode(buffer[start:end], parity)
            units = [buffer[at : at + unit] for at in range(start, end, unit)] + [
                parity[at : at + unit] for at in range(0, len(parity), unit)
            ]
            for piece in self.pieces:
                part = units[piece.position]
                parts[piece.position].append(part)
                piece.units += unit_digest(part)
                piece.size += unit
        return parts

    def _put(self, piece: Piece, data: memoryview, record: ChunkRecord) -> Put:
        final = self._record(piece, record)
        piece.committed = True  # from here on it may be
        return Put(self._fleet.volume(piece.volume), piece.id, data, final, bytes(piece.units))

    async def _replacements(self, failed: list[Piece]) -> list[Piece]:
        """A piece on another volume for each failed one, as long as there are volumes that were not tried."""
        fresh: list[Piece] = []
        for piece in failed:
            try:
                tried, beside = {each.volume for each in self.pieces}, [each.volume for each in self.alive]
                (volume,) = await self._fleet.draw(1, 1, without=tried, beside=beside, policy=self.policy.draws)
            except NotEnoughServices:
                break
            another = Piece(piece.position, volume)
            another.units, another.size = piece.units, piece.size
            self.pieces.append(another)
            fresh.append(another)
        return fresh

    async def _copy(self, piece: Piece, source: str, record: ChunkRecord) -> None:
        final = self._record(piece, record)
        piece.committed = True
        try:
            async with self._fleet.commits:
                await self._fleet.volume(piece.volume).copy(source, piece.id, final)
        except FrazilError as error:
            self._fail(piece, error)

    async def _commit(self, piece: Piece, record: ChunkRecord, patience: Patience) -> None:
        upload = piece.upload
        assert upload is not None
        final = self._record(piece, record)
        piece.committed = True
        try:
            async with self._fleet.commits:
                if isinstance(upload, LocalUpload):
                    await upload.commit(final, bytes(piece.units))
                    patience.succeed()
                else:
                    await patience.bound(partial(upload.commit, final, bytes(piece.units)))
        except FrazilError as error:
            self._fail(piece, error)

    def _record(self, piece: Piece, record: ChunkRecord) -> ChunkRecord:
        piece.checksum = piece.checksum or chunk_checksum(piece.units)
        return msgspec.structs.replace(
            record,
            policy=self.policy.name,
            position=piece.position,
            size=piece.size,
            checksum=piece.checksum.hex(),
            metachunk_size=self.size,
            unit_bytes=self.policy.unit_bytes,
        )

    def _fail(self, piece: Piece, error: FrazilError) -> None:
        piece.error = error
        self._fleet.failed_write(piece.volume, error)

    def _check_quorum(self) -> None:
        alive = self.alive
        if len(alive) < self.policy.quorum:
            causes = "; ".join(sorted({str(piece.error) for piece in self.pieces if piece.error is not None}))
            raise NotEnoughServices(f"{self.policy.name} needs {self.policy.quorum} chunks written, {len(alive)} were: {causes}")
