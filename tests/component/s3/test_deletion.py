"""DeleteObject and DeleteObjects: documents that are refused whole, entries that are refused alone, and what each answer tells."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from xml.etree import ElementTree

import pytest

from tests.component.s3.conftest import OWNER, Served
from tests.support.client import Answer, Client, Credentials


@pytest.fixture
def client(served: Served) -> Iterator[Client]:
    with Client(served.endpoint, Credentials(OWNER.access_key, OWNER.secret)) as client:
        yield client


def entry(key: str, **more: str) -> str:
    return f"<Object><Key>{key}</Key>{''.join(f'<{name}>{value}</{name}>' for name, value in more.items())}</Object>"


def told(answer: Answer, kind: str, *names: str) -> list[tuple[str | None, ...]]:
    assert answer.status == 200, answer.body
    return [tuple(each.findtext("{*}" + name) for name in names) for each in ElementTree.fromstring(answer.body).findall("{*}" + kind)]


DOCUMENT = b"<Delete><Object><Key>k</Key></Object></Delete>"


@pytest.mark.parametrize(
    ("body", "headers", "code"),
    [
        (DOCUMENT, {}, "InvalidRequest"),
        (DOCUMENT, {"content-md5": "nonsense"}, "InvalidDigest"),
        (DOCUMENT, {"content-md5": "1B2M2Y8AsgTpgAmY7PhCfg=="}, "BadDigest"),
        (DOCUMENT, {"x-amz-checksum-crc32": "AAAAAA=="}, "BadDigest"),
        (b"", None, "MissingRequestBodyError"),
        (b"<Delete>", None, "MalformedXML"),
        (b"<Delete/>", None, "MalformedXML"),
        (b"<Other><Object><Key>k</Key></Object></Other>", None, "MalformedXML"),
        (b"<Delete><Object><VersionId>null</VersionId></Object></Delete>", None, "MalformedXML"),
        (b"<Delete><Object><Key>k</Key><Key>l</Key></Object></Delete>", None, "MalformedXML"),
        (b"<!DOCTYPE x><Delete><Object><Key>k</Key></Object></Delete>", None, "MalformedXML"),
        (b"<Delete>" + b"<Object><Key>k</Key></Object>" * 1_001 + b"</Delete>", None, "MalformedXML"),
    ],
)
def test_a_document_is_refused_whole(client: Client, s3: Any, bucket: str, body: bytes, headers: dict[str, str] | None, code: str) -> None:
    s3.put_object(Bucket=bucket, Key="k", Body=b"x")
    if headers is None:
        headers = {"content-md5": base64.b64encode(hashlib.md5(body).digest()).decode()}
    answer = client.call("POST", bucket, query=[("delete", "")], headers=headers.items(), body=body)
    assert (answer.status, answer.code) == (400, code)
    assert client.get(bucket, "k").status == 200


def test_entries_are_refused_alone(client: Client, s3: Any, bucket: str) -> None:
    etag = s3.put_object(Bucket=bucket, Key="k", Body=b"12345")["ETag"].strip('"')
    time = s3.head_object(Bucket=bucket, Key="k")["LastModified"]
    refused = [
        (entry("k", ETag="other"), "PreconditionFailed"),
        (entry("k", ETag=etag, Size="4"), "PreconditionFailed"),
        (entry("k", Size="x"), "InvalidArgument"),
        (entry("k", LastModifiedTime=(time - timedelta(hours=1)).strftime("%Y-%m-%dT%H:%M:%SZ")), "PreconditionFailed"),
        (entry("k", LastModifiedTime="yesterday"), "InvalidArgument"),
        (entry("k", VersionId="nonsense"), "InvalidArgument"),
        (entry(""), "InvalidArgument"),
        (entry("k" * 1_025), "KeyTooLongError"),
    ]
    answer = client.delete_document(bucket, f"<Delete>{''.join(each for each, _ in refused)}</Delete>".encode())
    assert sorted(code or "" for (code,) in told(answer, "Error", "Code")) == sorted(code for _, code in refused)
    assert client.get(bucket, "k").status == 200
    held = entry("k", ETag=f"&quot;{etag}&quot;", Size="5", LastModifiedTime=time.astimezone(UTC).strftime("%a, %d %b %Y %H:%M:%S GMT"))
    answer = client.delete_document(bucket, f"<Delete>{held}</Delete>".encode())
    assert told(answer, "Deleted", "Key") == [("k",)]
    assert client.get(bucket, "k").status == 404


def test_a_key_may_be_named_twice_and_be_missing(client: Client, s3: Any, bucket: str) -> None:
    s3.put_object(Bucket=bucket, Key="k", Body=b"x")
    answer = client.delete_many(bucket, ["k", "k", "none"])
    assert told(answer, "Deleted", "Key") == [("k",), ("k",), ("none",)]
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    answer = client.delete_many(bucket, ["k", "k"])
    markers = [name for _, name in told(answer, "Deleted", "DeleteMarker", "DeleteMarkerVersionId")]
    assert len(set(markers)) == 2
    assert sorted(row["VersionId"] for row in s3.list_object_versions(Bucket=bucket)["DeleteMarkers"]) == sorted(
        name or "" for name in markers
    )


def test_a_thousand_keys_go_at_once(client: Client, bucket: str) -> None:
    keys = [f"k{number:04}" for number in range(1_000)]
    for key in keys[::100]:
        assert client.put(bucket, key, b"x").status == 200
    assert len(told(client.delete_many(bucket, keys), "Deleted", "Key")) == 1_000
    assert client.keys(bucket) == []


def test_quiet_tells_refusals_only(client: Client, s3: Any, bucket: str) -> None:
    s3.put_object(Bucket=bucket, Key="k", Body=b"x")
    document = f"<Delete><Quiet>true</Quiet>{entry('k', ETag='other')}{entry('none')}</Delete>".encode()
    answer = client.delete_document(bucket, document)
    assert (told(answer, "Deleted", "Key"), told(answer, "Error", "Key", "Code")) == ([], [("k", "PreconditionFailed")])


@pytest.mark.parametrize(
    ("header", "value", "status"),
    [
        ("if-match", '"other"', 412),
        ("if-match", "*", 204),
        ("x-amz-if-match-size", "4", 412),
        ("x-amz-if-match-size", "5", 204),
        ("x-amz-if-match-size", "-5", 400),
        ("x-amz-if-match-last-modified-time", "Thu, 01 Jan 1970 00:00:01 GMT", 412),
        ("x-amz-if-match-last-modified-time", "never", 400),
    ],
)
def test_conditions_of_one_delete(client: Client, bucket: str, header: str, value: str, status: int) -> None:
    client.put(bucket, "k", b"12345")
    assert client.call("DELETE", bucket, "k", headers=[(header, value)]).status == status
    assert client.get(bucket, "k").status == (404 if status == 204 else 200)
    assert client.call("DELETE", bucket, "none", headers=[(header, value)]).status == (400 if status == 400 else 204)


def test_a_deleted_key_tells_its_marker(client: Client, s3: Any, bucket: str) -> None:
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    before = datetime.now(UTC) - timedelta(seconds=2)
    marker = s3.delete_object(Bucket=bucket, Key="k")["VersionId"]
    for method in ("GET", "HEAD"):
        answer = client.call(method, bucket, "k")
        assert (answer.status, answer.headers["x-amz-delete-marker"], answer.headers["x-amz-version-id"]) == (404, "true", marker)
        answer = client.call(method, bucket, "k", query=[("versionId", marker)])
        assert (answer.status, answer.headers["x-amz-delete-marker"], answer.headers["allow"]) == (405, "true", "DELETE")
        assert datetime.strptime(answer.headers["last-modified"], "%a, %d %b %Y %H:%M:%S GMT").replace(tzinfo=UTC) > before
    answer = client.call("DELETE", bucket, "k", query=[("versionId", marker)])
    assert (answer.status, answer.headers["x-amz-delete-marker"], answer.headers["x-amz-version-id"]) == (204, "true", marker)
