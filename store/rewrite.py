"""Changing some bytes of an object: metachunks that no change touches stay, the others are read, patched and written anew.

Theory of operation. The object is cut into spans: metachunks that stay, and ranges of bytes that are written. In a bucket without
versioning the chunks that stay are not touched at all: the new row names them beside the new ones, and a mosaic (store/mosaic.py) in the
row and in the new chunks' records tells which metachunks of which contents the object is now. Where versions are kept the old one must
stay as it is: chunks that stay are copied on their volumes, as by CopyObject, and the new version is one content. Small objects and
encrypted ones are written whole. What is rewritten is cut finer than what is put, for it will be rewritten again. Small metachunks at the
end are taken along while what is appended is as large as they are, so that an object that grows in small steps is written a few times,
not once for each step.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Sequence
from itertools import accumulate

import msgspec

from meta.protocol.object import NO_CONDITION, Attributes, Condition, ObjectRow, PutResult, Rewrite
from meta.protocol.restore import COLD_CLASSES, is_readable, without_restore
from node.errors import ContentAway, ContentCold, ContentLost, FrazilError, InvalidArgument, ObjectNotFound, Superseded
from rawx.chunk import ChunkRecord
from store.append import COMMITS_MAX, NO_RECORD, ConditionalRequestConflict
from store.content import ContentWriter, Run, Tail
from store.context import Context
from store.copy import of_one_piece
from store.envelope import ENCRYPTION
from store.get import NOT_READ
from store.layout import EMPTY, Layout, Metachunk, layout_of_places
from store.mosaic import Mosaic, Tile, mosaic_of
from store.opening import reader_of
from store.overlay import Overlay, Patch
from store.policy import METACHUNK_BYTES, SLAB_BYTES, PolicySet
from store.put import commit, committed, write
from store.record import object_record
from store.sealing import sealed
from store.source import BytesSource, Source, Summary

WHOLE_BYTES_MAX = SLAB_BYTES
"""Objects up to here are written whole: that costs hardly more, and they keep an MD5 as their ETag."""
GRAIN_BYTES = 8 << 20
"""Least size of a full metachunk of what is rewritten: a write of one byte into a large object rewrites 64 MiB once, then 8."""
PIECES_MAX = 2_000
"""Pieces of a mosaic; with more the object is written whole. A piece takes 15 bytes in the row and in its records, its content 35."""

HOT_CLASS = "STANDARD"
"""Of a cold object that is written, whole: only who can read it all (restored) can write a part of it, and then works with it."""
REPLACED = "the object was replaced while it was rewritten"
Describe = Callable[[Attributes], Attributes]
"""The attributes that the object is to have, from those it has; called again when they are changed meanwhile."""


class Span(msgspec.Struct, frozen=True):
    """first, stop: metachunks that stay, or, if it is fresh, bytes that are written."""

    first: int
    stop: int
    fresh: bool


def plan(metachunks: Sequence[int], size: int, touched: Sequence[tuple[int, int]]) -> list[Span]:
    """What stays and what is written of an object that is to have `size` bytes, in order. Pure.

    metachunks: bytes of each, those without any are in no span; touched: ranges of bytes that change
    """
    stays = _staying(metachunks, size, touched)
    spans: list[Span] = []

    def add(first: int, stop: int, fresh: bool) -> None:
        if first >= stop:
            return
        if spans and (spans[-1].fresh, spans[-1].stop) == (fresh, first):
            first = spans.pop().first
        spans.append(Span(first, stop, fresh))

    offset = 0
    for index, length in enumerate(metachunks):
        if stays[index]:
            add(index, index + 1, False)
        else:
            add(offset, min(offset + length, size), True)
        offset += length
    add(offset, size, True)
    return spans


def _staying(metachunks: Sequence[int], size: int, touched: Sequence[tuple[int, int]]) -> list[bool]:
    ends = list(accumulate(metachunks))
    stays = [length > 0 and end <= size for length, end in zip(metachunks, ends, strict=True)]
    for start, stop in touched:
        for index in range(bisect_right(ends, start), len(ends)):
            if ends[index] - metachunks[index] >= stop:
                break
            stays[index] = False
    tail = max(size - sum(metachunks), 0)
    for index in reversed(range(len(metachunks))):
        if stays[index]:
            if metachunks[index] > tail or metachunks[index] >= GRAIN_BYTES:
                break
            stays[index] = False
        tail += metachunks[index]
    return stays


async def rewrite_object(
    context: Context,
    bucket: str,
    old: ObjectRow,
    patches: Sequence[Patch],
    size: int | None = None,
    *,
    describe: Describe = lambda attributes: attributes,
    condition: Condition = NO_CONDITION,
    data_key: bytes = b"",
) -> ObjectRow:
    """The object as it is now; durable and visible at return.

    old: its current version; patches: in order, none over another; size: that it is to have, None: as it is, or as the patches need;
    data_key: of one that is encrypted

    Raises: as put_object; InvalidArgument for patches beyond the size; ContentCold when it must be restored first;
    ConditionalRequestConflict when `old` was replaced meanwhile.
    """
    end = _check(patches, size)
    now = old if old.seq else await context.container(bucket).get(old.key)  # seq: known to the metadata only, when it was put just now
    if now.content != old.content:
        raise ConditionalRequestConflict(REPLACED)
    if not is_readable(now, context.clock.now_us()):  # else a byte that is written would bring all the others back
        raise ContentCold("the object lies in the cold tier: it must be restored before a part of it is written")
    settings = await context.container(bucket).settings()
    storage_class = HOT_CLASS if old.storage_class in COLD_CLASSES else old.storage_class
    record, policies = await context.new_content(bucket, old.key, storage_class)
    rewriting = _Rewriting(context, policies, now, record, describe, null=settings.versioning != "Enabled")
    with context.afterwork.reading(Layout.parse(now.layout)):
        try:
            layout = await rewriting.write(patches, max(now.size, end) if size is None else size, data_key)
        except NOT_READ as error:
            if await rewriting.is_replaced():  # by another process, which deletes what is read here
                raise ConditionalRequestConflict(REPLACED) from error
            raise
        return await rewriting.finish(layout, condition)


def _check(patches: Sequence[Patch], size: int | None) -> int:
    """Where the last patch ends, as far as that is known. Raises: InvalidArgument."""
    at = 0
    for patch in patches:
        if patch.start < at or (patch.stop is None and (patch is not patches[-1] or size is not None)):
            raise InvalidArgument("patches come in order, none over another, and only the last may be of unknown length")
        at = patch.start + (patch.source.length or 0)
    if size is not None and at > size:
        raise InvalidArgument(f"a patch ends at {at}, behind the object's end at {size}")
    return at


class _Rewriting:
    """One rewrite. null: the result is a null version; where the object is one already, its chunks may go on in it."""

    def __init__(
        self, context: Context, policies: PolicySet, old: ObjectRow, record: ChunkRecord, describe: Describe, *, null: bool
    ) -> None:
        self._context, self._bucket, self._old, self._describe = context, record.bucket, old, describe
        self._in_place, self._null = null and old.null, null
        self._version = context.stamp()
        self._spans: list[Span] = []
        self._counts: Sequence[int] = ()
        self._tiles: list[Tile] = []
        self._mosaic: Mosaic | None = None
        self._checksums: dict[str, str] = {}
        self._row = old
        self._storage_class = HOT_CLASS if old.storage_class in COLD_CLASSES else old.storage_class
        self._writer = ContentWriter(context.fleet, context.writes, policies, record, self._describe_whole)

    # Writing

    async def write(self, patches: Sequence[Patch], size: int, data_key: bytes) -> Layout:
        """The new content, durable. Raises: as put_object; ContentLost, ContentAway."""
        old, layout = self._old, Layout.parse(self._old.layout)
        read = reader_of(self._context, old, bucket=self._bucket, data_key=data_key)
        for patch in patches:
            if patch.source.length == 0:
                await Overlay(read, 0, [patch], patch.start, patch.start).fill(memoryview(bytearray(1)))
        patches = [patch for patch in patches if patch.source.length != 0]
        open_end = bool(patches) and patches[-1].stop is None
        if open_end:
            size = max(size, patches[-1].start + 1)
        touched = [(patch.start, size if patch.stop is None else patch.stop) for patch in patches]
        self._spans = plan([each.size for each in layout.metachunks], size, touched)

        def overlay(start: int, stop: int, digests: frozenset[str] = frozenset()) -> Overlay:
            mine = [patch for patch in patches if start <= patch.start < stop]
            return Overlay(read, old.size, mine, start, None if open_end and stop == size else stop, digests)

        if await self._is_whole(size):
            self._spans = []
            source = (
                overlay(0, size, frozenset(old.attributes.checksums)) if size else BytesSource(b"", frozenset(old.attributes.checksums))
            )
            return await self._write_whole(source, data_key)
        return await self._write_runs(layout, size, overlay)

    async def _is_whole(self, size: int) -> bool:
        """Whether all is to be written as one content; else the object's tiles are known from here on."""
        cold = self._old.storage_class in COLD_CLASSES
        if size <= WHOLE_BYTES_MAX or cold or ENCRYPTION in self._old.attributes.extra or all(span.fresh for span in self._spans):
            return True
        if not self._in_place:
            return False
        self._tiles = await tiles_of(self._context, self._old)
        return len(Mosaic.of(self._tiles).pieces) + 2 * len(self._spans) > PIECES_MAX

    async def _write_whole(self, source: Source, data_key: bytes) -> Layout:
        incoming = sealed(source, self._attributes(self._old), data_key, 0)
        return await write(self._context, self._bucket, self._writer, lambda: self._writer.write(incoming))

    async def _write_runs(self, layout: Layout, size: int, overlay: Callable[[int, int], Overlay]) -> Layout:
        if self._in_place and not any(span.fresh for span in self._spans):
            self._spans.append(Span(size, size, True))  # a metachunk without bytes, whose chunks tell what the object is now
        offsets = [0, *accumulate(each.size for each in layout.metachunks)]
        runs: list[Run] = []
        last = overlay(size, size)
        for span in self._spans:
            if span.fresh:
                last = overlay(span.first, span.stop)
                runs.append(Run(last, metachunk_bytes=METACHUNK_BYTES if span.first >= self._old.size else GRAIN_BYTES))
            elif not self._in_place:
                runs.append(Run(overlay(offsets[span.first], offsets[span.stop]), layout.part(span.first, span.stop)))

        def describe(counts: Sequence[int]) -> Tail:
            self._counts = counts
            tiles = self._tiles_now() if self._in_place else [(self._writer.content, index) for index in range(sum(counts))]
            mosaic = Mosaic.of(tiles)
            self._mosaic = mosaic if self._in_place else None
            self._row = self._made(self._old, last.end if self._spans[-1].fresh else size, mosaic.etag)
            return Tail(object=object_record(self._row))

        return await write(self._context, self._bucket, self._writer, lambda: self._writer.assemble(runs, describe))

    def _describe_whole(self, summary: Summary) -> Tail:
        self._checksums = summary.checksums
        self._row = self._made(self._old, summary.size, summary.etag)
        return Tail(object=object_record(self._row))

    def _tiles_now(self) -> list[Tile]:
        tiles: list[Tile] = []
        numbers, at = iter(self._counts), 0
        for span in self._spans:
            if span.fresh:
                count = next(numbers)
                tiles += [(self._writer.content, index) for index in range(at, at + count)]
                at += count
            else:
                tiles += self._tiles[span.first : span.stop]
        return tiles

    # Naming

    async def finish(self, layout: Layout, condition: Condition) -> ObjectRow:
        """layout: of what was written."""
        context, bucket, key = self._context, self._bucket, self._old.key
        wish = self._row
        result = await commit(context, bucket, key, self._writer, lambda: self._name(layout, condition))
        context.afterwork.drop(bucket, result.dropped)
        context.learn_null(bucket, null=result.null)
        if (result.version, result.null) != (wish.version, wish.null):
            context.afterwork.look_for_stale_records(bucket)
        await committed(context, bucket, key, result.version, self._writer)
        return msgspec.structs.replace(self._row, version=result.version, null=result.null, mtime_us=result.mtime_us, seq=0)

    async def _name(self, written: Layout, condition: Condition) -> PutResult:
        container = self._context.container(self._bucket)
        for _ in range(COMMITS_MAX):
            layout, drop = self._joined(written)
            policy = layout.policies[layout.metachunks[0].policy].name
            self._row = row = msgspec.structs.replace(self._row, layout=layout.encode(), policy=policy)
            contents = self._mosaic.contents if self._mosaic is not None else ()
            try:
                return await container.rewrite(Rewrite(row, contents, self._old.seq, self._in_place, drop.encode(), condition))
            except Superseded:
                await self._read_again()
        raise ConditionalRequestConflict("the object's attributes were changed again and again while it was rewritten")

    def _joined(self, written: Layout) -> tuple[Layout, Layout]:
        """What the object consists of now, and what of the old one's chunks are no one's any more."""
        if not self._in_place:
            return written, EMPTY
        old, layout = Layout.parse(self._old.layout), written
        if self._mosaic is not None:
            parts: list[Layout] = []
            numbers, at = iter(self._counts), 0
            for span in self._spans:
                if span.fresh:
                    count = next(numbers)
                    parts.append(written.part(at, at + count))
                    at += count
                else:
                    parts.append(old.part(span.first, span.stop))
            layout = Layout.join(parts)
        rest = {*old.places()} - {*layout.places()}
        return layout, layout_of_places(sorted(rest)) if rest else EMPTY

    async def is_replaced(self) -> bool:
        try:
            return (await self._context.container(self._bucket).get(self._old.key)).content != self._old.content
        except ObjectNotFound:
            return True

    async def _read_again(self) -> None:
        """Goes on from the row as it is now if it is still of the same content. Raises: ConditionalRequestConflict."""
        try:
            now = await self._context.container(self._bucket).get(self._old.key)
        except ObjectNotFound as error:
            raise ConditionalRequestConflict(REPLACED) from error
        if now.content != self._old.content:
            raise ConditionalRequestConflict(REPLACED)
        if now.seq == self._old.seq:
            raise ConditionalRequestConflict("the bucket's versioning was changed while the object was rewritten")
        self._old = now
        self._row = msgspec.structs.replace(self._made(now, self._row.size, self._row.etag), version=NO_RECORD)

    def _attributes(self, old: ObjectRow) -> Attributes:
        return of_one_piece(self._describe(of_one_piece(without_restore(old.attributes))))

    def _made(self, old: ObjectRow, size: int, etag: str) -> ObjectRow:
        """The object as it will be, but for its layout. A new version has the old one's attributes, but not its protection."""
        attributes = self._attributes(old)
        if self._checksums:
            attributes = msgspec.structs.replace(attributes, checksums=self._checksums, checksum_type="FULL_OBJECT")
        if self._mosaic is not None:
            attributes = self._mosaic.into(attributes)
        if not self._in_place:
            attributes = msgspec.structs.replace(attributes, retain_mode="", retain_until_us=0, legal_hold=None)
        return msgspec.structs.replace(
            old,
            version=self._version,
            null=self._null,
            mtime_us=self._version,
            storage_class=self._storage_class,
            size=size,
            etag=etag,
            content=self._writer.content,
            attributes=attributes,
        )


async def tiles_of(context: Context, row: ObjectRow) -> list[Tile]:
    """Which metachunks of which contents an object is. Of several without one only the chunks know. Raises: ContentLost, ContentAway."""
    mosaic, layout = mosaic_of(row.attributes), Layout.parse(row.layout)
    if mosaic is not None:
        return mosaic.tiles
    if not row.attributes.parts:
        return [(row.content, index) for index in range(len(layout.metachunks))]
    return [await _tile(context, layout, metachunk) for metachunk in layout.metachunks]


async def _tile(context: Context, layout: Layout, metachunk: Metachunk) -> Tile:
    is_away = False
    for chunk in metachunk.chunks:
        volume = layout.volumes[chunk.volume]
        try:
            record = (await context.fleet.volume(volume).head(chunk.name, deep=False)).record
        except FrazilError as error:
            cause, is_away = error, is_away or context.fleet.may_be_whole(volume, error)
        else:
            return record.content, record.metachunk
    raise (ContentAway if is_away else ContentLost)("no chunk of a metachunk tells which content it is of") from cause
