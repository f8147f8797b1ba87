"""A bucket's quota: each way to put bytes into a bucket is refused with 403 before it leaves anything, and works when they fit."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.component.s3.conftest import Served
from tests.component.s3.test_append import append, refusal
from tests.component.s3.test_post import Page, code

KIB = 1 << 10
QUOTA = 10 * KIB
HELD = b"x" * 6 * KIB
SMALL, LARGE = b"s" * 4 * KIB, b"l" * (4 * KIB + 1)
Put = Callable[[Any, str, bytes], Any]


def put(s3: Any, bucket: str, body: bytes) -> Any:
    return s3.put_object(Bucket=bucket, Key="new", Body=body)


def put_part(s3: Any, bucket: str, body: bytes) -> Any:
    upload = s3.create_multipart_upload(Bucket=bucket, Key="new")["UploadId"]
    try:
        part = s3.upload_part(Bucket=bucket, Key="new", UploadId=upload, PartNumber=1, Body=body)
    except BaseException:
        s3.abort_multipart_upload(Bucket=bucket, Key="new", UploadId=upload)
        raise
    parts = [{"ETag": part["ETag"], "PartNumber": 1}]
    return s3.complete_multipart_upload(Bucket=bucket, Key="new", UploadId=upload, MultipartUpload={"Parts": parts})


def source(s3: Any, bucket: str, body: bytes) -> dict[str, str]:
    """An object in another bucket, to be copied."""
    other = f"{bucket}-source"
    s3.put_object(Bucket=other, Key="source", Body=body)
    return {"Bucket": other, "Key": "source"}


def copy(s3: Any, bucket: str, body: bytes) -> Any:
    return s3.copy_object(Bucket=bucket, Key="new", CopySource=source(s3, bucket, body))


def copy_part(s3: Any, bucket: str, body: bytes) -> Any:
    upload = s3.create_multipart_upload(Bucket=bucket, Key="new")["UploadId"]
    try:
        answer = s3.upload_part_copy(Bucket=bucket, Key="new", UploadId=upload, PartNumber=1, CopySource=source(s3, bucket, body))
    except BaseException:
        s3.abort_multipart_upload(Bucket=bucket, Key="new", UploadId=upload)
        raise
    parts = [{"ETag": answer["CopyPartResult"]["ETag"], "PartNumber": 1}]
    return s3.complete_multipart_upload(Bucket=bucket, Key="new", UploadId=upload, MultipartUpload={"Parts": parts})


def append_new(s3: Any, bucket: str, body: bytes) -> Any:
    return append(s3, bucket, body, 0, "new")


def append_more(s3: Any, bucket: str, body: bytes) -> Any:
    return append(s3, bucket, body, len(HELD), "held")


async def set_quota(served: Served, bucket: str, quota_bytes: int) -> None:
    await served.store.meta.container(bucket).change_settings(quota_bytes=quota_bytes)


async def used(served: Served, bucket: str) -> int:
    return int((await served.store.meta.container(bucket).counters()).used_bytes)


@pytest.fixture
def full(served: Served, s3: Any, bucket: str) -> str:
    """A bucket that takes SMALL and no byte more; beside it one to copy from."""
    s3.create_bucket(Bucket=f"{bucket}-source")
    s3.put_object(Bucket=bucket, Key="held", Body=HELD)
    served.run(set_quota, served, bucket, QUOTA)
    return bucket


@pytest.mark.parametrize("way", [put, put_part, copy, copy_part, append_new, append_more])
def test_what_does_not_fit_is_refused_and_leaves_nothing(served: Served, s3: Any, full: str, way: Put) -> None:
    assert refusal(way, s3, full, LARGE) == ("QuotaExceeded", 403)
    assert served.run(used, served, full) == len(HELD)
    assert s3.get_object(Bucket=full, Key="held")["Body"].read() == HELD
    assert s3.list_objects_v2(Bucket=full)["KeyCount"] == 1
    way(s3, full, SMALL)
    assert served.run(used, served, full) == QUOTA


def test_a_form_that_does_not_fit_is_refused(served: Served, s3: Any, full: str) -> None:
    page = Page(served, full)
    assert code(page.post(page.signed({"key": "new"}), LARGE)) == (403, "QuotaExceeded")
    assert s3.list_objects_v2(Bucket=full)["KeyCount"] == 1
    assert page.post(page.signed({"key": "new"}), SMALL)[0] == 204


def test_a_quota_below_what_is_there_lets_objects_shrink_and_go(served: Served, s3: Any, full: str) -> None:
    served.run(set_quota, served, full, KIB)
    assert refusal(put, s3, full, b"x") == ("QuotaExceeded", 403)
    s3.put_object(Bucket=full, Key="held", Body=HELD[1:])
    s3.delete_object(Bucket=full, Key="held")
    put(s3, full, b"x" * KIB)


def test_old_versions_count(served: Served, s3: Any, full: str) -> None:
    s3.put_bucket_versioning(Bucket=full, VersioningConfiguration={"Status": "Enabled"})
    assert refusal(lambda: s3.put_object(Bucket=full, Key="held", Body=HELD)) == ("QuotaExceeded", 403)
    s3.delete_object(Bucket=full, Key="held")
    assert refusal(lambda: s3.put_object(Bucket=full, Key="held", Body=HELD)) == ("QuotaExceeded", 403)
