"""Uploads in parts, in depth: what AWS answers to each wrong step, what is told of a part, what a completion leaves."""

from __future__ import annotations

import datetime
from collections.abc import Iterator
from typing import Any

import pytest
from botocore.exceptions import ClientError

from meta.protocol.object import ObjectRow
from tests.component.s3.conftest import OWNER, Served, client_for
from tests.support.client import UNSIGNED, Client, Credentials

MIB = 1 << 20
HOUR = datetime.timedelta(hours=1)


def refused(call: Any, **arguments: Any) -> dict[str, Any]:
    with pytest.raises(ClientError) as caught:
        call(**arguments)
    error: dict[str, Any] = caught.value.response["Error"]
    return {**error, "status": caught.value.response["ResponseMetadata"]["HTTPStatusCode"]}


class Upload:
    """One upload, with its parts so far."""

    def __init__(self, s3: Any, bucket: str, key: str = "k", **more: Any) -> None:
        self.s3 = s3
        self.begun = s3.create_multipart_upload(Bucket=bucket, Key=key, **more)
        self.name = {"Bucket": bucket, "Key": key, "UploadId": self.begun["UploadId"]}
        self.parts: dict[int, dict[str, Any]] = {}

    def put(self, number: int, body: bytes, **more: Any) -> Any:
        answer = self.s3.upload_part(**self.name, PartNumber=number, Body=body, **more)
        self.parts[number] = {"PartNumber": number, "ETag": answer["ETag"]}
        self.parts[number] |= {name: value for name, value in answer.items() if name.startswith("Checksum")}
        return answer

    def document(self, *numbers: int) -> dict[str, Any]:
        return {"Parts": [self.parts[number] for number in numbers or sorted(self.parts)]}

    def complete(self, *numbers: int, **more: Any) -> Any:
        return self.s3.complete_multipart_upload(**self.name, MultipartUpload=self.document(*numbers), **more)


def test_a_part_that_is_too_small_is_named(s3: Any, bucket: str) -> None:
    upload = Upload(s3, bucket)
    upload.put(1, b"small")
    upload.put(2, b"x")
    error = refused(upload.complete)
    etag = upload.parts[1]["ETag"].strip('"')
    expected = {"Code": "EntityTooSmall", "ProposedSize": "5", "MinSizeAllowed": "5242880", "PartNumber": "1", "ETag": etag, "status": 400}
    assert expected.items() <= error.items()


def test_a_part_that_is_not_there_is_named(s3: Any, bucket: str) -> None:
    upload = Upload(s3, bucket)
    upload.put(1, b"x")
    upload.parts[2] = {"PartNumber": 2, "ETag": '"0123"'}
    assert {"Code": "InvalidPart", "PartNumber": "2", "ETag": "0123", "status": 400}.items() <= refused(upload.complete).items()
    assert refused(upload.complete)["Code"] == "InvalidPart"
    assert refused(s3.complete_multipart_upload, **upload.name, MultipartUpload={"Parts": []})["Code"] == "MalformedXML"
    upload.complete(1)


def test_a_completion_may_be_repeated_until_the_object_is_another(s3: Any, bucket: str) -> None:
    upload = Upload(s3, bucket)
    upload.put(1, b"x")
    first = upload.complete()
    again = upload.complete()
    assert (again["ETag"], again["Location"]) == (first["ETag"], first["Location"])
    s3.put_object(Bucket=bucket, Key="k", Body=b"other")
    assert refused(upload.complete)["Code"] == "NoSuchUpload"
    assert s3.get_object(Bucket=bucket, Key="k")["Body"].read() == b"other"
    assert refused(s3.list_parts, **upload.name)["Code"] == "NoSuchUpload"
    assert refused(s3.abort_multipart_upload, **upload.name)["Code"] == "NoSuchUpload"


def test_a_part_is_replaced_by_a_later_one_of_its_number(s3: Any, bucket: str) -> None:
    upload = Upload(s3, bucket)
    old = upload.put(1, b"old")["ETag"]
    upload.put(1, b"newer")
    assert [part["Size"] for part in s3.list_parts(**upload.name)["Parts"]] == [5]
    assert (
        refused(s3.complete_multipart_upload, **upload.name, MultipartUpload={"Parts": [{"PartNumber": 1, "ETag": old}]})["Code"]
        == "InvalidPart"
    )
    upload.complete()
    assert s3.get_object(Bucket=bucket, Key="k")["Body"].read() == b"newer"


def test_what_an_upload_begins_with_the_object_has(s3: Any, bucket: str) -> None:
    more = {"StorageClass": "STANDARD_IA", "Tagging": "a=1", "Metadata": {"m": "ü"}, "CacheControl": "no-cache", "ContentType": "text/x"}
    more["Metadata"] = {"m": "x"}
    upload = Upload(s3, bucket, **more)
    (listed,) = s3.list_multipart_uploads(Bucket=bucket)["Uploads"]
    assert (listed["StorageClass"], listed["Owner"], listed["Initiator"]["DisplayName"]) == ("STANDARD_IA", listed["Initiator"], "Owner")
    assert s3.list_parts(**upload.name)["StorageClass"] == "STANDARD_IA"
    upload.put(1, b"x")
    upload.complete()
    head = s3.head_object(Bucket=bucket, Key="k")
    assert {name: head[name] for name in more if name != "Tagging"} == {name: more[name] for name in more if name != "Tagging"}
    assert s3.get_object_tagging(Bucket=bucket, Key="k")["TagSet"] == [{"Key": "a", "Value": "1"}]


def test_listings_of_uploads_tell_their_checksum(s3: Any, bucket: str) -> None:
    upload = Upload(s3, bucket, ChecksumAlgorithm="SHA256")
    Upload(s3, bucket, "none")
    first, second = s3.list_multipart_uploads(Bucket=bucket)["Uploads"]
    assert (first["ChecksumAlgorithm"], first["ChecksumType"]) == ("SHA256", "COMPOSITE")
    assert "ChecksumAlgorithm" not in second
    assert s3.list_parts(**upload.name)["ChecksumAlgorithm"] == "SHA256"


def test_a_composite_checksum_wants_each_parts(s3: Any, bucket: str) -> None:
    upload = Upload(s3, bucket, ChecksumAlgorithm="SHA256")
    upload.put(1, b"x", ChecksumAlgorithm="SHA256")
    value = upload.parts[1].pop("ChecksumSHA256")
    error = refused(upload.complete)
    assert (error["Code"], "missing for part 1" in error["Message"]) == ("InvalidRequest", True)
    upload.parts[1]["ChecksumSHA256"] = "A" * 43 + "="
    assert refused(upload.complete)["Code"] == "InvalidPart"
    upload.parts[1]["ChecksumSHA256"] = value
    assert refused(upload.complete, ChecksumSHA256="bad")["Code"] == "InvalidRequest"
    assert refused(upload.complete, ChecksumSHA256="A" * 43 + "=-1")["Code"] == "BadDigest"
    upload.complete()


def test_reading_a_part_tells_its_checksum(s3: Any, bucket: str) -> None:
    upload = Upload(s3, bucket, ChecksumAlgorithm="CRC32C", ChecksumType="COMPOSITE")
    upload.put(1, b"a" * 5 * MIB, ChecksumAlgorithm="CRC32C")
    upload.put(2, b"b", ChecksumAlgorithm="CRC32C")
    whole = upload.complete()["ChecksumCRC32C"]
    for number in (1, 2):
        for call in (s3.get_object, s3.head_object):
            part = call(Bucket=bucket, Key="k", PartNumber=number, ChecksumMode="ENABLED")
            assert (part["ChecksumCRC32C"], part["PartsCount"]) == (upload.parts[number]["ChecksumCRC32C"], 2)
            if "Body" in part:  # boto3 compares the bytes with it
                assert len(part["Body"].read()) == (5 * MIB if number == 1 else 1)
        assert "ChecksumCRC32C" not in s3.head_object(Bucket=bucket, Key="k", PartNumber=number)
    assert s3.head_object(Bucket=bucket, Key="k", ChecksumMode="ENABLED")["ChecksumCRC32C"] == whole
    pages = [
        s3.get_object_attributes(Bucket=bucket, Key="k", ObjectAttributes=["ObjectParts"], MaxParts=1, PartNumberMarker=at) for at in (0, 1)
    ]
    parts = [page["ObjectParts"] for page in pages]
    assert [(page["IsTruncated"], page["NextPartNumberMarker"], page["TotalPartsCount"]) for page in parts] == [(True, 1, 2), (False, 2, 2)]
    assert [page["Parts"][0]["Size"] for page in parts] == [5 * MIB, 1]


def test_the_size_and_conditions_of_a_completion(s3: Any, bucket: str) -> None:
    etag = s3.put_object(Bucket=bucket, Key="k", Body=b"there")["ETag"]
    upload = Upload(s3, bucket)
    upload.put(1, b"12345")
    assert refused(upload.complete, MpuObjectSize=4)["Code"] == "InvalidRequest"
    assert refused(upload.complete, IfNoneMatch="*")["status"] == 412
    assert refused(upload.complete, IfMatch='"other"')["status"] == 412
    upload.complete(MpuObjectSize=5, IfMatch=etag)


def test_an_abort_by_time(s3: Any, bucket: str) -> None:
    upload = Upload(s3, bucket)
    begun = s3.list_multipart_uploads(Bucket=bucket)["Uploads"][0]["Initiated"]
    assert refused(s3.abort_multipart_upload, **upload.name, IfMatchInitiatedTime=begun - HOUR)["status"] == 412
    s3.abort_multipart_upload(**upload.name, IfMatchInitiatedTime=begun)
    assert refused(upload.put, number=1, body=b"late")["Code"] == "NoSuchUpload"


@pytest.mark.parametrize(
    ("copy_range", "code"),
    [("bytes=0-10", "InvalidArgument"), ("bytes=5-4", "InvalidArgument"), ("bytes=0-", "InvalidArgument"), ("0-4", "InvalidArgument"),
     ("bytes=10-12", "InvalidArgument"), ("bytes=0-9", ""), ("bytes=9-9", "")],
)  # fmt: skip
def test_ranges_of_copied_parts(s3: Any, bucket: str, copy_range: str, code: str) -> None:
    s3.put_object(Bucket=bucket, Key="source", Body=b"0123456789")
    upload = Upload(s3, bucket)
    arguments = {**upload.name, "PartNumber": 1, "CopySource": f"{bucket}/source", "CopySourceRange": copy_range}
    if code:
        assert refused(s3.upload_part_copy, **arguments)["Code"] == code
        return
    upload.parts[1] = {"PartNumber": 1, "ETag": s3.upload_part_copy(**arguments)["CopyPartResult"]["ETag"]}
    upload.complete()
    first, last = copy_range.removeprefix("bytes=").split("-")
    assert s3.get_object(Bucket=bucket, Key="k")["Body"].read() == b"0123456789"[int(first) : int(last) + 1]


def test_parts_are_copied_from_versions_on_conditions(s3: Any, bucket: str) -> None:
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    old = s3.put_object(Bucket=bucket, Key="source", Body=b"old")
    s3.put_object(Bucket=bucket, Key="source", Body=b"new")
    upload = Upload(s3, bucket, ChecksumAlgorithm="CRC64NVME")
    source = {"Bucket": bucket, "Key": "source", "VersionId": old["VersionId"]}
    arguments = {**upload.name, "PartNumber": 1, "CopySource": source}
    assert refused(s3.upload_part_copy, **arguments, CopySourceIfNoneMatch=old["ETag"])["status"] == 412
    copied = s3.upload_part_copy(**arguments, CopySourceIfMatch=old["ETag"])
    assert copied["CopySourceVersionId"] == old["VersionId"]
    assert copied["CopyPartResult"]["ChecksumCRC64NVME"]
    upload.parts[1] = {"PartNumber": 1, "ETag": copied["CopyPartResult"]["ETag"]}
    upload.complete()
    assert s3.get_object(Bucket=bucket, Key="k")["Body"].read() == b"old"


def test_uploads_are_listed_in_pages_by_key_and_id(s3: Any, bucket: str) -> None:
    made = sorted((key, Upload(s3, bucket, key).name["UploadId"]) for key in ("a", "a", "a/x", "b b", "ü"))
    for size in (1, 2, 3):
        seen: list[tuple[str, str]] = []
        markers: dict[str, str] = {}
        while True:
            page = s3.list_multipart_uploads(Bucket=bucket, MaxUploads=size, **markers)
            seen += [(entry["Key"], entry["UploadId"]) for entry in page.get("Uploads", [])]
            if not page["IsTruncated"]:
                break
            markers = {"KeyMarker": page["NextKeyMarker"], "UploadIdMarker": page["NextUploadIdMarker"]}
        assert seen == sorted(made, key=lambda pair: (pair[0].encode(), pair[1]))
    raw = s3.list_multipart_uploads(Bucket=bucket, EncodingType="url", Prefix="b ")
    assert [entry["Key"] for entry in raw["Uploads"]] in (["b b"], ["b%20b"])
    assert [entry["Key"] for entry in s3.list_multipart_uploads(Bucket=bucket, KeyMarker="a/x")["Uploads"]] == ["b b", "ü"]
    assert "Uploads" not in s3.list_multipart_uploads(Bucket=bucket, MaxUploads=0)


def test_parts_are_listed_in_pages(s3: Any, bucket: str) -> None:
    upload = Upload(s3, bucket)
    for number in (10_000, 3, 7):
        upload.put(number, b"x" * number)
    page = s3.list_parts(**upload.name, MaxParts=2)
    assert ([part["PartNumber"] for part in page["Parts"]], page["IsTruncated"], page["NextPartNumberMarker"]) == ([3, 7], True, 7)
    page = s3.list_parts(**upload.name, PartNumberMarker=7)
    assert ([part["PartNumber"] for part in page["Parts"]], page["IsTruncated"]) == ([10_000], False)


def test_a_copy_computes_the_checksum_it_is_asked_for(served: Served, s3: Any, bucket: str) -> None:
    upload = Upload(s3, bucket)
    upload.put(1, b"a" * 5 * MIB)
    upload.put(2, b"b")
    upload.complete()
    kept = s3.copy_object(Bucket=bucket, Key="kept", CopySource=f"{bucket}/k")["CopyObjectResult"]
    assert kept["ETag"].endswith('-2"')
    made = s3.copy_object(Bucket=bucket, Key="made", CopySource=f"{bucket}/k", ChecksumAlgorithm="SHA256")["CopyObjectResult"]
    direct = s3.put_object(Bucket=bucket, Key="direct", Body=b"a" * 5 * MIB + b"b", ChecksumAlgorithm="SHA256")
    assert (made["ETag"], made["ChecksumSHA256"], made["ChecksumType"]) == (direct["ETag"], direct["ChecksumSHA256"], "FULL_OBJECT")
    head = s3.head_object(Bucket=bucket, Key="made", ChecksumMode="ENABLED")
    assert (head["ChecksumSHA256"], head["ETag"]) == (direct["ChecksumSHA256"], direct["ETag"])
    other = client_for(served)
    assert refused(other.copy_object, Bucket=bucket, Key="x", CopySource=f"{bucket}/k", ChecksumAlgorithm="MD4")["Code"] == "InvalidRequest"
    other.close()


def test_a_part_that_arrives_while_its_upload_is_aborted_is_refused_and_leaves_nothing(served: Served, s3: Any, bucket: str) -> None:
    upload = Upload(s3, bucket)
    upload.put(1, b"x")
    client = Client(served.endpoint, Credentials(OWNER.access_key, OWNER.secret))

    def pieces() -> Iterator[bytes]:
        yield b"a" * MIB
        s3.abort_multipart_upload(**upload.name)
        yield b"b" * MIB

    query = [("partNumber", "2"), ("uploadId", upload.name["UploadId"])]
    response = client.send("PUT", bucket, "k", query=query, body=pieces(), length=2 * MIB, payload=UNSIGNED)
    assert (response.status, b"<Code>NoSuchUpload</Code>" in response.read()) == (404, True)
    client.close()
    counters = served.run(served.store.meta.container(bucket).counters)
    assert (counters.uploads, counters.upload_bytes) == (0, 0)
    s3.delete_bucket(Bucket=bucket)


def test_a_source_beyond_five_gibibytes_is_not_copied_at_once(served: Served, s3: Any, bucket: str) -> None:
    size = (5 << 30) + 1
    served.run(served.store.meta.container(bucket).put, ObjectRow("huge", size=size, etag="0" * 32, content="c"))
    upload = Upload(s3, bucket)
    part = {**upload.name, "PartNumber": 1, "CopySource": f"{bucket}/huge"}
    for error in (refused(s3.copy_object, Bucket=bucket, Key="copy", CopySource=f"{bucket}/huge"), refused(s3.upload_part_copy, **part)):
        assert error["Code"] == "InvalidRequest"
        assert error["Message"] == "The specified copy source is larger than the maximum allowable size for a copy source: 5368709120"
    assert refused(s3.upload_part_copy, **part, CopySourceRange=f"bytes=0-{size - 1}")["Code"] == "InvalidRequest"


def test_a_bucket_goes_with_its_uploads(s3: Any, bucket: str) -> None:
    upload = Upload(s3, bucket)
    upload.put(1, b"x")
    s3.delete_bucket(Bucket=bucket)
    assert refused(upload.put, number=2, body=b"y")["Code"] == "NoSuchBucket"
    s3.create_bucket(Bucket=bucket)
    assert refused(upload.complete)["Code"] == "NoSuchUpload"
