"""S3's object checksums: which there are, how they are written, how those of parts become one for the whole. Pure.

Source: https://docs.aws.amazon.com/AmazonS3/latest/userguide/checking-object-integrity-upload.html
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping, Sequence

from awscrt import checksums as crt

from s3.errors import S3Error
from store.digests import Digests

FULL_OBJECT = "FULL_OBJECT"
COMPOSITE = "COMPOSITE"
DEFAULT_ALGORITHM = "crc64nvme"
"""Computed and kept when the client names none, as AWS does."""
_BYTES = {
    "crc32": 4,
    "crc32c": 4,
    "crc64nvme": 8,
    "sha1": 20,
    "sha256": 32,
    "sha512": 64,
    "md5": 16,
    "xxhash64": 8,
    "xxhash3": 8,
    "xxhash128": 16,
}
ALGORITHMS = tuple(_BYTES)
"""All of botocore's ChecksumAlgorithm."""
COMBINED = frozenset({"crc32", "crc32c", "crc64nvme"})
"""Those whose checksum of the whole follows from its parts' by arithmetic."""
_TYPES = dict.fromkeys(ALGORITHMS, (COMPOSITE,)) | {
    "crc32": (COMPOSITE, FULL_OBJECT),
    "crc32c": (COMPOSITE, FULL_OBJECT),
    "crc64nvme": (FULL_OBJECT,),
}
"""Of an upload in parts; the first is meant when it names none."""
HEADERS = {f"x-amz-checksum-{algorithm}".encode(): algorithm for algorithm in ALGORITHMS}
ELEMENTS = {algorithm: f"Checksum{algorithm.upper()}" for algorithm in ALGORITHMS}
"""Names of the checksums in XML."""


def digest_of(algorithm: str, data: bytes) -> bytes:
    digests = Digests((algorithm,))
    digests.update(memoryview(data))
    return digests.finish()[algorithm]


def parse_algorithm(name: str) -> str:
    """The algorithm an x-amz-checksum-algorithm or x-amz-sdk-checksum-algorithm header names. Raises: InvalidRequest."""
    algorithm = name.lower()
    if algorithm in ALGORITHMS:
        return algorithm
    raise S3Error(
        "InvalidRequest",
        "Checksum algorithm provided is unsupported. Please try again with any of the valid types: "
        f"[{', '.join(name.upper() for name in ALGORITHMS)}]",
    )


def parse_type(name: str, algorithm: str) -> str:
    """The type of an upload's checksum. Raises: InvalidRequest when the algorithm has no such type."""
    kind = name.upper() if name else _TYPES[algorithm][0]
    if kind not in _TYPES[algorithm]:
        raise S3Error("InvalidRequest", f"The {kind} checksum type cannot be used with the {algorithm} checksum algorithm.")
    return kind


def encode(digest: bytes) -> str:
    return base64.b64encode(digest).decode("ascii")


def parse_value(algorithm: str, text: str) -> bytes:
    """The bytes of a base64 checksum. Raises: ValueError."""
    value = base64.b64decode(text, validate=True)
    if len(value) != _BYTES[algorithm]:
        raise ValueError(f"{algorithm} has {_BYTES[algorithm]} bytes, not {len(value)}")
    return value


def combine_full(algorithm: str, parts: Sequence[tuple[bytes, int]]) -> bytes:
    """Checksum of the whole from (checksum, bytes) of its parts in order: arithmetic only, no byte is read again. Only for COMBINED."""
    combine: Callable[[int, int, int], int] = getattr(crt, f"combine_{algorithm}")
    value = 0
    for digest, size in parts:
        value = combine(value, int.from_bytes(digest, "big"), size)
    return value.to_bytes(_BYTES[algorithm], "big")


def combine_composite(algorithm: str, parts: Sequence[bytes]) -> str:
    """The checksum of the parts' checksums, as S3 writes it: base64, a dash, the number of parts."""
    return f"{encode(digest_of(algorithm, b''.join(parts)))}-{len(parts)}"


def combine(algorithm: str, kind: str, parts: Sequence[tuple[Mapping[str, str], int]]) -> str | None:
    """The whole's checksum from (checksums, bytes) of the parts, None when a part lacks it."""
    digests = []
    for values, size in parts:
        if algorithm not in values:
            return None
        digests.append((parse_value(algorithm, values[algorithm]), size))
    if kind == COMPOSITE:
        return combine_composite(algorithm, [digest for digest, _ in digests])
    return encode(combine_full(algorithm, digests))
