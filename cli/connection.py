"""A small S3 client on trio: signed requests, bounded retries, streams both ways. It never holds an object in memory.

It speaks through httpcore, the transport under httpx: httpx itself rewrites paths (`a/../b` becomes `b`), and keys are no paths.
"""

from __future__ import annotations

import random
import ssl
import time
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Self
from urllib.parse import urlsplit

import httpcore
import trio

from cli import answer
from cli.body import CHECKSUM_HEADER, Body
from cli.place import Endpoint
from cli.signature import EMPTY_SHA256, UNSIGNED, canonical_query, quote_path, sign_headers
from node import errors

ATTEMPTS_MAX = 5
BACKOFF_FIRST_S = 0.2
BACKOFF_MAX_S = 5.0
CONNECT_TIMEOUT_S = 10.0
IO_TIMEOUT_S = 120.0
"""Longest silence of the store in the middle of an answer; completing an upload of 10,000 parts is silent for a while."""
_RETRIED_STATUS = frozenset({429, 500, 502, 503, 504})
_BROKEN = (httpcore.NetworkError, httpcore.TimeoutException, httpcore.RemoteProtocolError)


@dataclass(frozen=True, slots=True)
class Head:
    """What an answer says before its body. Names are lower-case."""

    status: int
    headers: Mapping[str, str]

    @property
    def size(self) -> int:
        """Bytes of this answer's body, -1 when it doesn't say."""
        return int(self.headers.get("content-length", "-1"))

    @property
    def etag(self) -> str:
        return self.headers.get("etag", "").strip('"')

    @property
    def whole_checksum(self) -> str:
        """CRC-64/NVME over the whole object, "" when the store keeps none."""
        composite = self.headers.get("x-amz-checksum-type") == "COMPOSITE"
        return "" if composite else self.headers.get(CHECKSUM_HEADER, "")


@dataclass(frozen=True, slots=True)
class Answer(Head):
    body: bytes = b""


@dataclass(frozen=True, slots=True)
class Download(Head):
    """An object on its way in; read `pieces` once."""

    pieces: AsyncIterator[bytes] = field(repr=False, kw_only=True)


def _as_error(broken: Exception, url: str) -> errors.FrazilError:
    if isinstance(broken, httpcore.TimeoutException):
        return errors.DeadlineExceeded(f"{url} did not answer in time")
    return errors.PeerUnreachable(f"{url}: {broken or type(broken).__name__}")


class Connection:
    """One endpoint and one key. Use as an async context manager; every call may run beside others."""

    def __init__(self, endpoint: Endpoint, *, connections_max: int = 32) -> None:
        self.endpoint = endpoint
        split = urlsplit(endpoint.url)
        self._secure = split.scheme == "https"
        self._name = (split.hostname or "").encode()
        self._port = split.port
        default = 443 if self._secure else 80
        self.host = split.netloc.rpartition("@")[2] if self._port not in (None, default) else (split.hostname or "")
        context = _tls_context(endpoint.pinned_cert) if self._secure else None
        self._pool = httpcore.AsyncConnectionPool(ssl_context=context, max_connections=connections_max, keepalive_expiry=30.0)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.endpoint.url} key={self.endpoint.access_key}>"

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        with trio.CancelScope(shield=True, deadline=trio.current_time() + 1.0):
            await self._pool.aclose()

    @asynccontextmanager
    async def open(
        self,
        method: str,
        path: str,
        query: Iterable[tuple[str, str]] = (),
        headers: Mapping[str, str] | None = None,
        body: Body | None = None,
    ) -> AsyncIterator[tuple[httpcore.Response, Head]]:
        """One attempt: the answer with its body still to come. Raises: PeerUnreachable, DeadlineExceeded."""
        quoted, encoded = quote_path(path), canonical_query(query)
        payload = EMPTY_SHA256 if body is None or body.size == 0 else UNSIGNED
        sent = {"host": self.host, **(headers or {})}
        signed = sign_headers(self.endpoint, method, quoted, encoded, sent, payload, time.time())
        if body is not None:
            signed["content-length"] = str(body.size)
        target = f"{quoted}?{encoded}" if encoded else quoted
        scheme = b"https" if self._secure else b"http"
        request = httpcore.Request(
            method,
            httpcore.URL(scheme=scheme, host=self._name, port=self._port, target=target.encode()),
            headers=[(name.encode(), value.encode()) for name, value in signed.items()],
            content=body.pieces() if body is not None and body.size else None,
            extensions={"timeout": {"connect": CONNECT_TIMEOUT_S, "read": IO_TIMEOUT_S, "write": IO_TIMEOUT_S, "pool": None}},
        )
        try:
            response = await self._pool.handle_async_request(request)
        except _BROKEN as broken:
            raise _as_error(broken, self.endpoint.url) from broken
        try:
            yield (
                response,
                Head(response.status, {name.decode().lower(): value.decode("utf-8", "replace") for name, value in response.headers}),
            )
        finally:
            with trio.CancelScope(shield=True, deadline=trio.current_time() + 1.0):
                await response.aclose()

    async def call(
        self,
        method: str,
        path: str,
        query: Iterable[tuple[str, str]] = (),
        headers: Mapping[str, str] | None = None,
        body: Body | None = None,
    ) -> Answer:
        """A request whose answer is small, retried when that can help.

        Raises: the FrazilError for S3's code; PeerUnreachable and DeadlineExceeded after ATTEMPTS_MAX attempts.
        """
        query = list(query)
        for attempt in range(ATTEMPTS_MAX):
            try:
                async with self.open(method, path, query, headers, body) as (response, head):
                    reply = Answer(head.status, head.headers, await self.read(response))
            except errors.Unavailable:
                if attempt + 1 == ATTEMPTS_MAX:
                    raise
            else:
                if reply.status < 300:
                    return reply
                if reply.status not in _RETRIED_STATUS or attempt + 1 == ATTEMPTS_MAX:
                    raise answer.error_of(reply.status, reply.body)
            await trio.sleep(backoff_s(attempt))
        raise AssertionError("the last attempt returns or raises")

    async def read(self, response: httpcore.Response) -> bytes:
        body = bytearray()
        try:
            async for piece in response.aiter_stream():
                body += piece
                if len(body) > answer.ANSWER_BYTES_MAX:
                    raise errors.Unavailable(
                        f"{self.endpoint.url} answered with more than {answer.ANSWER_BYTES_MAX} bytes: is this an S3 endpoint?"
                    )
        except _BROKEN as broken:
            raise _as_error(broken, self.endpoint.url) from broken
        return bytes(body)

    async def pieces(self, response: httpcore.Response) -> AsyncIterator[bytes]:
        try:
            async for piece in response.aiter_stream():
                yield piece
        except _BROKEN as broken:
            raise _as_error(broken, self.endpoint.url) from broken


def _tls_context(pinned_cert: str) -> ssl.SSLContext:
    """Trusts the system's authorities, or exactly one certificate whatever name it has (a local store's, reached by its address)."""
    if not pinned_cert:
        return ssl.create_default_context()
    context = ssl.create_default_context(cafile=pinned_cert)
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    context.check_hostname = False
    return context


def backoff_s(attempt: int) -> float:
    """Doubles, up to BACKOFF_MAX_S, and scatters so that many clients don't come back at once."""
    return min(BACKOFF_MAX_S, BACKOFF_FIRST_S * (1 << attempt)) * random.uniform(0.5, 1.0)
