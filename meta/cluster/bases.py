"""The bases of one set of peers on this host: LocalMeta whose commits are agreed with the other peers.

PATH/<kind>/...          as in meta/local.py; a base that this set does not have is never made
PATH/meta1/opened.db     which of the set's containers may have work to do
PATH/promise             meta/cluster/promise.py
PATH/transfer/           snapshots on their way
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from meta.accounts import ACCOUNTS
from meta.base import Base
from meta.cluster.directory import LocalAssignments, LocalPrefixes
from meta.commit import Committer
from meta.directory import META0, META1, LocalDirectory, container_base, opened_buckets
from meta.encryption import ENCRYPTION
from meta.jobs import JOBS
from meta.kind import Kind, Transaction
from meta.local import BASES_OPEN_MAX, LocalMeta
from meta.registry import REGISTRY
from meta.transaction import CONTAINER, ContainerTransaction
from node.auth import NamespaceKey
from node.clock import Clock
from node.errors import BaseCorrupt, BaseNotFound, InvalidArgument

OPENED = "opened"
TRANSFER = "transfer"
SINGLE: dict[str, Kind[Any]] = {
    "accounts": ACCOUNTS,
    "registry": REGISTRY,
    "encryption": ENCRYPTION,
    "jobs": JOBS,
    "meta0": META0,
    OPENED: META1,
}
CLEAN_KEPT_MAX = 256
"""Containers without work that stay on record as opened: the record is cleaned when there are more."""
_META1 = re.compile(r"meta1-[0-9]{1,4}")
_CONTAINER = container_base("")


class SetBases(LocalMeta):
    """lead(base, create): returns when this host leads that base."""

    def __init__(self, path: Path, *, key: NamespaceKey, clock: Clock, committer: Committer, lead: Callable[..., Awaitable[None]]) -> None:
        super().__init__(path, key=key, clock=clock, read_only=False, bases_max=BASES_OPEN_MAX, committer=committer)
        self.transfer = path / TRANSFER
        self._lead = lead
        self.directory = OpenedDirectory(self._one(META1, OPENED))
        self.prefixes = LocalPrefixes(self._one(META0, "meta0"))

    def replica(self, name: str) -> tuple[Base[Any], Kind[Any]]:
        """The base of that name, whether its file is there or not. Raises: InvalidArgument."""
        if name.startswith(_CONTAINER):
            bucket = name[len(_CONTAINER) :]
            found = self._containers.get(bucket)
            if found is not None:
                self._containers.move_to_end(bucket)
                return found, CONTAINER
            return self._open(bucket, self._container_path(bucket)), CONTAINER
        kind = SINGLE.get(name) or (META1 if _META1.fullmatch(name) else None)
        if kind is None:
            raise InvalidArgument(f"{name!r} is no name of a base")
        return self._one(kind, name), kind

    @property
    def busy(self) -> bool:
        """Whether writes are on their way."""
        return any(base.pending for base in [*self._containers.values(), *self._single.values()])

    def exists(self, name: str) -> bool:
        base, _ = self.replica(name)
        return base.path.exists()

    def assignments(self, name: str) -> LocalAssignments:
        """A part of the namespace's directory. Raises: InvalidArgument."""
        if not _META1.fullmatch(name):
            raise InvalidArgument(f"{name!r} is no part of the directory")
        return LocalAssignments(self._one(META1, name))

    def begin_reign(self) -> None:
        """What an earlier leader may have changed is learnt anew."""
        opened = self.directory.opened()
        self._marked = set(opened)
        self._touched = set(opened)

    async def writable(self, bucket: str, *, create: bool = False) -> Base[ContainerTransaction]:
        await self._lead(container_base(bucket), create=create)
        return await super().writable(bucket, create=create)

    async def dirty_containers(self) -> list[str]:
        for bucket in sorted(self._touched):
            try:
                await self._lead(container_base(bucket))
            except (BaseNotFound, BaseCorrupt):  # opened for a creation that failed; or this one's work waits, the others' goes on
                continue
        dirty = await super().dirty_containers()
        clean = self._marked - self._touched
        if len(clean) > CLEAN_KEPT_MAX:
            self._marked -= clean  # before the first await: who writes one of them now marks it again, behind this
            await self.directory.mark_clean(sorted(clean))
        return dirty

    async def _finish_removal(self, bucket: str) -> None:
        """Its name is another set's business (meta/cluster/birth.py), and its replicas stay: a name that comes again must not begin anew
        at one peer and go on at another."""

    async def _retire(self, bucket: str) -> None:
        """As above."""

    async def _prepare(self) -> None:
        """Bases are made by their leader."""

    def _clean(self) -> list[str]:
        return []


class OpenedDirectory(LocalDirectory):
    """What a set knows of its containers: which may have work to do."""

    def __init__(self, base: Base[Transaction]) -> None:
        super().__init__(base, lambda _name: base)

    def _name(self, number: str) -> str:
        return OPENED

    def opened(self) -> list[str]:
        return self._meta1(OPENED).read(opened_buckets)
