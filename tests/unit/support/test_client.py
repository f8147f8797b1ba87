"""The tests' own client signs as botocore does; else every refusal it meets would prove nothing."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials as BotoCredentials

from tests.support.client import Answer, Credentials, encode_path, encode_query, signed_headers

CREDENTIALS = Credentials("AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY")


@pytest.mark.parametrize("key", ["plain", "a/b c", "ü+%&='", "a//b", "~-._"])
@pytest.mark.parametrize("query", [[], [("list-type", "2"), ("prefix", "a b/ü")], [("uploads", "")]])
def test_signs_as_botocore(key: str, query: list[tuple[str, str]]) -> None:
    path, text = encode_path("bucket", key), encode_query(query)
    mine = signed_headers(CREDENTIALS, "PUT", "127.0.0.1:3200", path, text, [("x-amz-meta-a", "b  c")], payload="UNSIGNED-PAYLOAD")
    stamp = mine["x-amz-date"]
    request = AWSRequest(
        "PUT",
        f"http://127.0.0.1:3200{path}" + (f"?{text}" if text else ""),
        headers={"x-amz-meta-a": "b  c", "x-amz-date": stamp, "x-amz-content-sha256": "UNSIGNED-PAYLOAD", "host": "127.0.0.1:3200"},
    )
    signer = S3SigV4Auth(BotoCredentials(CREDENTIALS.access_key, CREDENTIALS.secret_key), "s3", "us-east-1")
    request.context["timestamp"] = stamp
    canonical = signer.canonical_request(request)
    proof = signer.signature(signer.string_to_sign(request, canonical), request)
    assert mine["authorization"].endswith(f"Signature={proof}"), canonical


def test_stamp_is_now_in_utc() -> None:
    fields = signed_headers(CREDENTIALS, "GET", "h", "/")
    seen = datetime.strptime(fields["x-amz-date"], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    assert abs((datetime.now(UTC) - seen).total_seconds()) < 5


def test_answers_are_read() -> None:
    answer = Answer(404, {}, b"<?xml version='1.0'?>\n<Error><Code>NoSuchKey</Code><Message>a &amp; b</Message></Error>")
    assert (answer.code, answer.text("Message"), answer.text("Other")) == ("NoSuchKey", "a & b", "")
    assert repr(answer).startswith("<Answer 404 NoSuchKey")
