"""What users may write for a place."""

from __future__ import annotations

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cli.address import KEY_BYTES_MAX, Local, Remote, Stream, local_name, parse_address, parse_remote
from node.errors import InvalidArgument


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("s3://bucket", Remote("bucket")),
        ("s3://bucket/", Remote("bucket")),
        ("s3://bucket/a//b/", Remote("bucket", "a//b/")),
        ("bucket/k", Remote("bucket", "k")),
        ("bucket", Remote("bucket")),
        ("office:bucket/k", Remote("bucket", "k", "office")),
        ("s3://bucket/a:b", Remote("bucket", "a:b")),
        ("bucket/a:b", Remote("bucket", "a:b")),
    ],
)
def test_a_remote_place(text: str, expected: Remote) -> None:
    assert parse_remote(text, {"office"}) == expected


@pytest.mark.parametrize(
    "text", ["s3://", "", "s3://b/k", "home:bucket/k", "s3://-b/k", "s3://a b/k", "s3://bucket/" + "k" * (KEY_BYTES_MAX + 1)]
)
def test_what_is_no_remote_place(text: str) -> None:
    with pytest.raises(InvalidArgument):
        parse_remote(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("-", Stream()),
        ("./-", Local("./-")),
        ("dir/file", Local("dir/file")),
        ("bucket", Local("bucket")),
        ("other:x/y", Local("other:x/y")),
        ("office:bucket/k", Remote("bucket", "k", "office")),
        ("s3://bucket/k", Remote("bucket", "k")),
    ],
)
def test_an_address(text: str, expected: object) -> None:
    assert parse_address(text, {"office"}) == expected


@given(st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=200))
def test_a_written_place_reads_back(key: str) -> None:
    place = Remote("bucket", key)
    assert parse_remote(str(place)) == place


def test_names_below_a_prefix() -> None:
    assert str(Remote("bucket", "a").below("b")) == "s3://bucket/a/b"
    assert str(Remote("bucket", "a/").below("b")) == "s3://bucket/a/b"
    assert str(Remote("bucket").below("b")) == "s3://bucket/b"
    assert Remote("bucket").folder() == Remote("bucket")
    assert Remote("bucket", "a").folder() == Remote("bucket", "a/")


@pytest.mark.parametrize("key", ["../x", "a/../b", "/x", "a//b", "./a", "a/.", "a\0b", "", "a/"])
def test_a_key_that_is_no_path_below_a_folder(key: str) -> None:
    with pytest.raises(InvalidArgument):
        local_name(key)


@given(st.text(max_size=60))
def test_no_key_leaves_the_folder(key: str) -> None:
    try:
        name = local_name(key)
    except InvalidArgument:
        return
    assert os.path.normpath(os.path.join("/root/folder", name)) == f"/root/folder/{name}"


def test_a_name_that_is_not_utf8_is_refused_in_words() -> None:
    with pytest.raises(InvalidArgument, match="not UTF-8"):
        parse_remote("s3://bucket/a\udcffb")
