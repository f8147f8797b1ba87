"""The records of a volume's chunks, page by page into a census."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator

import msgspec

from meta.protocol.bucket import SYSTEM_BUCKET
from node.threads import run_blocking
from rawx.protocol import Rawx
from store.rebuild.census import Census

LIST_PAGE = 2_000


class Page(msgspec.Struct, frozen=True):
    """Some chunks of a volume. damaged: by problem, what can't be used;  last: the volume has no more"""

    chunks: int
    damaged: dict[str, int]
    last: bool


async def pages(volume: Rawx, census: Census, bucket: str) -> AsyncIterator[Page]:
    """The volume's records into the census, page by page; with `bucket` only its own and the system's. Raises: VolumeSick and the like."""
    after, wanted, truncated = "", {bucket, SYSTEM_BUCKET}, True
    while truncated:
        page = await volume.list(after, LIST_PAGE)
        found = await volume.examine(page.chunks, deep=False)
        good = [each for each in found if not each.problem]
        if bucket:
            good = [each for each in good if each.record is not None and each.record.bucket in wanted]
        await run_blocking(census.add, volume.volume_id, good)
        truncated = page.truncated
        damaged = Counter(each.problem for each in found if each.problem and each.problem != "missing")
        yield Page(len(page.chunks), damaged, not truncated)
        after = page.chunks[-1] if page.chunks else after
