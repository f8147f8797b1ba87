from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from s3.target import canonical_query, escape_component, parse_query

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
