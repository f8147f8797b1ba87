"""SigV4 from the client's side: headers for a request, or a presigned URL. Pure: the time is an argument.

Source: https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html and .../sigv4-query-string-auth.html
"""

from __future__ import annotations

import hashlib
import hmac
import time
from collections.abc import Iterable, Mapping
from urllib.parse import quote

from cli.place import Endpoint

EMPTY_SHA256 = hashlib.sha256(b"").hexdigest()
UNSIGNED = "UNSIGNED-PAYLOAD"
PRESIGN_SECONDS_MAX = 604_800
"""A week: what S3 accepts at most."""


def quote_path(path: str) -> str:
    """Percent-encoded as SigV4 wants it: all but unreserved characters and the slash, once."""
    return quote(path, safe="/-_.~")


def canonical_query(query: Iterable[tuple[str, str]]) -> str:
    pairs = sorted((quote(name, safe="-_.~"), quote(value, safe="-_.~")) for name, value in query)
    return "&".join(f"{name}={value}" for name, value in pairs)


def sign_headers(
    endpoint: Endpoint, method: str, path: str, query: str, headers: Mapping[str, str], payload_sha256: str, now: float
) -> dict[str, str]:
    """All headers to send: those given (with `host`, lower-case names), x-amz-date, x-amz-content-sha256 and authorization.

    path: already quoted; query: already canonical; every header given is signed.
    """
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(now))
    signed = {**headers, "x-amz-content-sha256": payload_sha256, "x-amz-date": stamp}
    names = ";".join(sorted(signed))
    scope = _scope(endpoint, stamp)
    signature = _signature(endpoint, stamp, scope, _canonical(method, path, query, signed, names, payload_sha256))
    authorization = f"AWS4-HMAC-SHA256 Credential={endpoint.access_key}/{scope}, SignedHeaders={names}, Signature={signature}"
    return {**signed, "authorization": authorization}


def presign(endpoint: Endpoint, method: str, host: str, path: str, query: Iterable[tuple[str, str]], expires_s: int, now: float) -> str:
    """The query string (without `?`) that grants `method` on the quoted `path` for `expires_s` seconds."""
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(now))
    scope = _scope(endpoint, stamp)
    granted = canonical_query(
        [
            *query,
            ("X-Amz-Algorithm", "AWS4-HMAC-SHA256"),
            ("X-Amz-Credential", f"{endpoint.access_key}/{scope}"),
            ("X-Amz-Date", stamp),
            ("X-Amz-Expires", str(expires_s)),
            ("X-Amz-SignedHeaders", "host"),
        ]
    )
    signature = _signature(endpoint, stamp, scope, _canonical(method, path, granted, {"host": host}, "host", UNSIGNED))
    return f"{granted}&X-Amz-Signature={signature}"


def _scope(endpoint: Endpoint, stamp: str) -> str:
    return f"{stamp[:8]}/{endpoint.region}/s3/aws4_request"


def _canonical(method: str, path: str, query: str, headers: Mapping[str, str], names: str, payload_sha256: str) -> str:
    lines = "".join(f"{name}:{' '.join(headers[name].split())}\n" for name in sorted(headers))
    return f"{method}\n{path}\n{query}\n{lines}\n{names}\n{payload_sha256}"


def _signature(endpoint: Endpoint, stamp: str, scope: str, canonical: str) -> str:
    key = f"AWS4{endpoint.secret_key}".encode()
    for part in (stamp[:8], endpoint.region, "s3", "aws4_request"):
        key = hmac.digest(key, part.encode(), "sha256")
    text = f"AWS4-HMAC-SHA256\n{stamp}\n{scope}\n{hashlib.sha256(canonical.encode()).hexdigest()}"
    return hmac.digest(key, text.encode(), "sha256").hex()
