"""Strange and impossible names of keys, buckets and copy sources at the real port."""

from __future__ import annotations

import os
from pathlib import Path
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.forge import BUCKET, request, signed
from tests.support.store import StoreProcess

pytestmark = pytest.mark.usefixtures("unharmed")
EXAMPLES = int(60 * float(os.environ.get("FRAZIL_TEST_SCALE", "1")))


KEYS = [
    "..", ".", "../x", "a/../../x", "/", "//", "/etc/passwd", "a//b", "a/./b", "a/", "%2e%2e%2f", "%00", "-", "~", "con", " ", "  x  ",
    "a\nb", "a\tb", "a\r\nb", "\x7f", "é", "e\u0301", "\U0001f9ca", "\u202e", "a" * 1_024, "ü" * 512, "n" * 255 + "/" + "m" * 300,
    "x?y#z&w=1;v", "$(id)", "`id`", "' OR 1=1 --",
    "<Key>", "]]>", "\\..\\x", "c:\\x", "volumes/1", "meta", "*", "\ufeffbom", "\ufffe",
]  # fmt: skip


@pytest.mark.parametrize("key", KEYS, ids=range(len(KEYS)))
def test_strange_keys_are_just_names(shared_store: StoreProcess, key: str) -> None:
    """Stored under exactly that name, listed, copied, deleted; or refused. Nothing else changes."""
    body = key.encode() + b"!"
    with shared_store.client() as client:
        answer = client.put(BUCKET, key, body)
        if answer.status != 200:
            assert answer.status == 400, answer
            return
        assert client.get(BUCKET, key).body == body
        if not any(ord(letter) < 32 or letter == "\ufffe" for letter in key):
            assert sorted(client.keys(BUCKET)) == sorted(["good", key])
        copied = client.call("PUT", BUCKET, "copy", headers=[("x-amz-copy-source", quote(f"/{BUCKET}/{key}", safe="/"))])
        assert copied.status == 200, copied.body
        assert client.get(BUCKET, "copy").body == body
        assert client.delete(BUCKET, "copy").status == 204
        assert client.delete(BUCKET, key).status == 204


@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(key=st.text(min_size=1, max_size=300).filter(lambda text: len(text.encode("utf-8", "ignore")) and "\ud800" not in text))
def test_any_text_is_a_key_or_refused(shared_store: StoreProcess, key: str) -> None:
    try:
        key.encode()
    except UnicodeEncodeError:
        return
    if key == "good":
        return
    with shared_store.client() as client:
        answer = client.put(BUCKET, key, b"x")
        assert answer.status in (200, 400), answer
        if answer.status == 200:
            assert client.get(BUCKET, key).body == b"x"
            assert client.delete(BUCKET, key).status == 204


@pytest.mark.parametrize(
    "target",
    [
        "/hostile/" + "a" * 1_025,
        "/hostile/" + "%C3%BC" * 513,
        "/hostile/%ff%fe",
        "/hostile/%c0%ae%c0%ae",
        "/hostile/%zz",
        "/hostile/%",
        "/hostile/%ed%a0%80",
    ],
)
def test_impossible_keys_are_refused(shared_store: StoreProcess, target: str) -> None:
    assert request(shared_store, "PUT", target, signed(shared_store, "PUT", target), b"x").status in (400, 403)


@pytest.mark.parametrize(
    "bucket", ["..", ".", "A", "ab", "a" * 64, "a..b", "-ab", "ab-", "a_b", "192.168.1.1", "xn--ab", "%2e%2e", "a%2Fb", "ü", "a%00b"]
)
def test_impossible_buckets_are_refused(shared_store: StoreProcess, bucket: str) -> None:
    target = "/" + quote(bucket, safe="%")
    answer = request(shared_store, "PUT", target, signed(shared_store, "PUT", target))
    assert answer.status in (400, 403), answer


@pytest.mark.parametrize(
    "source",
    [
        "",
        "/",
        "hostile",
        "/hostile/",
        "/hostile/../other/x",
        "/../etc/passwd",
        "/other/../hostile/good",
        "/nobucket/x",
        "hostile/%zz",
        "/hostile/none",
        "?versionId=x",
        "/hostile/good?versionId=../x",
        "http://127.0.0.1/x",
    ],
)
def test_impossible_copy_sources_are_refused(shared_store: StoreProcess, source: str) -> None:
    with shared_store.client() as client:
        answer = client.call("PUT", BUCKET, "x", headers=[("x-amz-copy-source", source)])
        assert answer.status in (400, 403, 404), answer


@pytest.mark.parametrize("name", ["max-keys", "max-uploads", "max-parts", "part-number-marker"])
@pytest.mark.parametrize("value", ["-1", "x", "99999999999999999999", "1.5", "", "+5"])
def test_numbers_of_listings_are_clamped_or_refused(shared_store: StoreProcess, name: str, value: str) -> None:
    with shared_store.client() as client:
        query = [(name, value)] + ([("uploads", "")] if name == "max-uploads" else [])
        answer = client.call("GET", BUCKET, query=query)
        assert answer.status in (200, 400), answer


def test_no_file_outside_of_the_store_is_opened(shared_store: StoreProcess) -> None:
    """The volumes hold chunks under server-made names only, whatever the keys were."""
    with shared_store.client() as client:
        for key in KEYS:
            client.put(BUCKET, key, b"x" * 300)
        names = [path.name for path in Path(shared_store.directories[0] / "volumes").glob("*/???/*") if path.is_file()]
        assert len(names) > len(KEYS)
        assert all(set(name.partition(".")[0]) <= set("0123456789abcdef") for name in names)
        for key in KEYS:
            client.delete(BUCKET, key)
