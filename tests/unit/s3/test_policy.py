"""Policies: what is refused and in which words, what applies to whom and what, what counts as public."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pytest

from s3.identity import ANONYMOUS, Identity
from s3.policy import POLICY_BYTES_MAX, Effect, parse_policy
from s3.statement import Ask, PolicyRefused

ANN = Identity("a" * 64, "ann", "Ann", "AKANN", user="laptop")
BOB = Identity("b" * 64, "bob", "Bob", "AKBOB", user="phone")
BUCKET = "photos"
EVERYTHING = [f"arn:aws:s3:::{BUCKET}", f"arn:aws:s3:::{BUCKET}/*"]


def statement(**changes: Any) -> dict[str, Any]:
    full = {"Effect": "Allow", "Principal": "*", "Action": "s3:GetObject", "Resource": EVERYTHING} | changes
    return {name: value for name, value in full.items() if value is not None}


def document(*statements: Any, **changes: Any) -> str:
    full = {"Version": "2012-10-17", "Statement": list(statements)} | changes
    return json.dumps({name: value for name, value in full.items() if value is not None})


def effect(
    text: str, who: Identity = BOB, permission: str = "s3:GetObject", resource: str = "photos/key", **values: Sequence[str]
) -> Effect:
    found = {name.replace("__", ":"): value for name, value in values.items()}
    return parse_policy(text, BUCKET).effect(Ask(who, permission, resource, lambda key: found.get(key, ())))


REFUSED: list[tuple[str, str]] = [
    ("", "Policies must be valid JSON and the first byte must be '{'"),
    ("[]", "Policies must be valid JSON and the first byte must be '{'"),
    ("{", "This policy contains invalid Json"),
    ('{"Version": "2012-10-17", "Version": "2012-10-17"}', "This policy contains invalid Json"),
    ('{"Statement": ' + "[" * 9_000, "This policy contains invalid Json"),
    (document(), "Missing required field Statement"),
    (document(Statement=None), "Missing required field Statement"),
    (document(statement(), Version="2013-01-01"), "The policy must contain a valid version string"),
    (document(statement(), Extra=1), "Unknown field Extra"),
    (document(statement(Extra=1)), "Unknown field Extra"),
    (document(statement(Effect=None)), "Missing required field Effect"),
    (document(statement(Effect="allow")), "Invalid effect: allow"),
    (document(statement(Principal=None)), "Missing required field Principal"),
    (document(statement(Principal={"AWS": []})), "Invalid principal in policy"),
    (document(statement(Principal={"AWS": "arn:aws:iam::*:root"})), "Invalid principal in policy"),
    (document(statement(Principal={"AWS": "arn:aws:iam:::root"})), "Invalid principal in policy"),
    (document(statement(Principal={"AWS": "arn:aws:s3:::photos"})), "Invalid principal in policy"),
    (document(statement(Principal={"Everyone": "*"})), "Invalid principal in policy"),
    (document(statement(Principal="ann")), "Invalid principal in policy"),
    (document(statement(Principal=None, NotPrincipal={"AWS": "ann"})), "Allow with NotPrincipal is not allowed."),
    (document(statement(Effect="Deny", NotPrincipal={"AWS": "ann"})), "Statement must have Principal or NotPrincipal, not both"),
    (document(statement(Action=None)), "Missing required field Action"),
    (document(statement(Action=[])), "Missing required field Action cannot be empty!"),
    (document(statement(Action="s3:GetNothing")), "Policy has invalid action"),
    (document(statement(Action="iam:GetUser")), "Policy has invalid action"),
    (document(statement(Action=7)), "Missing required field Action cannot be empty!"),
    (document(statement(NotAction="s3:GetObject")), "Statement must have Action or NotAction, not both"),
    (document(statement(Resource=None)), "Missing required field Resource"),
    (document(statement(Resource="*")), "Policy has invalid resource"),
    (document(statement(Resource="photos/*")), "Policy has invalid resource"),
    (document(statement(Resource="arn:aws:s3:::other/*")), "Policy has invalid resource"),
    (document(statement(Resource="arn:aws:s3:::photos")), "Action does not apply to any resource(s) in statement"),
    (
        document(statement(Action="s3:ListBucket", Resource="arn:aws:s3:::photos/*")),
        "Action does not apply to any resource(s) in statement",
    ),
    (document(statement(Action="s3:ListAllMyBuckets")), "Action does not apply to any resource(s) in statement"),
    (document(statement(Condition={"StringIs": {"aws:Referer": "x"}})), "Invalid Condition type : StringIs"),
    (document(statement(Condition={"StringEquals": "x"})), "Invalid Condition type : StringEquals"),
    (document(statement(Condition={"StringEquals": {"s3:nothing": "x"}})), "Policy has an invalid condition key"),
    (document(statement(Condition={"StringEquals": {"aws:Referer": {}}})), "Invalid value in condition StringEquals"),
    (document(statement(Condition={"StringEquals": {"aws:Referer": []}})), "Missing values in condition StringEquals"),
    (document(statement(Condition={"IpAddress": {"aws:SourceIp": "1.2.3"}})), "Invalid value in condition IpAddress"),
    (document(statement(Sid="one"), statement(Sid="one")), "Statement ids (SID) in a single policy must be unique"),
    (document(statement(), Id=7), "Invalid Id"),
    ("{" + " " * POLICY_BYTES_MAX + "}", f"Normalized policy document exceeds the maximum allowed size of {POLICY_BYTES_MAX} bytes."),
]


@pytest.mark.parametrize(("text", "words"), REFUSED, ids=[f"{at}-{words[:40]}" for at, (_, words) in enumerate(REFUSED)])
def test_what_is_no_policy_is_refused(text: str, words: str) -> None:
    with pytest.raises(PolicyRefused) as caught:
        parse_policy(text, BUCKET)
    assert str(caught.value) == words


@pytest.mark.parametrize(
    "changes",
    [
        {"Principal": {"AWS": "arn:aws:iam::s3tenant1:root"}},
        {"Principal": {"Service": "logging.s3.amazonaws.com"}},
        {"Resource": ["arn:aws:s3:::*", "arn:aws:s3:::*/*"]},
        {"Resource": "arn:aws:s3::*:photos/*"},
        {"Action": "*"},
        {"Action": ["S3:getobject", "s3:Put*"]},
        {"Condition": {"NumericLessThanEquals": {"s3:max-keys": 10}, "Bool": {"aws:SecureTransport": True}}},
        {"Condition": {"StringEquals": {"s3:ExistingObjectTag/security": ["public", "internal"]}}},
    ],
)
def test_what_is_one_is_taken(changes: dict[str, Any]) -> None:
    parse_policy(document(statement(**changes)), BUCKET)
    parse_policy(json.dumps({"Statement": statement(**changes)}), BUCKET)


PRINCIPALS: list[tuple[Any, bool, bool, bool]] = [
    # principal, and whether it is Ann, Bob, an anonymous caller
    ("*", True, True, True),
    ({"AWS": "*"}, True, True, True),
    ({"AWS": "ann"}, True, False, False),
    ({"AWS": "a" * 64}, True, False, False),
    ({"CanonicalUser": "b" * 64}, False, True, False),
    ({"AWS": ["arn:aws:iam::ann:root", "bob"]}, True, True, False),
    ({"AWS": "arn:aws:iam::ann:user/laptop"}, True, False, False),
    ({"AWS": f"arn:aws:iam::{'a' * 64}:user/laptop"}, True, False, False),
    ({"AWS": "arn:aws:iam::ann:user/phone"}, False, False, False),
    ({"AWS": f"arn:aws:iam:::user/{'b' * 64}"}, False, True, False),
    ({"AWS": "arn:aws:iam:::user/phone"}, False, False, False),
    ({"AWS": "arn:aws:iam::ann:role/laptop"}, False, False, False),
    ({"Service": "*"}, False, False, False),
]


@pytest.mark.parametrize(("principal", "ann", "bob", "anybody"), PRINCIPALS)
def test_principals(principal: Any, ann: bool, bob: bool, anybody: bool) -> None:
    text = document(statement(Principal=principal))
    assert [effect(text, who) is Effect.ALLOW for who in (ANN, BOB, ANONYMOUS)] == [ann, bob, anybody]
    text = document(statement(Effect="Deny", Principal=None, NotPrincipal=principal))
    assert [effect(text, who) is Effect.NONE for who in (ANN, BOB, ANONYMOUS)] == [ann, bob, anybody]


@pytest.mark.parametrize(
    ("changes", "permission", "resource", "applies"),
    [
        ({}, "s3:GetObject", "photos/a/b", True),
        ({}, "s3:GetObjectVersion", "photos/a", False),
        ({"Action": "s3:getobject*"}, "s3:GetObjectVersion", "photos/a", True),
        ({"Action": "s3:Get?bject"}, "s3:GetObject", "photos/a", True),
        ({"Action": None, "NotAction": "s3:GetObject"}, "s3:GetObject", "photos/a", False),
        ({"Action": None, "NotAction": "s3:GetObject"}, "s3:PutObject", "photos/a", True),
        ({"Resource": "arn:aws:s3:::photos/in/*"}, "s3:GetObject", "photos/in/a", True),
        ({"Resource": "arn:aws:s3:::photos/in/*"}, "s3:GetObject", "photos/out/a", False),
        ({"Resource": "arn:aws:s3:::photos/${aws:username}/*"}, "s3:GetObject", "photos/phone/a", True),
        ({"Resource": "arn:aws:s3:::photos/${aws:username}/*"}, "s3:GetObject", "photos/laptop/a", False),
        ({"Resource": None, "NotResource": "arn:aws:s3:::photos/in/*"}, "s3:GetObject", "photos/in/a", False),
        ({"Resource": None, "NotResource": "arn:aws:s3:::photos/in/*"}, "s3:GetObject", "photos/out/a", True),
        ({"Action": "s3:*"}, "s3:ListBucket", "photos", True),
        ({"Action": "s3:*", "Resource": "arn:aws:s3:::photos/*"}, "s3:ListBucket", "photos", False),
    ],
)
def test_actions_and_resources(changes: dict[str, Any], permission: str, resource: str, applies: bool) -> None:
    found = effect(document(statement(**changes)), permission=permission, resource=resource, aws__username=["phone"])
    assert (found is Effect.ALLOW) is applies


def test_a_denial_wins_wherever_it_stands() -> None:
    allow, deny = statement(), statement(Effect="Deny", Resource="arn:aws:s3:::photos/secret*")
    for order in ((allow, deny), (deny, allow)):
        assert effect(document(*order)) is Effect.ALLOW
        assert effect(document(*order), resource="photos/secret1") is Effect.DENY
    assert effect(document(*order), permission="s3:PutObject") is Effect.NONE


def test_all_conditions_must_hold_and_any_of_their_values() -> None:
    text = document(
        statement(Condition={"StringEquals": {"s3:prefix": ["a", "b"], "s3:delimiter": "/"}, "Bool": {"aws:SecureTransport": "true"}})
    )
    full = {"s3__prefix": ["b"], "s3__delimiter": ["/"], "aws__securetransport": ["true"]}
    assert effect(text, **full) is Effect.ALLOW
    for name in full:
        assert effect(text, **(full | {name: ["other"]})) is Effect.NONE


def test_old_policies_take_variables_as_text() -> None:
    text = document(statement(Resource="arn:aws:s3:::photos/${aws:username}/*"), Version="2008-10-17")
    assert effect(text, resource="photos/phone/a", aws__username=["phone"]) is Effect.NONE
    assert effect(text, resource="photos/${aws:username}/a", aws__username=["phone"]) is Effect.ALLOW


def test_policies_of_keys_name_no_principal_and_any_resource() -> None:
    text = document(statement(Principal=None, Action=["s3:GetObject", "iam:GetUser"], Resource="*"))
    assert parse_policy(text).effect(Ask(BOB, "s3:GetObject", "other/key", lambda _: ())) is Effect.ALLOW
    with pytest.raises(PolicyRefused):
        parse_policy(document(statement()))


PUBLIC: list[tuple[dict[str, Any], bool]] = [
    ({}, True),
    ({"Principal": {"AWS": "*"}}, True),
    ({"Effect": "Deny"}, False),
    ({"Principal": {"AWS": "arn:aws:iam::s3tenant1:root"}}, False),
    ({"Condition": {"IpAddress": {"aws:SourceIp": "10.0.0.0/32"}}}, False),
    ({"Condition": {"IpAddress": {"aws:SourceIp": "10.0.0.0/8"}}}, False),
    ({"Condition": {"IpAddress": {"aws:SourceIp": "0.0.0.0/1"}}}, True),
    ({"Condition": {"IpAddress": {"aws:SourceIp": ["10.0.0.0/8", "::/16"]}}}, True),
    ({"Condition": {"NotIpAddress": {"aws:SourceIp": "10.0.0.0/8"}}}, True),
    ({"Condition": {"StringEquals": {"aws:SourceVpc": "vpc-91237329"}}}, False),
    ({"Condition": {"StringLike": {"aws:SourceVpc": "vpc-*"}}}, True),
    ({"Condition": {"StringEqualsIfExists": {"aws:SourceVpc": "vpc-91237329"}}}, True),
    ({"Condition": {"ForAllValues:StringEquals": {"aws:SourceVpc": "vpc-91237329"}}}, True),
    ({"Condition": {"StringEquals": {"aws:userid": "${aws:userid}"}}}, True),
    ({"Condition": {"StringLike": {"aws:Referer": "http://example.org/*"}}}, True),
]  # fmt: skip


@pytest.mark.parametrize(("changes", "public"), PUBLIC)
def test_what_counts_as_public(changes: dict[str, Any], public: bool) -> None:
    assert parse_policy(document(statement(**changes)), BUCKET).public is public
