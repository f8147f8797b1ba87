"""Making one chunk anew: from the best of what is left, verified, placed by the policy's rules, named in one guarded transaction.

Order, and why a crash at any step makes nothing worse: the new chunk is written beside everything that is there, compared with the checksum
that the layout knows, and read back; then one transaction names it, if the content still lies where it did; only then does the damaged
original leave, into quarantine. Until that moment it stays in its place, for its whole units may be what a sick neighbour's are made from:
units are chosen one by one, so that a metachunk with more damaged chunks than its code bears is still whole if each stripe is.
What a crash leaves of a new chunk is named by nothing and found by the scrub.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

import msgspec
import trio

from meta.protocol.holding import Holding
from meta.protocol.object import ObjectRow
from node.errors import Busy, ChunkCold, ChunkCorrupt, ContentCold, ContentLost, FrazilError, NotEnoughServices
from node.log import get_logger
from rawx.chunk import ChunkRecord, chunk_checksum, new_chunk_id, unit_digest
from rawx.protocol import Reader, Upload
from rawx.reader import LocalReader
from store.codec import codec
from store.context import REFUSALS, Context
from store.delete import Place, delete_places
from store.fleet import Fleet
from store.get import unhurried
from store.layout import Draft, Layout, Metachunk, layout_of_places
from store.policy import Policy
from store.record import may_be_stale
from store.tier import Temperature

BATCH_BYTES = 1 << 20
"""Bytes of each new chunk that one write carries."""
READ_S = 30.0
"""A source that holds one unit longer is not asked again."""
log = get_logger("store.repair")


@dataclass(slots=True)
class Need:
    """Positions of one metachunk that are to be written anew.

    avoid    volumes that are to hold none of it (being emptied, too full)
    spares   well chunks that the layout does not name, by position: sources
    keep     the old chunks are whole: they are deleted, not quarantined, once the new ones are named
    """

    bucket: str
    holder: Holding
    index: int
    positions: frozenset[int]
    reason: str = ""
    avoid: Collection[str] = ()
    spares: Mapping[int, Place] = field(default_factory=dict)
    keep: bool = False


async def remake(context: Context, need: Need) -> int:
    """Bytes of the chunks that were written; of a content with chunks on cold disks they join them.

    Raises: ContentLost (too little is left), ContentCold (a thaw must come first), Superseded, NotEnoughServices, Unavailable.
    """
    layout = Layout.parse(need.holder.layout)
    metachunk = layout.metachunks[need.index]
    targets = await _targets(context, need, layout, metachunk)
    writer = _Remake(context, need, layout, metachunk, targets)
    context.afterwork.in_flight.add(writer.content_hint)
    try:
        await writer.write()
        await writer.name()
    except BaseException as error:
        if not writer.naming or isinstance(error, REFUSALS):  # else it may be named: then only the scrub may judge
            with trio.CancelScope(shield=True):
                await writer.undo()
        raise
    finally:
        await writer.aclose()
    await writer.retire()
    if writer.is_cold:
        await _join(context, layout, [target.place for target in writer.targets])
    return writer.written


async def _join(context: Context, layout: Layout, places: Sequence[Place]) -> None:
    """The new chunks go where the others are. Of a content that is readable for a while only, they do when that while ends."""
    try:
        (state,) = await context.tier.states([layout])
        if state.temperature is not Temperature.THAWED:
            await context.tier.freeze(layout_of_places(places))
    except FrazilError as error:
        log.info("new chunks of a cold content stay on their volumes for now", extra={"error": str(error)})


async def _targets(context: Context, need: Need, layout: Layout, metachunk: Metachunk) -> dict[int, str]:
    """A volume for each position: none that holds another chunk of the metachunk; the old one's own only when there is no other."""
    fleet = context.fleet
    old = {chunk.position: layout.volumes[chunk.volume] for chunk in metachunk.chunks if chunk.position in need.positions}
    others = {layout.volumes[chunk.volume] for chunk in metachunk.chunks if chunk.position not in need.positions}
    wanted = sorted(need.positions)
    try:
        policy = layout.policies[metachunk.policy].name
        drawn = await fleet.draw(
            len(wanted), len(wanted), without={*others, *old.values(), *need.avoid}, beside=others - set(need.avoid), policy=policy
        )
        return dict(zip(wanted, drawn, strict=True))
    except NotEnoughServices:
        if need.keep:
            raise
    usable = {each.volume for each in await fleet.candidates() if each.weight > 0} - others - set(need.avoid)
    chosen: dict[int, str] = {}
    for position in wanted:
        mine = old.get(position)
        volume = mine if mine in usable else min(usable - set(old.values()) or usable, default=None)
        if volume is None:
            continue
        chosen[position] = volume
        usable.discard(volume)
    if not chosen:
        raise NotEnoughServices("no volume is usable for the chunks to be written anew")
    return chosen


class _Target:
    """One new chunk in the making."""

    def __init__(self, position: int, volume: str) -> None:
        self.position, self.volume = position, volume
        self.id = new_chunk_id()
        self.units = bytearray()
        self.size = 0
        self.pending: list[bytes] = []
        self.upload: Upload | None = None
        self.committed = False

    @property
    def place(self) -> Place:
        return self.volume, self.id


class _Remake:
    def __init__(self, context: Context, need: Need, layout: Layout, metachunk: Metachunk, targets: Mapping[int, str]) -> None:
        self._context, self._need, self._layout, self._metachunk = context, need, layout, metachunk
        self._policy: Policy = layout.policies[metachunk.policy]
        self.targets = [_Target(position, volume) for position, volume in targets.items()]
        self._chunks = {chunk.position: chunk for chunk in metachunk.chunks}
        self._readers: dict[int, Reader] = {}
        self._lost: dict[int, FrazilError] = {}
        self._is_stale = False
        self.is_cold = False
        self.written = 0
        self.naming = False

    @property
    def content_hint(self) -> str:
        holder = self._need.holder
        return holder.part.content if holder.part is not None else holder.row.content if holder.row is not None else ""

    # Reading

    def _place(self, position: int) -> tuple[Place, bytes] | None:
        chunk = self._chunks.get(position)
        spare = self._need.spares.get(position)
        if chunk is None:
            return None
        return (spare or (self._layout.volumes[chunk.volume], chunk.name)), chunk.checksum

    def _order(self) -> list[int]:
        """Whole chunks first; those to be written anew last, for some of their units may be good."""
        good = [position for position in sorted(self._chunks) if position not in self._need.positions or position in self._need.spares]
        return good + [position for position in sorted(self._chunks) if position not in good]

    async def _read(self, position: int, offset: int, into: memoryview) -> bool:
        """Fills `into` with a verified unit; False when this one can't be had from there."""
        if position in self._lost:
            return False
        found = self._place(position)
        if found is None:
            return False
        place, checksum = found
        reader = self._readers.get(position)
        try:
            if isinstance(reader, LocalReader):  # its volume bounds it; a scope of our own takes as long as reading the unit
                await unhurried(reader.read, offset, into)
                return True
            with trio.fail_after(READ_S):
                if reader is None:
                    volume = self._context.fleet.volume(place[0])
                    reader = self._readers[position] = await unhurried(volume.open, place[1], checksum)
                await unhurried(reader.read, offset, into)
            return True
        except Busy:
            raise
        except ChunkCorrupt as error:
            if position not in self._readers:  # its list of checksums is not the one that belongs to it
                self._lost[position] = error
            return False
        except (FrazilError, trio.TooSlowError) as error:
            self._lost[position] = error if isinstance(error, FrazilError) else ContentLost("it did not answer in time")
            return False

    # Writing

    async def write(self) -> None:
        """The new chunks, durable and compared. Raises: ContentLost, ContentCold; what the volumes raise."""
        if self._policy.coded:
            await self._write_coded()
        else:
            await self._write_copies()
        record = await self._record()
        row = self._need.holder.row
        self._is_stale = row is not None and may_be_stale(record, row)
        for target in self.targets:
            await self._commit(target, record)

    async def _write_copies(self) -> None:
        unit_bytes, size = self._policy.unit_bytes, self._metachunk.size
        buffer = memoryview(bytearray(min(unit_bytes, size)))
        for offset in range(0, size, unit_bytes):
            unit = buffer[: min(unit_bytes, size - offset)]
            for position in self._order():
                if await self._read(position, offset, unit):
                    break
            else:
                raise self._too_little(offset)
            for target in self.targets:
                await self._append(target, unit)

    async def _write_coded(self) -> None:
        policy, size = self._policy, self._metachunk.size
        engine = codec(policy.data, policy.parity)
        room = memoryview(bytearray(policy.unit_bytes * policy.chunks))
        for number, base in enumerate(range(0, size, policy.stripe_bytes)):
            unit = policy.fragment_bytes(min(policy.stripe_bytes, size - base))
            slots = [room[position * unit : (position + 1) * unit] for position in range(policy.chunks)]
            wanted = [target.position for target in self.targets]
            got = await self._read_stripe(slots, number * policy.unit_bytes, wanted)
            lost = [position for position in wanted if position not in got]
            if lost:
                units = {position: slots[position] for position in sorted(got)[: policy.data]}
                engine.rebuild(units, lost, [slots[position] for position in lost])
            for target in self.targets:
                await self._append(target, slots[target.position])
            await trio.lowlevel.checkpoint()

    async def _read_stripe(self, slots: Sequence[memoryview], offset: int, wanted: Sequence[int]) -> set[int]:
        """Positions whose unit is in its slot: all that are wanted, or as many as decoding needs. Raises: ContentLost, ContentCold."""
        got: set[int] = set()
        if self._need.keep or self._need.spares:
            for position in wanted:
                if await self._read(position, offset, slots[position]):
                    got.add(position)
            if len(got) == len(wanted):
                return got
        for position in self._order():
            if len(got) >= self._policy.data:
                break
            if position not in got and await self._read(position, offset, slots[position]):
                got.add(position)
        if len(got) < self._policy.data:
            raise self._too_little(offset)
        return got

    def _too_little(self, offset: int) -> ContentLost | ContentCold:
        causes = "; ".join(f"{position}: {error}" for position, error in sorted(self._lost.items()))
        need = self._need
        cold = sum(isinstance(error, ChunkCold) for error in self._lost.values())
        if cold and len(self._chunks) - len(self._lost) + cold >= self._policy.needed:
            return ContentCold(f"{need.bucket}/{need.holder.key}: {cold} chunks of metachunk {need.index} lie on cold disks")
        return ContentLost(f"{need.bucket}/{need.holder.key}: metachunk {need.index} at {offset} has too few whole units left ({causes})")

    async def _append(self, target: _Target, unit: memoryview) -> None:
        target.units += unit_digest(unit)
        target.size += len(unit)
        target.pending.append(bytes(unit))
        if sum(map(len, target.pending)) >= BATCH_BYTES:
            await self._flush(target)

    async def _flush(self, target: _Target) -> None:
        if target.upload is None:
            target.upload = await self._context.fleet.volume(target.volume).create(
                target.id, self._policy.chunk_bytes(self._metachunk.size)
            )
        data, target.pending = b"".join(target.pending), []
        if data:
            await target.upload.write(data)
            self.written += len(data)

    async def _commit(self, target: _Target, record: ChunkRecord) -> None:
        """Raises: ContentLost when the bytes are not those that the layout's checksum binds."""
        checksum = chunk_checksum(target.units)
        known = self._chunks.get(target.position)
        if known is not None and known.checksum != checksum:
            raise ContentLost(f"what was made anew for position {target.position} is not what was there: its sources disagree")
        await self._flush(target)
        assert target.upload is not None
        final = msgspec.structs.replace(
            record,
            policy=self._policy.name,
            position=target.position,
            size=target.size,
            checksum=checksum.hex(),
            metachunk_size=self._metachunk.size,
            unit_bytes=self._policy.unit_bytes,
        )
        target.committed = True
        await target.upload.commit(final, bytes(target.units))
        (look,) = await self._context.fleet.volume(target.volume).examine([target.id], deep=True)
        if look.problem:
            raise ChunkCorrupt(f"the new chunk is damaged already: {look.problem} {look.detail}")

    async def _record(self) -> ChunkRecord:
        """What the other chunks of the metachunk say, the newest of them. Raises: ContentLost when none says anything."""
        found: list[ChunkRecord] = []
        for position in self._order():
            place = self._place(position)
            if place is None:
                continue
            try:
                (look,) = await self._context.fleet.volume(place[0][0]).examine([place[0][1]], deep=False)
            except FrazilError:
                continue
            self.is_cold = self.is_cold or bool(look.cold)
            record = look.record
            if record is not None and record.metachunk_size == self._metachunk.size and record.bucket == self._need.bucket:
                found.append(record)
                if position not in self._need.positions:
                    break
        if not found:
            raise ContentLost(f"no chunk of metachunk {self._need.index} of {self._need.holder.key} has a record that can be read")
        return max(found, key=lambda record: record.seq)

    # Naming

    async def name(self) -> None:
        """Raises: Superseded."""
        layout = _with(
            self._context.fleet,
            self._layout,
            self._need.index,
            [(t.position, t.volume, t.id, chunk_checksum(t.units)) for t in self.targets],
        )
        drop = b""
        if self._need.keep:
            drop = layout_of_places(self._old_places()).encode()
        container = self._context.container(self._need.bucket)
        self.naming = True
        # Old chunks that are dropped wait for the next scan of the deletions: whoever reads them now goes on meanwhile.
        await container.relocate(self._need.holder, layout.encode(), drop, stale=self._is_stale)
        if self._is_stale:
            self._context.afterwork.look_for_stale_records(self._need.bucket)
        self._context.afterwork.settle(target.place for target in self.targets)

    def _old_places(self) -> list[Place]:
        replaced = {target.position for target in self.targets}
        return [(self._layout.volumes[chunk.volume], chunk.name) for position, chunk in self._chunks.items() if position in replaced]

    async def retire(self) -> None:
        """The damaged originals, which nothing names any more, go to quarantine. One that can't is an orphan for the scrub."""
        if self._need.keep:
            return
        for volume, chunk in self._old_places():
            try:
                await self._context.fleet.volume(volume).quarantine(chunk, self._need.reason or "damaged, and made anew elsewhere")
            except FrazilError:  # it was missing, or its volume is away
                continue

    async def undo(self) -> None:
        for target in self.targets:
            if target.upload is not None:
                await target.upload.abort()
        places = [target.place for target in self.targets if target.committed]
        left = await delete_places(self._context.fleet, places)
        self._context.afterwork.settle(place for place in places if place not in left)

    async def aclose(self) -> None:
        for reader in self._readers.values():
            await reader.aclose()
        self._context.afterwork.in_flight.discard(self.content_hint)


def _with(fleet: Fleet, layout: Layout, index: int, places: Sequence[tuple[int, str, str, bytes]]) -> Layout:
    """The layout with other chunks at some positions of a metachunk."""
    draft = Draft()
    for number, metachunk in enumerate(layout.metachunks):
        chunks = {chunk.position: (layout.volumes[chunk.volume], chunk.id, chunk.checksum) for chunk in metachunk.chunks}
        policy, quality = layout.policies[metachunk.policy], metachunk.quality
        if number == index:
            chunks |= {position: (volume, bytes.fromhex(chunk), checksum) for position, volume, chunk, checksum in places}
            quality = fleet.quality([volume for volume, _, _ in chunks.values()], policy.name)
        draft.add(policy, metachunk.size, [(position, *chunks[position]) for position in sorted(chunks)], quality)
    return draft.layout()


async def current(context: Context, bucket: str, row: ObjectRow) -> Holding:
    """Raises: ObjectNotFound, VersionNotFound."""
    now = await context.container(bucket).get(row.key, row.version)
    return Holding(now.key, now.layout, now)
