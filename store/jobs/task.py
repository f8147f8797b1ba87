"""One kind of long work, done in small steps from a position that is kept, so that it goes on after a kill."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import msgspec

from meta.protocol.bucket import SYSTEM_BUCKET
from meta.protocol.holding import Cursor
from node.errors import BaseNotFound, BucketNotFound, Damaged, NotFound
from store.context import Context
from store.tally import Tally

VOLUMES = "volume"
"""Argument: ids, comma between."""
CONTENTS, CONTENTS_TOTAL = "contents", "contents_total"
"""Counts of a walk: contents seen in this pass, and versions there were when it began."""


def volumes_of(arguments: Mapping[str, str]) -> tuple[str, ...]:
    """Those that the work is about; none: all, or what its kind says."""
    return tuple(filter(None, arguments.get(VOLUMES, "").split(",")))


class Task(Protocol):
    """One kind of work. pause_s: set by a step after which the next is to wait so long, and not because of the pace."""

    pause_s: float

    async def step(self, position: str) -> tuple[str | None, int]:
        """One small piece from this position ("" at first): the next position, None at the end; the bytes it counts for.

        Raises: FrazilError when the world is in the way; the step is tried again.
        """

    def left(self) -> str:
        """Why the work is not done though it came to its end; "" when it is."""


class Place(msgspec.Struct, frozen=True, omit_defaults=True):
    """Where a walk through all containers is."""

    bucket: str = ""
    cursor: Cursor = Cursor()


class Walk:
    """A task that goes through all contents, or those of one bucket."""

    def __init__(self, context: Context, tally: Tally, bucket: str) -> None:
        self._context, self._tally, self._bucket = context, tally, bucket
        self.pause_s = 0.0

    async def step(self, position: str) -> tuple[str | None, int]:
        if not position:
            self._tally.begin_pass()
            self._tally.counts[CONTENTS], self._tally.counts[CONTENTS_TOTAL] = 0, await self._total()
        place = msgspec.json.decode(position, type=Place) if position else Place(self._bucket or SYSTEM_BUCKET)
        try:
            cursor, size = await self.visit(place.bucket, place.cursor)
        except BucketNotFound:
            cursor, size = None, 0
        except (Damaged, BaseNotFound) as error:
            if self._bucket:
                raise
            self._tally.pass_over_bucket(place.bucket, error)
            cursor, size = None, 0
        self._tally.share(self._tally.counts[CONTENTS], self._tally.counts[CONTENTS_TOTAL])
        if cursor is not None:
            return msgspec.json.encode(Place(place.bucket, cursor)).decode(), size
        following = None if self._bucket else await self._next_bucket(place.bucket)
        return (None if following is None else msgspec.json.encode(Place(following)).decode()), size

    async def _total(self) -> int:
        """Versions that there are about: what a walk's share is told of."""
        total = 0
        bucket: str | None = self._bucket or SYSTEM_BUCKET
        while bucket is not None:
            try:
                counters = await self._context.container(bucket).counters()
                total += sum(versions for versions, _ in counters.classes.values()) + counters.markers
            except (NotFound, Damaged):
                pass
            bucket = None if self._bucket else await self._next_bucket(bucket)
        return total

    async def _next_bucket(self, after: str) -> str | None:
        page = await self._context.meta.accounts.buckets("", after="" if after == SYSTEM_BUCKET else after, limit=1)
        return page[0].bucket if page else None

    def left(self) -> str:
        return "; ".join(self._tally.damaged_buckets())

    async def visit(self, bucket: str, cursor: Cursor) -> tuple[Cursor | None, int]:
        """Some contents behind the cursor, counted in the tally; the next cursor, None at the end. Raises: BucketNotFound."""
        raise NotImplementedError
