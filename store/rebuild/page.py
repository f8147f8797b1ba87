"""The records of a volume's chunks, page by page into a census."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Sequence

import msgspec

from meta.protocol.bucket import SYSTEM_BUCKET
from node.threads import run_blocking
from rawx.protocol import Rawx
from store.rebuild.census import Census

LIST_CHUNKS = 10_000
"""Names of one list: what a list costs at the least is the volume's 4,096 folders."""
PAGE_CHUNKS = 2_000


class Page(msgspec.Struct, frozen=True):
    """Some chunks of a volume. damaged: by problem, what can't be used;  last: the volume has no more"""

    chunks: int
    damaged: dict[str, int]
    last: bool


async def pages(volume: Rawx, census: Census, bucket: str) -> AsyncIterator[Page]:
    """The volume's records into the census, page by page; with `bucket` only its own and the system's. Raises: VolumeSick and the like."""
    after, truncated = "", True
    while truncated:
        listed = await volume.list(after, LIST_CHUNKS)
        truncated = listed.truncated
        for at in range(0, max(len(listed.chunks), 1), PAGE_CHUNKS):
            chunks = listed.chunks[at : at + PAGE_CHUNKS]
            damaged = await _look(volume, chunks, census, bucket)
            yield Page(len(chunks), damaged, not truncated and at + PAGE_CHUNKS >= len(listed.chunks))
        after = listed.chunks[-1] if listed.chunks else after


async def _look(volume: Rawx, chunks: Sequence[str], census: Census, bucket: str) -> dict[str, int]:
    """Damage by problem."""
    found = await volume.examine(chunks, deep=False)
    good = [each for each in found if not each.problem]
    if bucket:
        wanted = {bucket, SYSTEM_BUCKET}
        good = [each for each in good if each.record is not None and each.record.bucket in wanted]
    await run_blocking(census.add, volume.volume_id, good)
    return Counter(each.problem for each in found if each.problem and each.problem != "missing")
