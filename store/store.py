"""The object layer: what the S3 gateway, the command line and the mount call. One per process."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import msgspec
import trio

from meta.protocol.door import Meta
from meta.protocol.folder import Moved
from meta.protocol.jobs import Job
from meta.protocol.object import NO_CONDITION, Attributes, Change, Condition, DeleteRequest, DeleteResult, ObjectRow, PutResult
from meta.protocol.restore import COLD_CLASSES
from meta.protocol.upload import PartRow, UploadRow
from node.errors import FrazilError
from rawx.protocol import Rawx, VolumeStat
from store import quarantine
from store.append import Combine, append_object
from store.cipher import open_content
from store.context import Context
from store.copy import NO_KEYS, ContentSource, CopyKeys, copy_object
from store.debts import Debts
from store.delete import Place
from store.envelope import ENCRYPTION
from store.fleet import ChunkFinding
from store.get import NOT_READ, Sink, Subject
from store.jobs.duty import DUTIES, Duty
from store.jobs.kind import KINDS, MakeTask, check_policy
from store.jobs.kind import check as check_job
from store.jobs.retired import keep_retired
from store.jobs.runner import JobRunner
from store.jobs.task import VOLUMES
from store.keepsake import Keeper
from store.layout import Layout
from store.mosaic import MOSAIC
from store.moved import following, moved
from store.multipart import Check, WantedPart, abort_upload, complete_upload, put_part
from store.overlay import Patch
from store.policy import STORAGE_POLICY, PolicySet
from store.put import Restate, put_object
from store.quarantine import Aside, Warden
from store.repairer import Repairer
from store.rewrap import Wanted, rewrap
from store.rewrite import Describe, rewrite_object
from store.small import read_small
from store.source import Source
from store.tier import Tier
from store.together import Small, put_together
from store.vault import Vault
from store.verify import verify
from store.window import Window, open_window
from store.worker import Worker, drive
from store.workers import Deleter, RecordSync, Settler, Sweeper

PART_CHECKSUM = "crc64nvme"
"""Of copied parts whose upload names no algorithm."""


class Hired(msgspec.Struct, frozen=True):
    """Background work that layers above bring. kinds: of jobs;  duties: of these, the standing ones;  workers: beside the jobs."""

    kinds: dict[str, MakeTask] = {}
    duties: dict[str, Duty] = {}
    workers: tuple[Callable[[Context], Worker], ...] = ()


class StoreStatus(msgspec.Struct, frozen=True):
    """findings: damaged chunks waiting for repair; counts: by kind of failure since the start; pending: of this process's queues."""

    volumes: list[VolumeStat]
    policy_small: str
    policy_large: str
    findings: int
    counts: dict[str, int]
    pending: int


class Store:
    """A thin face over the operations; each has its module."""

    def __init__(self, context: Context, left: Sequence[Place] = ()) -> None:
        """left: chunks that the journals told of before this process wrote any."""
        self._context = context
        self._left = left
        self._hired: list[Hired] = []
        self.meta: Meta = context.meta

    def __repr__(self) -> str:
        return f"<Store {self._context.fleet!r} {self._context.afterwork!r}>"

    @property
    def home(self) -> Path:
        """The store's first directory."""
        return self._context.home

    @property
    def volumes(self) -> dict[str, Rawx]:
        return self._context.fleet.volumes

    @property
    def vault(self) -> Vault:
        return self._context.vault

    @property
    def policies(self) -> PolicySet:
        return self._context.policies

    async def policies_of(self, bucket: str, storage_class: str = "STANDARD") -> PolicySet:
        """What new objects in the bucket get. Raises: BucketNotFound."""
        return self._context.policies_of(await self._context.container(bucket).settings(), storage_class)

    def check_policy(self, policy: str) -> None:
        """Raises: InvalidArgument when the volumes can't keep it, or there is none of that name; "" is the store's own."""
        if policy:
            check_policy(policy, len(self.volumes))

    async def set_policy(self, bucket: str, policy: str) -> None:
        """For new objects in the bucket; "" for the store's own. Raises: InvalidArgument, BucketNotFound."""
        self.check_policy(policy)
        await self._context.container(bucket).change_settings(documents={STORAGE_POLICY: policy or None})

    @property
    def debts(self) -> Debts:
        """What mounts of this host have answered and not stored yet."""
        return self._context.debts

    @property
    def tier(self) -> Tier:
        """What the classes of sleeping disks ask to move bytes."""
        return self._context.tier

    async def put_object(
        self,
        bucket: str,
        key: str,
        source: Source,
        *,
        attributes: Attributes,
        owner: str,
        storage_class: str = "STANDARD",
        condition: Condition = NO_CONDITION,
        data_key: bytes = b"",
        restate: Restate | None = None,
    ) -> ObjectRow:
        """Durable and visible at return. data_key: for attributes with an envelope. Raises, restate: see store.put.put_object."""
        row = await put_object(
            self._context,
            bucket,
            key,
            source,
            attributes=attributes,
            owner=owner,
            storage_class=storage_class,
            condition=condition,
            data_key=data_key,
            restate=restate,
        )
        return self._written(bucket, row)

    async def put_together(self, bucket: str, smalls: Sequence[Small], *, owner: str) -> list[ObjectRow | FrazilError]:
        """For each the row, durable and visible, or why it was not stored. Raises: see store.together.put_together."""
        found = await put_together(self._context, bucket, smalls, owner=owner)
        return [each if isinstance(each, FrazilError) else self._written(bucket, each) for each in found]

    async def get_row(self, bucket: str, key: str, version: int | None = None) -> ObjectRow:
        """Raises: ObjectNotFound, VersionNotFound, BucketNotFound."""
        return await self._context.container(bucket).get(key, version)

    async def read(self, row: ObjectRow, start: int, stop: int, sink: Sink, *, bucket: str = "", data_key: bytes = b"") -> None:
        """Hands bytes [start, stop) on in order; the buffer given to sink is used again when sink returns.

        Nothing is handed on before its unit is verified. Raises: ContentLost, ContentAway, SealBroken, Busy; what the sink raises.
        """
        context, layout = self._context, Layout.parse(row.layout)
        with context.afterwork.reading(layout):
            await following(context, row, bucket=bucket, data_key=data_key)(start, stop, sink)

    async def read_whole(self, row: ObjectRow, *, bucket: str = "", data_key: bytes = b"") -> bytes:
        """All bytes of a small object. Raises: ContentLost, ContentAway, SealBroken, Busy."""
        layout = Layout.parse(row.layout)
        context = self._context
        if layout.at_once and not row.attributes.parts:
            try:
                data = await read_small(context.fleet, Subject(bucket, row.key, row.version), layout)
            except NOT_READ:
                now = await moved(context, bucket, row)
                if now is None:
                    raise
                return await self.read_whole(now, data_key=data_key)
            return open_content(data, row.size, 0, data_key) if ENCRYPTION in row.attributes.extra else data
        pieces: list[bytes] = []

        async def keep(piece: object) -> None:
            pieces.append(bytes(piece))  # type: ignore[call-overload]

        await self.read(row, 0, row.size, keep, bucket=bucket, data_key=data_key)
        return b"".join(pieces)

    def window(self, row: ObjectRow, *, bucket: str, data_key: bytes = b"") -> AbstractAsyncContextManager[Window]:
        """The version, open for reads at any place until the block ends."""
        return open_window(self._context, row, bucket=bucket, data_key=data_key)

    async def delete_object(self, bucket: str, request: DeleteRequest) -> DeleteResult:
        """Metadata first; the chunks at once after it, not waited for. Raises: PreconditionFailed, Locked, BucketNotFound."""
        result = await self._context.container(bucket).delete(request)
        self._deleted(bucket, result)
        return result

    async def delete_objects(self, bucket: str, requests: Sequence[DeleteRequest]) -> list[DeleteResult]:
        """As delete_object, in one transaction; refusals are in the results."""
        results = await self._context.container(bucket).delete_many(requests)
        for result in results:
            self._deleted(bucket, result)
        return results

    async def copy_object(
        self,
        source: ObjectRow,
        source_bucket: str,
        bucket: str,
        key: str,
        *,
        attributes: Attributes,
        owner: str,
        storage_class: str = "STANDARD",
        condition: Condition = NO_CONDITION,
        keys: CopyKeys = NO_KEYS,
        digests: frozenset[str] = frozenset(),
    ) -> ObjectRow:
        """A new object of the same bytes. Raises: see store.copy.copy_object."""
        with self._context.afterwork.reading(Layout.parse(source.layout)):
            row = await copy_object(
                self._context,
                source,
                source_bucket,
                bucket,
                key,
                attributes=attributes,
                owner=owner,
                storage_class=storage_class,
                condition=condition,
                keys=keys,
                digests=digests,
            )
        return self._written(bucket, row)

    async def rename(
        self,
        bucket: str,
        source: str,
        target: str,
        *,
        condition: Condition = NO_CONDITION,
        source_condition: Condition = NO_CONDITION,
        token: str = "",
    ) -> PutResult:
        """One metadata transaction; chunks don't move, their records follow. Raises: as meta.protocol.container.Container.rename."""
        container = self._context.container(bucket)
        result = await container.rename(source, target, condition=condition, source_condition=source_condition, token=token)
        self._context.afterwork.drop(bucket, result.dropped)
        self._context.afterwork.look_for_stale_records(bucket)
        return result

    async def rename_prefix(self, bucket: str, source: str, target: str, *, replace: bool = False) -> int:
        """All current objects under a prefix in one transaction; their number. Raises: AlreadyExists, Locked."""
        count = await self._context.container(bucket).rename_prefix(source, target, replace=replace)
        self._context.afterwork.look_for_deletions(bucket)
        self._context.afterwork.look_for_stale_records(bucket)
        return count

    async def move_folder(self, bucket: str, source: str, target: str, *, replace: bool, owner: str) -> int:
        """One metadata transaction; how many objects have other keys now. Raises: as meta's Container.move_folder."""
        moved = await self._context.container(bucket).move_folder(source, target, replace=replace, owner=owner)
        return self._moved(bucket, moved)

    async def exchange(self, bucket: str, one: str, other: str) -> int:
        """As move_folder. Raises: as meta's Container.exchange."""
        return self._moved(bucket, await self._context.container(bucket).exchange(one, other))

    def _moved(self, bucket: str, moved: Moved) -> int:
        self._context.afterwork.drop(bucket, moved.dropped)
        self._context.afterwork.look_for_stale_records(bucket)
        return moved.count

    async def remove_folder(self, bucket: str, prefix: str, *, owner: str) -> DeleteResult:
        """As delete_object. Raises: as meta's Container.remove_folder."""
        result = await self._context.container(bucket).remove_folder(prefix, owner)
        self._deleted(bucket, result)
        return result

    async def append_object(
        self,
        bucket: str,
        old: ObjectRow,
        source: Source,
        *,
        combine: Combine,
        condition: Condition = NO_CONDITION,
        data_key: bytes = b"",
    ) -> ObjectRow:
        """The object `old`, which ends where the source begins, grown by it. Raises: see store.append.append_object."""
        if MOSAIC in old.attributes.extra:
            return await self.rewrite(bucket, old, [Patch(old.size, source)], condition=condition)
        return await append_object(self._context, bucket, old, source, combine=combine, condition=condition, data_key=data_key)

    async def rewrite(
        self,
        bucket: str,
        old: ObjectRow,
        patches: Sequence[Patch],
        size: int | None = None,
        *,
        describe: Describe = lambda attributes: attributes,
        condition: Condition = NO_CONDITION,
        data_key: bytes = b"",
    ) -> ObjectRow:
        """The object `old` with other bytes here and there, shorter or longer. Raises: see store.rewrite.rewrite_object."""
        return await rewrite_object(self._context, bucket, old, patches, size, describe=describe, condition=condition, data_key=data_key)

    async def create_upload(self, bucket: str, row: UploadRow) -> UploadRow:
        return await self._context.container(bucket).create_upload(row)

    async def put_part(self, bucket: str, key: str, upload: UploadRow, part: int, source: Source, *, data_key: bytes = b"") -> PartRow:
        """Raises: see store.multipart.put_part."""
        return await put_part(self._context, bucket, key, upload, part, source, data_key=data_key)

    async def copy_part(
        self,
        source: ObjectRow,
        start: int,
        stop: int,
        bucket: str,
        key: str,
        upload: UploadRow,
        part: int,
        *,
        keys: CopyKeys = NO_KEYS,
        source_bucket: str = "",
    ) -> PartRow:
        """A part out of the bytes [start, stop) of an object. Raises: as put_part; ContentLost, ContentAway, SealBroken."""
        digests = frozenset({upload.checksum_algorithm or PART_CHECKSUM})
        with self._context.afterwork.reading(Layout.parse(source.layout)):
            read = following(self._context, source, bucket=source_bucket, data_key=keys.source)
            content = ContentSource(read, start, stop, digests)
            return await put_part(self._context, bucket, key, upload, part, content, data_key=keys.target)

    async def complete_upload(
        self,
        bucket: str,
        key: str,
        upload: str,
        parts: Sequence[WantedPart],
        *,
        condition: Condition = NO_CONDITION,
        check: Check | None = None,
        describe: Describe = lambda attributes: attributes,
    ) -> ObjectRow:
        """Raises: see store.multipart.complete_upload."""
        row = await complete_upload(self._context, bucket, key, upload, parts, condition=condition, check=check, describe=describe)
        return self._written(bucket, row)

    async def abort_upload(self, bucket: str, key: str, upload: str) -> None:
        """Raises: UploadNotFound."""
        await abort_upload(self._context, bucket, key, upload)

    async def rewrap(self, bucket: str, key: str, version: int | None, wanted: Wanted, *, expect_content: str | None = None) -> bool:
        """Whether the version's data key is now wrapped otherwise. Raises: see store.rewrap.rewrap."""
        return await rewrap(self._context, bucket, key, version, wanted, expect_content=expect_content)

    async def change_cold(self, bucket: str, change: Change) -> ObjectRow:
        """Of a version's class or restore. Raises: as meta.protocol.container.Container.change."""
        row = await self._context.container(bucket).change(change)
        self._context.afterwork.look_for_stale_records(bucket)
        return self._written(bucket, row)

    def quarantined(self, volume: str = "") -> AsyncIterator[Aside]:
        """Damaged chunks that repairs moved aside. Raises: FrazilError when the volume that is named is away."""
        return quarantine.aside(self._context, volume)

    async def purge(self, each: Aside, *, unchecked: bool = False) -> bool:
        """Deletes a chunk from quarantine, if what took its place is whole; whether it did. Raises: FrazilError."""
        if not unchecked and not await quarantine.is_replaced(self._context, each):
            return False
        await quarantine.purge(self._context, each)
        return True

    async def verify(self, row: ObjectRow, bucket: str) -> AsyncIterator[ChunkFinding]:
        """Reads and checks every chunk; yields what is wrong."""
        async for finding in verify(self._context.fleet, bucket, row):
            yield finding

    @property
    def findings(self) -> Sequence[ChunkFinding]:
        """Damage met since the start, oldest first: what repair works from."""
        return self._context.fleet.findings

    async def status(self) -> StoreStatus:
        context = self._context
        return StoreStatus(
            volumes=await context.fleet.stats(),
            policy_small=context.policies.small.name,
            policy_large=context.policies.large.name,
            findings=len(context.fleet.findings),
            counts=dict(context.fleet.counts),
            pending=context.afterwork.pending,
        )

    def hire(self, hired: Hired) -> None:
        """More of what one process does for all, by whoever knows more than the object layer. Before `run_workers` or `run_caretaking`."""
        self._hired.append(hired)

    async def run_workers(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """The background of this process, until cancelled. A gateway tidies up after itself; the containers' lists are the main's."""
        context = self._context
        workers: list[Worker] = [Settler(context), Repairer(context)]
        if context.many_gateways:
            workers += [Deleter(context, scans=False)]
        else:
            workers += [Sweeper(context, self._left)]
        if not context.remote_meta:
            workers += [Deleter(context), *self._caretakers()]
        async with trio.open_nursery() as nursery:
            for worker in workers:
                nursery.start_soon(drive, worker)
            if context.remote_meta:
                nursery.start_soon(keep_retired, context)
            task_status.started()

    async def run_caretaking(self) -> None:
        """What one of many gateways does for all of them, until cancelled, beside its `run_workers`."""
        context = self._context
        workers: list[Worker] = [Sweeper(context), Deleter(context), *self._caretakers()]
        context.caretaking = True
        try:
            async with trio.open_nursery() as nursery:
                for worker in workers:
                    nursery.start_soon(drive, worker)
        finally:
            context.caretaking = False

    def _caretakers(self) -> list[Worker]:
        """What only one process of all does."""
        context = self._context
        duties = dict(DUTIES)
        for hired in self._hired:
            duties |= hired.duties
        others = [make(context) for hired in self._hired for make in hired.workers]
        return [RecordSync(context), Keeper(context), Warden(context), JobRunner(context, self._kinds, duties), *others]

    async def submit_job(self, job: Job) -> Job:
        """Work for the main process; the argument `host` stands for the volumes there now. Raises: InvalidArgument, AlreadyExists."""
        host = job.arguments.get("host")
        if host and VOLUMES not in job.arguments:
            job = msgspec.structs.replace(job, arguments=job.arguments | {VOLUMES: ",".join(self._context.fleet.at(host))})
        check_job(job.kind, job.arguments, self._context.fleet, self._kinds)
        return await self.meta.jobs.submit_job(job)

    @property
    def _kinds(self) -> dict[str, MakeTask]:
        kinds = dict(KINDS)
        for hired in self._hired:
            kinds |= hired.kinds
        return kinds

    @property
    def is_main(self) -> bool:
        """Whether this process does the store's background work."""
        return not self._context.remote_meta or self._context.caretaking

    def _written(self, bucket: str, row: ObjectRow) -> ObjectRow:
        if row.storage_class in COLD_CLASSES:
            self._context.afterwork.look_for_cold(bucket)
        return row

    def _deleted(self, bucket: str, result: DeleteResult) -> None:
        self._context.afterwork.drop(bucket, result.dropped)
        if result.made_marker:
            self._context.afterwork.add_marker(bucket, result.key, result.version)


def _subject(row: ObjectRow, bucket: str) -> Subject:
    return Subject(bucket, row.key, row.version)
