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
from node.errors import ChunkCorrupt, ContentLost, FrazilError, NotEnoughServices
from node.log import get_logger
from node.threads import run_blocking
from rawx.chunk import ChunkRecord, chunk_checksum, new_chunk_id, unit_digests
from rawx.protocol import Upload
from rawx.reader import LocalReader
from store.codec import codec
from store.context import REFUSALS, Context
from store.delete import Place, delete_places
from store.layout import Draft, Layout, Metachunk, layout_of_places
from store.policy import Policy
from store.record import may_be_stale
from store.sources import Sources
from store.tier import Temperature

BATCH_BYTES = 1 << 20
"""Bytes of each new chunk that one write carries."""
RUN_BYTES = 128 << 10
"""Bytes of each chunk that are read, decoded and checked at once, in whole units: what stays in the processor's caches."""
log = get_logger("store.repair")


@dataclass(slots=True)
class Need:
    """Positions of one metachunk that are to be written anew.

    avoid    volumes that are to hold none of it (being emptied, too full)
    spares   well chunks that the layout does not name, by position: sources
    keep     the old chunks are whole: they are deleted, not quarantined, once the new ones are named
    gone     positions of which there is nothing left to quarantine: what lies under the name may be all that another content has
    no_worse the metachunk must be spread over hosts as well as it is now
    """

    bucket: str
    holder: Holding
    index: int
    positions: frozenset[int]
    reason: str = ""
    avoid: Collection[str] = ()
    spares: Mapping[int, Place] = field(default_factory=dict)
    keep: bool = False
    gone: Collection[int] = ()
    no_worse: bool = False


async def remake(context: Context, need: Need) -> int:
    """Bytes of the chunks that were written; of a content with chunks on cold disks they join them.

    Raises: ContentLost (too little is left), ContentAway (too little is there now), ContentCold (a thaw must come first), Superseded,
    Unavailable; NotEnoughServices also when some were written, and there is no volume for the others.
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
    if len(targets) < len(need.positions):
        raise NotEnoughServices(f"{len(targets)} of {len(need.positions)} chunks were written anew, no volume is usable for the others")
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
    """A volume for each position: none that holds another chunk of the metachunk; the old one's own only when there is no other.

    What can't be placed as its pool wishes is placed as it can be: at the pool's sites as long as a volume there takes it, else elsewhere,
    which is told, for a chunk too few is worse than one that must move again.
    """
    fleet = context.fleet
    old = {chunk.position: layout.volumes[chunk.volume] for chunk in metachunk.chunks if chunk.position in need.positions}
    others = {layout.volumes[chunk.volume] for chunk in metachunk.chunks if chunk.position not in need.positions}
    wanted = sorted(need.positions)
    policy = context.draws(need.holder.row, layout.policies[metachunk.policy].name)
    try:
        drawn = await fleet.draw(
            len(wanted), len(wanted), without={*others, *old.values(), *need.avoid}, beside=others - set(need.avoid), policy=policy
        )
        if need.no_worse and fleet.quality([*others, *drawn], policy) & ~metachunk.quality:
            raise NotEnoughServices("the volumes that take chunks would spread them worse")
        return dict(zip(wanted, drawn, strict=True))
    except NotEnoughServices:
        if need.keep:
            raise
    usable = {each.volume for each in await fleet.candidates() if each.weight > 0} - others - set(need.avoid)
    chosen, stale = dict[int, str](), set(old.values())

    def rank(volume: str) -> tuple[bool, bool, str]:
        return not fleet.belongs(volume, policy), volume in stale, volume

    for position in wanted:
        mine = old.get(position)
        volume = mine if mine in usable else min(usable, key=rank, default=None)
        if volume is None:
            continue
        if not fleet.belongs(volume, policy):
            told = {"bucket": need.bucket, "key": need.holder.key, "volume": volume, "pool": policy}
            log.warning(
                "a chunk is made anew elsewhere than at the sites of its pool, for no volume there takes it: make room there", extra=told
            )
        chosen[position] = volume
        usable.discard(volume)
    if not chosen:
        raise NotEnoughServices("no volume is usable for the chunks to be written anew")
    return chosen


class _Target:
    """One new chunk in the making. room: memory for bytes that are not written yet."""

    def __init__(self, position: int, volume: str) -> None:
        self.position, self.volume = position, volume
        self.id = new_chunk_id()
        self.units = bytearray()
        self.size = 0
        self.room = memoryview(b"")
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
        name = f"{need.bucket}/{need.holder.key}: metachunk {need.index}"
        self._sources = Sources(context.fleet, layout, metachunk, name=name, lost=need.positions, spares=need.spares)
        self._chunk_bytes = self._policy.chunk_bytes(metachunk.size)
        self._run_bytes = max(RUN_BYTES // self._policy.unit_bytes, 1) * self._policy.unit_bytes
        self._rooms: list[memoryview] = []
        self._filled = 0
        self._is_whole = True
        """No source that was read has failed so far."""
        self._is_stale = False
        self.is_cold = False
        self.written = 0
        self.naming = False

    @property
    def content_hint(self) -> str:
        holder = self._need.holder
        return holder.part.content if holder.part is not None else holder.row.content if holder.row is not None else ""

    async def write(self) -> None:
        """The new chunks, durable and compared. Raises: ContentLost, ContentAway, ContentCold; what the volumes raise."""
        slots = self._policy.data if self._policy.coded else 0
        run, batch = min(self._run_bytes, self._chunk_bytes), min(max(BATCH_BYTES, self._run_bytes), self._chunk_bytes)
        async with self._context.repairs.take(slots * run + len(self.targets) * batch + 1) as room:
            self._rooms = [room[number * run : (number + 1) * run] for number in range(slots)]
            for number, target in enumerate(self.targets):
                target.room = room[slots * run + number * batch :][:batch]
            await self._sources.open(self._enough)
            done = 0
            while done < self._chunk_bytes:
                done += await self._make_some(done)
            record, self.is_cold = await self._sources.record(self._need.holder, self._need.positions)
            row = self._need.holder.row
            self._is_stale = row is not None and may_be_stale(record, row)
            for target in self.targets:
                await self._commit(target, record)

    async def _make_some(self, offset: int) -> int:
        """How many of the next bytes of all targets are made now. Raises: ContentLost, ContentAway, ContentCold."""
        count = min(self._run_bytes, self._chunk_bytes - offset)
        if self._filled + count > len(self.targets[0].room):
            for target in self.targets:
                await self._flush(target)
            self._filled = 0
        readers = self._sources.local(self._enough) if self._is_whole else {}
        made = await run_blocking(self._make_cached, readers, offset) if readers else 0
        if not made:
            await self._make(offset, count)
            await trio.lowlevel.checkpoint()
        return made or count

    @property
    def _enough(self) -> Sequence[int]:
        """Positions that all is made from, as long as they are well: the targets' own where these are good, else what the code needs."""
        direct = self._need.keep or self._need.spares
        return sorted(self._need.positions) if direct else self._sources.order[: self._policy.needed]

    async def _make(self, offset: int, count: int) -> None:
        """The next bytes of all targets, from wherever they are to be had. Raises: ContentLost, ContentAway, ContentCold."""
        unit_bytes, fill = self._policy.unit_bytes, self._decode if self._policy.coded else self._copy
        if not await fill(offset, count, self._filled):
            for at in range(0, count, unit_bytes):  # unit by unit, each from those that have it whole
                if not await fill(offset + at, min(unit_bytes, count - at), self._filled + at):
                    raise self._sources.too_little(offset + at)
        self._made(count)

    def _made(self, count: int) -> None:
        for target in self.targets:
            target.units += unit_digests(target.room[self._filled : self._filled + count], self._policy.unit_bytes)
            target.size += count
        self._filled += count

    def _make_cached(self, readers: Mapping[int, LocalReader], offset: int) -> int:
        """What `_make` does, of as many bytes as there is room for and the page cache has of whole sources. In a thread, by one hop."""
        began = offset
        while (count := min(self._run_bytes, self._chunk_bytes - offset)) and self._filled + count <= len(self.targets[0].room):
            try:
                if not self._fill_cached(readers, offset, count):
                    break
            except FrazilError:  # `_make` finds the same, and says what follows from it
                self._is_whole = False
                break
            self._made(count)
            offset += count
        return offset - began

    def _fill_cached(self, readers: Mapping[int, LocalReader], offset: int, count: int) -> bool:
        wanted = {target.position: target.room[self._filled : self._filled + count] for target in self.targets}
        if readers.keys() >= wanted.keys():
            return all(readers[position].read_now(offset, room) for position, room in wanted.items())
        if readers.keys() & wanted.keys():  # so little is left that some of the targets' own bytes are needed: `_make` tells them apart
            return False
        if not self._policy.coded:
            first, *others = wanted.values()
            there = all(reader.read_now(offset, first) for reader in readers.values())
            for other in others:
                other[:] = first
            return there
        units = {position: room[:count] for position, room in zip(readers, self._rooms, strict=True)}
        if not all(reader.read_now(offset, units[position]) for position, reader in readers.items()):
            return False
        codec(self._policy.data, self._policy.parity).rebuild(units, list(wanted), list(wanted.values()))
        return True

    async def _copy(self, offset: int, count: int, at: int) -> bool:
        """Bytes from `offset` into the targets' rooms, from `at` on; whether they can be had."""
        first, *others = [target.room[at : at + count] for target in self.targets]
        for position in self._sources.order:
            if await self._sources.read(position, offset, first):
                for other in others:
                    other[:] = first
                return True
        return False

    async def _decode(self, offset: int, count: int, at: int) -> bool:
        """The same for a code: of each byte's stripe as many units as decoding needs, if the lost ones themselves are not to be had."""
        data, sources = self._policy.data, self._sources
        wanted = {target.position: target.room[at : at + count] for target in self.targets}
        got = await sources.read_all(wanted, offset) if self._need.keep or self._need.spares else {}
        candidates = [position for position in sources.order if position not in got]
        free = [room[:count] for room in self._rooms]
        while len(got) < data and not wanted.keys() <= got.keys():
            missing = data - len(got)
            if len(candidates) < missing:
                return False
            asked = {position: wanted[position] if position in wanted else free.pop() for position in candidates[:missing]}
            candidates = candidates[missing:]
            read = await sources.read_all(asked, offset)
            got |= read
            free += [slot for position, slot in asked.items() if position not in read and position not in wanted]
        lost = [position for position in wanted if position not in got]
        if lost:
            units = {position: got[position] for position in sorted(got)[:data]}
            codec(data, self._policy.parity).rebuild(units, lost, [wanted[position] for position in lost])
        return True

    async def _flush(self, target: _Target) -> None:
        """Writes what is in the target's room."""
        if target.upload is None:
            target.upload = await self._context.fleet.volume(target.volume).create(target.id, self._chunk_bytes)
        await target.upload.write(target.room[: self._filled])

    async def _commit(self, target: _Target, record: ChunkRecord) -> None:
        """Raises: ContentLost when the bytes are not those that the layout's checksum binds."""
        checksum, units = chunk_checksum(target.units), bytes(target.units)
        known = self._chunks.get(target.position)
        if known is not None and known.checksum != checksum:
            raise ContentLost(f"what was made anew for position {target.position} is not what was there: its sources disagree")
        final = msgspec.structs.replace(
            record,
            policy=self._policy.name,
            position=target.position,
            size=target.size,
            checksum=checksum.hex(),
            metachunk_size=self._metachunk.size,
            unit_bytes=self._policy.unit_bytes,
        )
        volume = self._context.fleet.volume(target.volume)
        if target.upload is None:
            target.committed = True
            await volume.put(target.id, target.room[: self._filled], final, units)
        else:
            await self._flush(target)
            target.committed = True
            await target.upload.commit(final, units)
        self.written += target.size
        (look,) = await volume.examine([target.id], deep=True)
        if look.problem:
            raise ChunkCorrupt(f"the new chunk is damaged already: {look.problem} {look.detail}")

    # Naming

    async def name(self) -> None:
        """Raises: Superseded."""
        places = [(t.position, t.volume, t.id, chunk_checksum(t.units)) for t in self.targets]
        layout = _with(self._context, self._need, self._layout, places)
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

    def _old_places(self, without: Collection[int] = ()) -> list[Place]:
        replaced = {target.position for target in self.targets} - set(without)
        return [(self._layout.volumes[chunk.volume], chunk.name) for position, chunk in self._chunks.items() if position in replaced]

    async def retire(self) -> None:
        """The damaged originals, which nothing names any more, go to quarantine. One that can't is an orphan for the scrub."""
        if self._need.keep:
            return
        for volume, chunk in self._old_places(without=self._need.gone):
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
        await self._sources.aclose()
        self._context.afterwork.in_flight.discard(self.content_hint)


def _with(context: Context, need: Need, layout: Layout, places: Sequence[tuple[int, str, str, bytes]]) -> Layout:
    """The layout with other chunks at the positions of a metachunk that were needed."""
    draft = Draft()
    for number, metachunk in enumerate(layout.metachunks):
        chunks = {chunk.position: (layout.volumes[chunk.volume], chunk.id, chunk.checksum) for chunk in metachunk.chunks}
        policy, quality = layout.policies[metachunk.policy], metachunk.quality
        if number == need.index:
            chunks |= {position: (volume, bytes.fromhex(chunk), checksum) for position, volume, chunk, checksum in places}
            pool = context.draws(need.holder.row, policy.name)
            quality = context.fleet.quality([volume for volume, _, _ in chunks.values()], pool)
        draft.add(policy, metachunk.size, [(position, *chunks[position]) for position in sorted(chunks)], quality)
    return draft.layout()


async def current(context: Context, bucket: str, row: ObjectRow) -> Holding:
    """Raises: ObjectNotFound, VersionNotFound."""
    now = await context.container(bucket).get(row.key, row.version)
    return Holding(now.key, now.layout, now)
