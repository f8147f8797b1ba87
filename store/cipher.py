"""The sealed form of a content: encrypted and authenticated in units, so that a range costs the units it touches. Pure but for the salt.

    content := header, unit 0, unit 1, .. unit n        one content is one PUT or one part of an upload
    header  := "FZE", version 1 (1 byte), part (4, big-endian; 0 = not uploaded in parts), salt (24, random)
    unit    := AES-256-GCM ciphertext of UNIT_BYTES plain bytes, tag (16)

The last unit is shorter than the others, and empty when the plain bytes end with a unit: so whoever seals never needs to know the length
beforehand, and whoever opens knows the last unit by its size. The units' key is HMAC-SHA256(data key, "frazil content 1" + header): no
two contents share one, also when a part is uploaded twice under one data key. The nonce is the unit's index (8 bytes), three zeros, and 1
for the last unit, else 0; so it is used once with its key, and a unit that is cut off, swapped, repeated, moved to another part or
made the last one does not open.

Source: Hoang, Reyhanitabar, Rogaway, Vizar: Online Authenticated-Encryption and its Nonce-Reuse Misuse-Resistance (STREAM).
"""

from __future__ import annotations

import hmac
import os
import struct

from node.errors import SealBroken

MAGIC = b"FZE"
FORMAT_VERSION = 1
UNIT_BYTES = 64 << 10
"""Plain bytes of a unit. AES-256-GCM takes 7 us for it, the call 1 us of them; a tag each costs 0.02 % of space."""
TAG_BYTES = 16
SEALED_UNIT_BYTES = UNIT_BYTES + TAG_BYTES
DATA_KEY_BYTES = 32
SALT_BYTES = 24
_HEADER = struct.Struct(f">3sBI{SALT_BYTES}s")
HEADER_BYTES = _HEADER.size
_NONCE = struct.Struct(">Q3xB")


def sealed_bytes(plain: int) -> int:
    """Bytes that a content of so many plain bytes takes."""
    return HEADER_BYTES + plain + (plain // UNIT_BYTES + 1) * TAG_BYTES


def plain_bytes(sealed: int) -> int:
    """The way back. Raises: SealBroken when no content has that size."""
    units, rest = divmod(sealed - HEADER_BYTES, SEALED_UNIT_BYTES)
    if sealed < HEADER_BYTES or rest < TAG_BYTES:
        raise SealBroken(f"no encrypted content has {sealed} bytes")
    return units * UNIT_BYTES + rest - TAG_BYTES


def new_header(part: int) -> bytes:
    return _HEADER.pack(MAGIC, FORMAT_VERSION, part, os.urandom(SALT_BYTES))


def check_header(header: bytes, part: int) -> None:
    """Raises: SealBroken when these bytes don't begin that part's content."""
    if len(header) != HEADER_BYTES:
        raise SealBroken("the encrypted content is cut off")
    magic, version, found, _ = _HEADER.unpack(header)
    if magic != MAGIC or version != FORMAT_VERSION:
        raise SealBroken("the content is not encrypted in a form that this Frazil knows")
    if found != part:
        raise SealBroken(f"the encrypted content is that of part {found}, not of part {part}")


class UnitCipher:
    """Seals or opens the units of one content. Each unit is sealed once: the caller counts."""

    __slots__ = ("_aead", "_failure")

    def __init__(self, data_key: bytes, header: bytes) -> None:
        from cryptography.exceptions import InvalidTag  # 60 ms: only processes that meet an encrypted object pay it
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        self._aead = AESGCM(hmac.digest(data_key, b"frazil content 1" + header, "sha256"))
        self._failure = InvalidTag

    def __repr__(self) -> str:
        return "<UnitCipher>"

    def seal_into(self, index: int, plain: memoryview, target: memoryview) -> None:
        """target: TAG_BYTES longer than plain. The last unit is the one that is shorter than UNIT_BYTES."""
        assert len(plain) <= UNIT_BYTES
        self._aead.encrypt_into(_NONCE.pack(index, len(plain) < UNIT_BYTES), plain, None, target)

    def open_into(self, index: int, sealed: memoryview, target: memoryview) -> None:
        """target: TAG_BYTES shorter than sealed. Raises: SealBroken; nothing of the unit may be used then."""
        assert len(target) == len(sealed) - TAG_BYTES <= UNIT_BYTES
        try:
            self._aead.decrypt_into(_NONCE.pack(index, len(sealed) < SEALED_UNIT_BYTES), sealed, None, target)
        except self._failure as error:
            raise SealBroken(f"unit {index} of the encrypted content is not what was sealed, or not with this key") from error


def open_content(sealed: bytes, size: int, part: int, data_key: bytes) -> bytes:
    """All `size` plain bytes of a content that is at hand whole. Raises: SealBroken."""
    if len(sealed) != sealed_bytes(size):
        raise SealBroken(f"the encrypted content has {len(sealed)} bytes instead of {sealed_bytes(size)}")
    view, plain = memoryview(sealed), bytearray(size)
    header = sealed[:HEADER_BYTES]
    check_header(header, part)
    cipher = UnitCipher(data_key, header)
    with memoryview(plain) as target:
        for index, at in enumerate(range(HEADER_BYTES, len(sealed), SEALED_UNIT_BYTES)):
            cipher.open_into(index, view[at : at + SEALED_UNIT_BYTES], target[index * UNIT_BYTES : (index + 1) * UNIT_BYTES])
    return bytes(plain)
