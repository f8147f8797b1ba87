"""Where containers are, on a cluster."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import msgspec

ASSIGNED_MAX = 1_000
"""Buckets in one answer."""


class Prefix(msgspec.Struct, frozen=True):
    """Container ids that begin with `prefix` are known to the meta1 base `base`, which the set has."""

    prefix: str
    base: str
    set: str


class Place(msgspec.Struct, frozen=True):
    """Where a container is. removed: its bucket is gone, it may have deletions to do."""

    bucket: str
    set: str
    removed: bool = False


class Prefixes(Protocol):
    """meta0."""

    async def prefixes(self) -> list[Prefix]: ...

    async def lay_out(self, prefixes: Sequence[Prefix]) -> list[Prefix]:
        """Once, at the namespace's begin; what is there already stays, and is answered."""

    async def move_prefixes(self, base: str, target: str) -> None:
        """The meta1 base is in the set `target` now."""


class Assignments(Protocol):
    """One meta1 base."""

    async def assign(self, bucket: str, wish: str) -> Place:
        """To the set `wish` unless it has a place; a removed container is taken up again where it is."""

    async def find(self, bucket: str) -> Place:
        """Raises: BucketNotFound."""

    async def mark_removed(self, bucket: str) -> None: ...

    async def counts(self) -> dict[str, int]:
        """Containers of each set."""

    async def assigned(self, of: str, after: str = "", limit: int = ASSIGNED_MAX) -> list[Place]:
        """Those of the set, in order of their ids; after: the bucket of the last one before."""

    async def reassign(self, bucket: str, source: str, target: str) -> Place:
        """Raises: Superseded when it is not in the set `source`; BucketNotFound."""
