"""Patterns: stars, question marks, variables, and how long a hostile one takes."""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase

import pytest
from hypothesis import given
from hypothesis import strategies as st

from s3.wildcard import compile_pattern, normal_key


def none(_key: str) -> Sequence[str]:
    return ()


@given(pattern=st.text("ab*?", max_size=8), text=st.text("ab", max_size=10))
def test_stars_and_question_marks_as_in_a_shell(pattern: str, text: str) -> None:
    assert compile_pattern(pattern).matches(text, none) == fnmatchcase(text, pattern)


@given(text=st.text(max_size=20))
def test_without_wildcards_it_fits_itself_only(text: str) -> None:
    assert compile_pattern(text, wild=False, variables=False).matches(text, none)
    assert not compile_pattern(text, wild=False, variables=False).matches(text + "x", none)


@pytest.mark.parametrize(
    ("pattern", "text", "expected"),
    [
        ("home/${aws:username}/*", "home/ann/file", True),
        ("home/${aws:UserName}/*", "home/ann/file", True),
        ("home/${aws:username}/*", "home/bob/file", False),
        ("${aws:nothing}", "", False),
        ("${aws:nothing, 'x'}", "x", True),
        ("${aws:several}", "one", False),
        ("a${*}b", "a*b", True),
        ("a${*}b", "axb", False),
        ("a${?}b", "a?b", True),
        ("${$}{x}", "${x}", True),
        ("${}", "${}", True),
        ("${a b}", "${a b}", True),
    ],
)
def test_variables(pattern: str, text: str, expected: bool) -> None:
    values = {"aws:username": ["ann"], "aws:several": ["one", "two"]}
    assert compile_pattern(pattern).matches(text, lambda key: values.get(key, [])) is expected


def test_old_policies_have_no_variables() -> None:
    assert compile_pattern("${aws:username}", variables=False).matches("${aws:username}", none)


def test_case_counts_in_the_names_of_tags_only() -> None:
    assert normal_key("S3:ExistingObjectTag/Key") == "s3:existingobjecttag/Key"
    assert normal_key("aws:SourceIp") == "aws:sourceip"


def test_many_stars_take_no_time() -> None:
    """One way after the other would take for ever."""
    pattern = compile_pattern("*a" * 500 + "b")
    assert not pattern.matches("a" * 1024, none)
