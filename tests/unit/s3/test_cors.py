"""CORS rules: matching against a model written with regular expressions, and what is told to whom."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meta.protocol.bucket import BucketSettings
from s3.cors import CORS, METHODS, Cors, Rule, answer_headers, checked, matches
from s3.errors import S3Error
from s3.shape import read, write
from s3.xml import parse

_pattern = st.text("ab*.", max_size=5).filter(lambda text: text.count("*") < 2)
_name = st.text("abAB-", min_size=1, max_size=4)
_rule = st.builds(
    Rule,
    headers=st.lists(_pattern, max_size=3).map(tuple),
    methods=st.lists(st.sampled_from(sorted(METHODS)), min_size=1, max_size=3).map(tuple),
    origins=st.lists(_pattern, min_size=1, max_size=3).map(tuple),
    exposed=st.lists(_name, max_size=2).map(tuple),
    id=st.none() | st.text("xyz", max_size=3),
    max_age_seconds=st.none() | st.integers(0, 2**31 - 1),
)
_cors = st.lists(_rule, min_size=1, max_size=4).map(lambda rules: Cors(tuple(rules)))


def settings(cors: Cors) -> BucketSettings:
    return BucketSettings("b", "a", "o", 0, documents={"cors": CORS.encode(cors)})


def model_matches(pattern: str, text: str) -> bool:
    return re.fullmatch(".*".join(map(re.escape, pattern.split("*"))), text) is not None


@given(_pattern, st.text("ab.", max_size=6))
def test_patterns_match_as_regular_expressions_do(pattern: str, text: str) -> None:
    assert matches(pattern, text) == model_matches(pattern, text)


@given(_cors, st.text("ab.", max_size=4), st.sampled_from(sorted(METHODS)), st.lists(st.text("ab-", min_size=1, max_size=3), max_size=2))
def test_the_first_rule_that_fits_is_found(cors: Cors, origin: str, method: str, names: list[str]) -> None:
    fitting = [
        rule
        for rule in cors.rules
        if method in rule.methods
        and any(model_matches(pattern, origin) for pattern in rule.origins)
        and not [name for name in names if not any(model_matches(pattern.lower(), name) for pattern in rule.headers)]
    ]
    assert cors.find(origin, method, names) is (fitting[0] if fitting else None)


@given(_cors)
def test_round_trip(cors: Cors) -> None:
    assert checked(read(parse(write(cors, "CORSConfiguration").encode(), "CORSConfiguration"), Cors)) == cors


@given(_cors, st.text("ab.", min_size=1, max_size=4), st.sampled_from(sorted(METHODS)))
def test_an_origin_is_told_back_only_when_a_rule_names_it(cors: Cors, origin: str, method: str) -> None:
    headers = dict(answer_headers(settings(cors), origin.encode(), method))
    rule = cors.find(origin, method)
    assert headers[b"Vary"].startswith(b"Origin,")
    if rule is None:
        assert list(headers) == [b"Vary"]
    elif "*" in rule.origins:
        assert headers[b"Access-Control-Allow-Origin"] == b"*"
        assert b"Access-Control-Allow-Credentials" not in headers
    else:
        assert headers[b"Access-Control-Allow-Origin"] == origin.encode()
        assert any(model_matches(pattern, origin) for pattern in rule.origins)


def test_without_a_configuration_nothing_is_said() -> None:
    assert answer_headers(BucketSettings("b", "a", "o", 0), b"http://x", "GET") == []


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        (Rule(methods=("PATCH",), origins=("*",)), "Unsupported method is PATCH"),
        (Rule(methods=("get",), origins=("*",)), "Unsupported method is get"),
        (Rule(methods=("GET",), origins=("http://*.*",)), "more than one wildcard"),
        (Rule(methods=("GET",), origins=("*",), headers=("*-*",)), "more than one wildcard"),
        (Rule(methods=("GET",), origins=("*",), exposed=("x-*",)), "do not support wildcard for ExposeHeader"),
        (Rule(methods=("GET",), origins=("*",), exposed=("x: y",)), "not the name of a header"),
    ],
)
def test_rules_that_are_refused(rule: Rule, words: str) -> None:
    with pytest.raises(S3Error, match=words) as caught:
        checked(Cors((rule,)))
    assert caught.value.code == "InvalidRequest"
