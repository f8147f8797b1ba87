"""RenameObject: conditions at both ends, tokens, versions, locks."""

from __future__ import annotations

import datetime
from typing import Any
from urllib.parse import quote

import pytest
from botocore.exceptions import ClientError

from tests.component.s3.conftest import STRANGER, Served, client_for

HOUR = datetime.timedelta(hours=1)


@pytest.fixture
def rename(s3: Any, bucket: str) -> Any:
    def call(source: str, target: str, **more: Any) -> Any:
        return s3.rename_object(Bucket=bucket, Key=target, RenameSource=quote(source), **more)

    return call


def keys(s3: Any, bucket: str) -> list[str]:
    return [row["Key"] for row in s3.list_objects_v2(Bucket=bucket).get("Contents", [])]


def refusal(call: Any, *arguments: Any, **named: Any) -> tuple[str, int]:
    with pytest.raises(ClientError) as caught:
        call(*arguments, **named)
    response = caught.value.response
    return response["Error"]["Code"], response["ResponseMetadata"]["HTTPStatusCode"]


@pytest.mark.parametrize(("source", "target"), [("a", "b"), ("a/ü +%.txt", "&<x>"), ("a", "a/b"), ("/a", "b")])
def test_an_object_moves_with_all_it_has(s3: Any, bucket: str, rename: Any, source: str, target: str) -> None:
    s3.put_object(Bucket=bucket, Key=source, Body=b"body", Metadata={"a": "b"}, Tagging="t=1", ContentType="text/plain")
    before = s3.head_object(Bucket=bucket, Key=source)
    rename(source, target)
    assert keys(s3, bucket) == [target]
    after = s3.get_object(Bucket=bucket, Key=target)
    assert after["Body"].read() == b"body"
    for name in ("ETag", "LastModified", "Metadata", "ContentType"):
        assert after[name] == before[name]
    assert after["TagCount"] == 1


def test_the_source_may_name_its_bucket(s3: Any, bucket: str) -> None:
    s3.put_object(Bucket=bucket, Key="a/b", Body=b"x")
    s3.rename_object(Bucket=bucket, Key="c", RenameSource=f"/{bucket}/a/b")
    assert keys(s3, bucket) == ["c"]


def test_an_object_in_the_way_is_replaced_unless_it_is_asked_not_to_be(s3: Any, bucket: str, rename: Any) -> None:
    for key in "ab":
        s3.put_object(Bucket=bucket, Key=key, Body=key.encode())
    assert refusal(rename, "a", "b", DestinationIfNoneMatch="*") == ("PreconditionFailed", 412)
    assert keys(s3, bucket) == ["a", "b"]
    rename("a", "b")
    assert keys(s3, bucket) == ["b"]
    assert s3.get_object(Bucket=bucket, Key="b")["Body"].read() == b"a"


def test_conditions_at_both_ends(s3: Any, bucket: str, rename: Any) -> None:
    etags = {key: s3.put_object(Bucket=bucket, Key=key, Body=key.encode())["ETag"] for key in "ab"}
    time = s3.head_object(Bucket=bucket, Key="a")["LastModified"]
    failing: list[dict[str, Any]] = [
        {"DestinationIfMatch": etags["a"]},
        {"DestinationIfNoneMatch": etags["b"]},
        {"DestinationIfModifiedSince": time + HOUR},
        {"DestinationIfUnmodifiedSince": time - HOUR},
        {"SourceIfMatch": etags["b"]},
        {"SourceIfNoneMatch": etags["a"]},
        {"SourceIfNoneMatch": "*"},
        {"SourceIfModifiedSince": time + HOUR},
        {"SourceIfUnmodifiedSince": time - HOUR},
    ]
    for conditions in failing:
        assert refusal(rename, "a", "b", **conditions) == ("PreconditionFailed", 412), conditions
    rename(
        "a",
        "b",
        DestinationIfMatch=etags["b"],
        DestinationIfUnmodifiedSince=time - HOUR,  # the ETag's condition takes its place
        SourceIfNoneMatch=etags["b"],
        SourceIfModifiedSince=time + HOUR,
        SourceIfUnmodifiedSince=time + HOUR,
    )
    assert keys(s3, bucket) == ["b"]
    s3.put_object(Bucket=bucket, Key="a", Body=b"a")
    assert refusal(rename, "a", "none", DestinationIfMatch=etags["b"]) == ("NoSuchKey", 404)
    rename("a", "c", DestinationIfUnmodifiedSince=time - HOUR)


def test_a_repeated_rename_with_its_token_does_nothing(s3: Any, bucket: str, rename: Any) -> None:
    s3.put_object(Bucket=bucket, Key="a", Body=b"first")
    rename("a", "b", ClientToken="token-1")
    s3.put_object(Bucket=bucket, Key="a", Body=b"second")
    rename("a", "b", ClientToken="token-1")
    assert s3.get_object(Bucket=bucket, Key="b")["Body"].read() == b"first"
    assert refusal(rename, "a", "c", ClientToken="token-1") == ("IdempotencyParameterMismatch", 400)
    assert refusal(rename, "a", "b", ClientToken="token-1", SourceIfMatch="x") == ("IdempotencyParameterMismatch", 400)
    rename("a", "b", ClientToken="token-2")
    assert s3.get_object(Bucket=bucket, Key="b")["Body"].read() == b"second"
    for token in ("t" * 65, "with space", "ü"):
        assert refusal(rename, "b", "c", ClientToken=token)[0] in ("InvalidArgument", "UnicodeEncodeError")


def test_what_is_not_there_or_may_not_go_is_not_renamed(s3: Any, bucket: str, rename: Any) -> None:
    assert refusal(rename, "none", "b") == ("NoSuchKey", 404)
    assert refusal(rename, "%ff", "b") == ("NoSuchKey", 404)
    for source in ("%ff", "%zz", "k" * 1_025):
        with pytest.raises(ClientError) as caught:
            s3.rename_object(Bucket=bucket, Key="b", RenameSource=source)
        assert caught.value.response["Error"]["Code"] == "InvalidArgument"
    s3.create_bucket(Bucket=f"{bucket}-locked", ObjectLockEnabledForBucket=True)
    s3.put_object(Bucket=f"{bucket}-locked", Key="a", Body=b"x", ObjectLockLegalHoldStatus="ON")
    assert refusal(s3.rename_object, Bucket=f"{bucket}-locked", Key="b", RenameSource="a") == ("AccessDenied", 403)


def test_older_versions_stay_behind_a_marker(s3: Any, bucket: str, rename: Any) -> None:
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    old = s3.put_object(Bucket=bucket, Key="a", Body=b"old")["VersionId"]
    s3.put_object(Bucket=bucket, Key="a", Body=b"new")
    rename("a", "b")
    assert keys(s3, bucket) == ["b"]
    assert s3.get_object(Bucket=bucket, Key="a", VersionId=old)["Body"].read() == b"old"


def test_a_stranger_renames_nothing(served: Served, s3: Any, bucket: str) -> None:
    s3.put_object(Bucket=bucket, Key="a", Body=b"x", ACL="public-read")
    other = client_for(served, STRANGER)
    assert refusal(other.rename_object, Bucket=bucket, Key="b", RenameSource="a") == ("AccessDenied", 403)
    other.close()
