"""A content's bytes under another storage policy: copies become fragments, a code's geometry another's. Nothing else of the object changes.

Metachunk for metachunk the bytes are read as for a client, each unit verified, and written beside what is there with the records that are
there; the new chunks are read back. Then one transaction names them all, if the content still lies where it did, and gives the old ones
to the deletions. So whoever reads meanwhile reads the old chunks or the new, and what a crash leaves of the new is named by nothing.

The metachunks keep their sizes: where parts of an upload begin is told by them.
"""

from __future__ import annotations

from dataclasses import replace

import trio

from meta.protocol.holding import Holding
from node.errors import ChunkCorrupt, ContentAway, ContentLost, FrazilError, NotEnoughServices
from rawx.chunk import Buffer, ChunkRecord
from store.context import REFUSALS, Context
from store.delete import Place, delete_places
from store.fleet import OF_A_PART, Fleet
from store.get import MetachunkReader, Subject, room_bytes
from store.layout import Draft, Layout, Metachunk, layout_of_places
from store.metachunk import MetachunkWriter
from store.policy import Policy, PolicySet
from store.record import may_be_stale, names_chunk


def is_right(layout: Layout, policies: PolicySet, fleet: Fleet) -> bool:
    """Whether every metachunk has the policy that it should have; of a class with a pool of its own, on volumes of that."""
    return all(_keeps(layout, each, policies, fleet) for each in layout.metachunks)


def _keeps(layout: Layout, metachunk: Metachunk, policies: PolicySet, fleet: Fleet) -> bool:
    old = layout.policies[metachunk.policy]
    if policies.wanted(old, metachunk.size) is not old:
        return False
    return not policies.pool or fleet.means([layout.volumes[chunk.volume] for chunk in metachunk.chunks], policies.pool)


async def recode(context: Context, bucket: str, holder: Holding, policies: PolicySet) -> int:
    """Bytes of the content that were written anew, 0 when all was right.

    Raises: ContentLost (too little is left), ContentAway (too little is there now), Superseded (it lies elsewhere by now),
    NotEnoughServices (also when a chunk of the new could not be written: what is whole is not replaced by what isn't), Unavailable.
    """
    layout = Layout.parse(holder.layout)
    if is_right(layout, policies, context.fleet):
        return 0
    recoding = _Recoding(context, bucket, holder, layout)
    with context.afterwork.reading(layout):
        try:
            for index, metachunk in enumerate(layout.metachunks):
                await recoding.add(index, metachunk, policies)
            await recoding.name()
        except BaseException as error:
            if not recoding.naming or isinstance(error, REFUSALS):  # else it may be named: then only the scrub may judge
                with trio.CancelScope(shield=True):
                    await recoding.undo()
            raise
        finally:
            context.afterwork.in_flight -= recoding.contents
    return recoding.size


class _Recoding:
    """One content on its way. size: bytes of it that are written anew; contents: ids that the chunks' records name."""

    def __init__(self, context: Context, bucket: str, holder: Holding, layout: Layout) -> None:
        self._context, self._bucket, self._holder, self._layout = context, bucket, holder, layout
        self._draft = Draft()
        self._writers: list[MetachunkWriter] = []
        self._old: list[Place] = []
        self._is_stale = False
        self.size = 0
        self.contents: set[str] = set()
        self.naming = False

    async def add(self, index: int, metachunk: Metachunk, policies: PolicySet) -> None:
        """The next metachunk, as it is or written anew. Raises: ContentLost, ContentAway, NotEnoughServices, Unavailable."""
        old, volumes = self._layout.policies[metachunk.policy], self._layout.volumes
        policy = replace(policies.wanted(old, metachunk.size), pool=policies.pool)
        if _keeps(self._layout, metachunk, policies, self._context.fleet):
            self._draft.add(
                old, metachunk.size, [(c.position, volumes[c.volume], c.id, c.checksum) for c in metachunk.chunks], metachunk.quality
            )
            return
        places = [(volumes[chunk.volume], chunk.name) for chunk in metachunk.chunks]
        record = await self._record(metachunk)
        self.contents.add(record.content)
        self._context.afterwork.in_flight.add(record.content)
        row = self._holder.row
        self._is_stale = self._is_stale or (row is not None and may_be_stale(record, row))
        writer = await self._write(index, metachunk, policy, record)
        await self._read_back(writer)
        writer.add_to(self._draft)
        self._old += places
        self.size += metachunk.size

    async def _record(self, metachunk: Metachunk) -> ChunkRecord:
        """The newest that the metachunk's chunks have. Raises: ContentLost when none can be read, ContentAway when one may be later."""
        found: list[ChunkRecord] = []
        is_away = False
        for chunk in metachunk.chunks:
            volume = self._layout.volumes[chunk.volume]
            try:
                (look,) = await self._context.fleet.volume(volume).examine([chunk.name], deep=False)
            except FrazilError as error:
                is_away = is_away or self._context.fleet.may_be_whole(volume, error)
                continue
            if look.record is not None and names_chunk(look.record, self._holder, chunk.checksum):
                found.append(look.record)
        if not found:
            raise (ContentAway if is_away else ContentLost)(f"no chunk of {self._bucket}/{self._holder.key} has a record that can be read")
        return max(found, key=lambda record: record.seq)

    async def _write(self, index: int, metachunk: Metachunk, policy: Policy, record: ChunkRecord) -> MetachunkWriter:
        fleet, size = self._context.fleet, metachunk.size
        slab_bytes = policy.slab_bytes
        if size <= slab_bytes:
            slab_bytes = policy.fragment_bytes(size) * policy.data if policy.coded else size
        room = memoryview(bytearray(slab_bytes + policy.parity * -(-slab_bytes // policy.data)))
        volumes = await fleet.draw(policy.chunks, policy.chunks, policy=policy.draws)
        writer = MetachunkWriter(fleet, policy, enumerate(volumes), room[slab_bytes:])
        self._writers.append(writer)
        slab = _Slab(writer, room[:slab_bytes], size)
        await self._read(index, metachunk, slab)
        if size <= slab_bytes:
            await writer.put_whole(room[:slab_bytes], size, record)
        else:
            await writer.commit(record)
        if writer.missing:
            causes = "; ".join(sorted({str(piece.error) for piece in writer.pieces if piece.error is not None}))
            raise NotEnoughServices(f"not every chunk of {policy.name} could be written: {causes}")
        return writer

    async def _read(self, index: int, metachunk: Metachunk, slab: _Slab) -> None:
        """Raises: ContentLost, ContentAway, Busy; what the writer raises."""
        row, context = self._holder.row, self._context
        subject = Subject(self._bucket, self._holder.key, OF_A_PART if row is None else row.version)
        reader = MetachunkReader(context.fleet, subject, index, self._layout, metachunk)
        buffer = memoryview(bytearray(room_bytes(self._layout.policies[metachunk.policy])))
        try:
            await reader.read(0, metachunk.size, buffer, slab.take)
        finally:
            await reader.aclose()

    async def _read_back(self, writer: MetachunkWriter) -> None:
        """Raises: ChunkCorrupt."""
        for piece in writer.alive:
            (look,) = await self._context.fleet.volume(piece.volume).examine([piece.id], deep=True)
            if look.problem or look.checksum != piece.checksum:
                raise ChunkCorrupt(f"the new chunk {piece.id} is damaged already: {look.problem} {look.detail}")

    async def name(self) -> None:
        """Raises: Superseded."""
        layout, context = self._draft.layout(), self._context
        drop = layout_of_places(self._old).encode()
        row = self._holder.row
        policy = layout.policies[0].name if row is not None and not row.marker else ""
        container = context.container(self._bucket)
        self.naming = True
        # The old chunks wait for the next scan of the deletions: whoever reads them now goes on meanwhile.
        await container.relocate(self._holder, layout.encode(), drop, stale=self._is_stale, policy=policy)
        if self._is_stale:
            context.afterwork.look_for_stale_records(self._bucket)
        context.afterwork.settle(place for place in self._places() if place[1])
        for place in self._given_up():
            await context.remember_deletion(self._bucket, layout_of_places([place]))

    async def undo(self) -> None:
        """What can't be deleted now is in the volumes' journals, and the scrub finds it."""
        for writer in self._writers:
            await writer.abort()
        places = [*self._places(), *self._given_up()]
        left = await delete_places(self._context.fleet, places)
        self._context.afterwork.settle(place for place in places if place not in left)

    def _places(self) -> list[Place]:
        return [(piece.volume, piece.id) for writer in self._writers for piece in writer.alive if piece.committed]

    def _given_up(self) -> list[Place]:
        """Chunks that another volume took, though they may have become durable."""
        return [
            (piece.volume, piece.id) for writer in self._writers for piece in writer.pieces if piece.committed and piece.error is not None
        ]


class _Slab:
    """Gathers what is read until there is enough to be written: all of a small metachunk, whole stripes of a large one."""

    def __init__(self, writer: MetachunkWriter, buffer: memoryview, size: int) -> None:
        self._writer, self._buffer, self._left = writer, buffer, size
        self._filled = 0
        self._at_once = size <= len(buffer)

    async def take(self, piece: Buffer) -> None:
        view = memoryview(piece)
        while len(view):
            count = min(len(view), len(self._buffer) - self._filled)
            self._buffer[self._filled : self._filled + count] = view[:count]
            self._filled += count
            self._left -= count
            view = view[count:]
            if not self._at_once and (self._filled == len(self._buffer) or not self._left):
                await self._writer.write(self._buffer, self._filled)
                self._filled = 0
