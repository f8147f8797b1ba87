"""Policies of forms: what they allow, what they don't, and documents that are none."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from s3 import postpolicy
from s3.errors import S3Error
from tests.unit.s3.signing import NOW_S

EXPIRATION = "2026-03-04T05:16:07.000Z"


def encode(document: object) -> str:
    return base64.b64encode(json.dumps(document).encode()).decode()


def allows(conditions: list[Any], fields: dict[str, str], now_s: float = NOW_S) -> str:
    """ "" or the message of the refusal."""
    policy = postpolicy.parse(encode({"expiration": EXPIRATION, "conditions": [{"bucket": "b"}, *conditions]}))
    try:
        postpolicy.check(policy, fields, "b", now_s)
    except S3Error as error:
        assert error.code == "AccessDenied"
        return error.message
    return ""


TABLE: list[tuple[list[Any], dict[str, str], str]] = [
    ([{"key": "k"}], {"key": "k"}, ""),
    ([["eq", "$key", "k"]], {"key": "k"}, ""),
    ([["EQ", "$KEY", "k"]], {"key": "k"}, ""),
    ([{"key": "k"}], {"key": "K"}, 'Policy Condition failed: {"key": "k"}'),
    ([["starts-with", "$key", "user/"]], {"key": "user/../x"}, ""),
    ([["starts-with", "$key", "user/"]], {"key": "users/x"}, 'Policy Condition failed: ["starts-with", "$key", "user/"]'),
    ([["starts-with", "$key", ""]], {"key": "anything"}, ""),
    ([["starts-with", "$key", ""], ["starts-with", "$acl", ""]], {"key": "k"}, ""),
    ([["starts-with", "$key", ""], {"acl": "private"}], {"key": "k"}, 'Policy Condition failed: {"acl": "private"}'),
    ([["starts-with", "$key", ""]], {"key": "k", "acl": "public-read"}, "Extra input fields: acl"),
    ([["starts-with", "$key", ""]], {"key": "k", "x-ignore-a": "b", "policy": "p", "signature": "s", "awsaccesskeyid": "a"}, ""),
    ([["starts-with", "$key", ""]], {"key": "k", "x-amz-date": "d"}, "Extra input fields: x-amz-date"),
    ([{"key": "k"}, ["starts-with", "$Content-Type", "image/"]], {"key": "k", "content-type": "image/jpeg,image/png"}, ""),
    (
        [{"key": "k"}, ["starts-with", "$Content-Type", "image/"]],
        {"key": "k", "content-type": "image/jpeg,text/html"},
        'Policy Condition failed: ["starts-with", "$Content-Type", "image/"]',
    ),
    ([{"key": "k"}, {"success_action_status": 201}], {"key": "k", "success_action_status": "201"}, ""),
    ([{"key": "k"}, {"key": "j"}], {"key": "k"}, 'Policy Condition failed: {"key": "j"}'),
]


@pytest.mark.parametrize(("conditions", "fields", "message"), TABLE)
def test_conditions(conditions: list[Any], fields: dict[str, str], message: str) -> None:
    assert allows(conditions, fields) == (f"Invalid according to Policy: {message}" if message else "")


def test_a_policy_ends_and_holds_for_its_bucket() -> None:
    assert allows([{"key": "k"}], {"key": "k"}, NOW_S + 600) == ""
    assert allows([{"key": "k"}], {"key": "k"}, NOW_S + 601) == "Invalid according to Policy: Policy expired."
    policy = postpolicy.parse(encode({"expiration": EXPIRATION, "conditions": [{"key": "k"}]}))
    with pytest.raises(S3Error, match="Extra input fields: bucket"):
        postpolicy.check(policy, {"key": "k"}, "b", NOW_S)
    with pytest.raises(S3Error, match="Policy Condition failed"):
        postpolicy.check(postpolicy.parse(encode({"expiration": EXPIRATION, "conditions": [{"bucket": "b"}]})), {}, "other", NOW_S)


def test_a_form_field_called_bucket_does_not_stand_for_the_bucket() -> None:
    policy = postpolicy.parse(encode({"expiration": EXPIRATION, "conditions": [{"bucket": "b"}, {"key": "k"}]}))
    with pytest.raises(S3Error, match="Policy Condition failed"):
        postpolicy.check(policy, {"key": "k", "bucket": "b"}, "other", NOW_S)


def test_ranges_of_length_meet() -> None:
    document = {"expiration": EXPIRATION, "conditions": [["content-length-range", 1, 100], ["Content-Length-Range", "10", "1000"]]}
    policy = postpolicy.parse(encode(document))
    assert (policy.bytes_min, policy.bytes_max) == (10, 100)


DOCUMENTS: dict[str, object] = {
    "list": [],
    "no expiration": {"conditions": []},
    "no conditions": {"expiration": EXPIRATION},
    "conditions in capitals": {"expiration": EXPIRATION, "CONDITIONS": []},
    "expiration in capitals": {"EXPIRATION": EXPIRATION, "conditions": []},
    "conditions are no list": {"expiration": EXPIRATION, "conditions": {}},
    "date of another kind": {"expiration": "2026-03-04 05:16:07+00:00", "conditions": []},
    "date without zone": {"expiration": "2026-03-04T05:16:07", "conditions": []},
    "no such date": {"expiration": "2026-13-04T05:16:07Z", "conditions": []},
    "date is a number": {"expiration": 1, "conditions": []},
    "empty condition": {"expiration": EXPIRATION, "conditions": [{}]},
    "two in one": {"expiration": EXPIRATION, "conditions": [{"acl": "private", "key": "k"}]},
    "condition is text": {"expiration": EXPIRATION, "conditions": ["key"]},
    "value is a list": {"expiration": EXPIRATION, "conditions": [{"key": ["k"]}]},
    "value is true": {"expiration": EXPIRATION, "conditions": [["eq", "$key", True]]},
    "unknown operator": {"expiration": EXPIRATION, "conditions": [["ends-with", "$key", "k"]]},
    "operator is a number": {"expiration": EXPIRATION, "conditions": [[1, "$key", "k"]]},
    "no dollar": {"expiration": EXPIRATION, "conditions": [["eq", "key", "k"]]},
    "two parts": {"expiration": EXPIRATION, "conditions": [["eq", "$key"]]},
    "range of one": {"expiration": EXPIRATION, "conditions": [["content-length-range", 0]]},
    "range below zero": {"expiration": EXPIRATION, "conditions": [["content-length-range", -1, 0]]},
    "range backwards": {"expiration": EXPIRATION, "conditions": [["content-length-range", 2, 1]]},
    "range is true": {"expiration": EXPIRATION, "conditions": [["content-length-range", False, True]]},
    "range is a fraction": {"expiration": EXPIRATION, "conditions": [["content-length-range", 0, 1.5]]},
    "many conditions": {"expiration": EXPIRATION, "conditions": [{"key": "k"}] * (postpolicy.CONDITIONS_MAX + 1)},
}


@pytest.mark.parametrize("document", DOCUMENTS.values(), ids=DOCUMENTS)
def test_what_is_no_policy_is_refused(document: object) -> None:
    with pytest.raises(S3Error) as caught:
        postpolicy.parse(encode(document))
    assert (caught.value.code, caught.value.status) == ("InvalidPolicyDocument", 400)


@pytest.mark.parametrize("text", ["", "!", "bm8ganNvbg==", "/w==", "\u00fc", base64.b64encode(b"[" * 14_000).decode()])
def test_what_is_no_json_is_refused(text: str) -> None:
    with pytest.raises(S3Error, match="InvalidPolicyDocument"):
        postpolicy.parse(text)


@given(st.text(max_size=200))
def test_any_text_is_a_policy_or_refused(text: str) -> None:
    for candidate in (text, base64.b64encode(text.encode("utf-8", "surrogatepass")).decode()):
        try:
            postpolicy.parse(candidate)
        except S3Error as error:
            assert error.code == "InvalidPolicyDocument"


def test_a_dollar_may_be_escaped_as_aws_does_and_a_backslash_stays_one() -> None:
    text = '{"expiration": "DATE", "conditions": [{"bucket": "b"}, ["starts-with", "$key", "\\$a"], {"acl": "\\\\$b"}]}'
    text = text.replace("DATE", EXPIRATION)
    policy = postpolicy.parse(base64.b64encode(text.encode()).decode())
    assert [condition.value for condition in policy.conditions] == ["b", "$a", "\\$b"]
