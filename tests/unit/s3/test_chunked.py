"""The aws-chunked decoder: split anywhere it gives the same; damaged anywhere it refuses, and always ends."""

from __future__ import annotations

import hashlib
import hmac

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node.errors import BodyIncomplete
from s3.chunked import CHUNKS_SMALL_MAX, ChunkedDecoder
from s3.errors import S3Error
from s3.payload import EMPTY_SHA256, Payload
from s3.signingkey import Seed, SigningKey

KEY = b"k" * 32
SEED = Seed(SigningKey(KEY), b"20260304T050607Z", b"20260304/us-east-1/s3/aws4_request", b"a" * 64)
CHECKSUM = b"x-amz-checksum-crc32"


def signature(kind: bytes, previous: bytes, *rest: bytes) -> bytes:
    return hmac.digest(KEY, b"\n".join((kind, SEED.timestamp, SEED.scope, previous, *rest)), "sha256").hex().encode()


def encode(payload: Payload, chunks: list[bytes], trailers: list[tuple[bytes, bytes]] = []) -> bytes:  # noqa: B006
    """A body as a client would send it."""
    signed = payload is not Payload.STREAMING_UNSIGNED_TRAILER
    previous = SEED.signature
    out = b""
    for chunk in [*chunks, b""]:
        if signed:
            previous = signature(b"AWS4-HMAC-SHA256-PAYLOAD", previous, EMPTY_SHA256, hashlib.sha256(chunk).hexdigest().encode())
        out += b"%x%b\r\n" % (len(chunk), b";chunk-signature=" + previous if signed else b"")
        out += chunk + b"\r\n" if chunk else b""
    for name, value in trailers:
        out += b"%b:%b\r\n" % (name, value)
    if payload is Payload.STREAMING_TRAILER:
        lines = b"".join(b"%b:%b\n" % trailer for trailer in trailers)
        last = signature(b"AWS4-HMAC-SHA256-TRAILER", previous, hashlib.sha256(lines).hexdigest().encode())
        out += b"x-amz-trailer-signature:%b\r\n" % last
    return out + b"\r\n"


def decode(payload: Payload, body: bytes, length: int, pieces: list[int] = []) -> tuple[bytes, dict[str, str]]:  # noqa: B006
    """Feeds the body in pieces of the given sizes, then the rest. Raises: as the decoder."""
    decoder = ChunkedDecoder(payload, SEED, decoded_length=length)
    data = b""
    at = 0
    for size in [*pieces, len(body)]:
        piece = body[at : at + size]
        at += len(piece)
        while piece:
            if decoder.remaining:
                part = piece[: decoder.remaining]
                decoder.took(memoryview(part))
                data += part
                piece = piece[len(part) :]
            else:
                eaten = decoder.feed(piece)
                piece = piece[eaten:]
                if not eaten and piece:
                    raise S3Error("InvalidRequest", "left over")
    decoder.end()
    return data, decoder.trailers


PAYLOADS = st.sampled_from([Payload.STREAMING, Payload.STREAMING_TRAILER, Payload.STREAMING_UNSIGNED_TRAILER])


@given(PAYLOADS, st.lists(st.binary(min_size=1, max_size=60), max_size=4), st.lists(st.integers(1, 50), max_size=30))
def test_split_anywhere_it_gives_the_same(payload: Payload, chunks: list[bytes], pieces: list[int]) -> None:
    trailers = [] if payload is Payload.STREAMING else [(CHECKSUM, b"AAAAAA==")]
    body = encode(payload, chunks, trailers)
    whole = b"".join(chunks)
    assert decode(payload, body, len(whole), pieces) == (whole, {name.decode(): value.decode() for name, value in trailers})


@pytest.mark.parametrize("payload", [Payload.STREAMING, Payload.STREAMING_TRAILER, Payload.STREAMING_UNSIGNED_TRAILER])
def test_cut_at_any_byte_it_is_incomplete(payload: Payload) -> None:
    trailers = [] if payload is Payload.STREAMING else [(CHECKSUM, b"AAAAAA==")]
    body = encode(payload, [b"hello", b"world!"], trailers)
    for cut in range(len(body)):
        with pytest.raises((BodyIncomplete, S3Error)):
            decode(payload, body[:cut], 11)


@given(st.data())
def test_no_changed_byte_of_a_signed_body_gets_through(data: st.DataObject) -> None:
    payload = data.draw(st.sampled_from([Payload.STREAMING, Payload.STREAMING_TRAILER]))
    trailers = [] if payload is Payload.STREAMING else [(CHECKSUM, b"AAAAAA==")]
    body = encode(payload, [b"hello", b"world!"], trailers)
    at = data.draw(st.integers(0, len(body) - 1))
    changed = body[:at] + bytes([data.draw(st.integers(0, 255))]) + body[at + 1 :]
    try:
        result = decode(payload, changed, 11)
    except (S3Error, BodyIncomplete):
        return
    assert result == decode(payload, body, 11)  # upper-case hex and white space mean the same


@pytest.mark.parametrize(
    "body",
    [
        b"zz\r\n",
        b"-1\r\n",
        b"+5\r\nhello\r\n0\r\n\r\n",
        b"0x5\r\nhello\r\n0\r\n\r\n",
        b" 5\r\nhello\r\n0\r\n\r\n",
        b"\r\n",
        b"ffffffffffffffff\r\n",
        b"fffffffffffff\r\n",
        b"6\r\nhello!\r\n0\r\n\r\n",
        b"4\r\nhell\r\n0\r\n\r\n",
        b"5\r\nhello!\r\n0\r\n\r\n",
        b"5\nhello\r\n0\r\n\r\n",
        b"5;ext=" + b"x" * 600 + b"\r\nhello\r\n0\r\n\r\n",
        b"5;chunk-signature=" + b"a" * 64 + b"\r\nhello\r\n0\r\n\r\n",
        b"5\r\nhello\r\n0\r\nno colon\r\n\r\n",
        b"5\r\nhello\r\n0\r\n" + b"a:b\r\n" * 2 + b"\r\n",
        b"5\r\nhello\r\n0\r\n" + b"".join(b"a%d:b\r\n" % i for i in range(40)) + b"\r\n",
        b"5\r\nhello\r\n0\r\na:" + b"x" * 1000 + b"\r\n\r\n",
        b"5\r\nhello\r\n0\r\n\r\nmore",
        b"5\r\nhello\r\n",
        b"x" * 100_000,
    ],
)
def test_malformed_framing_is_refused(body: bytes) -> None:
    with pytest.raises((S3Error, BodyIncomplete)) as caught:
        decode(Payload.STREAMING_UNSIGNED_TRAILER, body, 5)
    assert caught.value.status < 500


def test_trailers_need_a_form_that_has_them() -> None:
    body = encode(Payload.STREAMING, [b"hello"], [(CHECKSUM, b"AAAAAA==")])
    with pytest.raises(S3Error):
        decode(Payload.STREAMING, body, 5)


def test_unsigned_trailers_after_signed_chunks_are_refused() -> None:
    body = encode(Payload.STREAMING, [b"hello"])
    with pytest.raises(S3Error) as caught:
        decode(Payload.STREAMING_TRAILER, body[:-2] + b"%b:AAAAAA==\r\n\r\n" % CHECKSUM, 5)
    assert caught.value.code == "SignatureDoesNotMatch"


def test_a_trailer_may_end_as_awss_page_prints_it() -> None:
    body = encode(Payload.STREAMING_TRAILER, [b"hello"], [(CHECKSUM, b"AAAAAA==")]).replace(b"AAAAAA==\r\n", b"AAAAAA==\n\r\n")
    assert decode(Payload.STREAMING_TRAILER, body, 5)[0] == b"hello"


def test_very_many_small_chunks_are_refused() -> None:
    body = b"1\r\na\r\n" * (CHUNKS_SMALL_MAX + 2) + b"0\r\n\r\n"
    with pytest.raises(S3Error) as caught:
        decode(Payload.STREAMING_UNSIGNED_TRAILER, body, CHUNKS_SMALL_MAX + 2)
    assert caught.value.code == "InvalidRequest"


def test_an_anonymous_request_can_not_have_signed_chunks() -> None:
    with pytest.raises(S3Error) as caught:
        ChunkedDecoder(Payload.STREAMING, None, decoded_length=5)
    assert caught.value.code == "AccessDenied"
