"""Lines and names of access logs."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from s3.accesslog import VERSION_CHARACTERS_MAX, Entry, KeyFormat, LoggingEnabled, PartitionedPrefix, SimplePrefix, operation_of
from s3.router import ROUTES
from s3.target import KEY_BYTES_MAX

AT_US = 1_549_411_238_123_456  # 2019-02-06 00:00:38
FIELD = re.compile(r'\[[^\]]*\]|"[^"]*"|\S+')
"""AWS's own description of how to take a line apart."""


def entry(**more: object) -> Entry:
    fields: dict[str, object] = {"owner": "o", "bucket": "b", "at_us": AT_US, "request_id": "R", "operation": "REST.GET.OBJECT"}
    return Entry(**{**fields, "uri": "GET /b/k HTTP/1.1", "status": 200, "spent_ms": 7, **more})  # type: ignore[arg-type]


def test_a_line_has_the_fields_of_aws_in_their_order() -> None:
    line = entry(
        address="192.0.2.3",
        requester="u",
        key="a b/ü",
        error="NoSuchKey",
        sent=113,
        size=3462992,
        referer="http://x/",
        agent="curl/7",
        version="v",
        host_id="h",
        signature="SigV4",
        auth="AuthHeader",
        host="b.localhost",
    ).line()
    assert line == (
        "o b [06/Feb/2019:00:00:38 +0000] 192.0.2.3 u R REST.GET.OBJECT a%20b/%C3%BC "
        '"GET /b/k HTTP/1.1" 200 NoSuchKey 113 3462992 7 - "http://x/" "curl/7" v h SigV4 - AuthHeader b.localhost - - -\n'
    )


HOSTILE = st.text('a b"\r\n[', max_size=20)


@given(st.text(max_size=20), st.text(max_size=20), st.text(max_size=20), HOSTILE, HOSTILE)
def test_nothing_that_a_client_sends_breaks_a_line(key: str, agent: str, uri: str, referer: str, version: str) -> None:
    line = entry(key=key.encode(errors="ignore").decode(), agent=agent, uri=uri, referer=referer, host=agent, version=version).line()
    assert line.endswith("\n")
    assert line.isascii()
    assert len(line.splitlines()) == 1
    assert len(FIELD.findall(line)) == 26


def test_a_long_key_or_version_does_not_make_a_long_line() -> None:
    line = entry(key="k" * 100_000, version="v" * 100_000).line()
    assert f" {'k' * KEY_BYTES_MAX} " in line
    assert f" {'v' * VERSION_CHARACTERS_MAX} " in line


@pytest.mark.parametrize("name", ["X-Amz-Signature", "x-amz-security-token", "Signature"])
def test_a_presigned_urls_proof_is_not_logged(name: str) -> None:
    line = entry(uri=f"GET /b/k?a=1&{name}=secret&b=2 HTTP/1.1").line()
    assert "secret" not in line
    assert f"a=1&{name}=REDACTED&b=2 HTTP/1.1" in line


@pytest.mark.parametrize(
    ("form", "key"),
    [
        (None, "logs/2019-02-06-00-00-38-U"),
        (KeyFormat(simple=SimplePrefix()), "logs/2019-02-06-00-00-38-U"),
        (KeyFormat(partitioned=PartitionedPrefix()), "logs/acct/us-east-1/b/2019/02/06/2019-02-06-00-00-38-U"),
        (KeyFormat(partitioned=PartitionedPrefix("EventTime")), "logs/acct/us-east-1/b/2019/02/06/2019-02-06-00-00-00-U"),
    ],
)
def test_names_of_logs(form: KeyFormat | None, key: str) -> None:
    wanted = LoggingEnabled(target_bucket="t", target_prefix="logs/", target_object_key_format=form)
    assert wanted.key(account="acct", region="us-east-1", bucket="b", at_us=AT_US, unique="U") == key


@pytest.mark.parametrize(
    ("operation", "name"),
    [
        ("GetObject", "REST.GET.OBJECT"),
        ("HeadObject", "REST.HEAD.OBJECT"),
        ("CopyObject", "REST.COPY.OBJECT"),
        ("UploadPart", "REST.PUT.PART"),
        ("UploadPartCopy", "REST.COPY.PART"),
        ("CreateMultipartUpload", "REST.POST.UPLOADS"),
        ("CompleteMultipartUpload", "REST.POST.UPLOAD"),
        ("DeleteObjects", "REST.POST.MULTI_OBJECT_DELETE"),
        ("ListObjectsV2", "REST.GET.BUCKET"),
        ("HeadBucket", "REST.HEAD.BUCKET"),
        ("GetBucketVersioning", "REST.GET.VERSIONING"),
        ("GetObjectAcl", "REST.GET.ACL"),
        ("PutObjectTagging", "REST.PUT.OBJECT_TAGGING"),
        ("PutBucketTagging", "REST.PUT.TAGGING"),
        ("GetBucketRequestPayment", "REST.GET.REQUEST_PAYMENT"),
        ("GetPublicAccessBlock", "REST.GET.PUBLIC_ACCESS_BLOCK"),
        ("GetObjectLockConfiguration", "REST.GET.OBJECT_LOCK"),
        ("PreflightObject", "REST.OPTIONS.PREFLIGHT"),
    ],
)
def test_names_of_operations(operation: str, name: str) -> None:
    (route,) = [route for route in ROUTES if route.operation == operation]
    assert operation_of(route) == name
