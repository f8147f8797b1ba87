"""The background of a store: deleting what nothing names, bringing records up to date, settling journals, sweeping what a crash left.

Where each is: the containers' lists and the volumes' journals, on disk; a worker that is killed goes on from there.
"""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from functools import partial

import trio

from meta.protocol.holding import RecordToSync
from meta.protocol.object import Dropped
from node.errors import BucketNotFound, ChunkNotFound, Damaged, FrazilError, ObjectNotFound, RecordCorrupt, VersionNotFound
from node.log import get_logger
from rawx.chunk import ChunkRecord
from store.context import Context
from store.delete import Place, delete_places
from store.keepsake import Keeper, keep_settings
from store.layout import Layout
from store.parallel import gather
from store.put import WRITE_S_MAX
from store.ripening import Ripening
from store.sync import sync_record
from store.worker import State

BATCH_CONTENTS = 500
"""Contents deleted in one go: each volume gets their chunks in one call."""
SCAN_PERIOD_S = 30.0
"""How often the containers' lists are looked through for what no request announced or what failed before."""
SYNC_PERIOD_S = 5.0
"""How often they are looked through for stale records: changed settings are announced by nobody."""
SYNC_ROWS = 64
"""Rows whose records are brought up to date side by side."""
SETTLE_PERIOD_S = 1.0
"""Journal entries end in batches of what one such period brings."""
SWEEP_PERIOD_S = 600.0
"""Chunks that stay unsettled for a whole period while nobody writes their content are looked up."""
log = get_logger("store.workers")


class Deleter:
    """Deletes chunks that no metadata names any more and takes them off the containers' lists."""

    name = "deletions"

    def __init__(self, context: Context, *, scans: bool = True) -> None:
        """scans: also looks through all containers' lists, which one process does for all."""
        self._context = context
        self._scans = scans
        self._scanned_at = -SCAN_PERIOD_S if scans else math.inf
        self._ripening = Ripening(context.reading_s)

    def status(self) -> str:
        return f"{len(self._context.afterwork.dropped)} contents wait for the deletion of their chunks"

    async def work(self) -> State:
        afterwork = self._context.afterwork
        if afterwork.dropped:
            batch = [afterwork.dropped.popleft() for _ in range(min(len(afterwork.dropped), BATCH_CONTENTS))]
            await self._delete([each for each in batch if not self._context.reading_s or _is_read_at_once(each[1].layout)])
            return State.BUSY
        buckets, afterwork.to_delete = afterwork.to_delete, set()
        if self._context.reading_s and not self._scans:
            return State.IDLE
        if trio.current_time() - self._scanned_at >= SCAN_PERIOD_S:
            self._scanned_at = trio.current_time()
            dirty = set(await self._context.meta.dirty_containers())
            self._ripening.keep(dirty)
            buckets |= dirty
        for bucket in sorted(buckets):
            await _unhindered(self.name, bucket, self._delete_all)
        return State.IDLE

    async def _delete_all(self, bucket: str) -> None:
        """All that the bucket's list holds and is old enough; what a volume that is away keeps is tried again with the next scan."""
        deletions, after = self._context.container(bucket).deletions, 0
        ripe = await self._ripe(bucket)
        while found := await deletions(BATCH_CONTENTS, after):
            due = [(bucket, each) for each in found if each.id <= ripe]
            await self._delete(due)
            if len(due) < len(found):
                return
            after = found[-1].id

    async def _ripe(self, bucket: str) -> float:
        """The number up to which deletions are old enough."""
        if not self._context.reading_s:
            return math.inf
        newest = self._ripening.newest(bucket)
        while found := await self._context.container(bucket).deletions(BATCH_CONTENTS, newest):
            newest = found[-1].id
        return self._ripening.ripe(bucket, newest, trio.current_time())

    async def wait(self) -> None:
        await self._context.afterwork.deletions.wait(SCAN_PERIOD_S)

    async def _delete(self, batch: list[tuple[str, Dropped]]) -> None:
        """What is being read, or lies on a volume that is away, stays until a later scan of the lists."""
        places = {(bucket, each.id): list(_places(each.layout)) for bucket, each in batch}
        held = self._context.afterwork.held(place for own in places.values() for place in own)
        held |= self._read_elsewhere([own for own in places.values() if len(own) > 1])
        places = {deletion: own for deletion, own in places.items() if held.isdisjoint(chunk for _, chunk in own)}
        failed = await delete_places(self._context.fleet, [place for own in places.values() for place in own])
        done: dict[str, list[int]] = {}
        for (bucket, number), own in places.items():
            if failed.isdisjoint(own):
                done.setdefault(bucket, []).append(number)
        for bucket, ids in done.items():
            await self._context.container(bucket).deletions_done(ids)

    def _read_elsewhere(self, contents: Sequence[Sequence[Place]]) -> set[str]:
        """First chunks of these contents that other processes of this host are reading."""
        holds = self._context.afterwork.holds
        return set() if holds is None or not contents else holds.held() & {own[0][1] for own in contents}


async def _unhindered(worker: str, bucket: str, call: Callable[[str], Awaitable[None]]) -> None:
    """One bucket whose base is damaged or away does not stop the work for the others."""
    try:
        await call(bucket)
    except FrazilError as error:
        log.warning("a bucket's work could not be done now", extra={"worker": worker, "bucket": bucket, "error": str(error)})


def _is_read_at_once(layout: bytes) -> bool:
    try:
        return Layout.parse(layout).at_once
    except RecordCorrupt:
        return True  # `_places` says so


def _places(layout: bytes) -> Iterable[Place]:
    try:
        return list(Layout.parse(layout).places())
    except RecordCorrupt as error:  # the scrub by chunks finds what it named
        log.error("a deletion's layout is not readable: its chunks are left to the scrub", extra={"error": str(error)})
        return []


class RecordSync:
    """Rewrites the records of chunks whose row says something else now; writes the chunks that are nothing but records."""

    name = "record sync"

    def __init__(self, context: Context) -> None:
        self._context = context
        self._scanned_at = -SYNC_PERIOD_S

    def status(self) -> str:
        return f"{len(self._context.afterwork.to_sync)} buckets have records to bring up to date"

    async def work(self) -> State:
        afterwork = self._context.afterwork
        if afterwork.markers:
            batch = [afterwork.markers.popleft() for _ in range(min(len(afterwork.markers), SYNC_ROWS))]
            await gather([partial(self._write_marker, *marker) for marker in dict.fromkeys(batch)])
            return State.BUSY
        buckets, afterwork.to_sync = afterwork.to_sync, set()
        if trio.current_time() - self._scanned_at >= SYNC_PERIOD_S:
            self._scanned_at = trio.current_time()
            buckets |= set(await self._context.meta.dirty_containers())
        for bucket in sorted(buckets):
            await _unhindered(self.name, bucket, self._sync_all)
        return State.IDLE

    async def _sync_all(self, bucket: str) -> None:
        """All that the bucket's list holds; what a volume that is away keeps is tried again with the next scan."""
        container, after = self._context.container(bucket), 0
        while found := await container.records_to_sync(SYNC_ROWS, after):
            todo = _once(found)
            results = await gather([partial(self._sync, bucket, each) for each in todo])
            failed = {each.id for each, result in zip(todo, results, strict=True) if isinstance(result, FrazilError)}
            done = [each.id for each in found if each.id not in failed]
            if done:
                await container.records_synced(done)
            after = found[-1].id

    async def wait(self) -> None:
        await self._context.afterwork.syncs.wait(SYNC_PERIOD_S)

    async def _write_marker(self, bucket: str, key: str, version: int) -> None:
        """Raises: ObjectNotFound, VersionNotFound when it is gone meanwhile; Unavailable, and then the container's list knows it."""
        await sync_record(self._context, bucket, await self._context.container(bucket).get(key, version))

    async def _sync(self, bucket: str, each: RecordToSync) -> None:
        if each.about_bucket:
            await keep_settings(self._context, bucket, each.settings)
        elif each.row is not None:
            await sync_record(self._context, bucket, each.row)


def _once(found: list[RecordToSync]) -> list[RecordToSync]:
    """Each version and the settings once, by the last entry: two at a time might end in the wrong order, or write two chunks."""
    last = {(each.about_bucket, each.row and (each.row.key, each.row.version)): each for each in found}
    return [each for each in last.values() if each.about_bucket or each.row is not None]


class Settler:
    """Ends the journal entries of chunks whose metadata is committed."""

    name = "journals"

    def __init__(self, context: Context) -> None:
        self._context = context

    def status(self) -> str:
        return f"{len(self._context.afterwork.settled)} chunks are to leave the journals"

    async def work(self) -> State:
        settled, holds = self._context.afterwork.settled, self._context.afterwork.holds
        if holds is not None:
            holds.touch()
        by_volume: dict[str, list[str]] = {}
        while settled:
            volume, chunk = settled.popleft()
            by_volume.setdefault(volume, []).append(chunk)
        fleet = self._context.fleet
        await gather([partial(self._settle, volume, chunks) for volume, chunks in by_volume.items() if volume in fleet.volumes])
        return State.IDLE

    async def _settle(self, volume: str, chunks: list[str]) -> None:
        await self._context.fleet.volume(volume).settle(chunks)

    async def wait(self) -> None:
        await trio.sleep(SETTLE_PERIOD_S)


class Sweeper:
    """Deletes chunks whose metadata was never committed: those that a crash left, told by the volumes' journals.

    left: what the journals said before this process began to serve: nobody is writing it any more.
    Where other processes write as well, only what stays for longer than any of them may write one content is nobody's.
    """

    name = "sweep"

    def __init__(self, context: Context, left: Iterable[Place] = ()) -> None:
        self._context = context
        self._left: list[Place] = list(left)
        self._seen: dict[Place, float] = {}
        self._patience_s = 2 * WRITE_S_MAX if context.many_gateways else 0.0
        self.deleted = 0

    def status(self) -> str:
        return f"{len(self._left)} recent chunks to look up, {self.deleted} deleted"

    async def work(self) -> State:
        while self._left:
            place = self._left.pop()
            try:
                await self._check(place)
            except FrazilError as error:
                log.warning("a recent chunk could not be looked up", extra={"volume": place[0], "chunk": place[1], "error": str(error)})
        return State.IDLE

    async def wait(self) -> None:
        await trio.sleep(SWEEP_PERIOD_S)
        now = trio.current_time()
        places = [place async for place in recent_places(self._context)]
        self._left = [place for place in places if now - self._seen.get(place, math.inf) >= self._patience_s]
        self._seen = {place: self._seen.get(place, now) for place in places}

    async def _check(self, place: Place) -> None:
        volume_id, chunk = place
        volume = self._context.fleet.volume(volume_id)
        try:
            record = (await volume.head(chunk, deep=False)).record
        except ChunkNotFound:
            await volume.settle([chunk])
            return
        except Damaged:  # for the scrub to judge
            return
        if record.content in self._context.afterwork.in_flight:
            return
        if await self._unnamed(record, place):
            await volume.delete([chunk])
            self.deleted += 1
        await volume.settle([chunk])

    async def _unnamed(self, record: ChunkRecord, place: Place) -> bool:
        """Whether no metadata names the chunk. Without the bucket's base nothing is certain: then the chunk stays for the scrub."""
        try:
            if record.object is not None and record.object.marker and await self._is_marker(record, place):
                return False
            return await self._context.unnamed(record.bucket, record.key, record.content, [place])
        except BucketNotFound:
            return False

    async def _is_marker(self, record: ChunkRecord, place: Place) -> bool:
        """A marker's row names its chunk, but not its content."""
        assert record.object is not None
        try:
            row = await self._context.container(record.bucket).get(record.key, record.object.version)
        except (ObjectNotFound, VersionNotFound):
            return False
        return place in Layout.parse(row.layout).places()


async def recent_places(context: Context) -> AsyncIterator[Place]:
    """What the journals of all volumes tell. A volume that is away is passed over."""
    for volume_id, volume in context.fleet.volumes.items():
        try:
            for chunk in await volume.recent():
                yield volume_id, chunk
        except FrazilError as error:
            log.warning("a volume's journal can't be read", extra={"volume": volume_id, "error": str(error)})


async def drain(context: Context) -> None:
    """Does what is in the queues now: for a clean end. Raises: FrazilError."""
    deleter = Deleter(context)
    while context.afterwork.dropped:
        await deleter.work()
    if not context.remote_meta:
        await RecordSync(context).work()
        await Keeper(context).work()
    await Settler(context).work()
