"""What a request is aimed at: path and query decoded exactly once, for the signature, the router and the handlers alike."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from urllib.parse import quote_from_bytes, unquote_to_bytes

from s3.errors import S3Error

KEY_BYTES_MAX = 1_024
UNESCAPED_BYTES_MAX = 128
"""Longer parts of a query are not remembered."""
PARAMETERS_MAX = 64
"""More query parameters than any S3 operation has."""
_PLAIN_PATH = re.compile(rb"/[A-Za-z0-9\-._~/]*")
_PLAIN = re.compile(rb"[A-Za-z0-9\-._~]*")
_ESCAPED = rb"[A-Za-z0-9\-._~]*(?:%(?:[0189A-F][0-9A-F]|2[0-9A-CF]|3[A-F]|40|5[B-E]|60|7[BCDF])[A-Za-z0-9\-._~]*)*"
_CANONICAL_QUERY = re.compile(rb"(?=[^&=])%b=%b(?:&(?=[^&=])%b=%b)*" % ((_ESCAPED,) * 4))
"""Queries of which each part is escaped just as SigV4 wants: everything but unreserved bytes, in upper case."""
_BAD_ESCAPE = re.compile(rb"%(?![0-9A-Fa-f]{2})")

Parameters = list[tuple[bytes, bytes]]


def decode_path(raw: bytes) -> bytes:
    """The path with its percent escapes resolved, once; a plus sign is a plus sign. Raises: InvalidURI."""
    if b"%" not in raw:
        return raw
    if _BAD_ESCAPE.search(raw):
        raise S3Error("InvalidURI")
    return unquote_to_bytes(raw)


def canonical_path(raw: bytes) -> bytes:
    """The path as SigV4 for S3 signs it: decoded once, every byte but unreserved ones and "/" escaped, nothing normalised."""
    if _PLAIN_PATH.fullmatch(raw):
        return raw
    return quote_from_bytes(decode_path(raw), safe="/-._~").encode("ascii")


def escape_component(value: bytes) -> bytes:
    """A query name or value as SigV4 signs it."""
    if _PLAIN.fullmatch(value):
        return value
    return quote_from_bytes(value, safe="-._~").encode("ascii")


def canonical_query(raw: bytes, parameters: Parameters) -> bytes:
    """All parameters of the query but the signature itself, escaped, sorted by escaped name and value; `parameters` is what `raw` says."""
    if not raw:
        return b""
    if _CANONICAL_QUERY.fullmatch(raw):  # most clients send it so: what is left is to sort, "=" before every other byte
        pairs = [pair for pair in raw.replace(b"=", b"\0").split(b"&") if not pair.startswith(b"X-Amz-Signature\0")]
        pairs.sort()
        return b"&".join(pairs).replace(b"\0", b"=")
    escaped = [(escape_component(name), escape_component(value)) for name, value in parameters if name != b"X-Amz-Signature"]
    escaped.sort()
    return b"&".join([b"%b=%b" % pair for pair in escaped])


def parse_query(raw: bytes) -> Parameters:
    """Names and values, decoded once, in order; a plus sign is a space, as forms write it. Raises: InvalidURI, InvalidArgument."""
    if not raw:
        return []
    pieces = raw.split(b"&", PARAMETERS_MAX)
    if len(pieces) > PARAMETERS_MAX:
        raise S3Error("InvalidArgument", f"more than {PARAMETERS_MAX} query parameters")
    if _BAD_ESCAPE.search(raw):
        raise S3Error("InvalidURI")
    parameters = []
    for piece in pieces:
        if piece:
            name, _, value = piece.partition(b"=")
            parameters.append((_decode(name), _decode(value)))
    return parameters


def _decode(piece: bytes) -> bytes:
    if b"%" not in piece and b"+" not in piece:
        return piece
    return _unescape(piece) if len(piece) <= UNESCAPED_BYTES_MAX else _unescape.__wrapped__(piece)


@lru_cache(maxsize=4_096)
def _unescape(piece: bytes) -> bytes:
    """Remembered, because every presigned URL of a key has the same escaped credential."""
    return unquote_to_bytes(piece.replace(b"+", b" "))


def query_of(parameters: Parameters) -> dict[str, str]:
    """Parameters as the router and the handlers read them; of a repeated one the first counts. Raises: InvalidArgument when not UTF-8."""
    query: dict[str, str] = {}
    try:
        for name, value in parameters:
            query.setdefault(name.decode(), value.decode())
    except UnicodeDecodeError as error:
        raise S3Error("InvalidArgument", "a query parameter is not valid UTF-8") from error
    return query


@lru_cache(maxsize=4_096)
def bucket_of_host(host: bytes, domains: Sequence[str]) -> str:
    """The bucket that a virtual-host style Host header names, "" when the host names none; `domains` are the suffixes served."""
    name = host.decode("latin-1").lower()
    if name.startswith("["):
        return ""
    name = name.partition(":")[0].rstrip(".")
    for domain in domains:
        if name.endswith("." + domain) and len(name) > len(domain) + 1:
            return name[: -len(domain) - 1]
    return ""


def split_path(path: bytes, host: bytes, domains: tuple[str, ...]) -> tuple[str, str]:
    """Bucket and key ("" when there is none) of a decoded path. Raises: InvalidURI, KeyTooLongError."""
    if not path.startswith(b"/"):
        raise S3Error("InvalidURI")
    bucket = bucket_of_host(host, domains)
    if bucket:
        key = path[1:]
    else:
        name, _, key = path[1:].partition(b"/")
        bucket = name.decode("latin-1")  # any other than ASCII is refused by the name rules
    return bucket, decode_key(key)


def decode_key(key: bytes) -> str:
    """Raises: KeyTooLongError; InvalidURI when it is not UTF-8 or has a NUL."""
    if len(key) > KEY_BYTES_MAX:
        raise S3Error("KeyTooLongError", Size=str(len(key)), MaxSizeAllowed=str(KEY_BYTES_MAX))
    try:
        text = key.decode()
    except UnicodeDecodeError as error:
        raise S3Error("InvalidURI", "The key is not valid UTF-8.") from error
    if "\0" in text:
        raise S3Error("InvalidURI", "The key has a NUL character.")
    return text


_BUCKET = re.compile(
    r"(?!\d{1,3}\.\d{1,3}\.\d{1,3}\.\d{1,3}\Z)(?!xn--|sthree-|amzn-s3-demo-)[a-z0-9](?:[a-z0-9-]|\.(?![.-])){1,61}[a-z0-9]"
)
_RESERVED_ENDS = ("-s3alias", "--ol-s3", ".mrap", "--x-s3", "--table-s3")


@lru_cache(maxsize=4_096)
def is_bucket_name(name: str) -> bool:
    """S3's rules for general-purpose buckets.

    Source: https://docs.aws.amazon.com/AmazonS3/latest/userguide/bucketnamingrules.html
    """
    return _BUCKET.fullmatch(name) is not None and "-." not in name and not name.endswith(_RESERVED_ENDS)
