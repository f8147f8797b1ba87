"""A day's work with boto3."""

from __future__ import annotations

import io
import os
from typing import Any

import pytest
from botocore.exceptions import ClientError


def refused(call: Any, *args: Any, **kwargs: Any) -> tuple[str, int]:
    with pytest.raises(ClientError) as caught:
        call(*args, **kwargs)
    response = caught.value.response
    return response["Error"]["Code"], response["ResponseMetadata"]["HTTPStatusCode"]


def test_put_get_head_delete(s3: Any, bucket: str) -> None:
    put = s3.put_object(Bucket=bucket, Key="a/b c+d é.txt", Body=b"hello", ContentType="text/plain", Metadata={"colour": "blue"})
    got = s3.get_object(Bucket=bucket, Key="a/b c+d é.txt", ChecksumMode="ENABLED")
    assert got["Body"].read() == b"hello"
    assert got["ETag"] == put["ETag"] == '"5d41402abc4b2a76b9719d911017c592"'
    assert (got["ContentType"], got["Metadata"], got["ContentLength"]) == ("text/plain", {"colour": "blue"}, 5)
    head = s3.head_object(Bucket=bucket, Key="a/b c+d é.txt")
    assert head["ContentLength"] == 5
    assert head["ResponseMetadata"]["HTTPHeaders"]["x-amz-request-id"]
    s3.delete_object(Bucket=bucket, Key="a/b c+d é.txt")
    assert refused(s3.get_object, Bucket=bucket, Key="a/b c+d é.txt") == ("NoSuchKey", 404)
    assert refused(s3.head_object, Bucket=bucket, Key="a/b c+d é.txt") == ("404", 404)


def test_large_objects_stream(s3: Any, bucket: str) -> None:
    data = os.urandom(3_000_001)
    s3.put_object(Bucket=bucket, Key="large", Body=data)
    assert s3.get_object(Bucket=bucket, Key="large")["Body"].read() == data
    ranged = s3.get_object(Bucket=bucket, Key="large", Range="bytes=1000000-2000000")
    assert ranged["Body"].read() == data[1_000_000:2_000_001]
    assert ranged["ContentRange"] == "bytes 1000000-2000000/3000001"


def test_upload_in_parts(s3: Any, bucket: str) -> None:
    data = os.urandom(17 << 20)
    s3.upload_fileobj(io.BytesIO(data), bucket, "parts")
    got = s3.get_object(Bucket=bucket, Key="parts")
    assert got["Body"].read() == data
    assert got["ETag"].endswith('-3"')
    part = s3.get_object(Bucket=bucket, Key="parts", PartNumber=2)
    assert part["Body"].read() == data[8 << 20 : 16 << 20]
    assert part["PartsCount"] == 3


def test_lists(s3: Any, bucket: str) -> None:
    keys = ["a/1", "a/2", "b", "c d", "ü"]
    for key in keys:
        s3.put_object(Bucket=bucket, Key=key, Body=b"")
    page = s3.list_objects_v2(Bucket=bucket, Delimiter="/")
    assert [entry["Key"] for entry in page["Contents"]] == ["b", "c d", "ü"]
    assert page["CommonPrefixes"] == [{"Prefix": "a/"}]
    assert page["KeyCount"] == 4
    for name in ("list_objects_v2", "list_objects", "list_object_versions"):
        pages = s3.get_paginator(name).paginate(Bucket=bucket, PaginationConfig={"PageSize": 2})
        assert [entry["Key"] for page in pages for entry in page["Contents" if "versions" not in name else "Versions"]] == keys


def test_buckets(s3: Any, bucket: str) -> None:
    assert bucket in [entry["Name"] for entry in s3.list_buckets()["Buckets"]]
    assert refused(s3.create_bucket, Bucket=bucket) == ("BucketAlreadyOwnedByYou", 409)
    s3.put_object(Bucket=bucket, Key="k", Body=b"")
    assert refused(s3.delete_bucket, Bucket=bucket) == ("BucketNotEmpty", 409)
    s3.delete_object(Bucket=bucket, Key="k")
    s3.delete_bucket(Bucket=bucket)
    assert refused(s3.head_bucket, Bucket=bucket) == ("404", 404)
