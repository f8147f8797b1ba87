"""What the engine tells the outside: objects that moved or went by no request's doing."""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum
from typing import Protocol

import msgspec

from meta.protocol.object import DeleteResult, ObjectRow


class Event(Enum):
    EXPIRED = "expired"
    MOVED = "moved"
    RESTORED = "restored"
    RESTORE_OVER = "restore over"


class News(msgspec.Struct, frozen=True):
    """row: the version as it is now; of what expired `deletion` instead."""

    event: Event
    row: ObjectRow | None = None
    deletion: DeleteResult | None = None


class Herald(Protocol):
    async def tell(self, bucket: str, news: Sequence[News]) -> None:
        """Durable at return, for whoever the bucket tells of such events. Raises: FrazilError."""


class Silent:
    """Nobody is told."""

    async def tell(self, bucket: str, news: Sequence[News]) -> None:
        return
