"""A bucket as a website, as a browser sees it."""

from __future__ import annotations

import http.client
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from tests.component.s3.conftest import Served, client_for

RULES = [
    {"Condition": {"KeyPrefixEquals": "old/"}, "Redirect": {"ReplaceKeyPrefixWith": "docs/", "HttpRedirectCode": "302"}},
    {"Condition": {"KeyPrefixEquals": "shop/", "HttpErrorCodeReturnedEquals": "403"}, "Redirect": {"HostName": "shop.example.com"}},
]
PAGES = {
    "index.html": b"<h1>home</h1>",
    "docs/index.html": b"docs",
    "docs/a b.txt": b"text",
    "error.html": b"<h1>our own error</h1>",
    "big": b"x" * 300_000,
}


@pytest.fixture(scope="module")
def website(served: Served) -> Iterator[Any]:
    s3 = client_for(served)
    for name in ("site", "www.site.example", "no-site", "plain-site"):
        s3.create_bucket(Bucket=name, ObjectOwnership="ObjectWriter")
        s3.delete_public_access_block(Bucket=name)
    for key, body in PAGES.items():
        s3.put_object(Bucket="site", Key=key, Body=body, ContentType="text/html", ACL="public-read")
    s3.put_object(Bucket="site", Key="secret.html", Body=b"secret")
    s3.put_object(Bucket="site", Key="secret/index.html", Body=b"secret")
    s3.put_object(Bucket="site", Key="moved", Body=b"", WebsiteRedirectLocation="/docs/ü?x=1", ACL="public-read")
    s3.put_bucket_website(
        Bucket="site",
        WebsiteConfiguration={
            "IndexDocument": {"Suffix": "index.html"},
            "ErrorDocument": {"Key": "error.html"},
            "RoutingRules": RULES,
        },
    )
    s3.put_bucket_website(Bucket="www.site.example", WebsiteConfiguration={"RedirectAllRequestsTo": {"HostName": "site.example"}})
    s3.put_bucket_website(Bucket="plain-site", WebsiteConfiguration={"IndexDocument": {"Suffix": "index.html"}})
    yield s3
    s3.close()


def fetch(served: Served, path: str, bucket: str = "site", method: str = "GET", **headers: str) -> tuple[int, Mapping[str, str], bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", served.port, timeout=10)
    host = f"{bucket}.s3-website.localhost:{served.port}"
    connection.request(method, path, headers={"Host": host, **{name.replace("_", "-"): value for name, value in headers.items()}})
    response = connection.getresponse()
    answer = response.status, {name.lower(): value for name, value in response.getheaders()}, response.read()
    connection.close()
    return answer


@pytest.mark.usefixtures("website")
@pytest.mark.parametrize(
    ("path", "key"),
    [
        ("/", "index.html"),
        ("/index.html", "index.html"),
        ("/docs/", "docs/index.html"),
        ("/docs/a%20b.txt", "docs/a b.txt"),
        ("/big", "big"),
    ],
)
def test_pages(served: Served, path: str, key: str) -> None:
    status, headers, body = fetch(served, path)
    assert (status, body) == (200, PAGES[key])
    assert headers["content-type"] == "text/html"
    status, headers, body = fetch(served, path, method="HEAD")
    assert (status, body, headers["content-length"]) == (200, b"", str(len(PAGES[key])))


@pytest.mark.usefixtures("website")
def test_parameters_and_signatures_mean_nothing(served: Served) -> None:
    for query in ("?acl", "?versionId=x", "?X-Amz-Signature=stale", "?response-content-type=a", "?uploads"):
        assert fetch(served, f"/{query}")[::2] == (200, PAGES["index.html"])
    assert fetch(served, "/", Authorization="AWS4-HMAC-SHA256 nonsense")[0] == 200
    assert fetch(served, "/big", Range="bytes=0-9")[::2] == (206, b"x" * 10)
    etag = fetch(served, "/")[1]["etag"]
    assert fetch(served, "/", If_None_Match=etag)[::2] == (304, b"")


@pytest.mark.usefixtures("website")
@pytest.mark.parametrize(
    ("path", "status", "location"),
    [
        ("/docs", 302, "/docs/"),
        ("/old/x", 302, "http://{host}/docs/x"),
        ("/shop/a", 301, "http://shop.example.com/shop/a"),
        ("/moved", 301, "/docs/%C3%BC?x=1"),
    ],
)
def test_redirects(served: Served, path: str, status: int, location: str) -> None:
    found, headers, body = fetch(served, path)
    assert (found, headers["location"], body) == (status, location.format(host=f"site.s3-website.localhost:{served.port}"), b"")


@pytest.mark.usefixtures("website")
def test_all_requests_are_sent_elsewhere(served: Served) -> None:
    status, headers, _ = fetch(served, "/a/b?c", bucket="www.site.example")
    assert (status, headers["location"]) == (301, "http://site.example/a/b")


@pytest.mark.usefixtures("website")
@pytest.mark.parametrize("path", ["/secret.html", "/secret/", "/secret", "/none"])
def test_what_is_not_public_is_the_buckets_own_error_page(served: Served, path: str) -> None:
    status, headers, body = fetch(served, path)
    assert (status, body) == (403, PAGES["error.html"])
    assert headers["content-type"] == "text/html"
    assert fetch(served, path, method="HEAD")[::2] == (403, b"")


def test_a_missing_page_is_told_to_who_may_list(served: Served, website: Any) -> None:
    website.put_bucket_acl(Bucket="site", ACL="public-read")
    try:
        assert fetch(served, "/none")[::2] == (404, PAGES["error.html"])
    finally:
        website.put_bucket_acl(Bucket="site", ACL="private")


@pytest.mark.usefixtures("website")
def test_errors_in_html(served: Served) -> None:
    status, headers, body = fetch(served, "/<script>", bucket="plain-site")
    assert status == 403
    assert headers["content-type"].startswith("text/html")
    assert b"<li>Code: AccessDenied</li>" in body
    assert b"<script>" not in body
    assert headers["x-amz-request-id"].encode() in body
    status, _, body = fetch(served, "/", bucket="no-site")
    assert (status, b"<li>Code: NoSuchWebsiteConfiguration</li>" in body) == (404, True)
    for name in ("nobody-has-this", ".frazil", "a..b"):
        status, _, body = fetch(served, "/", bucket=name)
        assert (status, b"<li>Code: NoSuchBucket</li>" in body) == (404, True)
    status, headers, body = fetch(served, "/", method="POST")
    assert (status, headers["allow"]) == (405, "GET, HEAD, OPTIONS")
    assert fetch(served, "/%ff")[0] == 400


def test_a_missing_error_page_is_told(served: Served, website: Any) -> None:
    configuration = {"IndexDocument": {"Suffix": "index.html"}, "ErrorDocument": {"Key": "none.html"}}
    website.put_bucket_website(Bucket="plain-site", WebsiteConfiguration=configuration)
    status, _, body = fetch(served, "/x", bucket="plain-site")
    assert status == 403
    assert b"An Error Occurred While Attempting to Retrieve a Custom Error Document" in body


def test_pages_may_be_shared_with_other_origins(served: Served, website: Any) -> None:
    rule = {"AllowedMethods": ["GET"], "AllowedOrigins": ["http://other.example"]}
    website.put_bucket_cors(Bucket="site", CORSConfiguration={"CORSRules": [rule]})
    for path in ("/", "/none"):
        assert fetch(served, path, Origin="http://other.example")[1]["access-control-allow-origin"] == "http://other.example"
    status, headers, _ = fetch(served, "/", method="OPTIONS", Origin="http://other.example", Access_Control_Request_Method="GET")
    assert (status, headers["access-control-allow-origin"]) == (200, "http://other.example")
    website.delete_bucket_cors(Bucket="site")
