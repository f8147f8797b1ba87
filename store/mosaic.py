"""Which metachunks of which contents an object is made of, once a part of it was written anew. Pure.

Kept in Attributes.extra["mosaic"], and so in the records of the newest content's last metachunk: from chunks alone, that record tells which
metachunks of the older contents are still the object's. An object that is one content, or the parts of an upload in order, has none.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import msgspec

from meta.protocol.object import Attributes
from node.errors import RecordCorrupt
from rawx.chunk import ObjectRecord

MOSAIC = "mosaic"
MOSAIC_VERSION = 1
TILES_MAX = 1 << 20
"""Metachunks of one object: 5 TB have a twelfth of it. What says more is no mosaic, and would take all memory."""

Tile = tuple[str, int]
"""(content, index of the metachunk in it): what one metachunk of the object is."""


class Piece(msgspec.Struct, frozen=True, array_like=True):
    """Metachunks `first` and the `count - 1` behind it; content: index in Mosaic.contents."""

    content: int
    first: int
    count: int


class Mosaic(msgspec.Struct, frozen=True):
    """contents: each once, in the order in which they first appear; pieces: in the object's order, neighbours joined."""

    contents: tuple[str, ...]
    pieces: tuple[Piece, ...]
    v: int = MOSAIC_VERSION

    @classmethod
    def of(cls, tiles: Sequence[Tile]) -> Mosaic:
        numbers: dict[str, int] = {}
        for content, _ in tiles:
            numbers.setdefault(content, len(numbers))
        begins = [0] + [
            at for at, (before, tile) in enumerate(pairwise(tiles), 1) if (before[0], before[1] + 1) != tile
        ]  # fmt: skip
        ends = [*begins[1:], len(tiles)]
        pieces = [Piece(numbers[tiles[at][0]], tiles[at][1], end - at) for at, end in zip(begins, ends, strict=True)] if tiles else []
        return cls(tuple(numbers), tuple(pieces))

    @property
    def tiles(self) -> list[Tile]:
        """One for each metachunk of the object, in order."""
        return [(self.contents[piece.content], piece.first + step) for piece in self.pieces for step in range(piece.count)]

    @property
    def etag(self) -> str:
        """No MD5 of bytes, most of which were not read; other contents, another ETag. Its form is that of an upload in parts."""
        digest = hashlib.md5(msgspec.json.encode([self.contents, self.pieces]), usedforsecurity=False)
        return f"{digest.hexdigest()}-{len(self.contents)}"

    def into(self, attributes: Attributes) -> Attributes:
        return msgspec.structs.replace(attributes, extra={**attributes.extra, MOSAIC: msgspec.to_builtins(self)})


def mosaic_of(attributes: Attributes) -> Mosaic | None:
    """Raises: RecordCorrupt for one that can't be read."""
    value: Any = attributes.extra.get(MOSAIC)
    if value is None:
        return None
    try:
        mosaic = msgspec.convert(value, Mosaic)
    except msgspec.ValidationError as error:
        raise RecordCorrupt(f"what the object says of its pieces is not readable: {error}") from error
    if mosaic.v != MOSAIC_VERSION:
        raise RecordCorrupt(f"the object's pieces have version {mosaic.v}, this Frazil knows {MOSAIC_VERSION}")
    if any(not 0 <= piece.content < len(mosaic.contents) or piece.first < 0 or piece.count < 1 for piece in mosaic.pieces):
        raise RecordCorrupt("what the object says of its pieces names no content")
    if sum(piece.count for piece in mosaic.pieces) > TILES_MAX:
        raise RecordCorrupt(f"what the object says of its pieces names more than {TILES_MAX:,} metachunks")
    return mosaic


def has_mosaic(record: ObjectRecord) -> bool:
    """The same question to what a chunk says of its object."""
    extra = record.attributes.get("extra")
    return isinstance(extra, dict) and MOSAIC in extra


def without_mosaic(attributes: Attributes) -> Attributes:
    """For whatever is written as one content."""
    if MOSAIC not in attributes.extra:
        return attributes
    return msgspec.structs.replace(attributes, extra={name: value for name, value in attributes.extra.items() if name != MOSAIC})
