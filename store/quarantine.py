"""What repairs moved aside: listed, and deleted once what took its place is known to be whole."""

from __future__ import annotations

from collections.abc import AsyncIterator

import msgspec
import trio

from meta.protocol.holding import Claim, Holding
from node.errors import BucketNotFound, FrazilError
from node.log import get_logger
from rawx.protocol import QuarantinedChunk
from store.context import Context
from store.scrub import Scrub
from store.tally import Tally
from store.worker import State

KEPT_S = 30 * 86_400.0
"""So long a damaged chunk lies in quarantine before the background looks whether it may go."""
LOOK_PERIOD_S = 6 * 3600.0
PAGE = 500
log = get_logger("store.quarantine")


class Aside(msgspec.Struct, frozen=True):
    """A chunk in quarantine, and on which volume."""

    volume: str
    chunk: QuarantinedChunk


async def aside(context: Context, volume: str = "") -> AsyncIterator[Aside]:
    """All of it, or a volume's. A volume that is away is passed over unless it is the one. Raises: FrazilError."""
    for name in [volume] if volume else sorted(context.fleet.volumes):
        after: str | None = ""
        while after is not None:
            try:
                page = await context.fleet.volume(name).quarantined(after, PAGE)
            except FrazilError as error:
                if volume:
                    raise
                log.info("a volume's quarantine can't be read now", extra={"volume": name, "error": str(error)})
                break
            for each in page:
                yield Aside(name, each)
            after = page[-1].name if len(page) == PAGE else None


async def is_replaced(context: Context, each: Aside) -> bool:
    """Whether nothing is lost with the chunk: its content is whole, every byte of it, or nobody has it any more. Raises: FrazilError."""
    record = each.chunk.record
    if record is None:  # nobody can tell whose it was: its bytes are no source for any repair
        return True
    claim = Claim(record.key, record.content, record.object.version if record.object is not None and record.object.marker else 0)
    try:
        (holder,) = await context.container(record.bucket).holders([claim])
    except BucketNotFound:
        return False  # perhaps its base is lost
    return holder is None or not holder.key or await _is_whole(context, record.bucket, holder)


async def _is_whole(context: Context, bucket: str, holder: Holding) -> bool:
    tally = Tally(quiet=True)
    await Scrub(context, tally, deep=True, repair=False).check(bucket, [holder])
    return not tally.damages


async def purge(context: Context, each: Aside) -> None:
    """Raises: VolumeSick and the like."""
    await context.fleet.volume(each.volume).purge([each.chunk.name])


class Warden:
    """Deletes what lay in quarantine for KEPT_S, if it was replaced."""

    name = "quarantine"

    def __init__(self, context: Context) -> None:
        self._context = context
        self.purged = 0

    def status(self) -> str:
        return f"{self.purged} chunks were purged from quarantine"

    async def work(self) -> State:
        oldest_us = self._context.clock.now_us() - int(KEPT_S * 1e6)
        async for each in aside(self._context):
            if each.chunk.time_us > oldest_us:
                continue
            try:
                if await is_replaced(self._context, each):
                    await purge(self._context, each)
                    self.purged += 1
            except FrazilError as error:
                told = {"volume": each.volume, "chunk": each.chunk.name, "error": str(error)}
                log.info("a chunk in quarantine could not be judged now", extra=told)
        return State.IDLE

    async def wait(self) -> None:
        await trio.sleep(LOOK_PERIOD_S)
