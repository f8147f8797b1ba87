"""Where a content's bytes are when they may lie on sleeping disks: what the gateway and the lifecycle engine ask of the cold tier.

A content is named by its layout: the same chunks, whatever the row that names them is called by now. Every call may be repeated, and a call
that was answered is remembered through crashes; what it asks for is done when the disks allow it. `state` says how far it is.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from enum import Enum, IntEnum
from typing import Protocol

import msgspec

from node.auth import NamespaceKey
from store.layout import Layout


class Priority(IntEnum):
    """How soon a thaw is wanted: S3's restore tiers, most urgent first."""

    EXPEDITED = 0
    STANDARD = 1
    BULK = 2


class Temperature(Enum):
    """HOT: every byte on the volumes, no wish to change that; FREEZING: on the volumes still, on its way to cold disks; COLD: not all on
    the volumes; THAWING: COLD, and asked for; THAWED: readable for a while, on cold disks too."""

    HOT = "hot"
    FREEZING = "freezing"
    COLD = "cold"
    THAWING = "thawing"
    THAWED = "thawed"


class TierState(msgspec.Struct, frozen=True):
    """readable: a read now gets every byte, from as many chunks as its policy needs.

    until_us    THAWED: when the bytes leave the volumes again, microseconds since 1970; else 0
    wait_s      THAWING: about how long it will take, if somebody knows; else 0
    """

    temperature: Temperature
    readable: bool
    until_us: int = 0
    wait_s: float = 0.0


HOT = TierState(Temperature.HOT, readable=True)


class Tier(Protocol):
    """Every method raises Unavailable when a part of the tier can't be asked now: then some of it may have been noted; ask again."""

    async def freeze(self, content: Layout) -> None:
        """Has the bytes moved to cold disks, some time. Of a thawed content: it need not stay thawed."""

    async def thaw(self, content: Layout, priority: Priority, until_us: int) -> None:
        """Has the bytes brought back, to stay until `until_us` at the least (0: the tier's own while). Again: the later time and the more
        urgent priority count. Of a content that is not on cold disks yet: it stays hot until then."""

    async def melt(self, content: Layout) -> None:
        """Has the bytes brought back for good, and the cold copies forgotten then: the way to STANDARD without writing anew."""

    async def promise(self, content: Layout) -> None:
        """Raises: BoardsMissing when the bytes are away and nothing that this store was started with can bring them back."""

    async def states(self, contents: Sequence[Layout]) -> list[TierState]:
        """One for each, in order."""

    async def forget(self, volume: str, chunks: Sequence[str]) -> None:
        """Chunks that were cold once are about to be deleted: rawx.volume.Forget."""

    async def sites(self) -> dict[str, str]:
        """The data centre of the boards of each volume that has some, "" = here, as far as it is known."""


OpenTier = Callable[[NamespaceKey], AbstractAsyncContextManager[Tier]]
"""The tier of a store, from the store's opening to its end."""


class InPlace:
    """The tier of a store that never had boards: a class is a word, bytes stay where they are, a restore is done when it is asked for."""

    def __repr__(self) -> str:
        return "<InPlace>"

    async def freeze(self, content: Layout) -> None:
        return

    async def thaw(self, content: Layout, priority: Priority, until_us: int) -> None:
        return

    async def melt(self, content: Layout) -> None:
        return

    async def promise(self, content: Layout) -> None:
        return

    async def forget(self, volume: str, chunks: Sequence[str]) -> None:
        return

    async def states(self, contents: Sequence[Layout]) -> list[TierState]:
        return [HOT] * len(contents)

    async def sites(self) -> dict[str, str]:
        return {}
