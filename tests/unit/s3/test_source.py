"""Bodies as the store takes them: whatever the pieces and the buffers, the same bytes and the same verdict."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node.errors import BodyIncomplete, FrazilError
from node.http.message import Headers, Request
from s3 import checksum
from s3.call import Call, GatewayOptions, Services
from s3.claim import Claim
from s3.credential import Credential
from s3.errors import S3Error
from s3.identity import ANONYMOUS, Signed
from s3.payload import Payload
from s3.source import OBJECT_BYTES_MAX, BodySource, read_document, source_of
from tests.unit.s3.test_chunked import SEED, encode


class FakeBody:
    """Gives `data` in pieces of the given sizes, then as much as is asked for."""

    def __init__(self, data: bytes, pieces: list[int]) -> None:
        self._data = data
        self._pieces = list(pieces)

    async def read_into(self, buffer: memoryview) -> int:
        size = min(len(buffer), self._pieces.pop() if self._pieces else len(buffer), len(self._data))
        buffer[:size] = self._data[:size]
        self._data = self._data[size:]
        return size

    async def fill(self, buffer: memoryview) -> int:
        filled = 0
        while filled < len(buffer) and self._data:
            filled += await self.read_into(buffer[filled:])
        return filled


def call_with(
    body: bytes, headers: dict[bytes, bytes], payload: bytes = b"UNSIGNED-PAYLOAD", pieces: list[int] | None = None, length: int | None = -1
) -> Call:
    items = tuple(headers.items())
    request = Request("PUT", b"/b/k", Headers(items), content_length=len(body) if length == -1 else length)
    request.body = FakeBody(body, pieces or [])  # type: ignore[assignment]
    call = Call(request, SimpleNamespace(), Services(None, None, GatewayOptions(), None, None))  # type: ignore[arg-type]
    claim = Claim(Credential("AK", b"20260304", b"us-east-1", b"s3", SEED.scope), b"host", b"a" * 64, SEED.timestamp, 0, None, payload)
    call.signed = Signed(ANONYMOUS, claim, SEED)
    return call


async def drain(source: BodySource, buffer_bytes: int) -> tuple[bytes, dict[str, str]]:
    data = b""
    for _ in range(100_000):
        buffer = bytearray(buffer_bytes)
        count = await source.fill(memoryview(buffer))
        data += buffer[:count]
        if count < buffer_bytes:
            return data, source.complete({name: checksum.digest_of(name, data) for name in source.digests})
    raise AssertionError("the source never ends")


def now(function: Any, *arguments: Any) -> Any:
    """Runs an async function that never waits."""
    try:
        function(*arguments).send(None)
    except StopIteration as stop:
        return stop.value
    raise AssertionError("it waited")


def chunked_headers(length: int, trailer: bool) -> dict[bytes, bytes]:
    more = {b"x-amz-trailer": b"x-amz-checksum-crc32"} if trailer else {}
    return {b"x-amz-decoded-content-length": b"%d" % length, b"content-encoding": b"aws-chunked", **more}


STREAMS = st.sampled_from([Payload.STREAMING, Payload.STREAMING_TRAILER, Payload.STREAMING_UNSIGNED_TRAILER])


@given(STREAMS, st.lists(st.binary(min_size=1, max_size=300), max_size=5), st.lists(st.integers(1, 90), max_size=40), st.integers(1, 500))
def test_chunked_bodies_in_any_pieces_and_buffers(payload: Payload, chunks: list[bytes], pieces: list[int], buffer_bytes: int) -> None:
    whole = b"".join(chunks)
    value = checksum.encode(checksum.digest_of("crc32", whole))
    trailing = payload is not Payload.STREAMING
    body = encode(payload, chunks, [(b"x-amz-checksum-crc32", value.encode())] if trailing else [])
    source = source_of(call_with(body, chunked_headers(len(whole), trailing), payload.value, pieces))
    assert source.length == len(whole)
    data, kept = now(drain, source, buffer_bytes)
    assert data == whole
    assert kept == ({"crc32": value} if trailing else {"crc64nvme": checksum.encode(checksum.digest_of("crc64nvme", whole))})


@given(st.integers(0, 400), st.lists(st.integers(1, 90), max_size=10), st.integers(1, 500))
def test_a_chunked_body_that_is_cut_never_completes(cut: int, pieces: list[int], buffer_bytes: int) -> None:
    body = encode(Payload.STREAMING, [b"a" * 100, b"b" * 50])
    source = source_of(call_with(body[: min(cut, len(body) - 1)], chunked_headers(150, False), Payload.STREAMING.value, pieces))
    with pytest.raises((S3Error, BodyIncomplete)):
        now(drain, source, buffer_bytes)


@pytest.mark.parametrize("buffer_bytes", [1, 5, 6, 4096])
@pytest.mark.parametrize("tail", [b"x", b"\r\n", b"0\r\n\r\n"])
def test_bytes_after_the_end_are_refused(buffer_bytes: int, tail: bytes) -> None:
    body = encode(Payload.STREAMING, [b"hello"]) + tail
    source = source_of(call_with(body, chunked_headers(5, False), Payload.STREAMING.value))
    with pytest.raises(S3Error):
        now(drain, source, buffer_bytes)


def test_trailers_that_were_not_announced_are_refused() -> None:
    body = b"5\r\nhello\r\n0\r\nx-amz-checksum-crc32:AAAAAA==\r\n\r\n"
    source = source_of(call_with(body, chunked_headers(5, False), Payload.STREAMING_UNSIGNED_TRAILER.value))
    with pytest.raises(S3Error) as caught:
        now(drain, source, 100)
    assert caught.value.code == "MalformedTrailerError"


@pytest.mark.parametrize(
    ("headers", "payload", "code"),
    [
        ({b"content-md5": b"1B2M2Y8AsgTpgAmY7PhCfg=="}, b"UNSIGNED-PAYLOAD", "BadDigest"),
        ({b"content-md5": b"XUFAKrxLKna5cZ2REBfFkg=="}, b"UNSIGNED-PAYLOAD", ""),
        ({}, b"0" * 64, "XAmzContentSHA256Mismatch"),
        ({}, b"2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824", ""),
        ({b"x-amz-checksum-crc32": b"NhCmhg=="}, b"UNSIGNED-PAYLOAD", ""),
        ({b"x-amz-checksum-crc32": b"AAAAAA=="}, b"UNSIGNED-PAYLOAD", "BadDigest"),
    ],
)
def test_the_verdict_comes_with_the_last_byte(headers: dict[bytes, bytes], payload: bytes, code: str) -> None:
    source = source_of(call_with(b"hello", headers, payload))
    if not code:
        assert now(drain, source, 4)[0] == b"hello"
        return
    with pytest.raises(S3Error) as caught:
        now(drain, source, 4)
    assert caught.value.code == code


@pytest.mark.parametrize(
    ("headers", "payload", "length", "code"),
    [
        ({}, b"UNSIGNED-PAYLOAD", None, "MissingContentLength"),
        ({}, b"UNSIGNED-PAYLOAD", OBJECT_BYTES_MAX + 1, "EntityTooLarge"),
        ({}, Payload.STREAMING.value, 5, "MissingContentLength"),
        ({b"x-amz-decoded-content-length": b"-1"}, Payload.STREAMING.value, 5, "InvalidArgument"),
        ({b"x-amz-decoded-content-length": b"9" * 30}, Payload.STREAMING.value, 5, "InvalidArgument"),
        ({b"x-amz-decoded-content-length": b"%d" % (OBJECT_BYTES_MAX + 1)}, Payload.STREAMING.value, 5, "EntityTooLarge"),
        ({b"x-amz-trailer": b"x-amz-checksum-crc32"}, b"UNSIGNED-PAYLOAD", 5, "InvalidRequest"),
        ({b"x-amz-trailer": b"x-amz-meta-a"}, Payload.STREAMING_UNSIGNED_TRAILER.value, 5, "InvalidRequest"),
        ({b"content-md5": b"AAAA"}, b"UNSIGNED-PAYLOAD", 5, "InvalidDigest"),
        ({b"x-amz-checksum-crc32": b"AAAA"}, b"UNSIGNED-PAYLOAD", 5, "InvalidRequest"),
        ({b"x-amz-checksum-crc32": b"AAAAAA==", b"x-amz-checksum-sha1": b"A" * 28}, b"UNSIGNED-PAYLOAD", 5, "InvalidRequest"),
        ({b"x-amz-checksum-sha512": b"AAAAAA=="}, b"UNSIGNED-PAYLOAD", 5, "InvalidRequest"),
        ({b"x-amz-checksum-sha3": b"AAAAAA=="}, b"UNSIGNED-PAYLOAD", 5, "InvalidRequest"),
        ({b"x-amz-checksum-nonsense": b"AAAAAA=="}, b"UNSIGNED-PAYLOAD", 5, "InvalidRequest"),
        ({b"x-amz-sdk-checksum-algorithm": b"CRC32"}, b"UNSIGNED-PAYLOAD", 5, "InvalidRequest"),
        ({b"x-amz-sdk-checksum-algorithm": b"SHA1", b"x-amz-checksum-crc32": b"AAAAAA=="}, b"UNSIGNED-PAYLOAD", 5, "InvalidRequest"),
    ],
)
def test_what_the_headers_refute_is_refused_before_the_body(
    headers: dict[bytes, bytes], payload: bytes, length: int | None, code: str
) -> None:
    call = call_with(b"hello", headers, payload, length=length)
    call.request.body = None  # type: ignore[assignment]  # whoever reads it fails
    with pytest.raises(S3Error) as caught:
        source_of(call)
    assert caught.value.code == code


def test_a_document_needs_its_checksum_where_one_is_required() -> None:
    document = b"<Delete/>"
    with pytest.raises(S3Error) as caught:
        now(lambda: read_document(call_with(document, {}), "Delete", checksum_required=True))
    assert caught.value.code == "InvalidRequest"
    value = checksum.encode(checksum.digest_of("crc32", document)).encode()
    assert now(lambda: read_document(call_with(document, {b"x-amz-checksum-crc32": value}), "Delete", checksum_required=True)) == {}


def test_a_document_that_is_too_long_is_refused_unread() -> None:
    with pytest.raises(FrazilError) as caught:
        now(lambda: read_document(call_with(b"", {}, length=(2 << 20) + 1), "Delete"))
    assert caught.value.code == "MaxMessageLengthExceeded"
