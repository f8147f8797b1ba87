"""Requests as a forger would send them: exactly the headers given, signatures made and then spoiled."""

from __future__ import annotations

import http.client
from collections.abc import Mapping
from typing import Any

from .chunks import signed_chunks
from .client import Answer, signed_headers
from .store import StoreProcess

AUTHORIZATION = "authorization"
BUCKET = "hostile"
"""The bucket all of this is aimed at; it holds the object "good"."""
TARGET = f"/{BUCKET}/x"
"""A key in it that must never come to be."""


def request(store: StoreProcess, method: str, target: str, headers: Mapping[str, str], body: bytes = b"") -> Answer:
    """Exactly these headers, no others."""
    connection = http.client.HTTPConnection("127.0.0.1", store.port, timeout=10)
    try:
        connection.putrequest(method, target, skip_host=True, skip_accept_encoding=True)
        for name, value in headers.items():
            connection.putheader(name, value)
        if body and "content-length" not in headers:
            connection.putheader("content-length", str(len(body)))
        connection.endheaders(body or None)
        response = connection.getresponse()
        return Answer(response.status, {name.lower(): value for name, value in response.getheaders()}, response.read())
    finally:
        connection.close()


def host_of(store: StoreProcess) -> str:
    return f"127.0.0.1:{store.port}"


def signed(store: StoreProcess, method: str = "PUT", target: str = TARGET, **more: Any) -> dict[str, str]:
    return signed_headers(store.credentials, method, host_of(store), target, **more)


def chunked_request(store: StoreProcess, pieces: list[bytes], *, decoded: int | None = None) -> tuple[dict[str, str], bytes]:
    """A PUT with a signed chunked body: its headers and body."""
    return signed_chunks(store.credentials, host_of(store), TARGET, pieces, decoded=decoded)


def raw_put(fields: Mapping[str, str], body: bytes, length: int | None = None) -> bytes:
    lines = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    return f"PUT {TARGET} HTTP/1.1\r\n{lines}content-length: {len(body) if length is None else length}\r\n\r\n".encode() + body
