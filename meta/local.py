"""All metadata of a namespace on this host: the bases' files, which of them are open, and a bucket's creation and removal step by step.

    PATH/accounts/accounts.db  PATH/registry/registry.db  PATH/encryption/encryption.db  PATH/meta0/meta0.db  PATH/meta1/<name>.db
    PATH/container/<first 3 hex of the id>/<container id>.db

One process writes; others of the same host may open the same path read-only (meta/split.py).
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, TypeVar

import trio

from meta.accounts import ACCOUNTS, LocalAccounts
from meta.base import Base
from meta.bucket import check_created, has_work, removed_settings
from meta.commit import Committer, LocalCommit
from meta.connection import limit_memory
from meta.container import LocalContainer
from meta.directory import META0, META1, LocalDirectory, container_base, container_id
from meta.encryption import ENCRYPTION, LocalEncryptionKeys
from meta.identities import LocalIdentities
from meta.jobs import JOBS, LocalJobs
from meta.kind import Kind
from meta.protocol.bucket import SYSTEM_BUCKET, BucketSettings
from meta.protocol.registry import BucketEntry
from meta.recent import Recent
from meta.registry import REGISTRY, LocalRegistry
from meta.transaction import CONTAINER, ContainerTransaction
from meta.vicinity import Vicinity
from node.auth import NamespaceKey
from node.clock import Clock
from node.errors import BaseNotFound, BucketNotFound, BucketOwned, FrazilError, VolumeReadOnly
from node.log import get_logger

BASES_OPEN_MAX = 128
"""Containers open at a time: each holds up to five file descriptors and 8 MiB of page cache."""
HANDLES_MAX = 4_096

_log = get_logger("meta.local")


@asynccontextmanager
async def open_meta(
    path: Path, *, key: NamespaceKey, clock: Clock, read_only: bool = False, bases_max: int = BASES_OPEN_MAX
) -> AsyncIterator[LocalMeta]:
    """Opens (and at the first time makes) the metadata under `path`.

    Raises: VolumeFull, VolumeSick, VolumeReadOnly, BaseCorrupt; ConfigError when a newer Frazil wrote it; BaseNotFound when read-only
    and never made.
    """
    async with kept(LocalMeta(path, key=key, clock=clock, read_only=read_only, bases_max=bases_max)) as meta:
        yield meta


M = TypeVar("M", bound="LocalMeta")


@asynccontextmanager
async def kept(meta: M) -> AsyncIterator[M]:
    """As `open_meta`, of one that was made otherwise."""
    limit_memory()
    try:
        await meta._prepare()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(meta._keep_house)
            yield meta
            nursery.cancel_scope.cancel()
    finally:
        with trio.CancelScope(shield=True):
            await meta._aclose()


class LocalMeta:
    """Implements meta.protocol.door.Meta. Used from one event loop; the housekeeping task belongs to `open_meta`."""

    def __init__(
        self, path: Path, *, key: NamespaceKey, clock: Clock, read_only: bool, bases_max: int, committer: Committer | None = None
    ) -> None:
        self._path = path
        self._clock = clock
        self._read_only = read_only
        self._bases_max = bases_max
        self._committer = committer or LocalCommit()
        self._containers: OrderedDict[str, Base[ContainerTransaction]] = OrderedDict()
        self.recent = Recent()
        self.vicinity = Vicinity()
        self._single: dict[str, Base[Any]] = {}
        self._handles: dict[str, LocalContainer] = {}  # they have no state; a request uses one several times
        self._to_checkpoint: set[Base[Any]] = set()
        self._to_close: list[Base[Any]] = []
        self._house = trio.Event()
        self._marked: set[str] = set()  # buckets on record as opened for writing
        self._touched: set[str] = set()  # buckets that may have work: asked when somebody wants to know
        self._retiring: set[str] = set()  # buckets whose files are being removed
        self._locks: dict[str, tuple[trio.Lock, int]] = {}
        self.directory = LocalDirectory(self._one(META0, "meta0"), lambda name: self._one(META1, name))
        self.accounts = LocalAccounts(self._one(ACCOUNTS, "accounts"), key)
        self.identities = LocalIdentities(self._one(ACCOUNTS, "accounts"))
        self.jobs = LocalJobs(self._one(JOBS, "jobs"))
        self.registry = LocalRegistry(self._one(REGISTRY, "registry"))
        self.encryption = LocalEncryptionKeys(self._one(ENCRYPTION, "encryption"))

    def __repr__(self) -> str:
        return f"<LocalMeta {self._path} open={len(self._containers)} touched={len(self._touched)} read_only={self._read_only}>"

    def container(self, bucket: str) -> LocalContainer:
        handle = self._handles.get(bucket)
        if handle is None:
            if len(self._handles) >= HANDLES_MAX:
                self._handles.clear()
            handle = self._handles[bucket] = LocalContainer(self, bucket)
        return handle

    async def create_bucket(self, settings: BucketSettings) -> None:
        bucket, account = settings.bucket, settings.account
        entry = BucketEntry(bucket, account, settings.created_us, settings.region)
        async with self._exclusive(bucket):
            if bucket == SYSTEM_BUCKET:  # nobody's: in no list
                await self.directory.assign(bucket)
                await self.container(bucket).create(settings)
                return
            await self.registry.claim(entry)
            await self.directory.assign(bucket)
            there = False
            try:
                await self.container(bucket).create(settings)
            except BucketOwned:
                there = True
            if not await self._listed(account, bucket):
                await self.accounts.add_bucket(entry)
            elif there:
                raise BucketOwned(f"the bucket {bucket} is yours already")

    async def remove_bucket(self, bucket: str, *, created_us: int = 0) -> None:
        async with self._exclusive(bucket):
            try:
                settings = await self.container(bucket).settings()
                found_us, account = settings.created_us, settings.account
                if created_us in (0, found_us):
                    await self.container(bucket).destroy()
            except BucketNotFound:
                entry = await self.registry.locate(bucket)  # a crash came between the steps, or there is no such bucket
                found_us, account = entry.created_us, entry.account
            check_created(found_us, created_us)
            await self._forget_name(bucket, account)
            await self._retire(bucket)

    async def dirty_containers(self) -> list[str]:
        """Those without work are forgotten until they are written again; a removed one without work is deleted with its files."""
        dirty = []
        for bucket in sorted(self._touched):
            try:
                if await self._has_work(bucket):
                    dirty.append(bucket)
            except BaseNotFound:
                base = self._containers.get(bucket)
                if base is None or not base.pending:  # else its first transaction is on its way
                    self._touched.discard(bucket)
            except FrazilError as error:  # this one's work waits; the others' goes on
                _log.warning("what is to be done in a bucket is not known: %s", error)
        return dirty

    async def _has_work(self, bucket: str) -> bool:
        base = self.opened(bucket)
        if base.read(has_work):
            return True
        if not base.pending:
            self._touched.discard(bucket)  # before the first await: a write behind it touches the bucket again
            if base.read(removed_settings) is not None:
                await self._finish_removal(bucket)
        return False

    async def _finish_removal(self, bucket: str) -> None:
        """What a crash in the middle of `remove_bucket` left undone, and the files."""
        try:
            async with self._exclusive(bucket):
                settings = self.opened(bucket).read(removed_settings)
                if settings is not None:  # not made again meanwhile
                    await self._forget_name(bucket, settings.account)
                    await self._retire(bucket)
        except FrazilError:
            self._touched.add(bucket)
            raise

    async def _forget_name(self, bucket: str, account: str) -> None:
        await self.accounts.remove_bucket(account, bucket)
        await self.directory.mark_removed(bucket)
        await self.registry.release(bucket, account)

    # Bases (meta.container.Bases)

    def state(self, bucket: str) -> bytes | None:
        base = self._containers.get(bucket)
        if base is None:
            return None
        self._containers.move_to_end(bucket)
        return base.state()

    def opened(self, bucket: str) -> Base[ContainerTransaction]:
        base = self._containers.get(bucket)
        if base is not None:
            self._containers.move_to_end(bucket)
            return base
        path = self._container_path(bucket)
        if bucket in self._retiring or not path.exists():
            raise BaseNotFound("there is no such container")
        return self._open(bucket, path)

    def reopened(self, bucket: str) -> Base[ContainerTransaction]:
        base = self._containers.get(bucket)
        if base is not None and base.replaced():
            del self._containers[bucket]
            self._close_later(base)
        return self.opened(bucket)

    def sole(self, bucket: str) -> Base[ContainerTransaction] | None:
        return None if self._read_only else self._containers.get(bucket)

    async def writable(self, bucket: str, *, create: bool = False) -> Base[ContainerTransaction]:
        if self._read_only:
            raise VolumeReadOnly("this process only reads the metadata")
        if bucket not in self._marked:
            if not create:
                self._known(bucket)
            await self.directory.mark_opened(bucket)
            self._marked.add(bucket)
        base = self._open(bucket, self._container_path(bucket)) if create and bucket not in self._containers else self._known(bucket)
        self._touched.add(bucket)
        return base

    def _known(self, bucket: str) -> Base[ContainerTransaction]:
        try:
            return self.opened(bucket)
        except BaseNotFound as error:
            raise BucketNotFound("there is no such bucket") from error

    def _open(self, bucket: str, path: Path) -> Base[ContainerTransaction]:
        base = self._make(path, CONTAINER, container_base(bucket))
        self._containers[bucket] = base
        if len(self._containers) > self._bases_max:
            for name, oldest in self._containers.items():
                if not oldest.pending and oldest is not base:
                    del self._containers[name]
                    self._close_later(oldest)
                    break
        return base

    def _one(self, kind: Kind[Any], name: str) -> Base[Any]:
        base = self._single.get(name)
        if base is None:
            base = self._single[name] = self._make(self._path / kind.name / f"{name}.db", kind, name)
        return base

    def _make(self, path: Path, kind: Kind[Any], name: str) -> Base[Any]:
        return Base(path, kind, name, committer=self._committer, now_us=self._clock.now_us, log_grown=self._checkpoint_later)

    def _container_path(self, bucket: str) -> Path:
        number = container_id(bucket)
        return self._path / CONTAINER.name / number[:3] / f"{number}.db"

    # Steps of a bucket's life

    async def _listed(self, account: str, bucket: str) -> bool:
        found = await self.accounts.buckets(account, prefix=bucket, limit=1)
        return bool(found) and found[0].bucket == bucket

    async def _retire(self, bucket: str) -> None:
        """Deletes the files of a removed bucket that has nothing left to do. Called with the bucket's lock held."""
        try:
            base = self.opened(bucket)
        except BaseNotFound:
            return
        if base.pending or base.read(removed_settings) is None or base.read(has_work):
            return
        del self._containers[bucket]  # no await since the checks: nobody wrote in between
        self._retiring.add(bucket)
        try:
            await base.aclose()  # before the names go: SQLite removes the log by its name
            base.unlink()
            await self.directory.forget(bucket)
            self._touched.discard(bucket)
            self._marked.discard(bucket)
        finally:
            self._retiring.discard(bucket)

    @asynccontextmanager
    async def _exclusive(self, bucket: str) -> AsyncIterator[None]:
        """One creation or removal of a name at a time."""
        with self._lock(bucket) as lock:
            async with lock:
                yield

    @contextmanager
    def _lock(self, bucket: str) -> Iterator[trio.Lock]:
        lock, users = self._locks.get(bucket, (trio.Lock(), 0))
        self._locks[bucket] = (lock, users + 1)
        try:
            yield lock
        finally:
            lock, users = self._locks.pop(bucket)
            if users > 1:
                self._locks[bucket] = (lock, users - 1)

    # Opening, housekeeping, closing

    async def _prepare(self) -> None:
        if self._read_only:
            return
        await self.directory.prepare()
        for base in self._single.values():
            await base.make()
        opened = self.directory.opened()
        self._marked.update(opened)
        self._touched.update(opened)

    def _checkpoint_later(self, base: Base[Any]) -> None:
        self._to_checkpoint.add(base)
        self._house.set()

    def _close_later(self, base: Base[Any]) -> None:
        self._to_close.append(base)
        self._house.set()

    async def _keep_house(self) -> None:
        """Checkpoints and closes bases, one at a time, beside the requests."""
        while True:
            await self._house.wait()
            self._house = trio.Event()
            while self._to_checkpoint or self._to_close:
                try:
                    if self._to_close:
                        await self._to_close.pop().aclose()
                    else:
                        await self._to_checkpoint.pop().checkpoint()
                except FrazilError as error:
                    _log.warning("a metadata base could not be checkpointed or closed; its log keeps everything: %s", error)

    def _clean(self) -> list[str]:
        """Buckets on record as opened that have no work."""
        return [] if self._read_only else [bucket for bucket in self._marked if bucket not in self._touched]

    async def _aclose(self) -> None:
        clean = self._clean()
        try:
            if clean:
                await self.directory.mark_clean(clean)
        finally:
            for base in [*self._to_close, *self._containers.values(), *self._single.values()]:
                try:
                    await base.aclose()
                except FrazilError as error:
                    _log.warning("a metadata base could not be closed in good order; its log keeps everything: %s", error)
            self._containers.clear()
