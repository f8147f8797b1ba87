"""Score expressions: what they say, and that nothing else can be said."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meta.conscience.expression import TEXT_CHARACTERS_MAX, compile_expression
from meta.conscience.score import DEFAULTS
from node.errors import InvalidArgument


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1 + 2 * 3", 7),
        ("-(cpu - 10) / 4", -10),
        ("root(3, 27)", 3),
        ("root(2, 0 - 4)", 0),
        ("clamp(cpu, 60, 70)", 60),
        ("min(cpu, 7) + max(cpu, 70)", 77),
        ("0 if cpu <= 50 else 9", 0),
        ("cpu > 10 and not cpu > 60", 1),
        ("cpu > 60 or cpu == 50", 1),
        ("unmeasured", 100),
        ("2 ** 3", 8),
        ("1 / 0 > 1000", 1),
        ("0 ** -1", 0),
    ],
)
def test_an_expression_has_its_value(text: str, value: float) -> None:
    assert compile_expression(text)({"cpu": 50.0}) == pytest.approx(value)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "cpu.real",
        "__import__('os')",
        "(lambda: 1)()",
        "[1]",
        "'a'",
        "cpu if",
        "1 < 2 < 3",
        "root(2)",
        "clamp(*cpu)",
        "clamp(1, 2, high=3)",
        "cpu := 1",
        "cpu @ 2",
        "1 << 100",
        "1j",
        "(" * 400 + "1",
        "1" + "+1" * TEXT_CHARACTERS_MAX,
        "f'{cpu}'",
    ],
)
def test_whatever_is_not_arithmetic_is_refused(text: str) -> None:
    with pytest.raises(InvalidArgument):
        compile_expression(text)


PERCENT = st.floats(0, 100)


@given(st.fixed_dictionaries({"cpu": PERCENT, "io": PERCENT, "space": PERCENT}))
def test_the_defaults_give_a_number_whatever_is_measured(statistics: dict[str, float]) -> None:
    for expressions in DEFAULTS.values():
        for text in (expressions.place, expressions.read):
            assert not math.isnan(compile_expression(text)(statistics))


@given(st.text(alphabet="cpu+-*/()<>=0123456789., ifelseandornotrootclamp'\"[]{}:_\\\n", max_size=60))
def test_no_text_does_more_than_fail(text: str) -> None:
    try:
        assert isinstance(compile_expression(text)({"cpu": 1.0}), float)
    except InvalidArgument:
        pass
