"""Bringing the records in the chunks to what the row in the metadata says now."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from itertools import accumulate

import msgspec

from meta.protocol.object import Change, ObjectRow
from node.errors import Damaged, FrazilError, NotFound, VolumeNotFound
from rawx.chunk import ObjectRecord
from store.content import ContentWriter, Tail
from store.context import Context
from store.envelope import stored_parts
from store.fleet import ChunkFinding, problem_of
from store.layout import Chunk, Layout, Metachunk
from store.mosaic import mosaic_of
from store.parallel import gather
from store.put import commit, committed, write
from store.record import object_record, of_one_part, span_of
from store.source import BytesSource


async def sync_record(context: Context, bucket: str, row: ObjectRow) -> None:
    """Damaged and missing chunks are reported and passed over: their repair writes the new record.

    Raises: Unavailable when a volume is away; the row stays in the list then.
    """
    if row.marker and not row.layout:
        await _write_marker(context, bucket, row)
        return
    layout = Layout.parse(row.layout)
    calls = [
        partial(_update, context, bucket, row, index, layout.volumes[chunk.volume], chunk, record)
        for index, metachunk, record in _last_metachunks(row, layout)
        for chunk in metachunk.chunks
    ]
    for outcome in await gather(calls):
        if isinstance(outcome, FrazilError):
            raise outcome


def _last_metachunks(row: ObjectRow, layout: Layout) -> Iterator[tuple[int, Metachunk, ObjectRecord]]:
    """(index, metachunk, record of the object) for the last metachunk of each part; the object is one part when it has none.

    In a copy, which is one content, a part may end within a metachunk; a part without bytes ends where the one before it did. More
    metachunks may be told than there are parts, when several without bytes end there: their records say which of them end a content.
    """
    mosaic = mosaic_of(row.attributes)
    if mosaic is not None:
        index = max(index for index, (content, _) in enumerate(mosaic.tiles) if content == row.content)
        yield index, layout.metachunks[index], object_record(row)
        return
    ends = list(accumulate(stored_parts(row)))
    offset, part = 0, 0
    for index, metachunk in enumerate(layout.metachunks):
        offset += metachunk.size
        while part < len(ends) and ends[part] < offset:
            part += 1
        if part < len(ends) and ends[part] == offset:
            part += 1
        elif not part or ends[part - 1] != offset:
            continue
        yield index, metachunk, object_record(row, part=part, parts=len(ends))


async def _update(context: Context, bucket: str, row: ObjectRow, index: int, volume_id: str, chunk: Chunk, record: ObjectRecord) -> None:
    try:
        volume = context.fleet.volume(volume_id)
        old = (await volume.head(chunk.name, deep=False)).record
        if not old.metachunks:  # a part's end in a copy, which is one content with one end
            return
        if old.seq > row.seq or (old.seq == row.seq and chunk.name not in context.afterwork.unsure):  # newer already
            return
        if old.object is not None:  # a content keeps its place
            record = msgspec.structs.replace(record, part=max(old.object.part, len(span_of(old.object))))
        if row.content != old.content:
            record = msgspec.structs.replace(record, content=row.content)
        elif old.object is not None and old.object.parts == 1:  # a copy of parts is one content with one end
            record = msgspec.structs.replace(record, part=1, parts=1)
        record = of_one_part(record, span_of(old.object))
        with context.afterwork.updating(chunk.name):
            await volume.update(chunk.name, msgspec.structs.replace(old, key=row.key, seq=row.seq, object=record, upload=None))
    except VolumeNotFound:
        raise
    except (NotFound, Damaged) as error:
        finding = ChunkFinding(bucket, row.key, row.version, index, chunk.position, chunk.name, volume_id, problem_of(error), str(error))
        context.fleet.found(finding)


async def _write_marker(context: Context, bucket: str, row: ObjectRow) -> None:
    """A chunk without bytes for a row that has none; then the row is told where it is. Raises: NotEnoughServices, Superseded."""
    record, policies = await context.new_content(bucket, row.key, row.storage_class)
    record = msgspec.structs.replace(record, seq=row.seq)
    writer = ContentWriter(context.fleet, context.writes, policies, record, lambda _: Tail(object=object_record(row)))
    layout = await write(context, bucket, writer, lambda: writer.write(BytesSource(b"")))
    change = Change(row.key, row.version, layout=layout.encode(), expect_content=row.content, expect_seq=row.seq)
    try:
        await commit(context, bucket, row.key, writer, lambda: context.container(bucket).change(change))
    except NotFound:  # the marker is gone meanwhile, and the chunk with it
        return
    await committed(context, bucket, row.key, row.version, writer)
