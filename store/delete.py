"""Deleting chunks: all at once, a call per volume; what fails is told, so that it can be remembered."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial

from node.errors import FrazilError
from store.fleet import Fleet
from store.parallel import gather

Place = tuple[str, str]
"""(volume id, chunk id)"""


async def delete_places(fleet: Fleet, places: Iterable[Place]) -> set[Place]:
    """Those that could not be deleted. A volume that the store doesn't have any more counts as one that does not answer, unless it was
    given up."""
    by_volume: dict[str, list[str]] = {}
    for volume, chunk in places:
        if not fleet.is_gone(volume):
            by_volume.setdefault(volume, []).append(chunk)
    results = await gather([partial(_delete, fleet, volume, chunks) for volume, chunks in by_volume.items()])
    failed: set[Place] = set()
    for (volume, chunks), result in zip(by_volume.items(), results, strict=True):
        failed |= {(volume, chunk) for chunk in (chunks if isinstance(result, FrazilError) else result)}
    return failed


async def _delete(fleet: Fleet, volume: str, chunks: Sequence[str]) -> list[str]:
    return await fleet.volume(volume).delete(chunks)
