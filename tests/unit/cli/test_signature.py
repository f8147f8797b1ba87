"""SigV4 from the client's side, against botocore's."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from unittest import mock
from urllib.parse import parse_qsl, urlsplit

import botocore.auth
import pytest
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from cli.place import Endpoint
from cli.signature import EMPTY_SHA256, canonical_query, presign, quote_path, sign_headers

ENDPOINT = Endpoint("http://127.0.0.1:3200", "AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", "eu-west-1")
NOW = 1_700_000_000.0
KEYS = ["key", "a b+c", "ä/ö", "a//b", "x/../y", "~tilde-._", "q?x=1&y", "100%"]


@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize("query", [[], [("list-type", "2"), ("prefix", "a b/ü&=")], [("uploads", "")]])
def test_headers_are_those_of_botocore(key: str, query: list[tuple[str, str]]) -> None:
    path, encoded = quote_path(f"/bucket/{key}"), canonical_query(query)
    url = f"http://127.0.0.1:3200{path}" + (f"?{encoded}" if encoded else "")
    request = AWSRequest("PUT", url, headers={"x-amz-meta-a": "b  c", "content-type": "text/plain"}, data=b"")
    with mock.patch("botocore.auth.get_current_datetime", return_value=datetime.fromtimestamp(NOW, UTC).replace(tzinfo=None)):
        botocore.auth.S3SigV4Auth(Credentials(ENDPOINT.access_key, ENDPOINT.secret_key), "s3", "eu-west-1").add_auth(request)
    headers = {"host": "127.0.0.1:3200", "x-amz-meta-a": "b  c", "content-type": "text/plain"}
    ours = sign_headers(ENDPOINT, "PUT", path, encoded, headers, EMPTY_SHA256, NOW)
    assert _signature(ours["authorization"]) == _signature(request.headers["Authorization"])


def _signature(authorization: str) -> str:
    return authorization.rpartition("Signature=")[2]


@pytest.mark.parametrize("key", KEYS)
def test_a_presigned_url_is_that_of_botocore(key: str) -> None:
    path = quote_path(f"/bucket/{key}")
    request = AWSRequest("GET", f"http://127.0.0.1:3200{path}", params={"response-content-type": "a/b"})
    with mock.patch("botocore.auth.get_current_datetime", return_value=datetime.fromtimestamp(NOW, UTC).replace(tzinfo=None)):
        botocore.auth.S3SigV4QueryAuth(Credentials(ENDPOINT.access_key, ENDPOINT.secret_key), "s3", "eu-west-1", expires=60).add_auth(
            request
        )
    theirs = dict(parse_qsl(urlsplit(request.url).query))
    ours = dict(parse_qsl(presign(ENDPOINT, "GET", "127.0.0.1:3200", path, [("response-content-type", "a/b")], 60, NOW)))
    assert ours == theirs


def test_the_secret_is_in_no_representation() -> None:
    assert ENDPOINT.secret_key not in repr(ENDPOINT)
    assert time.gmtime(NOW).tm_year == 2023
