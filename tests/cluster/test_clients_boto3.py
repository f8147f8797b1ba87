"""boto3, as it comes: a day's work of a program."""

from __future__ import annotations

import hashlib
import io
import random
import urllib.error
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import boto3
import pytest
from boto3.s3.transfer import TransferConfig
from botocore.config import Config
from botocore.exceptions import ClientError

from tests.support.store import StoreProcess

pytestmark = pytest.mark.clients

MIB = 1 << 20


def connect(store: StoreProcess, **config: Any) -> Any:
    return boto3.client(
        "s3",
        endpoint_url=store.url,
        aws_access_key_id=store.credentials.access_key,
        aws_secret_access_key=store.credentials.secret_key,
        region_name="us-east-1",
        config=Config(retries={"max_attempts": 1}, s3={"addressing_style": "path"}, **config),
    )


@pytest.fixture
def s3(shared_store: StoreProcess) -> Iterator[Any]:
    client = connect(shared_store)
    yield client
    client.close()


@pytest.fixture
def bucket(s3: Any, request: pytest.FixtureRequest) -> str:
    name = "boto-" + hashlib.md5(request.node.name.encode()).hexdigest()[:12]
    s3.create_bucket(Bucket=name)
    return name


def code_of(caught: pytest.ExceptionInfo[ClientError]) -> str:
    return str(caught.value.response["Error"]["Code"])


def test_buckets(s3: Any, bucket: str) -> None:
    assert bucket in [each["Name"] for each in s3.list_buckets()["Buckets"]]
    s3.head_bucket(Bucket=bucket)
    assert s3.get_bucket_location(Bucket=bucket)["LocationConstraint"] is None
    s3.put_object(Bucket=bucket, Key="k", Body=b"x")
    with pytest.raises(ClientError) as caught:
        s3.delete_bucket(Bucket=bucket)
    assert code_of(caught) == "BucketNotEmpty"
    s3.delete_object(Bucket=bucket, Key="k")
    s3.delete_bucket(Bucket=bucket)
    with pytest.raises(ClientError) as caught:
        s3.list_objects_v2(Bucket=bucket)
    assert code_of(caught) == "NoSuchBucket"


@pytest.mark.parametrize("size", [0, 1, 4_096, 131_072, 131_073, 3 * MIB + 17])
def test_object_in_and_out(s3: Any, bucket: str, size: int, seed: str) -> None:
    body = random.Random(seed).randbytes(size)
    put = s3.put_object(
        Bucket=bucket, Key="a/ü +%.bin", Body=body, ContentType="text/x-test", CacheControl="max-age=1", Metadata={"color": "blue"}
    )
    assert put["ETag"] == f'"{hashlib.md5(body).hexdigest()}"'
    got = s3.get_object(Bucket=bucket, Key="a/ü +%.bin")
    assert got["Body"].read() == body
    assert (got["ContentType"], got["CacheControl"], got["Metadata"]) == ("text/x-test", "max-age=1", {"color": "blue"})
    head = s3.head_object(Bucket=bucket, Key="a/ü +%.bin")
    assert (head["ContentLength"], head["ETag"], head["Metadata"]) == (size, put["ETag"], {"color": "blue"})
    assert abs((head["LastModified"] - got["LastModified"]).total_seconds()) == 0


def test_ranges_and_conditions(s3: Any, bucket: str, seed: str) -> None:
    body = random.Random(seed).randbytes(MIB + 5)
    etag = s3.put_object(Bucket=bucket, Key="r", Body=body)["ETag"]
    for text, expected in (
        ("bytes=0-0", body[:1]),
        ("bytes=300000-700000", body[300_000:700_001]),
        ("bytes=-7", body[-7:]),
        (f"bytes={MIB}-", body[MIB:]),
    ):
        got = s3.get_object(Bucket=bucket, Key="r", Range=text)
        assert got["Body"].read() == expected
        assert got["ResponseMetadata"]["HTTPStatusCode"] == 206
    for arguments, code in (
        ({"Range": "bytes=9999999-"}, "InvalidRange"),
        ({"IfMatch": '"0"'}, "PreconditionFailed"),
        ({"IfNoneMatch": etag}, "304"),
    ):
        with pytest.raises(ClientError) as caught:
            s3.get_object(Bucket=bucket, Key="r", **arguments)
        assert code_of(caught) == code
    with pytest.raises(ClientError) as caught:
        s3.put_object(Bucket=bucket, Key="r", Body=b"", IfNoneMatch="*")
    assert code_of(caught) == "PreconditionFailed"
    s3.put_object(Bucket=bucket, Key="r", Body=b"new", IfMatch=etag)


def test_listing_pages_prefixes_and_delimiters(s3: Any, bucket: str) -> None:
    keys = sorted([f"{a}/{b}/{n}" for a in "xyz" for b in ("p q", "ö") for n in range(7)] + ["top", "z"])
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda key: s3.put_object(Bucket=bucket, Key=key, Body=key.encode()), keys))
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, PaginationConfig={"PageSize": 5})
    assert [item["Key"] for page in pages for item in page["Contents"]] == sorted(keys, key=str.encode)
    found = s3.list_objects_v2(Bucket=bucket, Delimiter="/")
    assert [item["Prefix"] for item in found["CommonPrefixes"]] == ["x/", "y/", "z/"]
    assert [item["Key"] for item in found["Contents"]] == ["top", "z"]
    assert s3.list_objects_v2(Bucket=bucket, Prefix="x/ö/")["KeyCount"] == 7
    assert s3.list_objects_v2(Bucket=bucket, StartAfter="z/p q/6")["KeyCount"] == 7
    assert len(s3.list_objects(Bucket=bucket, MaxKeys=10)["Contents"]) == 10


def test_multipart_by_the_transfer_manager(s3: Any, bucket: str, tmp_path: Path, seed: str) -> None:
    body = random.Random(seed).randbytes(21 * MIB + 3)
    config = TransferConfig(multipart_threshold=8 * MIB, multipart_chunksize=8 * MIB, max_concurrency=4)
    s3.upload_fileobj(io.BytesIO(body), bucket, "big", Config=config)
    head = s3.head_object(Bucket=bucket, Key="big")
    assert head["ContentLength"] == len(body)
    assert head["ETag"].endswith('-3"')
    s3.download_file(bucket, "big", str(tmp_path / "big"), Config=config)
    assert (tmp_path / "big").read_bytes() == body
    s3.copy({"Bucket": bucket, "Key": "big"}, bucket, "copy", Config=config)
    assert s3.get_object(Bucket=bucket, Key="copy")["Body"].read() == body
    assert s3.get_object(Bucket=bucket, Key="big", PartNumber=3)["ContentLength"] == 5 * MIB + 3
    upload = s3.create_multipart_upload(Bucket=bucket, Key="left")["UploadId"]
    s3.upload_part(Bucket=bucket, Key="left", UploadId=upload, PartNumber=7, Body=b"part")
    assert [part["PartNumber"] for part in s3.list_parts(Bucket=bucket, Key="left", UploadId=upload)["Parts"]] == [7]
    assert [each["UploadId"] for each in s3.list_multipart_uploads(Bucket=bucket)["Uploads"]] == [upload]
    s3.abort_multipart_upload(Bucket=bucket, Key="left", UploadId=upload)
    with pytest.raises(ClientError) as caught:
        s3.upload_part(Bucket=bucket, Key="left", UploadId=upload, PartNumber=8, Body=b"part")
    assert code_of(caught) == "NoSuchUpload"


@pytest.mark.parametrize("algorithm", ["CRC32", "CRC32C", "CRC64NVME", "SHA1", "SHA256"])
def test_checksums(s3: Any, bucket: str, algorithm: str) -> None:
    put = s3.put_object(Bucket=bucket, Key="c", Body=b"123456789" * 1000, ChecksumAlgorithm=algorithm)
    name = f"Checksum{algorithm}"
    got = s3.get_object(Bucket=bucket, Key="c", ChecksumMode="ENABLED")
    assert got[name] == put[name]
    assert len(got["Body"].read()) == 9000
    with pytest.raises(ClientError) as caught:
        s3.put_object(Bucket=bucket, Key="bad", Body=b"123456789", **{name: put[name]})
    assert code_of(caught) in ("BadDigest", "InvalidRequest", "XAmzContentChecksumMismatch")
    with pytest.raises(ClientError):
        s3.head_object(Bucket=bucket, Key="bad")


def test_versions(s3: Any, bucket: str) -> None:
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    first = s3.put_object(Bucket=bucket, Key="v", Body=b"one")["VersionId"]
    second = s3.put_object(Bucket=bucket, Key="v", Body=b"two")["VersionId"]
    marker = s3.delete_object(Bucket=bucket, Key="v")
    assert marker["DeleteMarker"] is True
    with pytest.raises(ClientError) as caught:
        s3.get_object(Bucket=bucket, Key="v")
    assert code_of(caught) == "NoSuchKey"
    assert s3.get_object(Bucket=bucket, Key="v", VersionId=first)["Body"].read() == b"one"
    listing = s3.list_object_versions(Bucket=bucket)
    assert [each["VersionId"] for each in listing["Versions"]] == [second, first]
    assert [each["VersionId"] for each in listing["DeleteMarkers"]] == [marker["VersionId"]]
    s3.delete_object(Bucket=bucket, Key="v", VersionId=marker["VersionId"])
    assert s3.get_object(Bucket=bucket, Key="v")["Body"].read() == b"two"


def test_tags_copies_and_many_deletes(s3: Any, bucket: str) -> None:
    s3.put_object(Bucket=bucket, Key="t", Body=b"tagged", Tagging="a=1&b=two")
    assert {tag["Key"]: tag["Value"] for tag in s3.get_object_tagging(Bucket=bucket, Key="t")["TagSet"]} == {"a": "1", "b": "two"}
    s3.put_object_tagging(Bucket=bucket, Key="t", Tagging={"TagSet": [{"Key": "c", "Value": "3"}]})
    s3.copy_object(Bucket=bucket, Key="t2", CopySource={"Bucket": bucket, "Key": "t"}, MetadataDirective="REPLACE", Metadata={"n": "1"})
    assert s3.head_object(Bucket=bucket, Key="t2")["Metadata"] == {"n": "1"}
    assert s3.get_object_tagging(Bucket=bucket, Key="t2")["TagSet"] == [{"Key": "c", "Value": "3"}]
    s3.delete_object_tagging(Bucket=bucket, Key="t")
    assert s3.get_object_tagging(Bucket=bucket, Key="t")["TagSet"] == []
    gone = s3.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": "t"}, {"Key": "t2"}, {"Key": "never"}]})
    assert sorted(each["Key"] for each in gone["Deleted"]) == ["never", "t", "t2"]


def test_presigned_and_public(shared_store: StoreProcess, s3: Any, bucket: str) -> None:
    # For us-east-1 boto3 still presigns with the signature of 2006 unless told otherwise.
    signer = connect(shared_store, signature_version="s3v4")
    target = signer.generate_presigned_url("put_object", Params={"Bucket": bucket, "Key": "p q"})
    with urllib.request.urlopen(urllib.request.Request(target, data=b"signed", method="PUT")) as answer:
        assert answer.status == 200
    source = signer.generate_presigned_url(
        "get_object", Params={"Bucket": bucket, "Key": "p q", "ResponseContentType": "text/html", "ResponseContentDisposition": "inline"}
    )
    with urllib.request.urlopen(source) as answer:
        assert (answer.read(), answer.headers["content-type"], answer.headers["content-disposition"]) == (b"signed", "text/html", "inline")
    plain = source.partition("?")[0]
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(plain)
    assert caught.value.code == 403
    caught.value.close()
    s3.put_object(Bucket=bucket, Key="open", Body=b"all may", ACL="public-read")
    with urllib.request.urlopen(plain.rpartition("/")[0] + "/open") as answer:
        assert answer.read() == b"all may"
    signer.close()


def test_many_clients_at_once(s3: Any, bucket: str) -> None:
    def work(number: int) -> bool:
        body = f"{number}-".encode() * (number * 50 + 1)
        s3.put_object(Bucket=bucket, Key=f"m/{number}", Body=body)
        return bool(s3.get_object(Bucket=bucket, Key=f"m/{number}")["Body"].read() == body)

    with ThreadPoolExecutor(10) as pool:
        assert all(pool.map(work, range(200)))
