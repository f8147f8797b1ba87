"""Signatures: whatever botocore signs verifies, and nothing that was changed afterwards does."""

from __future__ import annotations

import datetime
import hmac
import re
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from s3 import claim, credential, sigv4
from s3.errors import S3Error
from s3.query import parse_query
from s3.signingkey import SigningKey
from s3.target import decode_path
from tests.unit.s3.signing import ACCESS_KEY, HOST, NOW, NOW_S, SECRET, Received, sign, verify

KEYS = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=40)
VALUES = st.text(st.characters(codec="ascii", min_codepoint=33, max_codepoint=126), max_size=20)
NAMES = KEYS.filter(lambda name: not name.startswith("X-Amz-") and name not in ("AWSAccessKeyId", "Signature"))
METHODS = st.sampled_from(["GET", "HEAD", "PUT", "POST", "DELETE"])


def code_of(received: Received, **arguments: object) -> str:
    with pytest.raises(S3Error) as caught:
        verify(received, **arguments)  # type: ignore[arg-type]
    return caught.value.code


@given(METHODS, KEYS, st.dictionaries(NAMES, KEYS, max_size=3), st.dictionaries(st.sampled_from(["x-amz-meta-a", "x-amz-acl"]), VALUES))
def test_what_botocore_signs_verifies(method: str, key: str, query: dict[str, str], headers: dict[str, str]) -> None:
    path = "/bucket/" + quote(key, safe="/-._~")
    sent = "&".join(f"{quote(name, safe='-._~')}={quote(value, safe='-._~')}" for name, value in query.items())
    assert verify(sign(method, path, sent, headers=headers)) is not None
    assert verify(sign(method, path, sent, presigned=600)) is not None


@pytest.mark.parametrize("value", ["a b", "a  b", "a:  b", "a: b", " a", "a ", "a\tb", "100%", "%b %s", ""])
def test_spaces_in_signed_headers_are_signed_tidied(value: str) -> None:
    assert verify(sign("PUT", headers={"x-amz-meta-a": value, "x-amz-acl": "private"})) is not None


@pytest.mark.parametrize("path", ["/", "/b//k", "/b/./k", "/b/../k", "/b/a%2Bb", "/b/a%20b", "/b/%F0%9F%90%99", "/b/k/"])
def test_paths_are_signed_as_sent_and_not_normalised(path: str) -> None:
    assert verify(sign("GET", path)) is not None


CHANGES: dict[str, tuple[Received, str]] = {
    "method": (sign().changed(method="PUT"), "SignatureDoesNotMatch"),
    "path": (sign().changed(target=b"/bucket/kez"), "SignatureDoesNotMatch"),
    "double slash": (sign().changed(target=b"/bucket//key"), "SignatureDoesNotMatch"),
    "added parameter": (sign().changed(target=b"/bucket/key?versionId=null"), "SignatureDoesNotMatch"),
    "added empty parameter": (sign().changed(target=b"/bucket/key?acl"), "SignatureDoesNotMatch"),
    "host": (sign().replacing(b"host", b"other.example.com"), "SignatureDoesNotMatch"),
    "no host": (sign().without(b"host"), "AccessDenied"),
    "unsigned amz header": (sign().adding(b"x-amz-copy-source", b"/other/secret"), "AccessDenied"),
    "unsigned amz header, presigned": (sign("PUT", presigned=60).adding(b"x-amz-copy-source", b"/other/secret"), "AccessDenied"),
    "second value for a signed header": (sign(headers={"x-amz-acl": "private"}).adding(b"x-amz-acl", b"public-read"), "InvalidArgument"),
    "payload hash": (sign().replacing(b"x-amz-content-sha256", b"0" * 64), "SignatureDoesNotMatch"),
    "payload unsigned": (sign().replacing(b"x-amz-content-sha256", b"UNSIGNED-PAYLOAD"), "SignatureDoesNotMatch"),
    "payload streaming": (
        sign().replacing(b"x-amz-content-sha256", b"STREAMING-UNSIGNED-PAYLOAD-TRAILER"),
        "SignatureDoesNotMatch",
    ),
    "payload nonsense": (sign().replacing(b"x-amz-content-sha256", b"nonsense"), "InvalidArgument"),
    "payload ecdsa": (sign().replacing(b"x-amz-content-sha256", b"STREAMING-AWS4-ECDSA-P256-SHA256-PAYLOAD"), "NotImplemented"),
    "no payload hash": (sign().without(b"x-amz-content-sha256"), "InvalidRequest"),
    "time": (sign().replacing(b"x-amz-date", b"20260304T050608Z"), "SignatureDoesNotMatch"),
    "day": (sign().replacing(b"x-amz-date", b"20260305T050607Z"), "AuthorizationHeaderMalformed"),
    "no date": (sign().without(b"x-amz-date"), "AccessDenied"),
    "nonsense date": (sign().replacing(b"x-amz-date", b"yesterday"), "AccessDenied"),
    "no authorization, presigned too": (sign(presigned=60).adding(b"authorization", b"AWS4-HMAC-SHA256 x"), "InvalidArgument"),
    "authorization twice": (sign().adding(b"authorization", sign().header(b"authorization")), "InvalidArgument"),
    "date twice": (sign().adding(b"x-amz-date", b"20260304T050607Z"), "InvalidArgument"),
    "version 2": (sign().replacing(b"authorization", b"AWS AKID:c2lnbmF0dXJl"), "InvalidRequest"),
    "basic": (sign().replacing(b"authorization", b"Basic YTpi"), "InvalidArgument"),
    "empty": (sign().replacing(b"authorization", b""), "AccessDenied"),
    "empty date": (sign().replacing(b"x-amz-date", b""), "AccessDenied"),
    "date before 1970": (sign().replacing(b"x-amz-date", b"Tue, 07 Jul 1950 21:53:04 GMT"), "AccessDenied"),
    "algorithm alone": (sign().replacing(b"authorization", b"AWS4-HMAC-SHA256"), "AuthorizationHeaderMalformed"),
    "ecdsa": (sign().replacing(b"authorization", b"AWS4-ECDSA-P256-SHA256 Credential=a"), "NotImplemented"),
    "wrong region": (sign(region="eu-west-1"), "AuthorizationHeaderMalformed"),
    "presigned, wrong region": (sign(presigned=60, region="eu-west-1"), "AuthorizationQueryParametersError"),
    "presigned, expires 0": (sign(presigned=0), "AuthorizationQueryParametersError"),
    "presigned, expires -1": (sign(presigned=-1), "AuthorizationQueryParametersError"),
    "presigned, expires 604801": (sign(presigned=604_801), "AuthorizationQueryParametersError"),
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_change_is_refused(name: str) -> None:
    received, code = CHANGES[name]
    assert code_of(received) == code


@pytest.mark.parametrize(
    ("old", "new", "code"),
    [
        (rb"Signature=[0-9a-f]{64}", b"Signature=" + b"0" * 64, "SignatureDoesNotMatch"),
        (rb"Signature=[0-9a-f]{64}", b"Signature=", "AuthorizationHeaderMalformed"),
        (rb"Signature=[0-9a-f]{64}", b"Signature=xyz", "SignatureDoesNotMatch"),
        (rb"aws4_request", b"aws5_request", "AuthorizationHeaderMalformed"),
        (rb"/s3/", b"/ec2/", "AuthorizationHeaderMalformed"),
        (rb"/20260304/", b"/20260303/", "AuthorizationHeaderMalformed"),
        (rb"SignedHeaders=[^,]*", b"SignedHeaders=x-amz-content-sha256;x-amz-date", "AccessDenied"),
        (rb"SignedHeaders=[^,]*", b"SignedHeaders=host", "AccessDenied"),
        (rb"SignedHeaders=", b"SignedHeaders=absent;", "AccessDenied"),
        (rb"SignedHeaders=host;", b"SignedHeaders=host;host;", "SignatureDoesNotMatch"),
        (rb"Credential=[^/]*/", b"Credential=", "AuthorizationHeaderMalformed"),
        (rb"AWS4-HMAC-SHA256 ", b"AWS4-HMAC-SHA512 ", "InvalidArgument"),
    ],
)
def test_a_changed_authorization_header_is_refused(old: bytes, new: bytes, code: str) -> None:
    received = sign()
    header = re.sub(old, new, received.header(b"authorization"), count=1)
    assert code_of(received.replacing(b"authorization", header)) == code


@pytest.mark.parametrize("name", [b"Algorithm", b"Credential", b"Date", b"Expires", b"SignedHeaders", b"Signature"])
def test_a_presigned_request_needs_every_parameter_once(name: bytes) -> None:
    received = sign(presigned=60)
    parameter = re.search(rb"X-Amz-" + name + rb"=[^&]*", received.target)
    assert parameter is not None
    without = received.target.replace(parameter[0], b"")
    assert code_of(received.changed(target=without)) == "AuthorizationQueryParametersError"
    assert code_of(received.changed(target=received.target + b"&" + parameter[0])) == "AuthorizationQueryParametersError"


@given(st.data())
def test_no_mutated_byte_of_the_target_gets_through_with_another_meaning(data: st.DataObject) -> None:
    presigned = data.draw(st.booleans())
    received = sign("GET", "/bucket/some%20key%2B/x", "prefix=a%2Fb&acl", presigned=600 if presigned else None)
    at = data.draw(st.integers(0, len(received.target) - 1))
    byte = data.draw(st.integers(33, 126))
    target = received.target[:at] + bytes([byte]) + received.target[at + 1 :]

    def meaning(raw: bytes) -> object:
        path, _, query = raw.partition(b"?")
        pairs = [pair for pair in parse_query(query) if pair[0] not in (b"X-Amz-Signature",)]
        return decode_path(path), sorted(pairs)

    try:
        seed = verify(received.changed(target=target))
    except S3Error:
        return
    assert seed is None or meaning(target) == meaning(received.target)
    assert seed is not None or presigned, "a header-signed request never becomes anonymous by its target"


@given(st.data())
def test_no_mutated_byte_of_a_header_gets_through_with_another_meaning(data: st.DataObject) -> None:
    received = sign("PUT", headers={"x-amz-meta-a": "some value", "content-type": "text/plain"})
    at = data.draw(st.integers(0, len(received.headers) - 1))
    name, value = received.headers[at]
    place = data.draw(st.integers(0, len(value) - 1))
    changed = value[:place] + bytes([data.draw(st.integers(33, 126))]) + value[place + 1 :]
    try:
        verify(received.replacing(name, changed))
    except S3Error:
        return
    same = changed == value or (name == b"authorization" and changed.replace(b", ", b",") == value.replace(b", ", b","))
    assert same


def test_skew_of_a_quarter_of_an_hour_is_allowed() -> None:
    received = sign()
    for shift in (-900, 900):
        assert verify(received, now_s=NOW_S + shift) is not None
    for shift in (-901, 901):
        assert code_of(received, now_s=NOW_S + shift) == "RequestTimeTooSkewed"


def test_a_presigned_request_lives_from_its_date_to_its_expiry() -> None:
    received = sign(presigned=100)
    for shift in (-900, 0, 100):
        assert verify(received, now_s=NOW_S + shift) is not None
    for shift in (-901, 101):
        assert code_of(received, now_s=NOW_S + shift) == "AccessDenied"


def test_an_unknown_key_has_its_own_code_and_comes_after_all_other_checks() -> None:
    assert code_of(sign(), secret=None) == "InvalidAccessKeyId"
    assert code_of(sign(region="eu-west-1"), secret=None) == "AuthorizationHeaderMalformed"
    assert code_of(sign(), secret=SECRET + "x") == "SignatureDoesNotMatch"


def test_the_date_header_may_stand_for_x_amz_date() -> None:
    """botocore no longer sends it; older clients do."""
    received = sign()
    as_date = received.without(b"x-amz-date").adding(b"date", b"Wed, 04 Mar 2026 05:06:07 GMT")
    assert code_of(as_date) == "AccessDenied"  # x-amz-date was among the signed headers
    late = as_date.replacing(b"date", b"Wed, 04 Mar 2026 06:06:07 GMT")
    assert code_of(late) == "RequestTimeTooSkewed"


def test_what_is_long_is_understood_and_not_remembered() -> None:
    remembering = (claim._terms, claim._header_credential, credential._credential, sigv4._signed_headers)
    assert verify(sign()) is not None
    assert verify(sign(presigned=60)) is not None
    before = [function.cache_info().currsize for function in remembering]
    long = {f"x-amz-meta-{number}-{'n' * 100}": "v" for number in range(20)}
    assert verify(sign("PUT", headers=long)) is not None
    assert verify(sign("PUT", headers=long, presigned=60)) is not None
    header = sign().header(b"authorization")
    long = header.replace(b"Credential=", b"Credential=" + b"A" * claim.HEAD_BYTES_MAX)
    assert code_of(sign().replacing(b"authorization", long), secret=None) == "InvalidAccessKeyId"
    assert [function.cache_info().currsize for function in remembering] == before


def test_an_anonymous_request_says_each_amz_header_once_too() -> None:
    plain = sign().without(b"authorization")
    twice = plain.adding(b"x-amz-website-redirect-location", b"/a").adding(b"x-amz-website-redirect-location", b"/b")
    assert code_of(twice) == "InvalidArgument"
    assert verify(plain.adding(b"x-amz-meta-a", b"b").adding(b"x-amz-meta-a", b"c")) is None


def test_a_request_without_a_signature_is_anonymous() -> None:
    assert verify(Received("GET", b"/b/k?prefix=a", ((b"host", HOST.encode()),))) is None


@given(st.binary(max_size=64), st.binary(max_size=300))
def test_a_signing_key_is_an_hmac(key: bytes, message: bytes) -> None:
    assert SigningKey(key).sign(message) == hmac.digest(key, message, "sha256")


def test_signing_keys_are_those_of_the_day() -> None:
    later = sign(now=NOW + datetime.timedelta(days=1))
    assert verify(later, now_s=NOW_S + 86_400) is not None
    assert ACCESS_KEY.encode() in later.header(b"authorization")


def test_a_wrong_region_is_answered_with_the_right_one() -> None:
    """Clients sign again for it."""
    for presigned in (None, 60):
        with pytest.raises(S3Error, match="the region 'eu-west-1' is wrong; expecting 'us-east-1'") as caught:
            verify(sign(region="eu-west-1", presigned=presigned))
        assert caught.value.details == {"Region": "us-east-1"}


def test_a_url_of_tomorrow_is_not_yet_valid() -> None:
    future = NOW + datetime.timedelta(minutes=16)
    with pytest.raises(S3Error, match="Request is not yet valid"):
        verify(sign(presigned=60, now=future))
    assert verify(sign(presigned=60, now=NOW + datetime.timedelta(minutes=14))) is not None


def test_the_date_header_serves_where_there_is_no_other() -> None:
    """In RFC 822's form, as HTTP has it; botocore signs with the one that is there."""
    dated = sign(headers={"Date": "any"})
    assert b"x-amz-date" not in dict(dated.headers)
    assert verify(dated) is not None
    assert code_of(dated.replacing(b"date", b"Wed, 04 Mar 2026 05:06:08 GMT")) == "SignatureDoesNotMatch"
    assert code_of(dated.replacing(b"date", b"Thu, 05 Mar 2026 05:06:07 GMT")) == "AuthorizationHeaderMalformed"
    assert code_of(dated, now_s=NOW_S + 901) == "RequestTimeTooSkewed"
