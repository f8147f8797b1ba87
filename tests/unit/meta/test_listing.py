"""Texts behind a prefix."""

from __future__ import annotations

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from meta.listing import begin, common_prefix, successor
from meta.protocol.listing import ListRequest

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=5)
ends = st.lists(st.sampled_from(["a", "\ud7ff", "\ue000", "\uffff", "\U00010000", "\U0010fffe", "\U0010ffff"]), max_size=4).map("".join)


@given(prefix=texts | ends, other=texts | ends)
def test_the_successor_parts_what_begins_with_the_prefix_from_what_follows(prefix: str, other: str) -> None:
    behind = successor(prefix)
    text = prefix + other
    assert behind is None or text.encode() < behind.encode()
    assume(not other.startswith(prefix))
    if other.encode() > prefix.encode():
        assert behind is not None
        assert other.encode() >= behind.encode()


@pytest.mark.parametrize("prefix", ["", "\U0010ffff", "\U0010ffff\U0010ffff"])
def test_nothing_follows_the_last_prefix(prefix: str) -> None:
    assert successor(prefix) is None


@pytest.mark.parametrize(
    ("key", "prefix", "delimiter", "expected"),
    [
        ("a/b/c", "", "/", "a/"),
        ("a/b/c", "a/", "/", "a/b/"),
        ("a/b/c", "a/b/", "/", None),
        ("a/b", "a/b", "/", None),
        ("a--b", "", "--", "a--"),
        ("a-b", "", "--", None),
        ("/", "", "/", "/"),
        ("a", "", "", None),
    ],
)
def test_keys_roll_up_to_the_first_delimiter_behind_the_prefix(key: str, prefix: str, delimiter: str, expected: str | None) -> None:
    assert common_prefix(key, prefix, delimiter) == expected


@pytest.mark.parametrize(
    ("request_", "key"),
    [
        (ListRequest(), ""),
        (ListRequest(prefix="b"), "b"),
        (ListRequest(prefix="b", after="a"), "b"),
        (ListRequest(prefix="b", after="c"), "c"),
        (ListRequest(after="a/b", delimiter="/"), "a0"),
        (ListRequest(after="a/", delimiter="/"), "a0"),
        (ListRequest(after="a/b"), "a/b"),
    ],
)
def test_a_listing_begins_behind_what_was_shown(request_: ListRequest, key: str) -> None:
    place = begin(request_)
    assert place is not None
    assert place[0] == key
