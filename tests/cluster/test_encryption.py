"""A day of encrypted objects, seen from outside: nothing of a key or of plain bytes is left anywhere, and a kill loses nothing."""

from __future__ import annotations

import base64
import hashlib
import os
import random
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from tests.cluster.conftest import StoreMaker
from tests.support.certificate import make_certificate
from tests.support.store import StoreProcess, free_port

pytestmark = pytest.mark.clients

BUCKET = "bucket"
MIB = 1 << 20
MARK = b"a line of plain text that nobody may find on a disk\n"


def connect(store: StoreProcess, certificate: Path) -> Any:
    return boto3.client(
        "s3",
        endpoint_url=store.url,
        aws_access_key_id=store.credentials.access_key,
        aws_secret_access_key=store.credentials.secret_key,
        region_name="us-east-1",
        verify=str(certificate),
        config=Config(retries={"max_attempts": 1}, s3={"addressing_style": "path"}, signature_version="s3v4"),
    )


def customer(key: bytes, prefix: str = "") -> dict[str, Any]:
    return {f"{prefix}SSECustomerAlgorithm": "AES256", f"{prefix}SSECustomerKey": key}


def everything(folder: Path) -> Iterator[tuple[str, bytes]]:
    """(where, bytes) of every file and of its extended attributes."""
    for path in sorted(folder.rglob("*")):
        if path.is_file() and not path.is_symlink():
            yield str(path), path.read_bytes()
            for name in os.listxattr(path):
                yield f"{path} {name}", os.getxattr(path, name)


def forms(secret: bytes) -> list[bytes]:
    """How a key might be written: its bytes, hex, base64 (also URL-safe), and the begin of those."""
    hexadecimal = secret.hex().encode()
    encoded = base64.b64encode(secret)
    return [
        secret,
        hexadecimal,
        hexadecimal.upper(),
        encoded.rstrip(b"="),
        base64.urlsafe_b64encode(secret).rstrip(b"="),
        encoded[:20],
        hexadecimal[:32],
    ]


def work(s3: Any, key: bytes, other: bytes) -> tuple[dict[str, tuple[dict[str, Any], bytes]], list[bytes]]:
    """What is stored then, by key: (what a read needs, bytes); and the documents of all refusals."""
    modes = {"c": customer(key), "managed": {"ServerSideEncryption": "AES256"}, "kms": {"ServerSideEncryption": "aws:kms"}}
    there: dict[str, tuple[dict[str, Any], bytes]] = {}
    for name, mode in modes.items():
        needed = mode if name == "c" else {}
        source = customer(key, "CopySource") if name == "c" else {}
        for size in (0, 100, 70_000, 3 * MIB):
            data = (MARK * (size // len(MARK) + 1))[:size]
            s3.put_object(Bucket=BUCKET, Key=f"{name}-{size}", Body=data, Metadata={"a": "b"}, **mode)
            there[f"{name}-{size}"] = (needed, data)
        s3.copy_object(Bucket=BUCKET, Key=f"{name}-copy", CopySource=f"{BUCKET}/{name}-{3 * MIB}", **mode, **source)
        there[f"{name}-copy"] = there[f"{name}-{3 * MIB}"]
        started = s3.create_multipart_upload(Bucket=BUCKET, Key=f"{name}-parts", **mode)["UploadId"]
        where = {"Bucket": BUCKET, "Key": f"{name}-parts", "UploadId": started}
        parts = []
        for number, size in ((1, 5 * MIB), (2, 100)):
            data = (MARK * (size // len(MARK) + 1))[:size]
            etag = s3.upload_part(Body=data, PartNumber=number, **where, **needed)["ETag"]
            parts.append({"ETag": etag, "PartNumber": number})
        s3.complete_multipart_upload(**where, MultipartUpload={"Parts": parts})
        there[f"{name}-parts"] = (needed, (MARK * (5 * MIB // len(MARK) + 1))[: 5 * MIB] + (MARK * 2)[:100])
        s3.create_multipart_upload(Bucket=BUCKET, Key=f"{name}-unfinished", **mode)
    refusals: list[bytes] = []
    for call, arguments in (
        (s3.get_object, {"Key": "c-100"}),
        (s3.get_object, {"Key": "c-100", **customer(other)}),
        (s3.get_object, {"Key": "managed-100", **customer(key)}),
        (s3.put_object, {"Key": "x", "Body": b"x", **customer(key), "SSECustomerAlgorithm": "AES512"}),
        (s3.put_object, {"Key": "x", "Body": b"x", **customer(key[:31])}),
        (s3.put_object, {"Key": "x", "Body": b"x", **customer(key), "ServerSideEncryption": "AES256"}),
        (s3.put_object, {"Key": "x", "Body": b"x", **customer(key), "ContentMD5": base64.b64encode(bytes(16)).decode()}),
        (s3.copy_object, {"Key": "x", "CopySource": f"{BUCKET}/c-100", **customer(other, "CopySource"), **customer(key)}),
    ):
        with pytest.raises(ClientError) as caught:
            call(Bucket=BUCKET, **arguments)
        refusals.append(repr(caught.value.response).encode())
    return there, refusals


def check(s3: Any, there: dict[str, tuple[dict[str, Any], bytes]]) -> None:
    for name, (needed, data) in there.items():
        assert s3.get_object(Bucket=BUCKET, Key=name, **needed)["Body"].read() == data, name
        if len(data) > 1000:
            start = random.randrange(len(data) - 1000)
            ranged = s3.get_object(Bucket=BUCKET, Key=name, Range=f"bytes={start}-{start + 999}", **needed)
            assert ranged["Body"].read() == data[start : start + 1000], name


def test_nothing_of_a_key_or_of_plain_bytes_is_left_anywhere(make_store: StoreMaker, scratch: Path) -> None:
    certificate, port = scratch / "tls.pem", free_port()
    make_certificate(certificate)
    options = ["--tls-cert", str(certificate), "--tls-key", str(certificate), "--metrics", f"127.0.0.1:{port}", "--workers", "2"]
    store = make_store(volumes=4, options=options, scheme="https")
    key, other = random.randbytes(32), random.randbytes(32)
    s3 = connect(store, certificate)
    s3.create_bucket(Bucket=BUCKET)
    there, refusals = work(s3, key, other)
    check(s3, there)
    store.kill()
    store.start()
    check(s3, there)
    store.command("encryption", "rotate")
    store.command("encryption", "rotate", "aws/s3")
    done = store.command("encryption", "rewrap", "--json").stdout
    check(s3, there)
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
        metrics = answer.read()
    s3.close()
    store.stop()
    said = [("metrics", metrics), ("refusals", b"".join(refusals)), ("command", done.encode())]
    written = [*everything(store.directories[0]), *everything(store.scratch), *said]
    assert sum(len(data) for _, data in written) > 30 * MIB
    assert [where for where, data in written if b"managed-70000" in data] != [], "what is in the clear is found"
    for secret in (key, other):
        for form in forms(secret):
            found = [where for where, data in written if form in data]
            assert found == []
        digest = base64.b64encode(hashlib.md5(secret).digest())
        assert [where for where, data in written if digest in data and where != "refusals"] == []
    assert [where for where, data in written if MARK in data] == []
