"""What a row says of its encryption: which key wraps the data key, and the wrapped data key. Nothing in it is secret. Pure.

Kept in Attributes.extra["encryption"], and so in the chunks' records: with the namespace's secret (or the customer's key) they alone
decrypt the object.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import msgspec

from meta.protocol.object import Attributes, ObjectRow
from node.errors import RecordCorrupt
from store.cipher import sealed_bytes

ENCRYPTION = "encryption"
ENVELOPE_VERSION = 1
MANAGED = "AES256"
"""SSE-S3: the namespace's own key."""
KMS = "aws:kms"
"""SSE-KMS: a key of the namespace that the request names."""
CUSTOMER = "SSE-C"
"""The customer's key, which is never kept."""


class Envelope(msgspec.Struct, frozen=True, omit_defaults=True):
    """mode      MANAGED, KMS or CUSTOMER
    wrapped      the data key, base64; see store/vault.py
    key, version id and version of the namespace's key that wraps it ("" and 0 for CUSTOMER)
    context      SSE-KMS's encryption context, without which the data key does not unwrap
    bucket_key   what the request said of S3 bucket keys: kept to be told
    check        CUSTOMER: salted and keyed hash of the customer's key, base64
    parts        the parts' numbers, when they are not 1, 2, 3 ..
    """

    mode: str
    wrapped: str
    key: str = ""
    version: int = 0
    context: dict[str, str] = {}
    bucket_key: bool = False
    check: str = ""
    parts: tuple[int, ...] = ()
    v: int = msgspec.field(default_factory=lambda: ENVELOPE_VERSION)  # a factory, for a plain default would be omitted

    @property
    def binding(self) -> bytes:
        """What the wrapped data key is bound to."""
        return json.dumps([ENVELOPE_VERSION, self.mode, self.key, self.version, self.context], sort_keys=True).encode()

    def into(self, attributes: Attributes) -> Attributes:
        return msgspec.structs.replace(attributes, extra={**attributes.extra, ENCRYPTION: msgspec.to_builtins(self)})


def envelope_of(attributes: Attributes) -> Envelope | None:
    """None for what is not encrypted. Raises: RecordCorrupt for an envelope of a version this code doesn't know."""
    value: Any = attributes.extra.get(ENCRYPTION)
    if value is None:
        return None
    try:
        envelope = msgspec.convert(value, Envelope)
    except msgspec.ValidationError as error:
        raise RecordCorrupt(f"what the object says of its encryption is not readable: {error}") from error
    if envelope.v != ENVELOPE_VERSION:
        raise RecordCorrupt(f"the object's encryption has version {envelope.v}, this Frazil knows {ENVELOPE_VERSION}")
    return envelope


def without_envelope(attributes: Attributes) -> Attributes:
    return msgspec.structs.replace(attributes, extra={name: value for name, value in attributes.extra.items() if name != ENCRYPTION})


def with_parts(attributes: Attributes, numbers: Sequence[int]) -> Attributes:
    """The attributes of an upload as those of the object that it becomes."""
    envelope = envelope_of(attributes)
    if envelope is None or tuple(numbers) == tuple(range(1, len(numbers) + 1)):
        return attributes
    return msgspec.structs.replace(envelope, parts=tuple(numbers)).into(attributes)


def parts_of(row: ObjectRow) -> Sequence[int]:
    """Plain bytes of each content of the object."""
    return row.attributes.parts or (row.size,)


def stored_parts(row: ObjectRow) -> Sequence[int]:
    """Bytes that each content of the object takes in the chunks: more than the object has when it is encrypted."""
    return [sealed_bytes(size) for size in parts_of(row)] if ENCRYPTION in row.attributes.extra else parts_of(row)
