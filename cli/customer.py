"""A customer's own encryption key (SSE-C), from a file to the headers that bring it."""

from __future__ import annotations

import base64
import binascii
import hashlib
import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from node.errors import ConfigError

KEY_BYTES = 32
FILE_BYTES_MAX = 1_024
_PREFIX = "x-amz-server-side-encryption-customer-"
_SOURCE_PREFIX = "x-amz-copy-source-server-side-encryption-customer-"


@dataclass(frozen=True, slots=True)
class CustomerKeys:
    """Headers for requests that read an object, that write one, and that read one to copy it. Never shown."""

    reading: Mapping[str, str] = field(default_factory=dict, repr=False)
    writing: Mapping[str, str] = field(default_factory=dict, repr=False)
    copying: Mapping[str, str] = field(default_factory=dict, repr=False)

    @classmethod
    def of_files(cls, read: str, written: str) -> CustomerKeys:
        """Paths of the keys, "" for none. Raises: ConfigError, OSError."""
        reading = b"" if not read else read_key(Path(read))
        writing = b"" if not written else read_key(Path(written))
        return cls(_headers(_PREFIX, reading), _headers(_PREFIX, writing), _headers(_SOURCE_PREFIX, reading))


NO_KEYS = CustomerKeys()


def read_key(path: Path) -> bytes:
    """The key in a file that only its owner may read: 32 bytes as they are, in hex, or in base64. Raises: ConfigError, OSError."""
    with path.open("rb") as file:
        mode = os.fstat(file.fileno()).st_mode
        if stat.S_ISREG(mode) and mode & 0o077:
            raise ConfigError(f"{path} holds a key but others may read it; run: chmod 600 {path}")
        raw = file.read(FILE_BYTES_MAX)
    text = raw.strip()
    for decoded in (raw, _decoded(text, binascii.unhexlify), _decoded(text, binascii.a2b_base64)):
        if len(decoded) == KEY_BYTES:
            return decoded
    raise ConfigError(f"{path} holds no key: 32 bytes, or 64 hex digits, or base64 of 32 bytes; make one: openssl rand -out {path} 32")


def _decoded(text: bytes, decode: object) -> bytes:
    assert callable(decode)
    try:
        return bytes(decode(text))
    except binascii.Error:
        return b""


def _headers(prefix: str, key: bytes) -> dict[str, str]:
    if not key:
        return {}
    digest = hashlib.md5(key, usedforsecurity=False).digest()
    named = {"algorithm": "AES256", "key": base64.b64encode(key).decode("ascii"), "key-md5": base64.b64encode(digest).decode("ascii")}
    return {prefix + name: value for name, value in named.items()}
