"""What a chunk says of itself: its id, its record, its checksums. Pure: bytes in, values out."""

from __future__ import annotations

import os
from typing import Annotated

import msgspec
import xxhash

from node.errors import InvalidArgument, RecordCorrupt

Buffer = bytes | bytearray | memoryview

RECORD_VERSION = 1
UNIT_DIGEST_BYTES = 8
UNIT_BYTES_MAX = 1 << 20
"""Invariant 2: no unit that is checked as a whole is larger."""
IDS_AHEAD = 64
"""Ids drawn at once: a single call gives the GIL away, and getting it back costs a busy process 20 us."""
NUMBER_MAX = (1 << 63) - 1
Number = Annotated[int, msgspec.Meta(ge=0, le=NUMBER_MAX)]
"""What the metadata can keep: one record with a larger one must not end what works on all."""
Time = Annotated[int, msgspec.Meta(ge=-NUMBER_MAX, le=NUMBER_MAX)]
UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""What decoding raises: of text that is not UTF-8, and of what is nested too deep, msgspec does not say that it is its own."""
_ids_ahead: list[str] = []
os.register_at_fork(after_in_child=_ids_ahead.clear)  # or both processes would give the same ids
_HEX_DIGITS = "0123456789abcdef"


def new_chunk_id() -> str:
    """128 random bits in hex; never derived from the key, so that rename and rebuild need no new name."""
    try:
        return _ids_ahead.pop()
    except IndexError:
        random = os.urandom(16 * IDS_AHEAD).hex()
        own, *ahead = (random[at : at + 32] for at in range(0, len(random), 32))
        _ids_ahead.extend(ahead)
        return own


def check_chunk_id(text: str) -> str:
    """The id itself, or InvalidArgument: the only gate between a request and a file name."""
    # nothing is left of hex digits; a regular expression takes five times as long
    if text.strip(_HEX_DIGITS) or not 32 <= len(text) <= 64 or len(text) % 2:
        raise InvalidArgument("a chunk id is 32 to 64 lower-case hex digits, of whole bytes")
    return text


def unit_digest(unit: Buffer) -> bytes:
    """Checksum of one unit: XXH3, 64 bits."""
    return xxhash.xxh3_64_digest(unit)


def unit_digests(data: Buffer, unit_bytes: int) -> bytes:
    """Concatenated checksums of the units of `data`, the last of which may be short."""
    view = memoryview(data)
    return b"".join(xxhash.xxh3_64_digest(view[at : at + unit_bytes]) for at in range(0, len(view), unit_bytes))


def chunk_checksum(units: Buffer) -> bytes:
    """One checksum for the whole chunk: XXH3, 128 bits, over its units' checksums. Metadata keeps this one; it binds the list."""
    return xxhash.xxh3_128_digest(units)


class ObjectRecord(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """What the object's row in the metadata says, as the chunks repeat it. Only the chunks of a content's last metachunk carry it.

    version       time of the version in microseconds, unique and growing within the bucket
    null          the version S3 calls "null"
    marker        a delete marker (its chunk has no bytes)
    size          bytes of the object;  etag: without quotes
    mtime_us      last modified, microseconds since 1970
    part, parts   which part of a multipart object this content is, and of how many (1, 1 when not multipart; numbered from 1)
    after         of an object that grew by appending: the version whose contents come before this one; 0 when this version's parts are all
    content       id of the object's content as its row has it, when it is not this chunk's content: of an object of several; else ""
    attributes    headers, user metadata, tags, checksums, lock, ACL: as in the metadata row; of what it lists per part only this part's
    """

    version: Number
    size: Number
    etag: str
    mtime_us: Time
    type: str = ""
    owner: str = ""
    storage_class: str = "STANDARD"
    null: bool = False
    marker: bool = False
    part: Number = 1
    parts: Number = 1
    after: Number = 0
    attributes: dict[str, object] = {}
    content: str = ""


class UploadRecord(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """A part of a multipart upload that is not completed yet: the part's row, and what the upload's row says (from `started_us` on)."""

    upload: str
    part: Number
    size: Number
    etag: str
    mtime_us: Time
    checksums: dict[str, str] = {}
    started_us: Time = 0
    owner: str = ""
    storage_class: str = "STANDARD"
    policy: str = ""
    checksum_algorithm: str = ""
    checksum_type: str = ""
    attributes: dict[str, object] = {}


class ChunkRecord(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """The record of a chunk, stored as JSON in `user.frazil.chunk` (or the sidecar).

    v             version of this format; always written
    bucket, key, account  where the content belongs
    content       id of the content (one PUT or one part)
    policy        name of the storage policy
    metachunk     index of the metachunk in the content, from 0
    metachunks    how many there are; 0 while unknown (only the last metachunk knows)
    position      copy or fragment index, from 0; fragments 0..k-1 are data
    size          bytes of this chunk;  checksum: chunk_checksum, hex
    metachunk_size   bytes of the object in this metachunk;  offset: where they begin in the content
    unit_bytes    bytes per checksummed unit (fragments: the stripe unit)
    seq           grows with each later change of the record; the highest wins at rebuild
    object, upload   see there; both None in chunks that are not of the last metachunk
    """

    bucket: str
    key: str
    content: str
    policy: str
    account: str = ""
    metachunk: Number = 0
    metachunks: Number = 0
    position: Number = 0
    size: Number = 0
    checksum: str = ""
    metachunk_size: Number = 0
    offset: Number = 0
    unit_bytes: Number = 0
    seq: Number = 0
    object: ObjectRecord | None = None
    upload: UploadRecord | None = None
    v: int = msgspec.field(default_factory=lambda: RECORD_VERSION)  # a factory, for a plain default would be omitted

    def encode(self) -> bytes:
        """Raises: InvalidArgument when JSON can't say it: a lone surrogate, an attribute that is no JSON value or nested too deep."""
        try:
            return _encoder.encode(self)
        except (ValueError, TypeError, RecursionError) as error:
            raise InvalidArgument(f"the record can't be written as JSON: {error}") from error

    @classmethod
    def parse(cls, data: bytes) -> ChunkRecord:
        """Raises: RecordCorrupt when the bytes are no record of a version this code knows."""
        try:
            record = _decoder.decode(data)
        except UNREADABLE as error:
            raise RecordCorrupt(f"the record is not readable: {error}") from error
        if record.v != RECORD_VERSION:
            raise RecordCorrupt(f"the record has version {record.v}, this Frazil knows {RECORD_VERSION}")
        return record


_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(ChunkRecord)
