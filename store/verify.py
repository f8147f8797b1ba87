"""Reading and checking every chunk of an object."""

from __future__ import annotations

from collections.abc import AsyncIterator
from functools import partial

from meta.protocol.object import ObjectRow
from node.errors import ChunkCold, ChunkCorrupt
from rawx.chunk import chunk_checksum
from store.fleet import ChunkFinding, Fleet, problem_of
from store.layout import Chunk, Layout
from store.parallel import gather


async def verify(fleet: Fleet, bucket: str, row: ObjectRow) -> AsyncIterator[ChunkFinding]:
    """What is wrong with the chunks of a version, metachunk by metachunk; the bytes of cold chunks are not asked for.

    Raises: RecordCorrupt when the layout is not readable.
    """
    layout = Layout.parse(row.layout)
    for index, metachunk in enumerate(layout.metachunks):
        policy = layout.policies[metachunk.policy]
        size = policy.chunk_bytes(metachunk.size)
        for position in sorted(set(range(policy.chunks)) - {chunk.position for chunk in metachunk.chunks}):
            yield ChunkFinding(bucket, row.key, row.version, index, position, "", "", "unwritten")
        calls = [partial(_check, fleet, layout.volumes[chunk.volume], chunk, size) for chunk in metachunk.chunks]
        for chunk, outcome in zip(metachunk.chunks, await gather(calls), strict=True):
            if outcome is not None:
                yield ChunkFinding(
                    bucket,
                    row.key,
                    row.version,
                    index,
                    chunk.position,
                    chunk.name,
                    layout.volumes[chunk.volume],
                    problem_of(outcome),
                    str(outcome),
                )


async def _check(fleet: Fleet, volume: str, chunk: Chunk, size: int) -> None:
    try:
        stat = await fleet.volume(volume).head(chunk.name, deep=True)
    except ChunkCold:
        stat = await fleet.volume(volume).head(chunk.name, deep=False)
    if stat.size != size:
        raise ChunkCorrupt(f"it has {stat.size} bytes instead of {size}")
    if chunk_checksum(stat.units) != chunk.checksum:
        raise ChunkCorrupt("its bytes are those of another chunk")
    if stat.record.position != chunk.position:
        raise ChunkCorrupt(f"its record says position {stat.record.position} instead of {chunk.position}")
