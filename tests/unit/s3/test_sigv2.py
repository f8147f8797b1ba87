"""Signature version 2: what botocore signs verifies; what was changed afterwards, or what this version leaves unsigned, does not."""

from __future__ import annotations

import time
from email.utils import formatdate
from unittest import mock
from urllib.parse import quote, urlsplit

import botocore.auth
import pytest
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from hypothesis import given
from hypothesis import strategies as st

from s3 import sigv2
from s3.errors import S3Error
from s3.query import parse_query
from s3.router import SUBRESOURCES
from s3.target import bucket_of_host
from tests.unit.s3.signing import ACCESS_KEY, HOST, NOW_S, SECRET, Received

KEYS = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=40)
VALUES = st.text(st.characters(codec="ascii", min_codepoint=33, max_codepoint=126), max_size=20)
METHODS = st.sampled_from(["GET", "HEAD", "PUT", "POST", "DELETE"])


def sign(
    method: str = "GET", path: str = "/bucket/key", query: str = "", *, headers: dict[str, str] | None = None, presigned: int | None = None
) -> Received:
    """`path` and `query` are as they go over the wire."""
    request = AWSRequest(method=method, url=f"http://{HOST}{path}{'?' + query if query else ''}", headers=headers or {})
    auth: botocore.auth.HmacV1Auth = botocore.auth.HmacV1Auth(Credentials(ACCESS_KEY, SECRET))
    if presigned is not None:
        auth = botocore.auth.HmacV1QueryAuth(Credentials(ACCESS_KEY, SECRET), expires=presigned)
    with mock.patch.object(time, "time", return_value=NOW_S), mock.patch("botocore.auth.formatdate", return_value=formatdate(NOW_S)):
        auth.add_auth(request)
    parts = urlsplit(request.url)
    target = parts.path + ("?" + parts.query if parts.query else "")
    sent = [] if presigned is not None else request.headers.items()
    return Received(
        method,
        target.encode("ascii"),
        ((b"host", HOST.encode()), *((name.lower().encode(), str(value).encode()) for name, value in sent)),
    )


def verify(received: Received, *, secret: str | None = SECRET, now_s: float = NOW_S, domains: tuple[str, ...] = ()) -> bool:
    """What the gateway does with it; False when it is no claim of this version. Raises: S3Error."""
    raw_path, _, raw_query = received.target.partition(b"?")
    parameters = parse_query(raw_query)
    claim = sigv2.parse(received.headers, parameters)
    if claim is None:
        return False
    sigv2.verify(
        claim,
        secret if claim.access_key == ACCESS_KEY else None,
        method=received.method,
        raw_path=raw_path,
        virtual_bucket=bucket_of_host(received.header(b"host"), domains),
        parameters=parameters,
        headers=received.headers,
        now_s=now_s,
    )
    return True


def code_of(received: Received, **arguments: object) -> str:
    with pytest.raises(S3Error) as caught:
        verify(received, **arguments)  # type: ignore[arg-type]
    return caught.value.code


@given(METHODS, KEYS, st.dictionaries(st.sampled_from(["x-amz-meta-a", "x-amz-acl", "content-type", "content-md5"]), VALUES))
def test_what_botocore_signs_verifies(method: str, key: str, headers: dict[str, str]) -> None:
    path = "/bucket/" + quote(key, safe="/-._~")
    assert verify(sign(method, path, headers=headers))
    assert verify(sign(method, path, headers=headers, presigned=600))


@pytest.mark.parametrize(
    "query", ["acl", "uploads", "versionId=null", "partNumber=1&uploadId=a%2Bb", "prefix=a&delete", "response-expires=a%20b"]
)
def test_subresources_are_signed_decoded(query: str) -> None:
    assert verify(sign("GET", query=query))
    assert verify(sign("GET", query=query, presigned=60))


def test_the_example_of_aws_verifies() -> None:
    """Source: RESTAuthentication, "Object GET" and "Upload" of AWS's page, with their keys."""
    secret, key = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", b"AKIAIOSFODNN7EXAMPLE"
    got = Received(
        "GET",
        b"/photos/puppy.jpg",
        (
            (b"host", b"awsexamplebucket1.us-west-1.s3.amazonaws.com"),
            (b"date", b"Tue, 27 Mar 2007 19:36:42 +0000"),
            (b"authorization", b"AWS " + key + b":qgk2+6Sv9/oM7G3qLEjTH1a1l1g="),
        ),
    )
    claim = sigv2.parse(got.headers, [])
    assert claim is not None
    text = sigv2.string_to_sign(
        claim, method="GET", raw_path=b"/photos/puppy.jpg", virtual_bucket="awsexamplebucket1", parameters=[], headers=got.headers
    )
    assert text == b"GET\n\n\nTue, 27 Mar 2007 19:36:42 +0000\n/awsexamplebucket1/photos/puppy.jpg"
    assert sigv2.matches(secret, text, claim.signature)


def test_a_bucket_in_the_host_is_part_of_the_resource() -> None:
    request = AWSRequest(method="GET", url="http://bucket.store.test/key", headers={}, auth_path="/bucket/key")
    botocore.auth.HmacV1Auth(Credentials(ACCESS_KEY, SECRET)).add_auth(request)
    headers = ((b"host", b"bucket.store.test"), *((name.lower().encode(), value.encode()) for name, value in request.headers.items()))
    received = Received("GET", b"/key", headers)
    assert verify(received, now_s=time.time(), domains=("store.test",))
    assert code_of(received.replacing(b"host", b"other.store.test"), now_s=time.time(), domains=("store.test",)) == "SignatureDoesNotMatch"


V4 = b"AWS4-HMAC-SHA256 Credential=a/b/c/s3/aws4_request"
URL = sign(presigned=60)
CHANGES: dict[str, tuple[Received, str]] = {
    "method": (sign().changed(method="PUT"), "SignatureDoesNotMatch"),
    "path": (sign().changed(target=b"/bucket/kez"), "SignatureDoesNotMatch"),
    "escaped path": (sign().changed(target=b"/bucket/%6bey"), "SignatureDoesNotMatch"),
    "signed parameter added": (sign().changed(target=b"/bucket/key?acl"), "SignatureDoesNotMatch"),
    "unsigned operation added": (sign().changed(target=b"/bucket/key?retention"), "AccessDenied"),
    "unsigned operation added to a URL": (URL.changed(target=URL.target + b"&attributes"), "AccessDenied"),
    "amz header added": (sign().adding(b"x-amz-copy-source", b"/other/secret"), "SignatureDoesNotMatch"),
    "amz header added to a URL": (URL.adding(b"x-amz-copy-source", b"/other/secret"), "SignatureDoesNotMatch"),
    "amz parameter added": (sign().changed(target=b"/bucket/key?x-amz-meta-a=b"), "AccessDenied"),
    "amz parameter added to a URL": (URL.changed(target=URL.target + b"&x-amz-acl=public-read"), "SignatureDoesNotMatch"),
    "amz parameter and header": (
        sign(headers={"x-amz-acl": "private"}, presigned=60).adding(b"x-amz-acl", b"public-read"),
        "InvalidArgument",
    ),
    "content type added": (sign().adding(b"content-type", b"text/html"), "SignatureDoesNotMatch"),
    "digest added": (sign().adding(b"content-md5", b"1B2M2Y8AsgTpgAmY7PhCfg=="), "SignatureDoesNotMatch"),
    "date": (sign().replacing(b"date", formatdate(NOW_S + 1, usegmt=True).encode()), "SignatureDoesNotMatch"),
    "date added": (sign().adding(b"x-amz-date", b"20260304T050608Z"), "SignatureDoesNotMatch"),
    "no date": (sign().without(b"date"), "AccessDenied"),
    "date before 1970": (sign().replacing(b"date", b"Tue, 07 Jul 1950 21:53:04 GMT"), "AccessDenied"),
    "empty date beside a right one": (sign().adding(b"x-amz-date", b""), "AccessDenied"),
    "nonsense date": (sign().replacing(b"date", b"yesterday"), "AccessDenied"),
    "unknown key": (sign().replacing(b"authorization", b"AWS NOBODY:c2lnbmF0dXJl"), "InvalidAccessKeyId"),
    "no signature": (sign().replacing(b"authorization", b"AWS " + ACCESS_KEY.encode()), "InvalidArgument"),
    "empty signature": (sign().replacing(b"authorization", b"AWS " + ACCESS_KEY.encode() + b":"), "SignatureDoesNotMatch"),
    "signature is no base64": (sign().replacing(b"authorization", b"AWS " + ACCESS_KEY.encode() + b":\xff!"), "SignatureDoesNotMatch"),
    "authorization twice": (sign().adding(b"authorization", sign().header(b"authorization")), "InvalidArgument"),
    "header and URL": (URL.adding(b"authorization", sign().header(b"authorization")), "InvalidArgument"),
    "URL and version 4 header": (URL.adding(b"authorization", V4), "InvalidArgument"),
    "URL of both versions": (URL.changed(target=URL.target + b"&X-Amz-Algorithm=AWS4-HMAC-SHA256"), "InvalidArgument"),
    "header and version 4 URL": (sign().changed(target=b"/bucket/key?X-Amz-Signature=0"), "InvalidArgument"),
    "later expiry": (URL.changed(target=URL.target.replace(b"Expires=1", b"Expires=2")), "SignatureDoesNotMatch"),
    "expiry twice": (URL.changed(target=URL.target + b"&Expires=9999999999"), "AccessDenied"),
    "no expiry": (URL.changed(target=URL.target.replace(b"Expires", b"expires")), "AccessDenied"),
    "nonsense expiry": (URL.changed(target=URL.target.replace(b"Expires=1", b"Expires=x")), "AccessDenied"),
}


@pytest.mark.parametrize(("received", "code"), CHANGES.values(), ids=CHANGES)
def test_a_changed_request_is_refused(received: Received, code: str) -> None:
    assert code_of(received) == code


def test_a_url_expires_and_a_clock_may_be_a_little_wrong() -> None:
    assert verify(URL, now_s=NOW_S + 59)
    with pytest.raises(S3Error, match="Request has expired"):
        verify(URL, now_s=NOW_S + 61)
    assert verify(sign(), now_s=NOW_S + 899)
    assert code_of(sign(), now_s=NOW_S + 901) == "RequestTimeTooSkewed"
    assert code_of(sign(), now_s=NOW_S - 901) == "RequestTimeTooSkewed"


def test_other_requests_are_not_claimed() -> None:
    assert not verify(Received("GET", b"/bucket/key?Expires=1", ((b"host", HOST.encode()),)))
    assert not verify(Received("GET", b"/", ((b"host", HOST.encode()), (b"authorization", V4))))


@given(st.sampled_from(sorted(SUBRESOURCES)), METHODS)
def test_no_operation_can_be_added_to_a_signed_url(name: str, method: str) -> None:
    url = sign(method, presigned=60)
    assert code_of(url.changed(target=url.target + b"&" + name.encode())) in ("SignatureDoesNotMatch", "AccessDenied")
