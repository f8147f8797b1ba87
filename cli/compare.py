"""What a sync has to do: two streams of items in one order, merged. Pure."""

from __future__ import annotations

import enum
import os
from collections.abc import AsyncIterator
from datetime import UTC, datetime

from cli.walk import Item

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Verdict(enum.Enum):
    SAME = "same"
    CHANGED = "changed"
    LOOK = "look"


async def merge(sources: AsyncIterator[Item], targets: AsyncIterator[Item]) -> AsyncIterator[tuple[Item | None, Item | None]]:
    """Pairs of source and target of the same name; None where one side lacks it. Both must come in the order of their names' bytes."""
    source, target = await _next(sources), await _next(targets)
    while source is not None or target is not None:
        if target is None or (source is not None and order(source.name) < order(target.name)):
            yield source, None
            source = await _next(sources)
        elif source is None or order(target.name) < order(source.name):
            yield None, target
            target = await _next(targets)
        else:
            yield source, target
            source, target = await _next(sources), await _next(targets)


async def _next(items: AsyncIterator[Item]) -> Item | None:
    return await anext(items, None)


def order(name: str) -> bytes:
    return os.fsencode(name)


def by_time(source: Item, target: Item) -> Verdict:
    """Whether a source of the same size changed after the target was written, by times of whole seconds, for S3 keeps no more.

    Within one second both are possible: then only the bytes tell.
    """
    changed, written = (int((item.modified - _EPOCH).total_seconds()) for item in (source, target))
    if changed == written:
        return Verdict.LOOK
    return Verdict.CHANGED if changed > written else Verdict.SAME
