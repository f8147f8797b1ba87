"""Forged signatures at the real port: any change of a signed request is refused."""

from __future__ import annotations

import hashlib
import os
import random
import string
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from urllib.parse import quote, unquote_plus

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support import form
from tests.support.client import REGION, Credentials, presigned_query
from tests.support.forge import AUTHORIZATION, BUCKET, host_of, request, signed
from tests.support.store import StoreProcess

pytestmark = pytest.mark.usefixtures("unharmed")
EXAMPLES = int(60 * float(os.environ.get("FRAZIL_TEST_SCALE", "1")))


Change = Callable[[dict[str, str]], dict[str, str]]


def edit(name: str, change: Callable[[str], str]) -> Change:
    return lambda fields: {**fields, name: change(fields[name])}


def without(name: str) -> Change:
    return lambda fields: {key: value for key, value in fields.items() if key != name}


def put_header(name: str, value: str) -> Change:
    return lambda fields: {**fields, name: value}


MUTATIONS: dict[str, Change] = {
    "no authorization": without(AUTHORIZATION),
    "empty authorization": put_header(AUTHORIZATION, ""),
    "basic": put_header(AUTHORIZATION, "Basic QUtJQTp4"),
    "another algorithm": edit(AUTHORIZATION, lambda text: text.replace("AWS4-HMAC-SHA256", "AWS4-HMAC-SHA1")),
    "lower-case algorithm": edit(AUTHORIZATION, lambda text: text.replace("AWS4-HMAC-SHA256", "aws4-hmac-sha256")),
    "ECDSA": edit(AUTHORIZATION, lambda text: text.replace("AWS4-HMAC-SHA256", "AWS4-ECDSA-P256-SHA256")),
    "unknown key": edit(AUTHORIZATION, lambda text: text.replace("Credential=", "Credential=X")),
    "empty key": edit(AUTHORIZATION, lambda text: "AWS4-HMAC-SHA256 Credential=/" + text.partition("/")[2]),
    "another region": edit(AUTHORIZATION, lambda text: text.replace(REGION, "us-west-1")),
    "another service": edit(AUTHORIZATION, lambda text: text.replace("/s3/", "/sts/")),
    "another date": edit(AUTHORIZATION, lambda text: text.replace("/20", "/19", 1)),
    "short signature": edit(AUTHORIZATION, lambda text: text[:-1]),
    "long signature": edit(AUTHORIZATION, lambda text: text + "0"),
    "upper-case signature": edit(AUTHORIZATION, lambda text: text[:-64] + text[-64:].upper() + "A"),
    "empty signature": edit(AUTHORIZATION, lambda text: text[:-64]),
    "signature twice": edit(AUTHORIZATION, lambda text: text + ", Signature=" + "0" * 64),
    "no signed headers": edit(AUTHORIZATION, lambda text: text.replace("SignedHeaders=host;x-amz-content-sha256;x-amz-date, ", "")),
    "host not signed": edit(AUTHORIZATION, lambda text: text.replace("SignedHeaders=host;", "SignedHeaders=")),
    "unsigned x-amz-acl": put_header("x-amz-acl", "public-read"),
    "unsigned x-amz-meta": put_header("x-amz-meta-a", "b"),
    "unsigned x-amz-copy-source": put_header("x-amz-copy-source", "/hostile/good"),
    "unsigned x-amz-tagging": put_header("x-amz-tagging", "a=b"),
    "another host": put_header("host", "elsewhere"),
    "another date header": edit("x-amz-date", lambda text: text[:-2] + ("0Z" if text[-2] != "0" else "1Z")),
    "no date": without("x-amz-date"),
    "date is no date": put_header("x-amz-date", "yesterday"),
    "no payload hash": without("x-amz-content-sha256"),
    "another payload hash": put_header("x-amz-content-sha256", "0" * 64),
    "payload hash is no hash": put_header("x-amz-content-sha256", "x"),
}


@pytest.mark.parametrize("change", MUTATIONS.values(), ids=MUTATIONS)
def test_a_changed_signed_request_is_refused(shared_store: StoreProcess, change: Change) -> None:
    answer = request(shared_store, "PUT", "/hostile/x", change(signed(shared_store)), b"body")
    assert answer.status in (400, 401, 403, 501), answer.body
    assert answer.code


@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_change_of_a_byte_is_refused(shared_store: StoreProcess, data: st.DataObject) -> None:
    """Any byte of any signed header, of the target or of the hashed body: refused, or at least nothing is stored elsewhere."""
    body = b"the body"
    fields = signed(shared_store, payload=hashlib.sha256(body).hexdigest())
    what = data.draw(st.sampled_from(["target", "body", "method", "host", "x-amz-date", "x-amz-content-sha256", AUTHORIZATION]))
    alphabet = string.ascii_letters + string.digits + "-/_.~=;"
    letter = data.draw(st.sampled_from(alphabet))
    target, method = "/hostile/x", "PUT"
    if what == "target":
        at = data.draw(st.integers(1, len(target) - 1))
        changed = target[:at] + letter + target[at + 1 :]
        if changed == target:
            return
        target = changed
    elif what == "body":
        at = data.draw(st.integers(0, len(body) - 1))
        changed_body = body[:at] + letter.encode() + body[at + 1 :]
        if changed_body == body:
            return
        body = changed_body
    elif what == "method":
        method = data.draw(st.sampled_from(["POST", "DELETE", "HEAD", "GET", "OPTIONS"]))
    else:
        value = fields[what]
        at = data.draw(st.integers(0, len(value) - 1))
        changed = value[:at] + letter + value[at + 1 :]
        if changed.lower() == value.lower():
            return
        fields[what] = changed
    answer = request(shared_store, method, target, fields, body)
    assert 400 <= answer.status < 500, (what, answer)


@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    at=st.integers(0, 10_000),
    letter=st.sampled_from(string.ascii_letters + string.digits + "-/_.~=;&%+"),
    method=st.sampled_from(["PUT", "GET"]),
)
def test_any_change_of_a_presigned_url_is_refused(shared_store: StoreProcess, at: int, letter: str, method: str) -> None:
    """Or means the same: an escape in other letters, say."""
    host = host_of(shared_store)
    path = "/hostile/x" if method == "PUT" else "/hostile/good"
    target = f"{path}?{presigned_query(shared_store.credentials, method, host, path)}"
    at = 1 + at % (len(target) - 1)
    changed = target[:at] + letter + target[at + 1 :]
    if unquote_plus(changed) == unquote_plus(target):
        return
    answer = request(shared_store, method, changed, {"host": host}, b"body" if method == "PUT" else b"")
    assert 400 <= answer.status < 500, changed


@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_whatever_changes_in_a_form_its_policy_holds(shared_store: StoreProcess, data: st.DataObject) -> None:
    """Bytes changed, doubled, cut out or put in anywhere: what is stored, if anything, is what the policy allows."""
    fields = {"key": "form/x", "acl": "private", "Content-Type": "text/plain", "x-amz-meta-a": "b"}
    conditions = [*form.covering(fields, BUCKET), ["content-length-range", 0, 40]]
    credentials = shared_store.credentials
    signed_fields = fields | form.sign(credentials.access_key, credentials.secret_key, conditions)
    body = bytearray(form.encode(signed_fields.items(), b"the file"))
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(body)))
        end = min(len(body), at + data.draw(st.sampled_from([0, 1, 4, 60, 300])))
        more = data.draw(
            st.sampled_from(
                [b"", b"x", b"\r\n", b'"', b"--" + form.BOUNDARY, bytes(body[at:end]) * 2, b'name="key"', b"public-read", b"\0", b"y" * 50]
            )
        )
        body[at:end] = more
    headers = {"host": host_of(shared_store), "content-type": form.CONTENT_TYPE.decode()}
    answer = request(shared_store, "POST", f"/{BUCKET}", headers, bytes(body))
    assert answer.status == 204 or 400 <= answer.status < 500, answer
    with shared_store.client() as client:
        stored = [key for key in client.keys(BUCKET) if key != "good"]
        assert stored in ([], ["form/x"])
        assert bool(stored) == (answer.status == 204)
        if stored:
            found = client.get(BUCKET, "form/x")
            assert len(found.body) <= 40
            assert (found.headers["content-type"], found.headers["x-amz-meta-a"]) == ("text/plain", "b")
            assert request(shared_store, "GET", f"/{BUCKET}/form/x", {"host": host_of(shared_store)}).status == 403
            assert client.delete(BUCKET, "form/x").status == 204


@pytest.mark.parametrize("minutes", [-16, 16, -60 * 24 * 400])
def test_a_wrong_clock_is_refused(shared_store: StoreProcess, minutes: int) -> None:
    fields = signed(shared_store, now=datetime.now(UTC) + timedelta(minutes=minutes))
    answer = request(shared_store, "PUT", "/hostile/x", fields, b"body")
    assert (answer.status, answer.code) == (403, "RequestTimeTooSkewed")


@pytest.mark.parametrize("minutes", [-14, 14])
def test_a_slightly_wrong_clock_is_forgiven(shared_store: StoreProcess, minutes: int) -> None:
    fields = signed(shared_store, "GET", "/hostile/good", now=datetime.now(UTC) + timedelta(minutes=minutes))
    assert request(shared_store, "GET", "/hostile/good", fields).status == 200


@pytest.mark.alone
def test_unknown_key_and_wrong_secret_look_alike_in_time(shared_store: StoreProcess) -> None:
    def median(credentials: Credentials) -> float:
        times = []
        with shared_store.client(credentials=credentials) as client:
            for _ in range(60):
                began = time.monotonic()
                assert client.get(BUCKET, "good").status == 403
                times.append(time.monotonic() - began)
        return sorted(times)[30]

    unknown = median(Credentials("NOSUCHACCESSKEYATALL", "x" * 40))
    wrong = median(Credentials(shared_store.credentials.access_key, "x" * 40))
    assert max(unknown, wrong) < 5 * min(unknown, wrong)


@pytest.mark.parametrize("expires", ["0", "-1", "604801", "x", "", "1e3", "99999999999999999999"])
def test_presigned_urls_have_a_bounded_life(shared_store: StoreProcess, expires: str) -> None:
    query = presigned_query(shared_store.credentials, "GET", host_of(shared_store), "/hostile/good", expires=expires)
    answer = request(shared_store, "GET", f"/hostile/good?{query}", {"host": host_of(shared_store)})
    assert answer.status in (400, 403), answer


def test_presigned_urls_expire_and_bind_method_key_and_headers(shared_store: StoreProcess) -> None:
    host = host_of(shared_store)
    past = presigned_query(
        shared_store.credentials, "GET", host, "/hostile/good", expires="60", now=datetime.now(UTC) - timedelta(seconds=70)
    )
    assert request(shared_store, "GET", f"/hostile/good?{past}", {"host": host}).status == 403
    query = presigned_query(shared_store.credentials, "PUT", host, "/hostile/x")
    assert request(shared_store, "GET", f"/hostile/x?{query}", {"host": host}).status == 403
    assert request(shared_store, "PUT", f"/hostile/y?{query}", {"host": host}, b"b").status == 403
    assert request(shared_store, "PUT", f"/hostile/x?{query}&acl", {"host": host}, b"b").status == 403
    for name, value in (("x-amz-copy-source", "/hostile/good"), ("x-amz-acl", "public-read"), ("x-amz-meta-a", "1")):
        assert request(shared_store, "PUT", f"/hostile/x?{query}", {"host": host, name: value}, b"b").status == 403
    both = signed(shared_store) | {}
    assert request(shared_store, "PUT", f"/hostile/x?{query}", both, b"b").status in (400, 403)


@pytest.mark.parametrize(
    "path",
    ["/hostile//good", "/hostile/./good", "/hostile/../hostile/good", "/hostile/%2e%2e/hostile/good", "//hostile/good", "/hostile/good/"],
)
def test_paths_are_not_tidied(shared_store: StoreProcess, path: str) -> None:
    """Each of these names another key than "good", or nothing."""
    answer = request(shared_store, "GET", path, signed(shared_store, "GET", path))
    assert answer.status in (400, 403, 404), answer


ANYONE: dict[str, tuple[str, str]] = {
    "list buckets": ("GET", "/"),
    "list": ("GET", "/hostile"),
    "get": ("GET", "/hostile/good"),
    "head": ("HEAD", "/hostile/good"),
    "put": ("PUT", "/hostile/x"),
    "delete": ("DELETE", "/hostile/good"),
    "delete many": ("POST", "/hostile?delete"),
    "make bucket": ("PUT", "/hostile2"),
    "delete bucket": ("DELETE", "/hostile"),
    "create upload": ("POST", "/hostile/x?uploads"),
    "versioning": ("PUT", "/hostile?versioning"),
    "tagging": ("PUT", "/hostile/good?tagging"),
    "none there": ("GET", "/hostile/none"),
    "no bucket": ("GET", "/nobucket/none"),
}


@pytest.mark.parametrize(("method", "target"), ANYONE.values(), ids=ANYONE)
def test_nobody_may_anything(shared_store: StoreProcess, method: str, target: str) -> None:
    """Without credentials, and with a credential but no signature: 403, and the same whether the thing is there or not.

    But of a bucket: as with AWS, everybody may know which names are taken.
    """
    host = {"host": host_of(shared_store)}
    refused = 404 if target.startswith("/nobucket") else 403
    assert request(shared_store, method, target, host).status == refused
    stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
    scope = quote(f"{shared_store.credentials.access_key}/{stamp[:8]}/{REGION}/s3/aws4_request", safe="")
    joined = target + ("&" if "?" in target else "?") + f"X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential={scope}&X-Amz-Date={stamp}"
    assert request(shared_store, method, joined, host).status in (400, 403)
    trailer = {**host, "x-amz-content-sha256": "STREAMING-UNSIGNED-PAYLOAD-TRAILER"}
    assert request(shared_store, method, target, trailer).status in (400, refused)


def test_secrets_appear_in_no_log(shared_store: StoreProcess) -> None:
    rng = random.Random(7)
    with shared_store.client(credentials=Credentials(shared_store.credentials.access_key, f"wrong{rng.random()}")) as client:
        client.get(BUCKET, "good")
    assert shared_store.credentials.secret_key not in shared_store.log_path.read_text(errors="replace")
    everything = b"".join(path.read_bytes() for path in shared_store.directories[0].rglob("*.db*") if path.is_file())
    assert shared_store.credentials.secret_key.encode() not in everything
