"""Where the bytes of a content are: the value that metadata keeps as an opaque blob. Pure.

On disk: msgpack arrays, [version, [[policy, unit_bytes], ..], [volume, ..], metachunks], each metachunk
[size, policy, [[position, volume, id, checksum], ..], quality]; without its quality, which came later, it has 0.
Policies and volumes are named once and then by index, hex ids are raw bytes; one copy takes about 70 bytes, 6+3 about 500.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from functools import lru_cache

import msgspec

from node.errors import RecordCorrupt
from store.policy import POLICIES, Policy

LAYOUT_VERSION = 1


class Chunk(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """position: copy or fragment index; volume: index in Layout.volumes; id: raw; checksum: rawx.chunk.chunk_checksum."""

    position: int
    volume: int
    id: bytes
    checksum: bytes

    @property
    def name(self) -> str:
        """The chunk id as volumes know it."""
        return self.id.hex()


class Metachunk(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """size: bytes of the object; policy: index in Layout.policies; chunks: some may be missing (a write that just met its quorum).

    quality: what of the placement is worse than was wished (store.placement.judge), to be improved later
    """

    size: int
    policy: int
    chunks: tuple[Chunk, ...]
    quality: int = 0


class Slice(msgspec.Struct, frozen=True, gc=False):
    """The bytes [start, stop) of one metachunk."""

    metachunk: Metachunk
    start: int
    stop: int


class Layout(msgspec.Struct, frozen=True, gc=False):
    """policies: each with the unit size this content was written with."""

    policies: tuple[Policy, ...]
    volumes: tuple[str, ...]
    metachunks: tuple[Metachunk, ...]

    @property
    def size(self) -> int:
        return sum(metachunk.size for metachunk in self.metachunks)

    @property
    def at_once(self) -> bool:
        """Whether it is one unit of copies, which a read gets whole by one call, so that nothing can be deleted in the middle of it."""
        if len(self.metachunks) != 1:
            return False
        (metachunk,) = self.metachunks
        policy = self.policies[metachunk.policy]
        return not policy.coded and 0 < metachunk.size <= policy.unit_bytes

    def places(self) -> Iterator[tuple[str, str]]:
        """(volume id, chunk id) of every chunk."""
        for metachunk in self.metachunks:
            for chunk in metachunk.chunks:
                yield self.volumes[chunk.volume], chunk.name

    def slices(self, start: int, stop: int) -> Iterator[Slice]:
        """The parts of metachunks that make up the bytes [start, stop) of the content, in order."""
        offset = 0
        for metachunk in self.metachunks:
            end = offset + metachunk.size
            if max(start, offset) < min(stop, end):
                yield Slice(metachunk, max(start - offset, 0), min(stop, end) - offset)
            offset = end

    def part(self, first: int, stop: int) -> Layout:
        """Metachunks [first, stop) as a layout of their own."""
        return Layout(self.policies, self.volumes, self.metachunks[first:stop])

    def encode(self) -> bytes:
        policies = [(_CODES[policy.name], policy.unit_bytes) for policy in self.policies]
        return _encoder.encode(_Wire(LAYOUT_VERSION, policies, [_pack(volume) for volume in self.volumes], self.metachunks))

    @classmethod
    def parse(cls, data: bytes) -> Layout:
        """No bytes are the layout of no content. Raises: RecordCorrupt when the bytes are no layout of a version this code knows."""
        if not data:
            return EMPTY
        return _remembered(data) if len(data) <= REMEMBERED_BYTES_MAX else cls._parse(data)

    @classmethod
    def _parse(cls, data: bytes) -> Layout:
        try:
            wire = _decoder.decode(data)
            if wire.version != LAYOUT_VERSION:
                raise RecordCorrupt(f"the layout has version {wire.version}, this Frazil knows {LAYOUT_VERSION}")
            policies = tuple(map(_policy, wire.policies))
            volumes = tuple(map(_unpack, wire.volumes))
        except (msgspec.DecodeError, IndexError, UnicodeDecodeError) as error:
            raise RecordCorrupt(f"the layout is not readable: {error}") from error
        return cls(policies, volumes, wire.metachunks)

    @classmethod
    def join(cls, layouts: Iterable[Layout]) -> Layout:
        """One content out of several, in order; no chunk is touched."""
        draft = Draft()
        for layout in layouts:
            for metachunk in layout.metachunks:
                places = [(chunk.position, layout.volumes[chunk.volume], chunk.id, chunk.checksum) for chunk in metachunk.chunks]
                draft.add(layout.policies[metachunk.policy], metachunk.size, places, metachunk.quality)
        return draft.layout()


class Draft:
    """A layout in the making, metachunk by metachunk."""

    def __init__(self) -> None:
        self._policies: dict[Policy, int] = {}
        self._volumes: dict[str, int] = {}
        self._metachunks: list[Metachunk] = []

    def add(self, policy: Policy, size: int, places: Iterable[tuple[int, str, bytes, bytes]], quality: int = 0) -> None:
        """places: (position, volume id, raw chunk id, chunk checksum) of what is durable."""
        volumes = self._volumes
        chunks = tuple([Chunk(position, volumes.setdefault(volume, len(volumes)), id, sum) for position, volume, id, sum in places])
        self._metachunks.append(Metachunk(size, self._policies.setdefault(policy, len(self._policies)), chunks, quality))

    def layout(self) -> Layout:
        return Layout(tuple(self._policies), tuple(self._volumes), tuple(self._metachunks))


EMPTY = Layout((), (), ())


def layout_of_places(places: Iterable[tuple[str, str]]) -> Layout:
    """Chunks of which only (volume id, chunk id) matters: for lists of deletions."""
    draft = Draft()
    draft.add(POLICIES["SINGLE"], 0, [(0, volume, bytes.fromhex(chunk), b"") for volume, chunk in places])
    return draft.layout()


class _Wire(msgspec.Struct, frozen=True, array_like=True, gc=False):
    version: int
    policies: list[tuple[int, int]]
    volumes: list[bytes]
    metachunks: tuple[Metachunk, ...]


_HEX, _TEXT = b"\x00", b"\x01"
_NAMES = ("SINGLE", "TWOCOPIES", "THREECOPIES", "EC21", "EC42", "EC63", "EC123", "FOURCOPIES")
"""A policy's index here is its code in the format: only ever append."""
_CODES = {name: code for code, name in enumerate(_NAMES)}
_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(_Wire)


REMEMBERED = 1_024
"""Policies and volumes are few, and each layout names some: what their codes mean is remembered; so are the layouts of small objects."""
REMEMBERED_BYTES_MAX = 512


@lru_cache(maxsize=4 * REMEMBERED)
def _remembered(data: bytes) -> Layout:
    return Layout._parse(data)


@lru_cache(maxsize=REMEMBERED)
def _policy(pair: tuple[int, int]) -> Policy:
    code, unit_bytes = pair
    policy = POLICIES[_NAMES[code]]
    return policy if policy.unit_bytes == unit_bytes else replace(policy, unit_bytes=unit_bytes)


@lru_cache(maxsize=REMEMBERED)
def _pack(volume: str) -> bytes:
    """Hex ids, which ours are, at half their length: a byte that says which form follows, then the id."""
    try:
        raw = bytes.fromhex(volume)
    except ValueError:
        raw = b""
    return _HEX + raw if raw and raw.hex() == volume else _TEXT + volume.encode()


@lru_cache(maxsize=REMEMBERED)
def _unpack(packed: bytes) -> str:
    return packed[1:].hex() if packed[:1] == _HEX else packed[1:].decode()
