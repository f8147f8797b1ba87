"""A request's query, decoded exactly once: for the signature, the router and the handlers alike. Pure.

All presigned URLs that a client makes with one key in one second have the same query but for the signature at its end. What comes before
it is remembered together with all that follows from it: one look-up in place of 20 us of decoding.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from urllib.parse import quote_from_bytes, unquote_to_bytes

import msgspec

from s3.errors import S3Error

PARAMETERS_MAX = 64
"""More query parameters than any S3 operation has."""
QUERIES_REMEMBERED = 1_024
REMEMBERED_BYTES_MAX = 512
"""Longer queries are decoded each time."""
SIGNATURE = b"X-Amz-Signature"
SIGNING = frozenset({b"X-Amz-Algorithm", b"X-Amz-Credential", b"X-Amz-Date", b"X-Amz-Expires", b"X-Amz-SignedHeaders"})
"""What makes a URL a presigned one, with the signature itself. These concern its verification and nothing else."""

TOKEN = b"x-amz-security-token"

_LAST_SIGNATURE = b"&X-Amz-Signature="
_BAD_ESCAPE = re.compile(rb"%(?![0-9A-Fa-f]{2})")
_PLAIN = re.compile(rb"[A-Za-z0-9\-._~]*")
_ESCAPED = rb"[A-Za-z0-9\-._~]*(?:%(?:[0189A-F][0-9A-F]|2[0-9A-CF]|3[A-F]|40|5[B-E]|60|7[BCDF])[A-Za-z0-9\-._~]*)*"
_CANONICAL = re.compile(rb"(?=[^&=])%b=%b(?:&(?=[^&=])%b=%b)*" % ((_ESCAPED,) * 4))
"""Queries of which each part is escaped just as SigV4 wants: everything but unreserved bytes, in upper case."""

Parameters = list[tuple[bytes, bytes]]


class Query(msgspec.Struct, frozen=True, eq=False):
    """What a query says. Never changed: the same bytes have the same object, as long as it is remembered.

    parameters  names and values, decoded, in order
    canonical   all but the signature as SigV4 signs them: escaped and sorted
    values      by name, as the router and the handlers read them: without SIGNING and signature; of a repeated one the first counts
    signatures  values of X-Amz-Signature among the parameters
    token       a session's token is among them
    remembered  it is short: what follows from it may be remembered with it
    """

    parameters: Parameters
    canonical: bytes
    values: Mapping[str, str]
    signatures: tuple[bytes, ...]
    token: bool
    remembered: bool = True


NO_QUERY = Query([], b"", {}, (), False)


def read_query(raw: bytes) -> tuple[Query, bytes | None]:
    """The query, and the signature of a presigned URL. Raises: InvalidURI, InvalidArgument, AuthorizationQueryParametersError."""
    if not raw:
        return NO_QUERY, None
    stem, mark, last = raw.rpartition(_LAST_SIGNATURE)
    if not mark or not last.isalnum():  # nothing to decode in it, and nothing behind it; `sigv4` says whether it is a signature
        stem, last = raw, b""
    query = _decode(stem) if len(stem) <= REMEMBERED_BYTES_MAX else _decode.__wrapped__(stem)
    if not query.signatures:
        return query, last or None
    if last or len(query.signatures) > 1:
        raise S3Error("AuthorizationQueryParametersError", "X-Amz-Signature must be given once.")
    return query, query.signatures[0]


@lru_cache(maxsize=QUERIES_REMEMBERED)
def _decode(raw: bytes) -> Query:
    parameters = parse_query(raw)
    signatures = tuple([value for name, value in parameters if name == SIGNATURE])
    token = any(name.lower() == TOKEN for name, _ in parameters)
    remembered = len(raw) <= REMEMBERED_BYTES_MAX
    return Query(parameters, canonical_query(raw, parameters), _values(parameters), signatures, token, remembered)


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
            parameters.append((_unescape(name), _unescape(value)))
    return parameters


def _unescape(piece: bytes) -> bytes:
    return unquote_to_bytes(piece.replace(b"+", b" ")) if b"%" in piece or b"+" in piece else piece


def canonical_query(raw: bytes, parameters: Parameters) -> bytes:
    """All parameters of the query but the signature itself, escaped, sorted by escaped name and value; `parameters` is what `raw` says."""
    if not raw:
        return b""
    if _CANONICAL.fullmatch(raw):  # most clients send it so: what is left is to sort, "=" before every other byte
        pairs = [pair for pair in raw.replace(b"=", b"\0").split(b"&") if not pair.startswith(b"X-Amz-Signature\0")]
        pairs.sort()
        return b"&".join(pairs).replace(b"\0", b"=")
    escaped = [(escape_component(name), escape_component(value)) for name, value in parameters if name != SIGNATURE]
    escaped.sort()
    return b"&".join([b"%b=%b" % pair for pair in escaped])


def escape_component(value: bytes) -> bytes:
    """A query name or value as SigV4 signs it."""
    if _PLAIN.fullmatch(value):
        return value
    return quote_from_bytes(value, safe="-._~").encode("ascii")


def _values(parameters: Parameters) -> dict[str, str]:
    """Raises: InvalidArgument when one is not UTF-8."""
    values: dict[str, str] = {}
    try:
        for name, value in parameters:
            if name not in SIGNING and name != SIGNATURE:
                values.setdefault(name.decode(), value.decode())
    except UnicodeDecodeError as error:
        raise S3Error("InvalidArgument", "a query parameter is not valid UTF-8") from error
    return values
