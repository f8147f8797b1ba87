"""Listings, raw: what is echoed, clamped, escaped and refused. That their rows are right is tests/component/s3/test_model.py's."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from xml.etree import ElementTree

import pytest

from tests.component.s3.conftest import OWNER, Served
from tests.support.client import Answer, Client, Credentials

KEYS = ("a", "a/b", "a/c", "a b+%", "c\x01d", "e<&>\"'", "f\ufffe", "ü/ö", "\U0001f9ca")
MIB = 1 << 20


@pytest.fixture(scope="module")
def client(served: Served) -> Iterator[Client]:
    with Client(served.endpoint, Credentials(OWNER.access_key, OWNER.secret)) as client:
        client.make_bucket("listed")
        for key in KEYS:
            assert client.put("listed", key, b"x").status == 200
        yield client


def listed(client: Client, **query: str) -> Answer:
    answer = client.call("GET", "listed", query=[(name.replace("_", "-"), value) for name, value in query.items()])
    assert answer.status == 200, answer.body
    return answer


def elements(answer: Answer, name: str) -> list[str | None]:
    return [each.text for each in ElementTree.fromstring(answer.body).findall("{*}" + name)]


def keys(answer: Answer) -> list[str | None]:
    return [each.findtext("{*}Key") for each in ElementTree.fromstring(answer.body) if each.find("{*}Key") is not None]


def refused(client: Client, **query: str) -> str:
    answer = client.call("GET", "listed", query=[(name.replace("_", "-"), value) for name, value in query.items()])
    assert answer.status == 400, answer
    return answer.code


V1, V2, VERSIONS = {}, {"list_type": "2"}, {"versions": ""}


@pytest.mark.parametrize("kind", [V1, V2, VERSIONS], ids=["v1", "v2", "versions"])
def test_max_keys_is_clamped_and_echoed(client: Client, kind: dict[str, str]) -> None:
    plain = {**kind, "encoding_type": "url"}
    for asked, echoed, shown in (
        ("1000", "1000", 9),
        ("1001", "1000", 9),
        ("2147483647", "1000", 9),
        ("2", "2", 2),
        ("0", "0", 0),
        ("", "1000", 9),
    ):
        answer = listed(client, **plain, max_keys=asked)
        assert (elements(answer, "MaxKeys"), len(keys(answer))) == ([echoed], shown), asked
        assert elements(answer, "IsTruncated") == ["true" if 0 < shown < 9 else "false"]
    for asked in ("-1", "x", "1.5", "2147483648", "9" * 40, " 1", "+1"):
        assert refused(client, **kind, max_keys=asked) == "InvalidArgument", asked


@pytest.mark.parametrize("kind", [V1, V2, VERSIONS], ids=["v1", "v2", "versions"])
def test_names_are_written_so_that_xml_can_hold_them(client: Client, kind: dict[str, str]) -> None:
    raw = listed(client, **kind).body.decode()
    for key, written in (("c\x01d", "c&#x1;d"), ("e<&>\"'", "e&lt;&amp;&gt;&quot;'"), ("f\ufffe", "f&#xfffe;")):
        assert f"<Key>{written}</Key>" in raw, key
    encoded = listed(client, **kind, encoding_type="url")
    assert elements(encoded, "EncodingType") == ["url"]
    assert keys(encoded) == ["a", "a%20b%2B%25", "a/b", "a/c", "c%01d", "e%3C%26%3E%22%27", "f%EF%BF%BE", "%C3%BC/%C3%B6", "%F0%9F%A7%8A"]


@pytest.mark.parametrize("kind", [V1, V2, VERSIONS], ids=["v1", "v2", "versions"])
def test_what_was_asked_is_echoed(client: Client, kind: dict[str, str]) -> None:
    answer = listed(client, **kind, prefix="ü", delimiter="ö/", encoding_type="url")
    assert (elements(answer, "Name"), elements(answer, "Prefix"), elements(answer, "Delimiter")) == (["listed"], ["%C3%BC"], ["%C3%B6/"])
    answer = listed(client, **kind, prefix="ü", delimiter="ö")
    assert (elements(answer, "Prefix"), elements(answer, "Delimiter")) == (["ü"], ["ö"])
    empty = listed(client, **kind, prefix="", delimiter="", encoding_type="url")
    assert (elements(empty, "Prefix"), elements(empty, "Delimiter")) == ([None], [])


def test_markers_of_each_kind(client: Client) -> None:
    answer = listed(client, marker="a b+%", prefix="a", max_keys="1", delimiter="/")
    assert (elements(answer, "Marker"), keys(answer), elements(answer, "NextMarker")) == (["a b+%"], [], [])
    assert [each.findtext("{*}Prefix") for each in ElementTree.fromstring(answer.body).findall("{*}CommonPrefixes")] == ["a/"]
    answer = listed(client, max_keys="2", delimiter="/")
    assert (keys(answer), elements(answer, "NextMarker")) == (["a", "a b+%"], ["a b+%"])
    assert elements(listed(client, max_keys="2"), "NextMarker") == []
    answer = listed(client, versions="", max_keys="1")
    assert (elements(answer, "NextKeyMarker"), elements(answer, "KeyMarker"), elements(answer, "VersionIdMarker")) == (
        ["a"],
        [None],
        [None],
    )


def test_a_continuation_token_goes_before_start_after(client: Client) -> None:
    first = listed(client, list_type="2", max_keys="1", start_after="a")
    assert (keys(first), elements(first, "StartAfter"), elements(first, "KeyCount")) == (["a b+%"], ["a"], ["1"])
    (token,) = elements(first, "NextContinuationToken")
    assert token is not None
    second = listed(client, list_type="2", max_keys="1", start_after="zzz", continuation_token=token)
    assert (keys(second), elements(second, "ContinuationToken")) == (["a/b"], [token])
    assert refused(client, list_type="2", continuation_token=token, prefix="a") == "InvalidArgument"
    assert refused(client, list_type="2", continuation_token="") == "InvalidArgument"


def test_owners_are_shown_where_they_are_asked_for(client: Client) -> None:
    assert b"<Owner>" not in listed(client, list_type="2", prefix="ü").body
    assert b"<Owner>" not in listed(client, list_type="2", prefix="ü", fetch_owner="false").body
    for query in ({"list_type": "2", "fetch_owner": "true"}, {}, {"versions": ""}):
        assert (
            f"<Owner><ID>{OWNER.user_id}</ID><DisplayName>Owner</DisplayName></Owner>".encode() in listed(client, prefix="ü", **query).body
        )


@pytest.mark.parametrize(
    "query",
    [
        {"encoding_type": "xml"},
        {"list_type": "3"},
        {"versions": "", "version_id_marker": "null"},
        {"versions": "", "key_marker": "a", "version_id_marker": ""},
        {"uploads": "", "max_uploads": "x"},
        {"uploads": "", "encoding_type": "x"},
        {"prefix": "k" * 1_025},
    ],
)
def test_what_is_no_listing_is_refused(client: Client, query: dict[str, Any]) -> None:
    assert refused(client, **query) in ("InvalidArgument", "KeyTooLongError")


def test_an_unknown_operation_is_named(client: Client) -> None:
    answer = client.call("POST", "listed", "a", query=[("select", ""), ("select-type", "2")])
    assert (answer.status, answer.code) == (501, "NotImplemented")
    assert "SelectObjectContent" in answer.text("Message")
    answer = client.call("PUT", "listed", "a", query=[("newthing", "")])
    assert (answer.status, answer.code) == (501, "NotImplemented")
    assert "newthing" in answer.text("Message")
