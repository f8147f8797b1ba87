"""Copies on cold disks whose files vanished: the metadata is asked whether anything still names them, and what nothing names is deleted.

A volume that was wiped leaves the same: there the copies are named until the volume was made anew, and may be all that is left.
"""

from __future__ import annotations

import trio

from glacier.boards import Boards
from glacier.worker.protocol import ITEMS_MAX, ColdDoor, Item, Stray
from meta.protocol.bucket import SYSTEM_BUCKET
from meta.protocol.holding import Claim, Holding
from node.errors import BucketNotFound, FrazilError
from node.log import get_logger
from store.context import Context
from store.layout import Layout
from store.worker import State

PERIOD_S = 600.0
log = get_logger("glacier")


class StraySweep:
    """A worker of the store's background (store.worker.Worker)."""

    name = "strays"

    def __init__(self, context: Context, boards: Boards) -> None:
        self._context = context
        self._boards = boards
        self._deleted = 0

    def __repr__(self) -> str:
        return f"<StraySweep deleted={self._deleted}>"

    def status(self) -> str:
        return f"{self._deleted} copies on cold disks that nothing named were deleted"

    async def work(self) -> State:
        for worker in self._boards.workers:
            try:
                await self._sweep(worker)
            except FrazilError as error:
                log.info("the strays of a bus can't be looked at now", extra={"error": str(error)})
        return State.IDLE

    async def wait(self) -> None:
        await trio.sleep(PERIOD_S)

    async def _sweep(self, worker: ColdDoor) -> None:
        after = Item("", "")
        while strays := await worker.strays(after, ITEMS_MAX):
            by_bucket: dict[str, list[Stray]] = {}
            for stray in strays:
                by_bucket.setdefault(stray.bucket, []).append(stray)
            unnamed = [item for bucket, mine in by_bucket.items() for item in await self._unnamed(bucket, mine)]
            if unnamed:
                await worker.delete(unnamed)
                self._deleted += len(unnamed)
            after = Item(strays[-1].volume, strays[-1].chunk)

    async def _unnamed(self, bucket: str, strays: list[Stray]) -> list[Item]:
        claims = [Claim(stray.key, stray.content) for stray in strays]
        try:
            holders: list[Holding | None] = await self._context.container(bucket).holders(claims)
        except BucketNotFound:
            if await self._exists(bucket):
                return []  # its base is lost, not the bucket
            holders = [None] * len(strays)
        return [Item(stray.volume, stray.chunk) for stray, holder in zip(strays, holders, strict=True) if not _names(holder, stray)]

    async def _exists(self, bucket: str) -> bool:
        if bucket == SYSTEM_BUCKET:
            return True
        try:
            await self._context.meta.registry.locate(bucket)
        except BucketNotFound:
            return False
        return True


def _names(holder: Holding | None, stray: Stray) -> bool:
    """Of one that was found on a disk nobody knows the volume."""
    if holder is None:
        return False
    return not holder.key or any(
        chunk == stray.chunk and stray.volume in ("", volume) for volume, chunk in Layout.parse(holder.layout).places()
    )
