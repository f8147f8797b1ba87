"""Refusals: code and status of each, as AWS documents them."""

from __future__ import annotations

import http.client
import re
from typing import Any

import pytest
from botocore.exceptions import ClientError

from store.absent import AbsentVolume
from tests.component.s3.conftest import STRANGER, Served, client_for

MISSING_UPLOAD = "0" * 32
TABLE: list[tuple[str, dict[str, Any], str, int]] = [
    ("get_object", {"Key": "none"}, "NoSuchKey", 404),
    ("get_object", {"Key": "none", "VersionId": "0123456789abcdef"}, "NoSuchVersion", 404),
    ("get_object", {"Key": "k", "VersionId": "nonsense"}, "InvalidArgument", 400),
    ("get_object", {"Key": "k", "Range": "bytes=5-"}, "InvalidRange", 416),
    ("get_object", {"Key": "k", "PartNumber": 2}, "InvalidPartNumber", 416),
    ("get_object", {"Key": "k", "PartNumber": 1, "Range": "bytes=0-1"}, "InvalidRequest", 400),
    ("get_object", {"Key": "k", "IfMatch": '"other"'}, "PreconditionFailed", 412),
    ("get_object", {"Bucket": "nobody-has-this", "Key": "k"}, "NoSuchBucket", 404),
    ("put_object", {"Bucket": "nobody-has-this", "Key": "k", "Body": b"x"}, "NoSuchBucket", 404),
    ("put_object", {"Key": "k", "Body": b"x", "IfNoneMatch": "*"}, "PreconditionFailed", 412),
    ("put_object", {"Key": "k", "Body": b"x", "IfMatch": '"other"'}, "PreconditionFailed", 412),
    ("put_object", {"Key": "none", "Body": b"x", "IfMatch": '"other"'}, "NoSuchKey", 404),
    ("put_object", {"Key": "k", "Body": b"x", "IfNoneMatch": '"e"'}, "NotImplemented", 501),
    ("put_object", {"Key": "k", "Body": b"x", "ContentMD5": "nonsense"}, "InvalidDigest", 400),
    ("put_object", {"Key": "k", "Body": b"x", "ContentMD5": "1B2M2Y8AsgTpgAmY7PhCfg=="}, "BadDigest", 400),
    ("put_object", {"Key": "k", "Body": b"x", "ChecksumSHA256": "1" * 43 + "="}, "BadDigest", 400),
    ("put_object", {"Key": "k", "Body": b"x", "ChecksumCRC32": "AAAAAA=="}, "BadDigest", 400),
    ("put_object", {"Key": "k", "Body": b"x", "ChecksumCRC32": "short"}, "InvalidRequest", 400),
    ("put_object", {"Key": "k" * 1025, "Body": b"x"}, "KeyTooLongError", 400),
    ("put_object", {"Key": "k", "Body": b"x", "Metadata": {"a": "x" * 3000}}, "MetadataTooLarge", 400),
    ("put_object", {"Key": "k", "Body": b"x", "StorageClass": "NONSENSE"}, "InvalidStorageClass", 400),
    ("put_object", {"Key": "k", "Body": b"x", "StorageClass": "OUTPOSTS"}, "InvalidStorageClass", 400),
    ("put_object", {"Key": "k", "Body": b"x", "ServerSideEncryption": "aws:kms:dsse"}, "NotImplemented", 501),
    ("put_object", {"Key": "k", "Body": b"x", "ACL": "log-delivery-write"}, "InvalidArgument", 400),
    ("put_object", {"Key": "k", "Body": b"x", "ACL": "nonsense"}, "InvalidArgument", 400),
    ("put_object", {"Key": "k", "Body": b"x", "GrantRead": "id=x"}, "InvalidArgument", 400),
    ("put_object", {"Key": "k", "Body": b"x", "Tagging": "&".join(f"k{i}=v" for i in range(11))}, "InvalidTag", 400),
    ("put_object", {"Key": "k", "Body": b"x", "ExpectedBucketOwner": "stranger"}, "AccessDenied", 403),
    ("put_object_tagging", {"Key": "k", "Tagging": {"TagSet": [{"Key": "a", "Value": "1"}] * 2}}, "InvalidTag", 400),
    ("put_object_tagging", {"Key": "none", "Tagging": {"TagSet": []}}, "NoSuchKey", 404),
    ("copy_object", {"Key": "k", "CopySource": "{bucket}/k"}, "InvalidRequest", 400),
    ("copy_object", {"Key": "k", "CopySource": "{bucket}"}, "ParamValidationError", 0),
    ("copy_object", {"Key": "c", "CopySource": "{bucket}/none"}, "NoSuchKey", 404),
    ("copy_object", {"Key": "c", "CopySource": "nobody-has-this/none"}, "NoSuchBucket", 404),
    ("copy_object", {"Key": "c", "CopySource": "{bucket}/k", "CopySourceIfMatch": '"other"'}, "PreconditionFailed", 412),
    ("copy_object", {"Key": "c", "CopySource": "{bucket}/k", "MetadataDirective": "NONSENSE"}, "InvalidArgument", 400),
    ("put_object", {"Key": "k", "Body": b"x", "WebsiteRedirectLocation": "ftp://x"}, "InvalidRedirectLocation", 400),
    ("put_object", {"Key": "k", "Body": b"x", "Tagging": "a%3C=1"}, "InvalidTag", 400),
    ("put_object", {"Key": "k", "Body": b"x", "Tagging": "aws%3Aa=1"}, "InvalidTag", 400),
    ("put_object", {"Key": "k", "Body": b"x", "Tagging": "a=1&a=2"}, "InvalidTag", 400),
    ("put_object", {"Key": "k", "Body": b"x", "Tagging": "a=" + "v" * 257}, "InvalidTag", 400),
    ("put_object_tagging", {"Key": "k", "Tagging": {"TagSet": [{"Key": "a", "Value": "b&c"}]}}, "InvalidTag", 400),
    ("copy_object", {"Key": "c", "CopySource": "{bucket}/k", "WebsiteRedirectLocation": "x"}, "InvalidRedirectLocation", 400),
    ("copy_object", {"Key": "c", "CopySource": "{bucket}/k", "TaggingDirective": "NONSENSE"}, "InvalidArgument", 400),
    ("copy_object", {"Key": "c", "CopySource": "{bucket}/k", "CopySourceIfNoneMatch": "*"}, "PreconditionFailed", 412),
    ("copy_object", {"Key": "k", "CopySource": "{bucket}/k", "IfNoneMatch": "*", "StorageClass": "STANDARD_IA"}, "PreconditionFailed", 412),
    ("copy_object", {"Key": "c", "CopySource": "{bucket}/k?versionId=nonsense"}, "InvalidArgument", 400),
    ("list_objects_v2", {"OptionalObjectAttributes": ["Nonsense"]}, "InvalidArgument", 400),
    ("list_object_versions", {"KeyMarker": "k", "VersionIdMarker": ""}, "InvalidArgument", 400),
    ("list_object_versions", {"KeyMarker": "k", "VersionIdMarker": "nonsense"}, "InvalidArgument", 400),
    ("list_objects", {"MaxKeys": 2**31}, "InvalidArgument", 400),
    ("list_parts", {"Key": "k", "UploadId": MISSING_UPLOAD, "MaxParts": -1}, "InvalidArgument", 400),
    ("get_object_attributes", {"Key": "k", "ObjectAttributes": ["Nonsense"]}, "InvalidArgument", 400),
    ("get_object_attributes", {"Key": "none", "ObjectAttributes": ["ETag"]}, "NoSuchKey", 404),
    ("get_object", {"Key": "k", "PartNumber": 0}, "InvalidArgument", 400),
    ("get_object", {"Key": "k", "PartNumber": 10001}, "InvalidArgument", 400),
    ("delete_object", {"Key": "k", "IfMatch": '"other"'}, "PreconditionFailed", 412),
    ("delete_object", {"Key": "k", "IfMatchSize": 4}, "PreconditionFailed", 412),
    ("delete_object", {"Key": "k", "VersionId": "nonsense"}, "InvalidArgument", 400),
    ("rename_object", {"Key": "c", "RenameSource": "none"}, "NoSuchKey", 404),
    ("list_objects_v2", {"ContinuationToken": "nonsense"}, "InvalidArgument", 400),
    ("list_objects_v2", {"MaxKeys": -1}, "InvalidArgument", 400),
    ("list_objects_v2", {"EncodingType": "nonsense"}, "InvalidArgument", 400),
    ("list_object_versions", {"VersionIdMarker": "null"}, "InvalidArgument", 400),
    ("delete_objects", {"Delete": {"Objects": [{"Key": "k"}] * 1001}}, "MalformedXML", 400),
    ("delete_objects", {"Delete": {"Objects": []}}, "MalformedXML", 400),
    ("upload_part", {"Key": "k", "UploadId": MISSING_UPLOAD, "PartNumber": 1, "Body": b""}, "NoSuchUpload", 404),
    ("upload_part", {"Key": "k", "UploadId": MISSING_UPLOAD, "PartNumber": 0, "Body": b""}, "InvalidArgument", 400),
    ("upload_part", {"Key": "k", "UploadId": MISSING_UPLOAD, "PartNumber": 10001, "Body": b""}, "InvalidArgument", 400),
    ("upload_part", {"Key": "k", "UploadId": "../x", "PartNumber": 1, "Body": b""}, "NoSuchUpload", 404),
    ("list_parts", {"Key": "k", "UploadId": MISSING_UPLOAD}, "NoSuchUpload", 404),
    ("abort_multipart_upload", {"Key": "k", "UploadId": MISSING_UPLOAD}, "NoSuchUpload", 404),
    (
        "complete_multipart_upload",
        {"Key": "k", "UploadId": MISSING_UPLOAD, "MultipartUpload": {"Parts": [{"PartNumber": 1, "ETag": "e"}]}},
        "NoSuchUpload",
        404,
    ),
    ("create_multipart_upload", {"Key": "k", "ChecksumAlgorithm": "SHA256", "ChecksumType": "FULL_OBJECT"}, "InvalidRequest", 400),
    ("create_multipart_upload", {"Key": "k", "ChecksumAlgorithm": "MD4"}, "InvalidRequest", 400),
    ("create_multipart_upload", {"Key": "k", "ChecksumAlgorithm": "XXHASH3", "ChecksumType": "FULL_OBJECT"}, "InvalidRequest", 400),
    ("create_bucket", {"Bucket": "Upper"}, "InvalidBucketName", 400),
    ("create_bucket", {"Bucket": "192.168.1.1"}, "InvalidBucketName", 400),
    (
        "create_bucket",
        {"Bucket": "made", "CreateBucketConfiguration": {"LocationConstraint": "eu-west-1"}},
        "IllegalLocationConstraintException",
        400,
    ),
    ("create_bucket", {"Bucket": "made", "CreateBucketConfiguration": {"LocationConstraint": "mars-1"}}, "InvalidLocationConstraint", 400),
    ("create_bucket", {"Bucket": "made", "CreateBucketConfiguration": {"Tags": [{"Key": "", "Value": ""}]}}, "InvalidTag", 400),
    ("create_bucket", {"Bucket": "made", "CreateBucketConfiguration": {"Bucket": {"Type": "Directory"}}}, "NotImplemented", 501),
    ("create_bucket", {"Bucket": "made", "BucketNamespace": "account-regional"}, "NotImplemented", 501),
    ("put_bucket_versioning", {"VersioningConfiguration": {"Status": "Nonsense"}}, "MalformedXML", 400),
    ("get_bucket_policy", {}, "NoSuchBucketPolicy", 404),
    ("restore_object", {"Key": "k", "RestoreRequest": {"Days": 1}}, "InvalidObjectState", 403),
]  # fmt: skip


@pytest.fixture(scope="module")
def filled(served: Served) -> Any:
    s3 = client_for(served, parameter_validation=False)
    s3.meta.events.unregister("before-parameter-build.s3", _validator(s3))
    s3.create_bucket(Bucket="errors")
    s3.put_object(Bucket="errors", Key="k", Body=b"12345")
    yield s3
    s3.close()


def _validator(s3: Any) -> Any:
    from botocore.handlers import validate_bucket_name

    return validate_bucket_name


@pytest.mark.parametrize(("operation", "arguments", "code", "status"), [row for row in TABLE if row[3]])
def test_refusal(filled: Any, operation: str, arguments: dict[str, Any], code: str, status: int) -> None:
    arguments = {
        name: value.replace("{bucket}", "errors") if name == "CopySource" and isinstance(value, str) else value
        for name, value in arguments.items()
    }
    with pytest.raises(ClientError) as caught:
        getattr(filled, operation)(**{"Bucket": "errors", **arguments})
    response = caught.value.response
    assert (response["Error"]["Code"], response["ResponseMetadata"]["HTTPStatusCode"]) == (code, status)
    assert response["ResponseMetadata"]["RequestId"]


def test_what_was_refused_left_nothing(filled: Any) -> None:
    assert [row["Key"] for row in filled.list_objects_v2(Bucket="errors")["Contents"]] == ["k"]
    assert filled.get_object(Bucket="errors", Key="k")["Body"].read() == b"12345"


OTHERS: list[tuple[str, dict[str, Any]]] = [
    ("get_object", {"Key": "k"}),
    ("get_object", {"Key": "none"}),
    ("head_object", {"Key": "k"}),
    ("put_object", {"Key": "k", "Body": b"x"}),
    ("delete_object", {"Key": "k"}),
    ("delete_objects", {"Delete": {"Objects": [{"Key": "k"}]}}),
    ("list_objects", {}),
    ("list_objects_v2", {}),
    ("list_object_versions", {}),
    ("list_multipart_uploads", {}),
    ("create_multipart_upload", {"Key": "k"}),
    ("upload_part", {"Key": "k", "UploadId": MISSING_UPLOAD, "PartNumber": 1, "Body": b""}),
    ("head_bucket", {}),
    ("delete_bucket", {}),
    ("get_bucket_acl", {}),
    ("put_bucket_acl", {"ACL": "public-read"}),
    ("get_bucket_versioning", {}),
    ("get_object_acl", {"Key": "k"}),
    ("put_object_acl", {"Key": "k", "ACL": "public-read"}),
    ("get_object_tagging", {"Key": "k"}),
    ("get_object_attributes", {"Key": "k", "ObjectAttributes": ["ETag"]}),
    ("copy_object", {"Key": "c", "CopySource": "errors/k"}),
]


@pytest.mark.parametrize("who", [STRANGER, None], ids=["stranger", "anonymous"])
@pytest.mark.parametrize(("operation", "arguments"), OTHERS)
def test_others_are_denied(served: Served, filled: Any, who: Any, operation: str, arguments: dict[str, Any]) -> None:
    other = client_for(served, who)
    with pytest.raises(ClientError) as caught:
        getattr(other, operation)(Bucket="errors", **arguments)
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 403
    other.close()


def test_a_stranger_can_not_copy_from_here(served: Served, filled: Any) -> None:
    other = client_for(served, STRANGER)
    other.create_bucket(Bucket="strangers")
    with pytest.raises(ClientError) as caught:
        other.copy_object(Bucket="strangers", Key="stolen", CopySource="errors/k")
    assert caught.value.response["Error"]["Code"] == "AccessDenied"
    upload = other.create_multipart_upload(Bucket="strangers", Key="stolen")["UploadId"]
    with pytest.raises(ClientError) as caught:
        other.upload_part_copy(Bucket="strangers", Key="stolen", UploadId=upload, PartNumber=1, CopySource="errors/k")
    assert caught.value.response["Error"]["Code"] == "AccessDenied"
    with pytest.raises(ClientError) as caught:
        other.create_bucket(Bucket="errors")
    assert caught.value.response["Error"]["Code"] == "BucketAlreadyExists"
    other.close()


def _raw(served: Served, method: str, target: str, headers: dict[str, str] | None = None, body: bytes = b"") -> tuple[int, bytes, Any]:
    connection = http.client.HTTPConnection("127.0.0.1", served.port, timeout=10)
    connection.request(method, target, body or None, headers or {})
    response = connection.getresponse()
    result = response.status, response.read(), response.headers
    connection.close()
    return result


def test_an_unsigned_request_is_denied_in_xml_with_its_id(served: Served) -> None:
    status, body, headers = _raw(served, "GET", "/")
    assert status == 403
    assert headers["Content-Type"] == "application/xml"
    match = re.search(rb"<Code>AccessDenied</Code>.*<RequestId>([0-9A-F]+)</RequestId>", body)
    assert match is not None
    assert match[1].decode() == headers["x-amz-request-id"]


def test_a_head_is_refused_without_a_body(served: Served) -> None:
    status, body, _ = _raw(served, "HEAD", "/errors/k")
    assert (status, body) == (403, b"")


@pytest.mark.parametrize("method", ["PATCH", "TRACE"])
def test_other_methods_are_refused(served: Served, method: str) -> None:
    assert _raw(served, method, "/errors/k")[0] in (400, 403, 405, 501)


def test_echoed_names_can_not_break_out(served: Served) -> None:
    status, body, _ = _raw(served, "GET", "/%3Cscript%3E%0d%0aX:%20y/%3C%22&k")
    assert status in (400, 403)
    assert b"<script>" not in body


def test_an_object_whose_volumes_are_away_is_asked_for_again_later(filled: Any, served: Served) -> None:
    volumes = served.store.volumes
    before = dict(volumes)
    try:
        volumes.update({name: AbsentVolume(name, "its host has no power") for name in before})
        for call in (
            lambda: filled.get_object(Bucket="errors", Key="k"),
            lambda: filled.copy_object(
                Bucket="errors", Key="c", CopySource="errors/k", StorageClass="STANDARD_IA", MetadataDirective="REPLACE"
            ),
        ):
            with pytest.raises(ClientError) as caught:
                call()
            answer = caught.value.response
            assert (answer["Error"]["Code"], answer["ResponseMetadata"]["HTTPStatusCode"]) == ("ServiceUnavailable", 503)
            assert int(answer["ResponseMetadata"]["HTTPHeaders"]["retry-after"]) >= 1
        assert filled.head_object(Bucket="errors", Key="k")["ContentLength"] == 5
    finally:
        volumes.update(before)
    assert filled.get_object(Bucket="errors", Key="k")["Body"].read() == b"12345"
