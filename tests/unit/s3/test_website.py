"""Where a website's requests are sent, and which documents are refused."""

from __future__ import annotations

from urllib.parse import unquote, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from s3.errors import S3Error
from s3.shape import read, write
from s3.website import (
    Condition,
    ErrorDocument,
    IndexDocument,
    Moved,
    Redirect,
    RedirectAll,
    RoutingRule,
    RoutingRules,
    Website,
    checked,
    escape_path,
    site_of_host,
)
from s3.xml import parse

ORIGIN = "http://b.s3-website.localhost:3200"
INDEX = IndexDocument("index.html")


def site(*rules: RoutingRule) -> Website:
    return Website(index_document=INDEX, routing_rules=RoutingRules(rules))


def rule(redirect: Redirect, prefix: str | None = None, error: str | None = None) -> RoutingRule:
    condition = None if prefix is None and error is None else Condition(error, prefix)
    return RoutingRule(condition=condition, redirect=redirect)


@pytest.mark.parametrize(
    ("website", "path", "status", "expected"),
    [
        (Website(redirect_all=RedirectAll("example.com")), "a b/c", None, Moved(301, "http://example.com/a%20b/c")),
        (Website(redirect_all=RedirectAll("example.com", "https")), "", None, Moved(301, "https://example.com/")),
        (site(), "a", None, None),
        (site(rule(Redirect(replace_key_prefix_with="new/"), "old/")), "old/x", None, Moved(301, f"{ORIGIN}/new/x")),
        (site(rule(Redirect(replace_key_prefix_with="new/"), "old/")), "x", None, None),
        (site(rule(Redirect(replace_key_with="one.html"), "old/")), "old/x", None, Moved(301, f"{ORIGIN}/one.html")),
        (site(rule(Redirect(replace_key_prefix_with=""), "old/")), "old/x", None, Moved(301, f"{ORIGIN}/x")),
        (site(rule(Redirect("h", "302", "https"), "a", "404")), "ab", 404, Moved(302, "https://h/ab")),
        (site(rule(Redirect("h", "302", "https"), "a", "404")), "ab", 403, None),
        (site(rule(Redirect("h", "302", "https"), "a", "404")), "ab", None, None),
        (site(rule(Redirect("first"), "a"), rule(Redirect("second"))), "ab", None, Moved(301, "http://first/ab")),
        (site(rule(Redirect("first"), "a"), rule(Redirect("second"))), "x", None, Moved(301, "http://second/x")),
    ],
)
def test_where_requests_are_sent(website: Website, path: str, status: int | None, expected: Moved | None) -> None:
    assert checked(website).moved(path, ORIGIN, status) == expected


@given(st.text(max_size=10))
def test_no_key_leads_to_another_host(key: str) -> None:
    try:
        key.encode()
    except UnicodeEncodeError:
        return
    location = f"/{escape_path(key)}"
    assert location.isascii()
    assert location.isprintable()
    parts = urlsplit(location)
    assert (parts.scheme, parts.netloc) == ("", "")
    assert unquote(location[1:]) == key


@pytest.mark.parametrize(
    ("host", "bucket"),
    [
        ("b.s3-website.localhost", "b"),
        ("B.S3-Website.localhost:80", "b"),
        ("www.example.com.s3-website-eu-west-1.localhost.", "www.example.com"),
        ("b.s3-website.eu-west-1.localhost", "b"),
        ("b.localhost", ""),
        ("s3-website.localhost", ""),
        ("b.s3-website.example.com", ""),
        ("b.s3-websites.localhost", ""),
        ("b.s3-website.a.b.localhost", ""),
        ("[::1]:80", ""),
    ],
)
def test_hosts_of_websites(host: str, bucket: str) -> None:
    assert site_of_host(host.encode(), ("localhost",)) == bucket


_some = st.none() | st.text("ab/", min_size=1, max_size=3)
_rule = st.builds(
    rule,
    st.builds(Redirect, st.just("h.example"), st.sampled_from([None, "302"]), st.sampled_from([None, "https"]), _some),
    _some,
    st.sampled_from([None, "404"]),
)


@given(st.lists(_rule, max_size=3), st.none() | st.builds(ErrorDocument, st.text("ab", min_size=1)))
def test_round_trip(rules: list[RoutingRule], error: ErrorDocument | None) -> None:
    website = checked(Website(error, INDEX, routing_rules=RoutingRules(tuple(rules)) if rules else None))
    assert read(parse(write(website, "W").encode(), "W"), Website) == website


@pytest.mark.parametrize(
    ("website", "code"),
    [
        (Website(), "InvalidArgument"),
        (Website(index_document=IndexDocument("a/b")), "InvalidArgument"),
        (Website(index_document=IndexDocument("")), "InvalidArgument"),
        (Website(index_document=INDEX, redirect_all=RedirectAll("h")), "InvalidArgument"),
        (Website(redirect_all=RedirectAll("a b")), "InvalidRequest"),
        (Website(redirect_all=RedirectAll("evil.example/x?")), "InvalidRequest"),
        (site(rule(Redirect())), "MalformedXML"),
        (site(RoutingRule(condition=Condition(), redirect=Redirect("h"))), "InvalidRequest"),
        (site(rule(Redirect("h"), error="200")), "InvalidRequest"),
        (site(rule(Redirect("h"), error="4xx")), "InvalidRequest"),
        (site(rule(Redirect(http_redirect_code="200"))), "InvalidRequest"),
        (site(rule(Redirect(http_redirect_code="300"))), "InvalidRequest"),
        (site(rule(Redirect("a\r\nb"))), "InvalidRequest"),
        (site(rule(Redirect(replace_key_with="a", replace_key_prefix_with="b"))), "InvalidRequest"),
    ],
)
def test_refused(website: Website, code: str) -> None:
    with pytest.raises(S3Error) as caught:
        checked(website)
    assert caught.value.code == code
