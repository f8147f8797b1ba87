"""The mark of a chunk whose bytes lie on a sleeping disk, and what it means to who meets it. Blocking.

user.frazil.cold   JSON: {"v":1,"state":"cold","place":"board/bus/disk","until_us":0}

state  "cold"    the bytes are at `place`; what the file reads as means nothing
       "filled"  they are here as well, until `until_us` or later
       "lost"    they were at `place` and can't be had from there any more
"""

from __future__ import annotations

import os
from collections.abc import Sequence

import msgspec

from node.errors import ChunkCold, ChunkCorrupt, ChunkNotFound, RecordCorrupt
from rawx import system
from rawx.chunk import UNREADABLE
from rawx.folders import path_of
from rawx.health import Health

MARK_ATTRIBUTE = "user.frazil.cold"
_MARK_NAME = MARK_ATTRIBUTE.encode()
MARK_VERSION = 1
COLD, FILLED, LOST = "cold", "filled", "lost"


class Mark(msgspec.Struct, frozen=True):
    state: str
    place: str
    until_us: int = 0
    v: int = msgspec.field(default_factory=lambda: MARK_VERSION)

    def encode(self) -> bytes:
        return _encoder.encode(self)


_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(Mark)


def read_mark(descriptor: int) -> Mark | None:
    """None: the chunk was never cold. Raises: RecordCorrupt, OSError."""
    if MARK_ATTRIBUTE not in os.listxattr(descriptor):  # as of nearly all chunks: 2 us, and 4 to ask for what isn't there
        return None
    data = system.attribute(descriptor, _MARK_NAME)
    if data is None:
        return None
    try:
        mark = _decoder.decode(data)
    except UNREADABLE as error:
        raise RecordCorrupt(f"the mark of a cold chunk is not readable: {error}") from error
    if mark.v != MARK_VERSION:
        raise RecordCorrupt(f"the mark of a cold chunk has version {mark.v}, this Frazil knows {MARK_VERSION}")
    return mark


def explain(descriptor: int, chunk: str) -> ChunkCold | None:
    """Why the chunk's bytes are not what its checksums say: they are elsewhere; None when that isn't so. Raises: ChunkCorrupt when they
    are nowhere."""
    try:
        mark = read_mark(descriptor)
    except (OSError, RecordCorrupt):
        return None
    if mark is None or mark.state == FILLED:
        return None
    if mark.state == LOST:
        raise ChunkCorrupt(f"chunk {chunk} was on the cold disk {mark.place}, which lost it")
    return ChunkCold(f"chunk {chunk} lies on the cold disk {mark.place}")


def marked(root: int, health: Health, chunks: Sequence[str]) -> list[str]:
    """Those with bytes elsewhere. Raises: VolumeSick."""
    found = []
    for chunk in chunks:
        try:
            descriptor = system.open_plain(root, path_of(chunk))
        except OSError as error:
            meaning = health.read_failed(error, f"opening chunk {chunk}")
            if isinstance(meaning, ChunkNotFound):
                continue
            raise meaning from error
        try:
            if read_mark(descriptor) is not None:
                found.append(chunk)
        except RecordCorrupt:
            found.append(chunk)
        finally:
            os.close(descriptor)
    return found
