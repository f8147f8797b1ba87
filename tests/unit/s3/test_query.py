from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from s3.errors import S3Error
from s3.query import SIGNING, canonical_query, escape_component, parse_query, read_query

PIECES = st.lists(
    st.sampled_from([b"a", b"B", b"-", b"%2F", b"%2f", b"%2D", b"%41", b"%7E", b"~", b"+", b"=", b"%20", b"%3D", b"%C3%A9", b"!", b""])
)


def slowly(raw: bytes) -> bytes:
    """The rule itself: decode, escape, sort."""
    pairs = sorted((escape_component(name), escape_component(value)) for name, value in parse_query(raw) if name != b"X-Amz-Signature")
    return b"&".join(b"%b=%b" % pair for pair in pairs)


@given(st.lists(st.tuples(PIECES, PIECES, st.booleans()), max_size=6))
def test_a_query_is_made_canonical_the_same_way_however_it_is_written(parts: list[tuple[list[bytes], list[bytes], bool]]) -> None:
    raw = b"&".join(b"".join(name) + (b"=" + b"".join(value) if given_value else b"") for name, value, given_value in parts)
    assert canonical_query(raw, parse_query(raw)) == slowly(raw)


@pytest.mark.parametrize(
    ("raw", "canonical"),
    [
        (b"", b""),
        (b"uploads", b"uploads="),
        (b"b=2&a=1&a-=0", b"a=1&a-=0&b=2"),
        (b"X-Amz-Signature=00&a=%2F", b"a=%2F"),
        (b"a=%2f", b"a=%2F"),
        (b"a=%41%7e", b"a=A~"),
        (b"a=x+y", b"a=x%20y"),
        (b"a=b=c", b"a=b%3Dc"),
    ],
)
def test_canonical_query(raw: bytes, canonical: bytes) -> None:
    assert canonical_query(raw, parse_query(raw)) == canonical


@pytest.mark.parametrize("query", [b"a=%", b"%zz", b"a=%f", b"&".join([b"a=1"] * 65)])
def test_malformed_queries_are_refused(query: bytes) -> None:
    with pytest.raises(S3Error):
        parse_query(query)


def test_queries_are_decoded_once() -> None:
    assert parse_query(b"a=%252B&b&c=+%2B&&=x") == [(b"a", b"%2B"), (b"b", b""), (b"c", b" +"), (b"", b"x")]


@given(st.lists(st.sampled_from([b"X-Amz-Signature", b"X%2DAmz-Signature", b"X-Amz-Date", b"a", b"x-amz-acl"]), max_size=4), st.booleans())
def test_a_signature_is_found_wherever_it_stands_and_in_no_value(names: list[bytes], hexadecimal: bool) -> None:
    value = b"0f" * 32 if hexadecimal else b"nonsense"
    raw = b"&".join(name + b"=" + value for name in names)
    signatures = [found for name, found in parse_query(raw) if name == b"X-Amz-Signature"]
    if len(signatures) > 1:
        with pytest.raises(S3Error, match="once"):
            read_query(raw)
        return
    query, signature = read_query(raw)
    assert signature == (signatures[0] if signatures else None)
    assert query.canonical == slowly(raw)
    shown = [(name, found) for name, found in parse_query(raw) if name not in SIGNING and name != b"X-Amz-Signature"]
    assert query.values == {name.decode(): found.decode() for name, found in reversed(shown)}


def test_urls_that_differ_in_their_signature_only_are_decoded_once() -> None:
    first, _ = read_query(b"versionId=1&X-Amz-Date=d&X-Amz-Signature=" + b"0" * 64)
    second, signature = read_query(b"versionId=1&X-Amz-Date=d&X-Amz-Signature=" + b"1" * 64)
    assert first is second
    assert signature == b"1" * 64
