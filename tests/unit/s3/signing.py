"""Requests signed by botocore, as the gateway would receive them."""

from __future__ import annotations

import datetime
from typing import Any
from unittest import mock
from urllib.parse import urlsplit

import botocore.auth
import msgspec
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from node.http.message import Headers
from s3 import sigv4
from s3.claim import parse
from s3.query import read_query
from s3.signingkey import Seed

ACCESS_KEY, SECRET, REGION = "AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", "us-east-1"
NOW = datetime.datetime(2026, 3, 4, 5, 6, 7, tzinfo=datetime.UTC)
NOW_S = NOW.timestamp()
HOST = "store.example.com:3200"


class Received(msgspec.Struct, frozen=True):
    method: str
    target: bytes
    headers: tuple[tuple[bytes, bytes], ...]

    def changed(self, **changes: Any) -> Received:
        return msgspec.structs.replace(self, **changes)

    def without(self, name: bytes) -> Received:
        return self.changed(headers=tuple(header for header in self.headers if header[0] != name))

    def adding(self, name: bytes, value: bytes) -> Received:
        return self.changed(headers=(*self.headers, (name, value)))

    def replacing(self, name: bytes, value: bytes) -> Received:
        return self.changed(headers=tuple((n, value if n == name else v) for n, v in self.headers))

    def header(self, name: bytes) -> bytes:
        return dict(self.headers)[name]


def sign(
    method: str = "GET",
    path: str = "/bucket/key",
    query: str = "",
    *,
    headers: dict[str, str] | None = None,
    body: bytes = b"",
    presigned: int | None = None,
    region: str = REGION,
    now: datetime.datetime = NOW,
) -> Received:
    """`path` and `query` are as they go over the wire."""
    request = AWSRequest(method=method, url=f"http://{HOST}{path}{'?' + query if query else ''}", headers=headers or {}, data=body)
    kind = botocore.auth.S3SigV4Auth if presigned is None else botocore.auth.S3SigV4QueryAuth
    extra = {} if presigned is None else {"expires": presigned}
    with mock.patch("botocore.auth.get_current_datetime", return_value=now.replace(tzinfo=None)):
        kind(Credentials(ACCESS_KEY, SECRET), "s3", region, **extra).add_auth(request)
    parts = urlsplit(request.url)
    target = parts.path + ("?" + parts.query if parts.query else "")
    items = [(b"host", HOST.encode())] + [(name.lower().encode(), str(value).encode()) for name, value in request.headers.items()]
    return Received(method, target.encode("ascii"), tuple(items))


def verify(received: Received, *, secret: str | None = SECRET, now_s: float = NOW_S, region: str = REGION) -> Seed | None:
    """What the gateway does with it; None when it is anonymous. Raises: S3Error."""
    raw_path, _, raw_query = received.target.partition(b"?")
    query, signature = read_query(raw_query)
    headers = Headers(received.headers)
    claim = parse(headers, query, signature)
    if claim is None:
        return None
    return sigv4.verify(
        claim,
        secret if claim.access_key == ACCESS_KEY else None,
        method=received.method,
        raw_path=raw_path,
        query=query.canonical,
        headers=headers,
        region=region.encode(),
        now_s=now_s,
    )
