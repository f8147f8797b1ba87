"""HTTP and HTTPS, the bucket in the path and in the host, signature versions 4 and 2: boto3 does the same work over each."""

from __future__ import annotations

import http.client
import io
import random
import socket
import ssl
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from tests.support import form
from tests.support.need import need_programs
from tests.support.store import StoreProcess

DOMAIN = "s3.test"
MIB = 1 << 20


@pytest.fixture(scope="module")
def certificate() -> Iterator[tuple[Path, Path]]:
    """A certificate for the domain, all buckets below it and the address; its key."""
    need_programs("openssl")
    with tempfile.TemporaryDirectory(prefix="frazil-test-") as folder:
        cert, key = Path(folder, "cert.pem"), Path(folder, "key.pem")
        command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"]
        names = f"subjectAltName=DNS:{DOMAIN},DNS:*.{DOMAIN},IP:127.0.0.1"
        command += ["-subj", f"/CN={DOMAIN}", "-addext", names, "-keyout", str(key), "-out", str(cert)]
        subprocess.run(command, check=True, capture_output=True)
        yield cert, key


@pytest.fixture(scope="module", params=["http", "https"])
def store(request: pytest.FixtureRequest, certificate: tuple[Path, Path]) -> Iterator[StoreProcess]:
    cert, key = certificate
    options = ["--domain", DOMAIN, "--sigv2"]
    context = None
    if request.param == "https":
        options += ["--tls-cert", str(cert), "--tls-key", str(key)]
        context = ssl.create_default_context(cafile=str(cert))
    with tempfile.TemporaryDirectory(prefix="frazil-test-") as folder:
        root = Path(folder)
        with StoreProcess([root / "store"], root, volumes=3, options=options, scheme=request.param, context=context) as running:
            running.start()
            yield running
        running.assert_log_clean()


@pytest.fixture
def s3(
    request: pytest.FixtureRequest, store: StoreProcess, certificate: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> Iterator[Any]:
    """A client of the style and signature that the test asks for; names below the domain are this host's."""
    style, signature = request.param
    resolve = socket.getaddrinfo

    def here(host: Any, *arguments: Any, **more: Any) -> Any:
        return resolve("127.0.0.1" if str(host).endswith(DOMAIN) else host, *arguments, **more)

    monkeypatch.setattr(socket, "getaddrinfo", here)
    host = DOMAIN if style == "virtual" else "127.0.0.1"
    client = boto3.client(
        "s3",
        endpoint_url=f"{urlsplit(store.url).scheme}://{host}:{store.port}",
        aws_access_key_id=store.credentials.access_key,
        aws_secret_access_key=store.credentials.secret_key,
        region_name="us-east-1",
        verify=str(certificate[0]),
        config=Config(retries={"total_max_attempts": 1}, s3={"addressing_style": style}, signature_version=signature),
    )
    yield client
    client.close()


def fetch(url: str, certificate: Path, method: str = "GET", body: bytes | None = None, **headers: str) -> tuple[int, bytes, dict[str, str]]:
    parts = urlsplit(url)
    kind: Any = http.client.HTTPConnection
    more: dict[str, Any] = {}
    if parts.scheme == "https":
        kind, more = http.client.HTTPSConnection, {"context": ssl.create_default_context(cafile=str(certificate))}
    connection = kind(parts.netloc, timeout=20, **more)
    connection.request(method, f"{parts.path or '/'}{'?' + parts.query if parts.query else ''}", body, headers)
    response = connection.getresponse()
    result = response.status, response.read(), {name.lower(): value for name, value in response.getheaders()}
    connection.close()
    return result


STYLES = [("path", "s3v4"), ("virtual", "s3v4"), ("path", "s3"), ("virtual", "s3")]


@pytest.mark.parametrize("s3", STYLES, indirect=True, ids=["-".join(each) for each in STYLES])
def test_the_same_work_over_each(request: pytest.FixtureRequest, s3: Any, store: StoreProcess, certificate: tuple[Path, Path]) -> None:
    bucket = "b-" + "-".join(request.node.callspec.params["s3"])
    s3.create_bucket(Bucket=bucket)
    s3.put_object(Bucket=bucket, Key="a b/ü+%", Body=b"hello", Metadata={"name": "value"})
    assert s3.get_object(Bucket=bucket, Key="a b/ü+%")["Body"].read() == b"hello"
    s3.copy_object(Bucket=bucket, Key="copy", CopySource={"Bucket": bucket, "Key": "a b/ü+%"})
    data = random.Random(1).randbytes(9 * MIB)
    s3.upload_fileobj(io.BytesIO(data), bucket, "large")
    assert s3.get_object(Bucket=bucket, Key="large")["Body"].read() == data
    assert [row["Key"] for row in s3.list_objects(Bucket=bucket)["Contents"]] == ["a b/ü+%", "copy", "large"]
    assert s3.get_bucket_location(Bucket=bucket)["LocationConstraint"] is None
    url = s3.generate_presigned_url("get_object", Params={"Bucket": bucket, "Key": "a b/ü+%"})
    assert fetch(url, certificate[0])[:2] == (200, b"hello")
    assert fetch(url.replace(f"{bucket}", "b-other", 1), certificate[0])[0] in (400, 403)
    made = s3.generate_presigned_post(bucket, "form")
    body = form.encode(made["fields"].items(), b"by form")
    status, answer, headers = fetch(made["url"], certificate[0], "POST", body, **{"Content-Type": form.CONTENT_TYPE.decode()})
    assert status == 204, answer
    assert headers["location"] == f"{made['url'].rstrip('/')}/form"
    assert s3.get_object(Bucket=bucket, Key="form")["Body"].read() == b"by form"
    with pytest.raises(ClientError) as caught:
        s3.get_object(Bucket=bucket, Key="none")
    assert caught.value.response["Error"]["Code"] == "NoSuchKey"
    s3.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": key} for key in ("a b/ü+%", "copy", "large", "form")]})
    s3.delete_bucket(Bucket=bucket)
