"""What answers, logs and listeners tell, and to whom: no secret, no header that a client wrote, nothing before authorization."""

from __future__ import annotations

import http.client
import json
import socket
import time
import urllib.request
from urllib.parse import quote

import pytest

from tests.cluster.conftest import StoreMaker
from tests.support.client import Credentials, encode_query, presigned_query, signed_headers
from tests.support.forge import BUCKET, TARGET, host_of, request, signed
from tests.support.store import StoreProcess, free_port
from tests.support.wire import exchange

pytestmark = pytest.mark.usefixtures("unharmed")
INJECTED = "x\r\nSet-Cookie: stolen=1\r\n\r\n<script>"
ECHOED = (
    "response-content-type", "response-content-language", "response-expires", "response-cache-control", "response-content-disposition",
    "response-content-encoding",
)  # fmt: skip


@pytest.mark.parametrize("name", ECHOED)
def test_a_parameter_can_not_add_a_header(shared_store: StoreProcess, name: str) -> None:
    query = encode_query([(name, INJECTED)])
    raw = signed(shared_store, "GET", "/hostile/good", query=query)
    answer = request(shared_store, "GET", f"/hostile/good?{query}", raw)
    assert answer.status in (200, 400)
    assert "set-cookie" not in answer.headers
    assert b"<script>" not in answer.body


@pytest.mark.parametrize(
    "target",
    [
        "/hostile/%0d%0aSet-Cookie:%20a=b",
        "/hostile?prefix=%0d%0aSet-Cookie:%20a=b",
        "/hostile?delimiter=%3Cscript%3E&marker=%3Cscript%3E",
        "/%0d%0aSet-Cookie:a=b",
        "/hostile/<script>",
    ],
)
def test_names_come_back_escaped(shared_store: StoreProcess, target: str) -> None:
    path, _, query = target.partition("?")
    fields = signed(shared_store, "GET", quote(path, safe="/%"), query=query)
    answer = request(shared_store, "GET", quote(path, safe="/%") + ("?" + query if query else ""), fields)
    assert "set-cookie" not in answer.headers
    assert b"<script>" not in answer.body
    assert answer.headers["content-type"] == "application/xml"


def test_an_origin_that_no_rule_names_is_not_told_back(shared_store: StoreProcess) -> None:
    for origin in ("http://evil.example", "null", "http://evil.example\x00"):
        head = f"OPTIONS /hostile/good HTTP/1.1\r\nHost: h\r\nOrigin: {origin}\r\nAccess-Control-Request-Method: GET\r\n\r\n"
        reply = exchange(shared_store.url, head.encode(), enough=1)
        assert b"access-control-allow-origin" not in reply.data.lower()


CONDITIONS = (
    {},
    {"if-none-match": "*"},
    {"if-match": '"0"'},
    {"if-modified-since": "Thu, 01 Jan 2037 00:00:00 GMT"},
    {"range": "bytes=0-0"},
)


@pytest.mark.parametrize("who", ["anonymous", "stranger"])
def test_what_may_not_be_read_looks_like_what_is_not_there(shared_store: StoreProcess, who: str) -> None:
    """Same status, code and words for a key that is there and one that isn't, whatever the conditions (MinIO CVE-2024-36107)."""
    key = json.loads(shared_store.command("--json", "key", "create", f"{who}-{time.time_ns()}").stdout.splitlines()[-1])
    credentials = Credentials(key["access_key"], key["secret_key"]) if who == "stranger" else None
    seen = set()
    for name in ("good", "none"):
        for condition in CONDITIONS:
            for method in ("GET", "HEAD"):
                headers = {"host": host_of(shared_store), **condition}
                if credentials is not None:
                    headers = signed_headers(credentials, method, host_of(shared_store), f"/hostile/{name}", headers=condition.items())
                answer = request(shared_store, method, f"/hostile/{name}", headers)
                seen.add((method, answer.status, answer.code, answer.text("Message") if answer.body else ""))
                assert "etag" not in answer.headers
                assert "last-modified" not in answer.headers
    assert seen == {("GET", 403, "AccessDenied", "Access Denied"), ("HEAD", 403, "", "")}


@pytest.fixture
def watched(make_store: StoreMaker) -> StoreProcess:
    """A store whose metrics are served, too."""
    return make_store(volumes=1, options=["--metrics", f"127.0.0.1:{free_port()}", "--sigv2"])


def test_no_secret_and_no_signature_leaves_the_store(watched: StoreProcess) -> None:
    """Logs, metrics, error answers, `status`, `doctor` and `key list` (MinIO CVE-2023-28432, Swift CVE-2017-8761)."""
    metrics = watched.options[1]
    secret = watched.credentials.secret_key
    host = host_of(watched)
    query = presigned_query(watched.credentials, "GET", host, "/hostile/none")
    shown = [request(watched, "GET", f"/hostile/none?{query}", {"host": host}).body]
    fields = signed(watched, "GET", "/hostile/none")
    shown.append(request(watched, "GET", "/hostile/none", fields).body)
    wrong = signed(watched, "PUT", TARGET)
    shown.append(request(watched, "GET", TARGET, wrong).body)
    told = [watched.log_path.read_bytes()]
    told.append(urllib.request.urlopen(f"http://{metrics}/metrics", timeout=10).read())
    for words in (("status",), ("doctor",), ("key", "list"), ("--json", "key", "list")):
        done = watched.command(*words, check=False)
        told.append(done.stdout.encode() + done.stderr.encode())
    signature = query.rpartition("=")[2].encode()
    for text in shown + told:
        assert secret.encode() not in text
    for text in told:
        assert signature not in text
        assert fields["authorization"][-64:].encode() not in text


def test_the_internal_listener_answers_nobody_without_the_namespaces_key(shared_store: StoreProcess) -> None:
    """Metadata writes of further gateway processes come in here (SeaweedFS CVE-2026-72920, RustFS CVE-2025-68926)."""
    path = shared_store.directories[0] / "run" / "internal.sock"
    assert path.stat().st_mode & 0o077 == 0
    for target in ("/", "/v1/meta", "/meta/container/hostile", "/rawx", "/%2e%2e/secret.key"):
        for method in ("GET", "POST", "PUT", "DELETE"):
            connection = http.client.HTTPConnection("internal")
            connection.sock = socket.socket(socket.AF_UNIX)
            connection.sock.settimeout(5)
            connection.sock.connect(str(path))
            connection.request(method, target, b"{}", {"authorization": "frazil 0:0", "x-frazil-auth": "0" * 64})
            response = connection.getresponse()
            assert response.status in (400, 401, 403), (method, target, response.status)
            response.read()
            connection.close()


def test_headers_that_look_internal_change_nothing(shared_store: StoreProcess) -> None:
    """MinIO GHSA-3rh2: a client wrote the metadata that marks an object as encrypted."""
    more = [
        ("x-amz-meta-x-frazil-content", "a" * 32),
        ("x-frazil-owner", "nobody"),
        ("x-minio-internal-server-side-encryption-sealed-key", "a"),
        ("x-amz-meta-x-amz-unencrypted-content-length", "1"),
        ("x-forwarded-for", "127.0.0.1"),
        ("x-forwarded-host", "hostile.localhost"),
    ]
    with shared_store.client() as client:
        assert client.put(BUCKET, "good", b"good", headers=more).status == 200
        answer = client.get(BUCKET, "good")
        assert (answer.status, answer.body) == (200, b"good")
        assert "x-frazil-owner" not in answer.headers
        assert not [name for name in answer.headers if name.startswith("x-minio")]
