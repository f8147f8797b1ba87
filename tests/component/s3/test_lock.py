"""Object lock as S3's clients see it: configuration, retention, legal hold, and what they forbid."""

from __future__ import annotations

import datetime
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.component.s3.conftest import Served, client_for

UTC = datetime.UTC
FUTURE = datetime.datetime(2090, 1, 2, 3, 4, 5, 678_000, tzinfo=UTC)
LATER = FUTURE + datetime.timedelta(days=1)
EARLIER = FUTURE - datetime.timedelta(days=1)
PAST = datetime.datetime(2020, 1, 1, tzinfo=UTC)
GOVERNED = {"Mode": "GOVERNANCE", "RetainUntilDate": FUTURE}
COMPLIANT = {"Mode": "COMPLIANCE", "RetainUntilDate": FUTURE}


def refusal(call: Any, **arguments: Any) -> tuple[str, int]:
    with pytest.raises(ClientError) as caught:
        call(**arguments)
    response = caught.value.response
    return response["Error"]["Code"], response["ResponseMetadata"]["HTTPStatusCode"]


_count = 0


@pytest.fixture
def locked(s3: Any) -> str:
    """A bucket with object lock."""
    global _count
    _count += 1
    name = f"locked-{_count}"
    s3.create_bucket(Bucket=name, ObjectLockEnabledForBucket=True)
    return name


def put(s3: Any, bucket: str, **more: Any) -> str:
    version: str = s3.put_object(Bucket=bucket, Key="k", Body=b"x", **more)["VersionId"]
    return version


def test_a_bucket_is_made_with_object_lock_and_versioning(s3: Any, locked: str) -> None:
    assert s3.get_bucket_versioning(Bucket=locked)["Status"] == "Enabled"
    assert s3.get_object_lock_configuration(Bucket=locked)["ObjectLockConfiguration"] == {"ObjectLockEnabled": "Enabled"}
    arguments = {"Bucket": locked, "VersioningConfiguration": {"Status": "Suspended"}}
    assert refusal(s3.put_bucket_versioning, **arguments) == ("InvalidBucketState", 409)


def configuration(**default: Any) -> dict[str, Any]:
    return {"ObjectLockEnabled": "Enabled", "Rule": {"DefaultRetention": default}}


@pytest.mark.parametrize("default", [{"Mode": "GOVERNANCE", "Days": 1}, {"Mode": "COMPLIANCE", "Years": 2}])
def test_a_configuration_comes_back_and_protects_new_versions(s3: Any, locked: str, default: dict[str, Any]) -> None:
    wanted = configuration(**default)
    s3.put_object_lock_configuration(Bucket=locked, ObjectLockConfiguration=wanted)
    assert s3.get_object_lock_configuration(Bucket=locked)["ObjectLockConfiguration"] == wanted
    version = put(s3, locked)
    head = s3.head_object(Bucket=locked, Key="k")
    assert head["ObjectLockMode"] == default["Mode"]
    assert head["ObjectLockRetainUntilDate"] > head["LastModified"] + datetime.timedelta(days=1 if "Days" in default else 729)
    assert refusal(s3.delete_object, Bucket=locked, Key="k", VersionId=version) == ("AccessDenied", 403)
    copied = s3.copy_object(Bucket=locked, Key="copy", CopySource=f"{locked}/k")["VersionId"]
    assert s3.head_object(Bucket=locked, Key="copy", VersionId=copied)["ObjectLockMode"] == default["Mode"]
    upload = s3.create_multipart_upload(Bucket=locked, Key="parts")["UploadId"]
    etag = s3.upload_part(Bucket=locked, Key="parts", UploadId=upload, PartNumber=1, Body=b"x")["ETag"]
    parts = {"Parts": [{"PartNumber": 1, "ETag": etag}]}
    s3.complete_multipart_upload(Bucket=locked, Key="parts", UploadId=upload, MultipartUpload=parts)
    assert s3.get_object_retention(Bucket=locked, Key="parts")["Retention"]["Mode"] == default["Mode"]


def test_a_record_on_disk_tells_of_the_default_retention(served: Served, s3: Any, locked: str) -> None:
    """At once, not when the queue of records is worked off: the guess of the gateway was right."""
    s3.put_object_lock_configuration(Bucket=locked, ObjectLockConfiguration=configuration(Mode="GOVERNANCE", Days=1))
    put(s3, locked)  # a first put learns that the bucket has versions
    before = served.run(served.store.meta.container(locked).records_to_sync, 1_000)
    put(s3, locked)
    known = {each.id for each in before}
    assert [each for each in served.run(served.store.meta.container(locked).records_to_sync, 1_000) if each.id not in known] == []


def test_object_lock_can_be_enabled_later_where_versions_are(s3: Any, bucket: str) -> None:
    wanted = configuration(Mode="GOVERNANCE", Days=1)
    assert refusal(s3.get_object_lock_configuration, Bucket=bucket) == ("ObjectLockConfigurationNotFoundError", 404)
    arguments = {"Bucket": bucket, "ObjectLockConfiguration": wanted}
    assert refusal(s3.put_object_lock_configuration, **arguments) == ("InvalidBucketState", 409)
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Suspended"})
    assert refusal(s3.put_object_lock_configuration, **arguments) == ("InvalidBucketState", 409)
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    s3.put_object_lock_configuration(**arguments)
    assert s3.get_object_lock_configuration(Bucket=bucket)["ObjectLockConfiguration"] == wanted


@pytest.mark.parametrize(
    ("wanted", "code"),
    [
        ({}, "MalformedXML"),
        ({"ObjectLockEnabled": "Disabled"}, "MalformedXML"),
        ({"ObjectLockEnabled": "Enabled", "Rule": {}}, "MalformedXML"),
        (configuration(Mode="GOVERNANCE"), "MalformedXML"),
        (configuration(Days=1), "MalformedXML"),
        (configuration(Mode="governance", Days=1), "MalformedXML"),
        (configuration(Mode="GOVERNANCE", Days=1, Years=1), "MalformedXML"),
        (configuration(Mode="GOVERNANCE", Days=0), "InvalidArgument"),
        (configuration(Mode="GOVERNANCE", Days=-1), "InvalidArgument"),
        (configuration(Mode="GOVERNANCE", Years=-1), "InvalidArgument"),
        (configuration(Mode="GOVERNANCE", Years=101), "InvalidArgument"),
        (configuration(Mode="GOVERNANCE", Days=36_501), "InvalidArgument"),
    ],
)
def test_impossible_configurations_are_refused(s3: Any, locked: str, wanted: dict[str, Any], code: str) -> None:
    assert refusal(s3.put_object_lock_configuration, Bucket=locked, ObjectLockConfiguration=wanted) == (code, 400)


def test_retention_is_set_told_and_prolonged(s3: Any, locked: str) -> None:
    version = put(s3, locked)
    assert refusal(s3.get_object_retention, Bucket=locked, Key="k") == ("NoSuchObjectLockConfiguration", 404)
    s3.put_object_retention(Bucket=locked, Key="k", Retention=GOVERNED)
    assert s3.get_object_retention(Bucket=locked, Key="k", VersionId=version)["Retention"] == GOVERNED
    head = s3.head_object(Bucket=locked, Key="k")
    assert (head["ObjectLockMode"], head["ObjectLockRetainUntilDate"]) == ("GOVERNANCE", FUTURE)
    assert "ObjectLockLegalHoldStatus" not in head
    longer = {**GOVERNED, "RetainUntilDate": LATER}
    s3.put_object_retention(Bucket=locked, Key="k", Retention=longer)
    assert s3.get_object_retention(Bucket=locked, Key="k")["Retention"] == longer


@pytest.mark.parametrize(
    ("old", "new", "bypassed"),
    [
        (GOVERNED, {**GOVERNED, "RetainUntilDate": EARLIER}, True),
        (GOVERNED, COMPLIANT, True),
        (GOVERNED, {}, True),
        (COMPLIANT, {**COMPLIANT, "RetainUntilDate": EARLIER}, False),
        (COMPLIANT, {**GOVERNED, "RetainUntilDate": LATER}, False),
        (COMPLIANT, {}, False),
    ],
)
def test_retention_is_loosened_only_with_the_bypass(s3: Any, locked: str, old: Any, new: Any, bypassed: bool) -> None:
    put(s3, locked, ObjectLockMode=old["Mode"], ObjectLockRetainUntilDate=old["RetainUntilDate"])
    arguments = {"Bucket": locked, "Key": "k", "Retention": new}
    assert refusal(s3.put_object_retention, **arguments) == ("AccessDenied", 403)
    if bypassed:
        s3.put_object_retention(**arguments, BypassGovernanceRetention=True)
    else:
        assert refusal(s3.put_object_retention, **arguments, BypassGovernanceRetention=True) == ("AccessDenied", 403)


@pytest.mark.parametrize("mode", ["GOVERNANCE", "COMPLIANCE"])
def test_a_version_under_retention_can_not_be_deleted(s3: Any, locked: str, mode: str) -> None:
    version = put(s3, locked, ObjectLockMode=mode, ObjectLockRetainUntilDate=FUTURE)
    assert "VersionId" in s3.delete_object(Bucket=locked, Key="k")  # a marker hides it and deletes nothing
    arguments = {"Bucket": locked, "Key": "k", "VersionId": version}
    assert refusal(s3.delete_object, **arguments) == ("AccessDenied", 403)
    named = {"Objects": [{"Key": "k", "VersionId": version}]}
    (error,) = s3.delete_objects(Bucket=locked, Delete=named)["Errors"]
    assert (error["Code"], error["Key"], error["VersionId"]) == ("AccessDenied", "k", version)
    if mode == "GOVERNANCE":
        s3.delete_object(**arguments, BypassGovernanceRetention=True)
        again = put(s3, locked, ObjectLockMode=mode, ObjectLockRetainUntilDate=FUTURE)
        named = {"Objects": [{"Key": "k", "VersionId": again}]}
        assert "Errors" not in s3.delete_objects(Bucket=locked, Delete=named, BypassGovernanceRetention=True)
    else:
        assert refusal(s3.delete_object, **arguments, BypassGovernanceRetention=True) == ("AccessDenied", 403)


def test_legal_hold_is_set_told_and_lifted(s3: Any, locked: str) -> None:
    version = put(s3, locked, ObjectLockLegalHoldStatus="ON")
    assert s3.head_object(Bucket=locked, Key="k")["ObjectLockLegalHoldStatus"] == "ON"
    arguments = {"Bucket": locked, "Key": "k", "VersionId": version}
    assert refusal(s3.delete_object, **arguments, BypassGovernanceRetention=True) == ("AccessDenied", 403)
    s3.put_object_legal_hold(**arguments, LegalHold={"Status": "OFF"})
    assert s3.get_object_legal_hold(**arguments)["LegalHold"] == {"Status": "OFF"}
    assert s3.head_object(Bucket=locked, Key="k")["ObjectLockLegalHoldStatus"] == "OFF"
    s3.delete_object(**arguments)
    put(s3, locked)
    assert refusal(s3.get_object_legal_hold, Bucket=locked, Key="k") == ("NoSuchObjectLockConfiguration", 404)


def test_a_copy_and_an_upload_take_the_protection_they_are_given(s3: Any, locked: str) -> None:
    put(s3, locked, ObjectLockMode="GOVERNANCE", ObjectLockRetainUntilDate=FUTURE, ObjectLockLegalHoldStatus="ON")
    s3.copy_object(Bucket=locked, Key="plain", CopySource=f"{locked}/k")
    assert not {"ObjectLockMode", "ObjectLockLegalHoldStatus"} & set(s3.head_object(Bucket=locked, Key="plain"))
    asked = {"ObjectLockMode": "COMPLIANCE", "ObjectLockRetainUntilDate": LATER.replace(microsecond=0), "ObjectLockLegalHoldStatus": "ON"}
    s3.copy_object(Bucket=locked, Key="copy", CopySource=f"{locked}/k", **asked)
    upload = s3.create_multipart_upload(Bucket=locked, Key="parts", **asked)["UploadId"]
    etag = s3.upload_part(Bucket=locked, Key="parts", UploadId=upload, PartNumber=1, Body=b"x")["ETag"]
    parts = {"Parts": [{"PartNumber": 1, "ETag": etag}]}
    s3.complete_multipart_upload(Bucket=locked, Key="parts", UploadId=upload, MultipartUpload=parts)
    for key in ("copy", "parts"):
        head = s3.head_object(Bucket=locked, Key=key)
        assert {name: head[name] for name in asked} == asked


TABLE: list[tuple[str, dict[str, Any], str, int]] = [
    ("put_object", {"Body": b"x", "ObjectLockMode": "GOVERNANCE"}, "InvalidArgument", 400),
    ("put_object", {"Body": b"x", "ObjectLockRetainUntilDate": FUTURE}, "InvalidArgument", 400),
    ("put_object", {"Body": b"x", "ObjectLockMode": "NONE", "ObjectLockRetainUntilDate": FUTURE}, "InvalidArgument", 400),
    ("put_object", {"Body": b"x", "ObjectLockMode": "GOVERNANCE", "ObjectLockRetainUntilDate": PAST}, "InvalidArgument", 400),
    ("put_object", {"Body": b"x", "ObjectLockLegalHoldStatus": "MAYBE"}, "InvalidArgument", 400),
    ("put_object", {"Body": b"x", "ObjectLockEventHold": "ON"}, "NotImplemented", 501),
    ("put_object_retention", {"Retention": {"Mode": "GOVERNANCE"}}, "MalformedXML", 400),
    ("put_object_retention", {"Retention": {"RetainUntilDate": FUTURE}}, "MalformedXML", 400),
    ("put_object_retention", {"Retention": {**GOVERNED, "Mode": "abc"}}, "MalformedXML", 400),
    ("put_object_retention", {"Retention": {**GOVERNED, "RetainUntilDate": PAST}}, "InvalidArgument", 400),
    ("put_object_retention", {"Retention": {**GOVERNED, "EventHold": "ON"}}, "NotImplemented", 501),
    ("put_object_retention", {"Retention": GOVERNED, "VersionId": "0" * 15 + "1"}, "NoSuchVersion", 404),
    ("put_object_retention", {"Retention": GOVERNED, "Key": "none"}, "NoSuchKey", 404),
    ("put_object_retention", {"Retention": GOVERNED, "Key": "gone"}, "NoSuchKey", 404),
    ("put_object_retention", {"Retention": GOVERNED, "Key": "gone", "VersionId": "{marker}"}, "MethodNotAllowed", 405),
    ("get_object_retention", {"Key": "none"}, "NoSuchKey", 404),
    ("get_object_retention", {"Key": "gone", "VersionId": "{marker}"}, "MethodNotAllowed", 405),
    ("put_object_legal_hold", {"LegalHold": {"Status": "on"}}, "MalformedXML", 400),
    ("put_object_legal_hold", {"LegalHold": {}}, "MalformedXML", 400),
    ("put_object_legal_hold", {"LegalHold": {"Status": "ON"}, "Key": "none"}, "NoSuchKey", 404),
    ("get_object_legal_hold", {"Key": "none"}, "NoSuchKey", 404),
    ("put_object_retention", {"Bucket": "unlocked", "Retention": GOVERNED}, "InvalidRequest", 400),
    ("get_object_retention", {"Bucket": "unlocked"}, "InvalidRequest", 400),
    ("put_object_legal_hold", {"Bucket": "unlocked", "LegalHold": {"Status": "ON"}}, "InvalidRequest", 400),
    ("get_object_legal_hold", {"Bucket": "unlocked"}, "InvalidRequest", 400),
    ("put_object", {"Bucket": "unlocked", "Body": b"x", "ObjectLockLegalHoldStatus": "ON"}, "InvalidRequest", 400),
    ("put_object", {"Bucket": "unlocked", "Body": b"x", "ObjectLockMode": "GOVERNANCE", "ObjectLockRetainUntilDate": FUTURE},
     "InvalidRequest", 400),
]  # fmt: skip


@pytest.fixture(scope="module")
def prepared(served: Served) -> Any:
    s3 = client_for(served, parameter_validation=False)
    s3.create_bucket(Bucket="lock-errors", ObjectLockEnabledForBucket=True)
    s3.create_bucket(Bucket="unlocked")
    for bucket in ("lock-errors", "unlocked"):
        s3.put_object(Bucket=bucket, Key="k", Body=b"x")
    marker = s3.delete_object(Bucket="lock-errors", Key="gone")["VersionId"]
    yield s3, marker
    s3.close()


@pytest.mark.parametrize(("operation", "arguments", "code", "status"), TABLE)
def test_refusal(prepared: Any, operation: str, arguments: dict[str, Any], code: str, status: int) -> None:
    s3, marker = prepared
    if arguments.get("VersionId") == "{marker}":
        arguments = {**arguments, "VersionId": marker}
    assert refusal(getattr(s3, operation), **{"Bucket": "lock-errors", "Key": "k", **arguments}) == (code, status)


def test_a_locked_put_without_a_checksum_is_refused(served: Served, locked: str) -> None:
    bare = client_for(served, request_checksum_calculation="when_required")
    arguments = {"Bucket": locked, "Key": "k", "Body": b"x", "ObjectLockMode": "GOVERNANCE", "ObjectLockRetainUntilDate": FUTURE}
    assert refusal(bare.put_object, **arguments) == ("InvalidRequest", 400)
    bare.put_object(**arguments, ChecksumAlgorithm="SHA256")
    bare.put_object(Bucket=locked, Key="free", Body=b"x")
    bare.close()
