"""Signatures against AWS's own worked example, and against botocore."""

from __future__ import annotations

from datetime import UTC, datetime
from urllib.parse import parse_qs, urlsplit

import pytest
from botocore.auth import S3SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials as BotoCredentials

from benchmarks.presign import EXPIRES_S, Credentials, Presigner

# The credentials of AWS's documentation.
ACCESS_KEY, SECRET_KEY = "AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
HOST = "examplebucket.s3.amazonaws.com"


def test_signature_is_that_of_the_aws_documentation() -> None:
    moment = datetime(2013, 5, 24, tzinfo=UTC)
    target = Presigner(Credentials(ACCESS_KEY, SECRET_KEY), HOST, moment).target("GET", "/test.txt")
    query = parse_qs(urlsplit(target).query)
    assert query["X-Amz-Expires"] == [str(EXPIRES_S)]
    assert query["X-Amz-Signature"] == ["aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404"]


@pytest.mark.parametrize(
    ("method", "path", "query"),
    [
        ("GET", "/bucket/a key with spaces", {}),
        ("PUT", "/bucket/plain", {}),
        ("GET", "/bucket", {"list-type": "2", "start-after": "folder-00001/object-001", "delimiter": "/"}),
    ],
)
def test_signature_is_that_of_botocore(monkeypatch: pytest.MonkeyPatch, method: str, path: str, query: dict[str, str]) -> None:
    moment = datetime(2026, 5, 4, 3, 2, 1, tzinfo=UTC)
    monkeypatch.setattr("botocore.auth.get_current_datetime", lambda: moment.replace(tzinfo=None))
    target = Presigner(Credentials(ACCESS_KEY, SECRET_KEY), "127.0.0.1:3200", moment).target(method, path, query)
    plain = "&".join(part for part in target.partition("?")[2].split("&") if not part.startswith("X-Amz-"))
    request = AWSRequest(method, f"http://127.0.0.1:3200{target.partition('?')[0]}?{plain}")
    S3SigV4QueryAuth(BotoCredentials(ACCESS_KEY, SECRET_KEY), "s3", "us-east-1", expires=EXPIRES_S).add_auth(request)
    assert parse_qs(urlsplit(request.url).query)["X-Amz-Signature"] == parse_qs(target.partition("?")[2])["X-Amz-Signature"]


def test_secret_is_not_in_the_representation() -> None:
    assert SECRET_KEY not in repr(Presigner(Credentials(ACCESS_KEY, SECRET_KEY), HOST, datetime.now(UTC)))
