"""Browsers ask before (preflight), and read the headers of the answers: as pages of other origins see a bucket."""

from __future__ import annotations

import http.client
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from tests.component.s3.conftest import Served, client_for

RULES = [
    {"AllowedMethods": ["GET", "HEAD"], "AllowedOrigins": ["http://*.example.com"], "ExposeHeaders": ["ETag", "x-amz-request-id"]},
    {
        "AllowedMethods": ["PUT"],
        "AllowedOrigins": ["https://app.example.com"],
        "AllowedHeaders": ["x-amz-*", "Content-Type"],
        "MaxAgeSeconds": 600,
    },
    {"AllowedMethods": ["DELETE"], "AllowedOrigins": ["*"]},
]
A, APP = "http://a.example.com", "https://app.example.com"
ORIGIN, CREDENTIALS = "access-control-allow-origin", "access-control-allow-credentials"


@pytest.fixture(scope="module")
def shared(served: Served) -> Iterator[Any]:
    s3 = client_for(served)
    s3.create_bucket(Bucket="shared")
    s3.create_bucket(Bucket="not-shared")
    s3.put_object(Bucket="shared", Key="k", Body=b"data", ACL="public-read")
    s3.put_bucket_cors(Bucket="shared", CORSConfiguration={"CORSRules": RULES})
    yield s3
    s3.close()


def ask(served: Served, method: str, target: str, **headers: str) -> tuple[int, Mapping[str, str], bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", served.port, timeout=10)
    connection.request(method, target, headers={name.replace("_", "-"): value for name, value in headers.items()})
    response = connection.getresponse()
    answer = response.status, {name.lower(): value for name, value in response.getheaders()}, response.read()
    connection.close()
    return answer


def preflight(served: Served, target: str, origin: str, method: str, names: str = "") -> tuple[int, Mapping[str, str], bytes]:
    more = {"Access_Control_Request_Headers": names} if names else {}
    return ask(served, "OPTIONS", target, Origin=origin, Access_Control_Request_Method=method, **more)


@pytest.mark.usefixtures("shared")
@pytest.mark.parametrize(
    "target", ["/shared", "/shared/k", "/shared/none", "/shared/k?uploads", "/shared/k?X-Amz-Signature=stale&X-Amz-Date=x"]
)
def test_a_preflight_is_answered_without_credentials(served: Served, target: str) -> None:
    status, headers, body = preflight(served, target, A, "GET")
    assert (status, body) == (200, b"")
    assert headers[ORIGIN] == A
    assert headers[CREDENTIALS] == "true"
    assert headers["access-control-allow-methods"] == "GET, HEAD"
    assert headers["access-control-expose-headers"] == "ETag, x-amz-request-id"
    assert headers["vary"] == "Origin, Access-Control-Request-Headers, Access-Control-Request-Method"
    assert "access-control-max-age" not in headers


@pytest.mark.usefixtures("shared")
def test_a_preflight_names_the_headers_that_may_be_sent(served: Served) -> None:
    status, headers, _ = preflight(served, "/shared/k", APP, "PUT", "X-Amz-Date, content-type,x-amz-meta-a")
    assert status == 200
    assert headers["access-control-allow-headers"] == "x-amz-date, content-type, x-amz-meta-a"
    assert headers["access-control-max-age"] == "600"


@pytest.mark.usefixtures("shared")
@pytest.mark.parametrize(
    ("target", "origin", "method", "names", "words"),
    [
        ("/shared/k", "http://example.org", "GET", "", "is not allowed"),
        ("/shared/k", A, "PUT", "", "is not allowed"),
        ("/shared/k", APP, "PUT", "authorization", "is not allowed"),
        ("/shared/k", A, "GET", "x-amz-date", "is not allowed"),
        ("/not-shared/k", A, "GET", "", "CORS is not enabled for this bucket"),
        ("/nobody-has-this/k", A, "GET", "", "CORS is not enabled for this bucket"),
        ("/No_Name/k", A, "GET", "", "CORS is not enabled for this bucket"),
        ("/", A, "GET", "", "CORS is not enabled for this bucket"),
    ],
)
def test_a_preflight_is_refused(served: Served, target: str, origin: str, method: str, names: str, words: str) -> None:
    status, headers, body = preflight(served, target, origin, method, names)
    assert status == 403
    assert b"<Code>AccessForbidden</Code><Message>CORSResponse: " in body
    assert words.encode() in body
    assert ORIGIN not in headers


@pytest.mark.usefixtures("shared")
def test_a_preflight_that_asks_nothing(served: Served) -> None:
    assert ask(served, "OPTIONS", "/shared/k")[0] == 400
    assert ask(served, "OPTIONS", "/shared/k", Origin=A)[0] == 400
    assert preflight(served, "/shared/k", A, "PATCH")[0] == 400


@pytest.mark.usefixtures("shared")
def test_answers_say_who_may_read_them(served: Served) -> None:
    status, headers, body = ask(served, "GET", "/shared/k", Origin=A)
    assert (status, body, headers[ORIGIN]) == (200, b"data", A)
    status, headers, _ = ask(served, "HEAD", "/shared/k", Origin=A)
    assert (status, headers[ORIGIN]) == (200, A)
    status, headers, _ = ask(served, "GET", "/shared/k", Origin="http://example.org")
    assert status == 200
    assert ORIGIN not in headers
    assert headers["vary"].startswith("Origin")
    status, headers, _ = ask(served, "GET", "/shared/k")
    assert not {ORIGIN, "vary"} & set(headers)


@pytest.mark.usefixtures("shared")
def test_errors_may_be_read_too(served: Served) -> None:
    status, headers, _ = ask(served, "GET", "/shared/none", Origin=A)
    assert (status, headers[ORIGIN]) == (403, A)
    status, headers, _ = ask(served, "DELETE", "/shared/k", Origin="http://anybody")
    assert (status, headers[ORIGIN]) == (403, "*")
    assert CREDENTIALS not in headers
    status, headers, body = ask(served, "GET", "/shared/k?X-Amz-Signature=stale", Origin=A)
    assert (status, headers[ORIGIN]) == (400, A)
    assert b"AuthorizationQueryParametersError" in body
    status, headers, _ = ask(served, "GET", "/not-shared/k", Origin=A)
    assert status == 403
    assert ORIGIN not in headers


def test_rules_that_are_deleted_are_forgotten_at_once(served: Served, s3: Any, bucket: str) -> None:
    s3.put_bucket_cors(Bucket=bucket, CORSConfiguration={"CORSRules": RULES})
    assert preflight(served, f"/{bucket}", A, "GET")[0] == 200
    s3.delete_bucket_cors(Bucket=bucket)
    assert preflight(served, f"/{bucket}", A, "GET")[0] == 403
