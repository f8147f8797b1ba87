"""The chunked coding: strict, bounded, and the same however it is cut."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from node.http.chunked import ChunkDecoder
from node.http.limits import Limits
from node.http.message import MalformedMessage

LIMITS = Limits()


def decode(pieces: list[bytes], limits: Limits = LIMITS) -> tuple[bytes, list[tuple[bytes, bytes]], bytes, bool]:
    """Data, trailers, what follows the body, and whether the end was seen."""
    decoder = ChunkDecoder(limits)
    body = b""
    for number, piece in enumerate(pieces):
        at = 0
        while at < len(piece):
            if decoder.done:
                return body, list(decoder.trailers.lines), piece[at:] + b"".join(pieces[number + 1 :]), True
            if decoder.remaining:
                data = piece[at : at + decoder.remaining]
                decoder.took(len(data))
                body += data
                at += len(data)
            else:
                at += decoder.feed(piece[at:])
    return body, list(decoder.trailers.lines), b"", decoder.done


def test_chunks_extensions_and_trailers() -> None:
    wire = b'3;a=b;c="d"\r\nabc\r\n0A\r\n0123456789\r\n0;x\r\nX-Sum: 7 \r\ny:\r\n\r\nnext'
    assert decode([wire]) == (b"abc0123456789", [(b"x-sum", b"7"), (b"y", b"")], b"next", True)


@pytest.mark.parametrize(
    "wire",
    [
        b"0x3\r\nabc\r\n",
        b"+3\r\nabc\r\n",
        b"-3\r\nabc\r\n",
        b" 3\r\nabc\r\n",
        b"3 \r\nabc\r\n",
        b"3\nabc\r\n",
        b"3\r\rabc\r\n",
        b"\r\n",
        b"g\r\n",
        b"ffffffffffffffff\r\n",
        b"ffffffffffffffffff\r\n",
        b"00000000000000003\r\n",
        b"3\r\nabcXX0\r\n\r\n",
        b"3\r\nabcd\r\n0\r\n\r\n",
        b"3\r\nabc\n0\r\n\r\n",
        b"3;" + b"a" * 60_000 + b"\r\n",
        b"3;" + b"a" * 257 + b"\r\n",
        b"3;a\x00b\r\n",
        b"3;a\rb\r\n",
        b"3" * 300,
        b"0\r\nfoo\r\n\r\n",
        b"0\r\n: x\r\n\r\n",
        b"0\r\na b: x\r\n\r\n",
        b"0\r\na : x\r\n\r\n",
        b"0\r\na: x\x00\r\n\r\n",
        b"0\r\na: x\n\r\n",
        b"0\r\n a: x\r\n\r\n",
        b"0\r\nContent-Length: 3\r\n\r\n",
        b"0\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"0\r\nx: " + b"a" * 20_000,
        b"0\r\n" + b"x: 1\r\n" * 101 + b"\r\n",
    ],
)
def test_hostile_framing_is_refused(wire: bytes) -> None:
    with pytest.raises(MalformedMessage):
        decode([wire])
    with pytest.raises(MalformedMessage):
        decode([wire[at : at + 1] for at in range(len(wire))])


def encode(chunks: list[bytes], trailers: list[tuple[bytes, bytes]]) -> bytes:
    body = b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks)
    return body + b"0\r\n" + b"".join(b"%b: %b\r\n" % pair for pair in trailers) + b"\r\n"


@given(
    st.lists(st.binary(min_size=1, max_size=40), max_size=6),
    st.lists(st.tuples(st.sampled_from([b"x-a", b"x-b"]), st.sampled_from([b"", b"1", b"a b"])), max_size=3),
    st.lists(st.integers(0, 400), max_size=30),
)
@settings(max_examples=200, deadline=None)
def test_cuts_do_not_matter(chunks: list[bytes], trailers: list[tuple[bytes, bytes]], cuts: list[int]) -> None:
    wire = encode(chunks, trailers) + b"GET / next"
    edges = [0, *sorted(cut for cut in cuts if cut < len(wire)), len(wire)]
    pieces = [wire[begin:end] for begin, end in itertools.pairwise(edges)]
    assert decode(pieces) == (b"".join(chunks), trailers, b"GET / next", True)


@given(st.lists(st.binary(min_size=1, max_size=20), max_size=3), st.integers(1, 10))
@settings(max_examples=100, deadline=None)
def test_a_truncated_body_is_never_complete(chunks: list[bytes], missing: int) -> None:
    wire = encode(chunks, [(b"x-sum", b"12345")])
    assert decode([wire[: -min(missing, len(wire))]])[3] is False


@given(st.binary(max_size=200))
@settings(max_examples=200, deadline=None)
def test_arbitrary_bytes_end_or_are_refused(data: bytes) -> None:
    try:
        decode([data])
    except MalformedMessage as error:
        assert error.status in (400, 431)
