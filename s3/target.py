"""What a request is aimed at: its path, decoded exactly once, for the signature, the router and the handlers alike; names and keys."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from urllib.parse import quote_from_bytes, unquote_to_bytes

from s3.errors import S3Error

KEY_BYTES_MAX = 1_024
BUCKET_CHARACTERS_MAX = 63
HOST_BYTES_MAX = 300
"""A name of 253 and a port, with room. Longer ones are not remembered."""
_PLAIN_PATH = re.compile(rb"/[A-Za-z0-9\-._~/]*")
_BAD_ESCAPE = re.compile(rb"%(?![0-9A-Fa-f]{2})")


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


def bucket_of_host(host: bytes, domains: Sequence[str]) -> str:
    """The bucket that a virtual-host style Host header names, "" when the host names none; `domains` are the suffixes served."""
    return _remembered_below(host, domains) if len(host) <= HOST_BYTES_MAX else host_below(host, domains)


def host_below(host: bytes, domains: Sequence[str]) -> str:
    """What a Host header has before one of the domains, "" when it is below none of them."""
    name = host.decode("latin-1").lower()
    if name.startswith("["):
        return ""
    name = name.partition(":")[0].rstrip(".")
    for domain in domains:
        if name.endswith("." + domain) and len(name) > len(domain) + 1:
            return name[: -len(domain) - 1]
    return ""


_remembered_below = lru_cache(maxsize=4_096)(host_below)


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


def is_bucket_name(name: str) -> bool:
    """S3's rules for general-purpose buckets.

    Source: https://docs.aws.amazon.com/AmazonS3/latest/userguide/bucketnamingrules.html
    """
    return len(name) <= BUCKET_CHARACTERS_MAX and _follows_rules(name)


@lru_cache(maxsize=4_096)
def _follows_rules(name: str) -> bool:
    return _BUCKET.fullmatch(name) is not None and "-." not in name and not name.endswith(_RESERVED_ENDS)
