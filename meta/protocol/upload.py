"""Multipart uploads and their parts."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

import msgspec

from meta.protocol.object import NO_CONDITION, Attributes, Condition, ObjectRow

PARTS_MAX = 10_000


class UploadRow(msgspec.Struct, frozen=True, omit_defaults=True):
    """A multipart upload in progress. upload: its id (32 hex); attributes and class are what the object will have."""

    upload: str
    key: str
    started_us: int = 0
    owner: str = ""
    storage_class: str = "STANDARD"
    policy: str = ""
    checksum_algorithm: str = ""
    checksum_type: str = ""
    attributes: Attributes = Attributes()


class PartRow(msgspec.Struct, frozen=True, omit_defaults=True):
    part: int
    size: int
    etag: str
    content: str
    layout: bytes = b""
    mtime_us: int = 0
    checksums: dict[str, str] = {}


class UploadPage(msgspec.Struct, frozen=True):
    uploads: list[UploadRow]
    prefixes: list[str]
    truncated: bool
    next_key: str = ""
    next_upload: str = ""


class PartPage(msgspec.Struct, frozen=True):
    upload: UploadRow
    parts: list[PartRow]
    truncated: bool


class Complete(msgspec.Struct, frozen=True, omit_defaults=True):
    """Completion: `row` is the finished object; `parts` are (number, content) as the
    caller read them: Superseded when they changed since, or when some were moved: `digest` is parts_digest of their layouts."""

    upload: str
    row: ObjectRow
    parts: tuple[tuple[int, str], ...]
    condition: Condition = NO_CONDITION
    digest: bytes = b""


def parts_digest(layouts: Iterable[bytes]) -> bytes:
    """Of the layouts of all parts that make an object, in their order."""
    digest = hashlib.sha256()
    for layout in layouts:
        digest.update(len(layout).to_bytes(4, "big") + layout)
    return digest.digest()
