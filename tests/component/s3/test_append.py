"""Appending with x-amz-write-offset-bytes."""

from __future__ import annotations

import base64
import random
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.component.s3.conftest import STRANGER, Served, client_for

KIB, MIB = 1 << 10, 1 << 20


def append(s3: Any, bucket: str, body: bytes, offset: int, key: str = "k", **more: Any) -> Any:
    return s3.put_object(Bucket=bucket, Key=key, Body=body, WriteOffsetBytes=offset, **more)


def body_of(s3: Any, bucket: str, key: str = "k", **more: Any) -> bytes:
    body: bytes = s3.get_object(Bucket=bucket, Key=key, **more)["Body"].read()
    return body


def refusal(call: Any, *arguments: Any, **named: Any) -> tuple[str, int]:
    with pytest.raises(ClientError) as caught:
        call(*arguments, **named)
    response = caught.value.response
    return response["Error"]["Code"], response["ResponseMetadata"]["HTTPStatusCode"]


@pytest.fixture(scope="module", params=[1, 3], ids=["one volume", "erasure code"])
def store(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with Served().running(*[tmp_path_factory.mktemp("store") for _ in range(request.param)]) as running:
        yield running


def crc32(data: bytes) -> str:
    return base64.b64encode(zlib.crc32(data).to_bytes(4, "big")).decode()


@pytest.mark.parametrize("sizes", [(5, 0, 7), (200 * KIB, 3, 300 * KIB), (0, 1), (3 * MIB, 100, 3 * MIB)])
def test_appends_make_one_object(store: Served, sizes: tuple[int, ...], seed: str) -> None:
    s3 = client_for(store)
    bucket, draw = f"appends-{len(sizes)}-{sizes[0]}", random.Random(seed)
    s3.create_bucket(Bucket=bucket)
    whole = b""
    etags = set()
    for number, size in enumerate(sizes, 1):
        piece = draw.randbytes(size)
        more = {"Metadata": {"colour": "blue"}, "ContentType": "text/plain"} if number == 1 else {}
        answer = append(s3, bucket, piece, len(whole), **more)
        whole += piece
        etags.add(answer["ETag"])
        assert (answer["Size"], answer["ChecksumCRC32"], answer["ChecksumType"]) == (len(whole), crc32(whole), "FULL_OBJECT")
        assert body_of(s3, bucket) == whole
    assert len(etags) == len(sizes)
    head = s3.head_object(Bucket=bucket, Key="k", ChecksumMode="ENABLED")
    assert (head["ContentLength"], head["ChecksumCRC32"], head["Metadata"]) == (len(whole), crc32(whole), {"colour": "blue"})
    assert head["ContentType"] == "text/plain"
    (listed,) = s3.list_objects_v2(Bucket=bucket)["Contents"]
    assert (listed["Size"], listed["ETag"]) == (len(whole), answer["ETag"])
    at = 0
    for number, size in enumerate(sizes, 1):
        assert body_of(s3, bucket, PartNumber=number) == whole[at : at + size]
        at += size
    for _ in range(5):
        start = draw.randrange(len(whole))
        stop = draw.randrange(start, len(whole))
        assert body_of(s3, bucket, Range=f"bytes={start}-{stop}") == whole[start : stop + 1]
    s3.copy_object(Bucket=bucket, Key="copy", CopySource=f"{bucket}/k")
    s3.delete_object(Bucket=bucket, Key="k")
    append(s3, bucket, b"more", len(whole), key="copy")
    assert body_of(s3, bucket, "copy") == whole + b"more"
    s3.close()


def test_an_offset_that_is_not_the_end_is_refused(served: Served, s3: Any, bucket: str) -> None:
    assert refusal(append, s3, bucket, b"x", 1) == ("InvalidWriteOffset", 400)
    append(s3, bucket, b"hello", 0)
    for offset in (0, 4, 6):
        assert refusal(append, s3, bucket, b"x", offset) == ("InvalidWriteOffset", 400)
    s3.put_object(Bucket=bucket, Key="other", Body=b"hello")
    assert refusal(append, s3, bucket, b"x", 0, key="other") == ("InvalidWriteOffset", 400)
    s3.put_bucket_acl(Bucket=bucket, ACL="public-read-write")
    shown = []
    for client in (s3, client_for(served, STRANGER)):
        with pytest.raises(ClientError) as caught:
            append(client, bucket, b"x", 0)
        shown.append(caught.value.response["Error"].get("ObjectSize"))
        assert caught.value.response["Error"]["Code"] == "InvalidWriteOffset"
    assert shown == ["5", None], "who may write only is not told the size"
    assert refusal(append, s3, bucket, b"x", 5, IfMatch='"other"') == ("PreconditionFailed", 412)
    assert refusal(append, s3, bucket, b"x", 5, IfNoneMatch="*") == ("PreconditionFailed", 412)
    assert refusal(append, s3, bucket, b"x", 5, ChecksumCRC32="AAAAAA==") == ("BadDigest", 400)
    assert body_of(s3, bucket) == b"hello"


def test_a_checksum_that_can_not_be_continued_is_dropped(s3: Any, bucket: str) -> None:
    s3.put_object(Bucket=bucket, Key="k", Body=b"hello", ChecksumAlgorithm="SHA256")
    assert not [name for name in append(s3, bucket, b"x", 5) if name.startswith("Checksum")]
    assert "ChecksumAlgorithm" not in s3.list_objects_v2(Bucket=bucket)["Contents"][0]


def test_the_object_keeps_its_algorithm_whichever_the_client_sends(s3: Any, bucket: str) -> None:
    s3.put_object(Bucket=bucket, Key="k", Body=b"hello", ChecksumAlgorithm="CRC32")
    answer = append(s3, bucket, b" you", 5, ChecksumAlgorithm="SHA1")
    assert (answer["ChecksumCRC32"], "ChecksumSHA1" in answer) == (crc32(b"hello you"), False)


def test_parts_of_an_upload_and_of_appends_are_told_alike(s3: Any, bucket: str) -> None:
    upload = s3.create_multipart_upload(Bucket=bucket, Key="k", ChecksumAlgorithm="CRC32", ChecksumType="FULL_OBJECT")["UploadId"]
    parts = []
    for number, piece in enumerate((b"a" * 5 * MIB, b"b" * 10), 1):
        part = s3.upload_part(Bucket=bucket, Key="k", UploadId=upload, PartNumber=number, Body=piece, ChecksumAlgorithm="CRC32")
        parts.append({"PartNumber": number, "ETag": part["ETag"], "ChecksumCRC32": part["ChecksumCRC32"]})
    s3.complete_multipart_upload(Bucket=bucket, Key="k", UploadId=upload, MultipartUpload={"Parts": parts})
    answer = append(s3, bucket, b"c" * 7, 5 * MIB + 10)
    assert answer["ETag"].endswith('-3"')
    assert answer["ChecksumCRC32"] == crc32(b"a" * 5 * MIB + b"b" * 10 + b"c" * 7)
    shown = s3.get_object_attributes(Bucket=bucket, Key="k", ObjectAttributes=["ObjectParts"])["ObjectParts"]["Parts"]
    assert [part["Size"] for part in shown] == [5 * MIB, 10, 7]
    assert [part["ChecksumCRC32"] for part in shown] == [parts[0]["ChecksumCRC32"], parts[1]["ChecksumCRC32"], crc32(b"c" * 7)]
    assert body_of(s3, bucket, PartNumber=3) == b"c" * 7


def test_where_versions_are_kept_the_old_one_stays(s3: Any, bucket: str) -> None:
    s3.put_object(Bucket=bucket, Key="k", Body=b"null")
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    first = append(s3, bucket, b"-one", 4)["VersionId"]
    second = append(s3, bucket, b"-two", 8)["VersionId"]
    assert [body_of(s3, bucket, VersionId=version) for version in ("null", first, second)] == [b"null", b"null-one", b"null-one-two"]
    for version in ("null", first):
        s3.delete_object(Bucket=bucket, Key="k", VersionId=version)
    assert body_of(s3, bucket) == b"null-one-two"
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Suspended"})
    assert append(s3, bucket, b"-three", 12)["VersionId"] == "null"
    assert append(s3, bucket, b"-four", 18)["VersionId"] == "null"
    assert body_of(s3, bucket, VersionId=second) == b"null-one-two"
    assert body_of(s3, bucket) == b"null-one-two-three-four"
    s3.delete_object(Bucket=bucket, Key="k")
    assert append(s3, bucket, b"new", 0)["Size"] == 3


def test_of_appends_at_one_time_one_wins_and_the_rest_is_told(served: Served, s3: Any, bucket: str) -> None:
    append(s3, bucket, b"", 0)

    def work(number: int) -> int:
        client = client_for(served)
        mine = 0
        try:
            while mine < 5:
                size = client.head_object(Bucket=bucket, Key="k")["ContentLength"]
                try:
                    append(client, bucket, bytes([number]) * 10, size)
                    mine += 1
                except ClientError as error:
                    assert error.response["Error"]["Code"] in ("InvalidWriteOffset", "ConditionalRequestConflict")
        finally:
            client.close()
        return mine

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(work, range(1, 5))) == [5] * 4
    whole = body_of(s3, bucket)
    pieces = [whole[at : at + 10] for at in range(0, len(whole), 10)]
    assert sorted(pieces) == sorted(bytes([number]) * 10 for number in range(1, 5) for _ in range(5))


def test_tags_changed_meanwhile_stay(served: Served, s3: Any, bucket: str) -> None:
    """The row is read before the bytes come and named after them: what changes between must not be lost."""
    append(s3, bucket, b"x", 0, Tagging="a=1")
    container = served.store.meta.container(bucket)

    async def race() -> None:
        from meta.protocol.object import Change
        from store.source import BytesSource

        old = await container.get("k")
        await container.change(Change("k", tags={"b": "2"}))
        await served.store.append_object(bucket, old, BytesSource(b"y"), combine=lambda *_: {})

    served.run(race)
    assert s3.get_object_tagging(Bucket=bucket, Key="k")["TagSet"] == [{"Key": "b", "Value": "2"}]
    assert body_of(s3, bucket) == b"xy"


def test_nothing_is_left_behind(served: Served, s3: Any, bucket: str) -> None:
    for offset in range(4):
        append(s3, bucket, b"x", offset)
    s3.delete_object(Bucket=bucket, Key="k")
    counters = served.run(served.store.meta.container(bucket).counters)
    assert (counters.classes, counters.upload_bytes) == ({}, 0)


def test_an_object_of_ten_thousand_parts_is_full(served: Served, s3: Any, bucket: str) -> None:
    import msgspec

    from meta.protocol.object import Change

    append(s3, bucket, b"x" * 10, 0)
    container = served.store.meta.container(bucket)

    async def fill() -> None:
        row = await container.get("k")
        await container.change(Change("k", attributes=msgspec.structs.replace(row.attributes, parts=(0,) * 9_999 + (10,))))

    served.run(fill)
    assert refusal(append, s3, bucket, b"x", 10) == ("TooManyParts", 400)


def test_a_refused_header_of_other_operations(s3: Any, bucket: str) -> None:
    def add(request: Any, **_: Any) -> None:
        request.headers["x-amz-write-offset-bytes"] = "0"

    s3.meta.events.register("before-sign.s3.CreateMultipartUpload", add)
    assert refusal(s3.create_multipart_upload, Bucket=bucket, Key="k") == ("NotImplemented", 501)


@pytest.mark.parametrize("text", ["-1", "x", "1.5", "9" * 19, ""])
def test_an_offset_that_is_no_number_is_refused(s3: Any, bucket: str, text: str) -> None:
    def add(request: Any, **_: Any) -> None:
        request.headers["x-amz-write-offset-bytes"] = text

    s3.meta.events.register("before-sign.s3.PutObject", add)
    assert refusal(s3.put_object, Bucket=bucket, Key="k", Body=b"x") == ("InvalidArgument", 400)
