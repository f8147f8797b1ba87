"""Checking everything that is stored, in two ways, and having repaired what is found.

By metadata: the containers are walked, and every chunk that a layout names is looked at: is it there, of the right size, with the checksum
and the place that the layout says, with a record that says what the row says. By chunks: the volumes are walked, and every file is asked
whose it is: damaged, in no layout (an orphan, a duplicate, one out of place), or of another store. Each finds what the other can't see.

An orphan is judged in this order: the chunk is listed; then the journals are read; then the metadata is asked. A chunk is noted in a
journal before it is visible and settled only after its metadata is committed. So one that is in no journal and that no metadata names is
nobody's, whatever is being written meanwhile; a grace on top covers clocks and crashes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain

import msgspec

from meta.protocol.bucket import SYSTEM_BUCKET
from meta.protocol.holding import Claim, Cursor, Holding
from node.errors import BucketNotFound, ContentCold, ContentLost, FrazilError, RecordCorrupt, Superseded
from node.log import get_logger
from rawx.chunk import ChunkRecord, ObjectRecord
from rawx.protocol import Examined, Rawx
from store.context import Context
from store.delete import Place
from store.layout import Chunk, Layout
from store.moved import again
from store.parallel import gather
from store.record import is_stale, may_be_of, object_record
from store.repair import Need, remake
from store.tally import Damage, Tally
from store.tier import Priority

WALK_ROWS = 500
LIST_CHUNKS = 1_000
DEEP_BYTES = 32 << 20
"""Bytes that one step of a deep scrub reads, about: what a pace can be kept with."""
DEEP_FIRST = 20
"""Rows or chunks of its first step; then as many as the last step's sizes let expect DEEP_BYTES of."""
GRACE_S = 3600.0
"""A chunk younger than this is never taken for an orphan."""
TRIES_MAX = 3
"""A metachunk whose row changes while it is repaired is looked at again."""
UNREPAIRABLE = ("unreadable", "foreign", "nameless")
"""Problems that no repair follows: the volume is away, or nobody knows whose the chunk is."""
NOT_ASIDE = ("missing", "swapped")
"""Problems after whose repair nothing goes to quarantine: what lies under the name is another content's, perhaps all that it has. It stays,
and the walk by chunks asks whose it is."""
_UNREADABLE = Examined("", "unreadable", "its volume does not answer")
log = get_logger("store.scrub")


class _Expected(msgspec.Struct, frozen=True, gc=False):
    """What a layout says of one chunk. told: what the record of an object of one content says of it."""

    holder: Holding
    index: int
    chunk: Chunk
    volume: str
    size: int
    metachunk_size: int
    told: ObjectRecord | None


def expected(holder: Holding, name: str = "") -> list[_Expected]:
    """Every chunk that the layout names, or those of that name. Raises: RecordCorrupt."""
    layout = Layout.parse(holder.layout)
    told = None if holder.row is None else object_record(holder.row)
    found = []
    for index, metachunk in enumerate(layout.metachunks):
        chunks = [chunk for chunk in metachunk.chunks if chunk.name == name] if name else metachunk.chunks
        whole = metachunk.size
        size = layout.policies[metachunk.policy].chunk_bytes(whole)
        found += [_Expected(holder, index, chunk, layout.volumes[chunk.volume], size, whole, told) for chunk in chunks]
    return found


def unwritten(holder: Holding) -> list[tuple[int, int]]:
    """(metachunk, position) that no chunk has."""
    layout = Layout.parse(holder.layout)
    return [
        (index, position)
        for index, metachunk in enumerate(layout.metachunks)
        if len(metachunk.chunks) < (chunks := layout.policies[metachunk.policy].chunks)
        for position in sorted(set(range(chunks)) - {chunk.position for chunk in metachunk.chunks})
    ]


def judge(what: _Expected, look: Examined) -> tuple[str, str]:
    """(problem, detail) of a chunk against its layout; ("", "") when it is as it should be. Pure."""
    if look.problem:
        return look.problem, look.detail
    record = look.record
    assert record is not None
    if look.size != what.size or look.checksum != what.chunk.checksum:
        if not may_be_of(record, what.holder):
            return "swapped", f"it is a chunk of {record.bucket}/{record.key}"
        if look.size != what.size:
            return "truncated", f"it has {look.size} bytes, the layout says {what.size}"
        return "corrupt", "its bytes are not its own"
    if record.position != what.chunk.position or record.metachunk_size != what.metachunk_size:
        return "record", f"its record says position {record.position}, the layout {what.chunk.position}"
    row = what.holder.row
    return ("stale", "its record says something else than its row") if row is not None and is_stale(record, row, what.told) else ("", "")


@dataclass(slots=True)
class _Ahead:
    """Chunks of a volume behind `after` that were listed and not looked at yet. noted: what any journal held after they were listed."""

    volume: str
    after: str
    chunks: list[str]
    noted: frozenset[str]
    truncated: bool

    def take(self, count: int) -> list[str]:
        taken, self.chunks = self.chunks[:count], self.chunks[count:]
        if taken:
            self.after = taken[-1]
        return taken


class Scrub:
    """Looks, judges and has repaired. repair: False only tells; grace_s: see GRACE_S."""

    def __init__(
        self,
        context: Context,
        tally: Tally,
        *,
        deep: bool,
        repair: bool = True,
        grace_s: float = GRACE_S,
        volumes: frozenset[str] = frozenset(),
        bucket: str = "",
    ) -> None:
        """volumes: by metadata, only chunks there;  bucket: by chunks, only its own."""
        self._context, self.tally = context, tally
        self._volumes, self._bucket = volumes, bucket
        self._deep, self._repair, self._grace_s = deep, repair, grace_s
        self._page = DEEP_FIRST
        self._ahead = _Ahead("", "", [], frozenset(), truncated=False)

    def _next_page(self, most: int, count: int, size: int) -> None:
        """After a step of `count` rows or chunks of `size` bytes."""
        self._page = max(1, min(most, 2 * self._page, DEEP_BYTES * count // size if size else most))

    # By metadata

    async def holders(self, bucket: str, cursor: Cursor) -> tuple[Cursor | None, int]:
        """One step through a container; where the next begins (None: done) and the bytes looked at. Raises: BucketNotFound, Unavailable."""
        found = await self._context.container(bucket).walk(cursor, self._page if self._deep else WALK_ROWS)
        size = await self.check(bucket, found)
        self._next_page(WALK_ROWS, len(found), size)
        self.tally.counts["contents"] += len(found)
        return (found[-1].cursor if found else None), size

    async def check(self, bucket: str, holders: Sequence[Holding], *, only: int | None = None) -> int:
        """Every chunk of these contents, or of their metachunk `only`; the bytes looked at."""
        holders = [holder for holder in holders if self._readable(bucket, holder)]
        chunks = [each for holder in holders for each in expected(holder) if only in (None, each.index)]
        if self._volumes:
            chunks = [each for each in chunks if each.volume in self._volumes]
        looks = await self._examine(chunks)
        wrong: dict[tuple[int, int], dict[int, tuple[str, str]]] = {}
        numbers = {id(holder): number for number, holder in enumerate(holders)}
        for each, look in zip(chunks, looks, strict=True):
            problem, detail = judge(each, look)
            if problem:
                wrong.setdefault((numbers[id(each.holder)], each.index), {})[each.chunk.position] = (problem, detail)
        for number, holder in enumerate(holders):
            for index, position in unwritten(holder):
                if only in (None, index) and not self._volumes:
                    wrong.setdefault((number, index), {})[position] = ("unwritten", "")
        size = sum(each.size for each in chunks)
        self.tally.saw(len(chunks), size)
        for (number, index), problems in wrong.items():
            await self.settle(bucket, holders[number], index, problems)
        return size

    def _tell(self, damage: Damage) -> None:
        self.tally.add(msgspec.structs.replace(damage, where=self._context.fleet.whereabouts(damage.volume)))

    def _readable(self, bucket: str, holder: Holding) -> bool:
        """A row whose layout is damaged is told, and the walk goes on behind it."""
        try:
            Layout.parse(holder.layout)
        except RecordCorrupt as error:
            self._tell(Damage("", "", "layout", bucket, holder.key, str(error), "told"))
            return False
        return True

    async def _examine(self, chunks: Sequence[_Expected], *, deep: bool = False) -> list[Examined]:
        """A look at each, in order."""
        by_volume: dict[str, list[int]] = {}
        for number, each in enumerate(chunks):
            by_volume.setdefault(each.volume, []).append(number)
        names = {volume: [chunks[number].chunk.name for number in numbers] for volume, numbers in by_volume.items()}
        results = await gather([partial(self._examine_on, volume, names[volume], deep or self._deep) for volume in names])
        found = [_UNREADABLE] * len(chunks)
        for numbers, result in zip(by_volume.values(), results, strict=True):
            if not isinstance(result, FrazilError):
                for number, look in zip(numbers, result, strict=True):
                    found[number] = look
        return found

    async def _examine_on(self, volume: str, chunks: list[str], deep: bool) -> list[Examined]:
        return await self._context.fleet.volume(volume).examine(chunks, deep=deep)

    async def settle(
        self, bucket: str, holder: Holding, index: int, problems: dict[int, tuple[str, str]], spares: dict[int, Place] | None = None
    ) -> None:
        """What is wrong with a metachunk is looked at again as it is now, repaired, and told."""
        for _ in range(TRIES_MAX):
            layout = Layout.parse(holder.layout)
            places = {c.position: (layout.volumes[c.volume], c.name) for c in layout.metachunks[index].chunks}
            try:
                outcome = await self._settle(bucket, holder, index, problems, spares or {})
            except Superseded:
                now = await again(self._context, bucket, holder)
                if now is None:
                    return  # deleted or replaced meanwhile: nothing of it is anybody's
                holder = now
                problems = await self._problems(holder, index, problems)
                if not problems:
                    return
                continue
            for position, (problem, detail) in problems.items():
                volume, chunk = places.get(position, ("", ""))
                self._context.fleet.blame(volume, problem)
                self._tell(Damage(volume, chunk, problem, bucket, holder.key, detail, outcome[problem in UNREPAIRABLE]))
            return

    async def _settle(
        self, bucket: str, holder: Holding, index: int, problems: dict[int, tuple[str, str]], spares: dict[int, Place]
    ) -> tuple[str, str]:
        """(what became of what can be repaired, of the rest). Raises: Superseded when the row says something else by now."""
        stale = [position for position, (problem, _) in problems.items() if problem == "stale"]
        bad = frozenset(p for p, (problem, _) in problems.items() if problem not in UNREPAIRABLE and problem != "stale")
        now = await again(self._context, bucket, holder)
        if now is None or now.layout != holder.layout:
            raise Superseded("it changed meanwhile")
        if stale and holder.row is not None and self._repair:
            if not await self._context.container(bucket).restale(holder.row.key, holder.row.version) and not bad:
                for position in stale:
                    del problems[position]  # its new record was on its way
            self._context.afterwork.look_for_stale_records(bucket)
        if not self._repair:
            return "told", "told"
        if bad:
            reason = "; ".join(sorted({problem for problem, _ in problems.values()}))
            try:
                gone = [position for position, (problem, _) in problems.items() if problem in NOT_ASIDE]
                await remake(self._context, Need(bucket, holder, index, bad, reason, spares=spares, gone=gone))
            except ContentLost as error:
                log.error("a metachunk can't be made whole", extra={"bucket": bucket, "error": str(error)})
                return "lost", "waits"
            except ContentCold:
                await self._context.tier.thaw(Layout.parse(holder.layout), Priority.BULK, 0)
                return "waits", "waits"
            except Superseded:
                raise
            except FrazilError as error:
                log.info("a repair could not be done now", extra={"bucket": bucket, "error": str(error)})
                return "waits", "waits"
        return "repaired", "waits"

    async def _problems(self, holder: Holding, index: int, before: dict[int, tuple[str, str]]) -> dict[int, tuple[str, str]]:
        chunks = [each for each in expected(holder) if each.index == index and each.chunk.position in before]
        looks = await self._examine(chunks)
        found = {}
        for each, look in zip(chunks, looks, strict=True):
            problem, detail = judge(each, look)
            if problem:
                found[each.chunk.position] = problem, detail
        return found

    # By chunks

    async def files(self, volume_id: str, after: str) -> tuple[str | None, int]:
        """One step through a volume; where the next begins (None: done) and the bytes looked at. Raises: Unavailable."""
        volume = self._context.fleet.volume(volume_id)
        ahead = await self._list(volume, after)
        looks = await volume.examine(ahead.take(self._page if self._deep else LIST_CHUNKS), deep=self._deep)
        size = sum(look.size for look in looks)
        self._next_page(LIST_CHUNKS, len(looks), size)
        self.tally.saw(len(looks), size)
        by_bucket: dict[str, list[Examined]] = {}
        for look in looks:
            if look.problem == "missing" or look.chunk in ahead.noted:
                continue
            if self._bucket and (look.record is None or look.record.bucket != self._bucket):
                continue
            if look.record is None:
                self._tell(Damage(volume_id, look.chunk, "nameless", detail=look.detail, outcome="told"))
                continue
            by_bucket.setdefault(look.record.bucket, []).append(look)
        for bucket, found in by_bucket.items():
            await self._ask(volume_id, bucket, found)
        return (ahead.after if ahead.chunks or ahead.truncated else None), size

    async def _list(self, volume: Rawx, after: str) -> _Ahead:
        """What is behind `after`: a long list at once, for listing takes as long for few chunks as for many."""
        ahead = self._ahead
        if not ahead.chunks or (ahead.volume, ahead.after) != (volume.volume_id, after):
            page = await volume.list(after, LIST_CHUNKS)
            noted = await self._noted(volume) if page.chunks else frozenset[str]()
            ahead = self._ahead = _Ahead(volume.volume_id, after, page.chunks, noted, page.truncated)
        return ahead

    async def _noted(self, volume: Rawx) -> frozenset[str]:
        """Chunks that somebody is writing. Of the others it can only be known while they answer; a chunk is noted where it lies.

        Raises: Unavailable.
        """
        others = [each for each in self._context.fleet.volumes.values() if each is not volume]
        answers = await gather([each.noted for each in others])
        known = [answer for answer in answers if not isinstance(answer, FrazilError)]
        return frozenset(chain(await volume.noted(), *known))

    async def _ask(self, volume_id: str, bucket: str, looks: list[Examined]) -> None:
        claims = [_claim(look.record) for look in looks if look.record is not None]
        try:
            holders: list[Holding | None] = await self._context.container(bucket).holders(claims)
        except BucketNotFound:
            if await self._exists(bucket):
                for look in looks:
                    self._tell(Damage(volume_id, look.chunk, "foreign", bucket, detail="its bucket's metadata is gone", outcome="told"))
                return
            holders = [None] * len(looks)
        for look, holder in zip(looks, holders, strict=True):
            if holder is None:
                await self._orphan(volume_id, bucket, look)
            elif holder.key:
                await self._compare(volume_id, bucket, look, holder)

    async def _exists(self, bucket: str) -> bool:
        """Whether there is such a name, though its container can't be read."""
        if bucket == SYSTEM_BUCKET:  # in no register; what it keeps is needed most when its own base is lost
            return True
        try:
            await self._context.meta.registry.locate(bucket)
        except BucketNotFound:
            return False
        return True

    async def _orphan(self, volume_id: str, bucket: str, look: Examined, problem: str = "orphaned") -> None:
        assert look.record is not None
        afterwork = self._context.afterwork
        if not self._old(look) or look.record.content in afterwork.in_flight or afterwork.held([(volume_id, look.chunk)]):
            return
        volume, detail, outcome = self._context.fleet.volume(volume_id), "no metadata names it", "told"
        (whole,) = [look] if problem == "orphaned" or self._deep else await volume.examine([look.chunk], deep=True)
        if whole.problem:  # its record may be the wrong one, and its bytes all that another content has: the walk by metadata finds that
            detail = f"{whole.problem}, so whose it is is not sure"
        elif self._repair:
            left = await volume.delete([look.chunk])
            outcome = "waits" if left else "deleted"
        self._tell(Damage(volume_id, look.chunk, problem, bucket, look.record.key, detail, outcome))

    def _old(self, look: Examined) -> bool:
        return self._context.clock.now_us() - look.mtime_us >= self._grace_s * 1_000_000

    async def _compare(self, volume_id: str, bucket: str, look: Examined, holder: Holding) -> None:
        mine = next((each for each in expected(holder, look.chunk) if each.volume == volume_id), None)
        if mine is not None:
            problem, detail = judge(mine, look)
            if problem:
                await self.settle(bucket, holder, mine.index, {mine.chunk.position: (problem, detail)})
            return
        await self._beside(volume_id, bucket, look, holder)

    async def _beside(self, volume_id: str, bucket: str, look: Examined, holder: Holding) -> None:
        """A chunk of a content whose layout doesn't name it: a second one, or one whose place was taken by something else."""
        record = look.record
        assert record is not None
        twin = next(
            (each for each in expected(holder) if each.chunk.position == record.position and each.chunk.checksum == look.checksum), None
        )
        named = next(iter(expected(holder, look.chunk)), None)
        if twin is not None and not look.problem:
            (found,) = await self._examine([twin], deep=True)
            problem, _ = judge(twin, found)
            if problem and problem not in (*UNREPAIRABLE, "stale"):
                place = (volume_id, look.chunk)
                await self.settle(bucket, holder, twin.index, {twin.chunk.position: (problem, "")}, {twin.chunk.position: place})
                return
            if problem in UNREPAIRABLE:
                return
        elif named is not None:  # another chunk lies under this one's name: the walk by metadata, or the other's volume, tells
            return
        await self._orphan(volume_id, bucket, look, "misplaced" if named is not None else "duplicated")


def _claim(record: ChunkRecord) -> Claim:
    marker = record.object is not None and record.object.marker
    return Claim(record.key, record.content, record.object.version if marker and record.object is not None else 0)
