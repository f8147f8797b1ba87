"""Include and exclude patterns."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cli.match import Filter, compile_pattern
from node.errors import InvalidArgument


@pytest.mark.parametrize(
    ("pattern", "matches", "others"),
    [
        ("*.gz", ["a.gz", "x/y/a.gz", ".gz"], ["a.gz.txt", "gz"]),
        ("logs/*.gz", ["logs/a.gz"], ["x/logs/a.gz", "logs/x/a.gz"]),
        ("logs/**", ["logs/a", "logs/x/y"], ["logs", "xlogs/a"]),
        ("**/a", ["a", "x/a", "x/y/a"], ["xa"]),
        ("a/**/b", ["a/b", "a/x/b", "a/x/y/b"], ["a/xb", "b"]),
        ("?.txt", ["a.txt", "x/b.txt"], ["ab.txt", ".txt"]),
        ("[ab]c", ["ac", "bc"], ["cc", "abc"]),
        ("[!ab]c", ["cc"], ["ac", "/c"]),
        ("[a-c]", ["b"], ["d"]),
        ("cache/", ["cache/x", "a/cache/x/y"], ["cache", "acache/x"]),
        ("a+b(c)", ["a+b(c)"], ["aab(c)"]),
        ("/top", ["top"], []),
    ],
)
def test_patterns(pattern: str, matches: list[str], others: list[str]) -> None:
    compiled = compile_pattern(pattern)
    assert all(compiled.fullmatch(name) for name in matches)
    assert not any(compiled.fullmatch(name) for name in others)


def test_exclude_wins_over_include() -> None:
    passes = Filter.parse(["*.py"], ["test_*"])
    assert passes.passes("a/b.py")
    assert not passes.passes("a/test_b.py")
    assert not passes.passes("a/b.txt")
    assert Filter().passes("anything")


@pytest.mark.parametrize("pattern", ["", "[abc", "[z-a]", "x" * 2000])
def test_what_is_no_pattern(pattern: str) -> None:
    with pytest.raises(InvalidArgument):
        compile_pattern(pattern)


@given(st.text(alphabet="ab*?[]!-/.\\^", min_size=1, max_size=12), st.text(alphabet="ab/.", max_size=12))
def test_any_pattern_is_compiled_or_refused(pattern: str, name: str) -> None:
    try:
        compile_pattern(pattern).fullmatch(name)
    except InvalidArgument:
        return
