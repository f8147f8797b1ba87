"""Each condition operator, by tables: what it holds for, and what operand it refuses."""

from __future__ import annotations

import base64

import pytest

from s3.operator import OPERATORS, parse_condition

KEY = "aws:Referer"
Row = tuple[str, list[str], list[str], bool]

HOLDS: list[Row] = [
    # operator, operands, the request's values, whether it holds
    ("StringEquals", ["a", "b"], ["b"], True),
    ("StringEquals", ["a"], ["A"], False),
    ("StringEquals", ["a*"], ["ab"], False),
    ("StringEquals", ["a*"], ["a*"], True),
    ("StringEquals", ["a"], [], False),
    ("StringNotEquals", ["a", "b"], ["b"], False),
    ("StringNotEquals", ["a", "b"], ["c"], True),
    ("StringNotEquals", ["a"], [], True),
    ("StringEqualsIgnoreCase", ["aB"], ["Ab"], True),
    ("StringEqualsIgnoreCase", ["aB"], ["Abc"], False),
    ("StringNotEqualsIgnoreCase", ["aB"], ["Ab"], False),
    ("StringNotEqualsIgnoreCase", ["aB"], ["c"], True),
    ("StringLike", ["a*c?"], ["abbcd"], True),
    ("StringLike", ["a*c?"], ["abbc"], False),
    ("StringLike", ["*"], ["line\nline"], True),
    ("StringNotLike", ["a*"], ["abc"], False),
    ("StringNotLike", ["a*"], ["bc"], True),
    ("NumericEquals", ["10"], ["10.0"], True),
    ("NumericEquals", ["10"], ["ten"], False),
    ("NumericNotEquals", ["10"], ["10"], False),
    ("NumericNotEquals", ["10"], ["11"], True),
    ("NumericLessThan", ["10"], ["9"], True),
    ("NumericLessThan", ["10"], ["10"], False),
    ("NumericLessThanEquals", ["10"], ["10"], True),
    ("NumericLessThanEquals", ["10"], ["11"], False),
    ("NumericGreaterThan", ["10"], ["11"], True),
    ("NumericGreaterThan", ["10"], ["10"], False),
    ("NumericGreaterThanEquals", ["10"], ["10"], True),
    ("NumericGreaterThanEquals", ["10"], ["9"], False),
    ("DateEquals", ["2026-01-02T03:04:05Z"], ["2026-01-02T03:04:05Z"], True),
    ("DateEquals", ["1767323045"], ["2026-01-02T03:04:05Z"], True),
    ("DateEquals", ["2026-01-02"], ["2026-01-03"], False),
    ("DateNotEquals", ["2026-01-02T03:04:05Z"], ["2026-01-02T03:04:05+00:00"], False),
    ("DateNotEquals", ["2026-01-02"], ["2026-01-03"], True),
    ("DateLessThan", ["2026-01-02T03:04:05Z"], ["2026-01-02T03:04:04Z"], True),
    ("DateLessThan", ["2026-01-02T03:04:05Z"], ["2026-01-02T03:04:05Z"], False),
    ("DateLessThanEquals", ["2026-01-02T03:04:05Z"], ["2026-01-02T03:04:05Z"], True),
    ("DateLessThanEquals", ["2026-01-02T03:04:05Z"], ["2026-01-02T03:04:06Z"], False),
    ("DateGreaterThan", ["2026-01-02"], ["2026-01-02T00:00:01Z"], True),
    ("DateGreaterThan", ["2026-01-02"], ["2026-01-02"], False),
    ("DateGreaterThanEquals", ["2026-01-02"], ["2026-01-02"], True),
    ("DateGreaterThanEquals", ["2026-01-02"], ["2026-01-01"], False),
    ("Bool", ["true"], ["true"], True),
    ("Bool", ["TRUE"], ["false"], False),
    ("Bool", ["false"], [], False),
    ("BinaryEquals", [base64.b64encode(b"key").decode()], ["key"], True),
    ("BinaryEquals", [base64.b64encode(b"key").decode()], ["other"], False),
    ("IpAddress", ["203.0.113.0/24"], ["203.0.113.7"], True),
    ("IpAddress", ["203.0.113.0/24"], ["203.0.114.7"], False),
    ("IpAddress", ["203.0.113.0/24"], ["::ffff:203.0.113.7"], True),
    ("IpAddress", ["203.0.113.7"], ["203.0.113.7"], True),
    ("IpAddress", ["2001:db8::/32"], ["2001:db8::1"], True),
    ("IpAddress", ["2001:db8::/32"], ["203.0.113.7"], False),
    ("IpAddress", ["0.0.0.0/0"], ["nonsense"], False),
    ("NotIpAddress", ["203.0.113.0/24"], ["203.0.113.7"], False),
    ("NotIpAddress", ["203.0.113.0/24"], ["203.0.114.7"], True),
    ("ArnEquals", ["arn:aws:iam::ann:user/*"], ["arn:aws:iam::ann:user/bob"], True),
    ("ArnEquals", ["arn:aws:iam::*:root"], ["arn:aws:iam::ann:x:root"], False),
    ("ArnLike", ["arn:*:iam::ann:user/bob"], ["arn:aws:iam::ann:user/bob"], True),
    ("ArnLike", ["arn:*:iam::ann:user/bob"], ["arn:aws:s3:iam::ann:user/bob"], False),
    ("ArnLike", ["arn:aws:iam::ann:root"], ["no arn"], False),
    ("ArnNotEquals", ["arn:aws:iam::ann:root"], ["arn:aws:iam::ann:root"], False),
    ("ArnNotEquals", ["arn:aws:iam::ann:root"], ["arn:aws:iam::bob:root"], True),
    ("ArnNotLike", ["arn:aws:iam::ann:*"], ["arn:aws:iam::ann:root"], False),
    ("ArnNotLike", ["arn:aws:iam::ann:*"], ["arn:aws:iam::bob:root"], True),
    ("Null", ["true"], [], True),
    ("Null", ["true"], ["x"], False),
    ("Null", ["false"], ["x"], True),
    ("Null", ["false"], [], False),
    ("StringEqualsIfExists", ["a"], [], True),
    ("StringEqualsIfExists", ["a"], ["b"], False),
    ("StringLikeIfExists", ["a*"], ["abc"], True),
    ("IpAddressIfExists", ["10.0.0.0/8"], [], True),
    ("ForAllValues:StringEquals", ["a", "b"], ["a", "b"], True),
    ("ForAllValues:StringEquals", ["a", "b"], ["a", "c"], False),
    ("ForAllValues:StringEquals", ["a"], [], True),
    ("ForAllValues:StringNotEquals", ["a"], ["b", "a"], False),
    ("ForAnyValue:StringEquals", ["a"], ["b", "a"], True),
    ("ForAnyValue:StringEquals", ["a"], ["b"], False),
    ("ForAnyValue:StringEquals", ["a"], [], False),
    ("ForAnyValue:StringNotEquals", ["a"], ["a", "b"], True),
    ("ForAnyValue:StringNotEquals", ["a"], ["a"], False),
    ("ForAnyValue:StringNotEquals", ["a"], [], False),
    ("ForAnyValue:StringEqualsIfExists", ["a"], [], True),
    ("StringNotEquals", ["a"], ["b", "a"], False),
]  # fmt: skip


@pytest.mark.parametrize(("name", "operands", "values", "expected"), HOLDS)
def test_what_it_holds_for(name: str, operands: list[str], values: list[str], expected: bool) -> None:
    condition = parse_condition(name, KEY, tuple(operands), variables=True)
    assert condition.holds(lambda key: values if key == "aws:referer" else []) is expected


def test_no_operator_is_left_out_of_the_table() -> None:
    plain = {name.rpartition(":")[2].removesuffix("IfExists") for name, *_ in HOLDS}
    assert plain == {*OPERATORS, "Null"}
    both = {name for name in OPERATORS if {row[3] for row in HOLDS if row[0] == name} == {True, False}}
    assert both == set(OPERATORS)


@pytest.mark.parametrize(
    ("name", "operand"),
    [
        ("NumericEquals", "ten"),
        ("NumericEquals", "NaN"),
        ("DateEquals", "yesterday"),
        ("Bool", "yes"),
        ("Null", "maybe"),
        ("BinaryEquals", "*"),
        ("IpAddress", "1.2.3"),
        ("IpAddress", "1.2.3.4/33"),
        ("ArnEquals", "not:an:arn"),
    ],
)
def test_operands_of_another_type_are_refused(name: str, operand: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        parse_condition(name, KEY, (operand,), variables=True)


@pytest.mark.parametrize(
    "name", ["StringIs", "stringequals", "ForSomeValues:StringEquals", "StringEqualsIfExistsIfExists", "NullIfExists", ""]
)
def test_other_operators_are_refused(name: str) -> None:
    with pytest.raises(KeyError):
        parse_condition(name, KEY, ("true",), variables=True)


def test_variables_are_filled_in_and_stay_literal() -> None:
    values = {"aws:username": ["a*"], "aws:referer": ["home/a*/x"]}
    lookup = lambda key: values.get(key, [])  # noqa: E731
    condition = parse_condition("StringLike", KEY, ("home/${aws:username}/*",), variables=True)
    assert condition.holds(lookup)
    values["aws:referer"] = ["home/abc/x"]
    assert not condition.holds(lookup), "a star that a caller brings along is a star, not a wildcard"
