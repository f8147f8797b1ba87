"""Lifecycle configuration through boto3: what AWS refuses is refused, and objects tell when they expire."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any

import pytest

from tests.component.s3.conftest import Served, client_for
from tests.component.s3.test_configuration import refusal, tag


def rule(**more: Any) -> dict[str, Any]:
    return {"ID": "r", "Status": "Enabled", "Filter": {"Prefix": ""}, **more}


def expiring(**more: Any) -> dict[str, Any]:
    return rule(**{"Expiration": {"Days": 1}, **more})


def moving(*steps: tuple[str, int], **more: Any) -> dict[str, Any]:
    return rule(Transitions=[{"StorageClass": name, "Days": days} for name, days in steps], **more)


def aging(*steps: tuple[str, int], **more: Any) -> dict[str, Any]:
    return rule(NoncurrentVersionTransitions=[{"StorageClass": name, "NoncurrentDays": days} for name, days in steps], **more)


NEW_YEAR = datetime(2040, 1, 1, tzinfo=UTC)
BOTH = {"Prefix": "a", "Tags": [tag("a"), tag("b")], "ObjectSizeGreaterThan": 0, "ObjectSizeLessThan": 10}

ACCEPTED: list[list[dict[str, Any]]] = [
    [expiring()],
    [expiring(Filter={})],
    [{"ID": "old", "Prefix": "a/", "Status": "Disabled", "Expiration": {"Days": 2**31 - 1}}],
    [
        expiring(Filter={"Tag": tag("a")}),
        expiring(ID="s", Filter={"ObjectSizeGreaterThan": 0}),
        expiring(ID="t" * 255, Filter={"ObjectSizeLessThan": 1}),
    ],
    [expiring(Filter={"And": BOTH})],
    [rule(Expiration={"Date": NEW_YEAR})],
    [
        rule(
            Expiration={"ExpiredObjectDeleteMarker": True},
            NoncurrentVersionExpiration={"NoncurrentDays": 1, "NewerNoncurrentVersions": 100},
        )
    ],
    [rule(AbortIncompleteMultipartUpload={"DaysAfterInitiation": 1})],
    [moving(("STANDARD_IA", 30), ("GLACIER", 60), ("DEEP_ARCHIVE", 61), Expiration={"Days": 62})],
    [moving(("GLACIER", 0)), moving(("DEEP_ARCHIVE", 0), ID="s"), moving(("STANDARD_IA", 30), ("ONEZONE_IA", 31), ID="t")],
    [rule(Transitions=[{"StorageClass": "GLACIER", "Date": NEW_YEAR}], Expiration={"Date": NEW_YEAR + timedelta(days=1)})],
    [aging(("GLACIER", 1), ("DEEP_ARCHIVE", 2), NoncurrentVersionExpiration={"NoncurrentDays": 3})],
    [expiring(ID=f"r{at}") for at in range(1000)],
]  # fmt: skip

REFUSED: list[tuple[list[dict[str, Any]], str]] = [
    ([], "MalformedXML"),
    ([expiring(ID=f"r{at}") for at in range(1001)], "MalformedXML"),
    ([expiring(), expiring()], "InvalidArgument"),
    ([expiring(ID="x" * 256)], "InvalidArgument"),
    ([expiring(Status="enabled")], "MalformedXML"),
    ([{"Expiration": {"Days": 1}, "Filter": {}}], "MalformedXML"),
    ([{"Expiration": {"Days": 1}, "Status": "Enabled"}], "MalformedXML"),
    ([expiring(Prefix="a")], "MalformedXML"),
    ([rule()], "InvalidRequest"),
    ([expiring(Filter={"Prefix": "a" * 1025})], "InvalidRequest"),
    ([expiring(Filter={"Prefix": "a", "Tag": tag("a")})], "MalformedXML"),
    ([expiring(Filter={"And": {"Prefix": "a"}})], "MalformedXML"),
    ([expiring(Filter={"And": {"Tags": [tag("a")]}})], "MalformedXML"),
    ([expiring(Filter={"And": {"Tags": [tag("a"), tag("a", "w")]}})], "InvalidRequest"),
    ([expiring(Filter={"Tag": tag("")})], "InvalidTag"),
    ([expiring(Filter={"Tag": tag("a" * 129)})], "InvalidTag"),
    ([expiring(Filter={"ObjectSizeGreaterThan": -1})], "InvalidRequest"),
    ([expiring(Filter={"ObjectSizeLessThan": 0})], "InvalidRequest"),
    ([expiring(Filter={"And": {"ObjectSizeGreaterThan": 5, "ObjectSizeLessThan": 5}})], "InvalidRequest"),
    ([rule(Expiration={"Days": 0})], "InvalidArgument"),
    ([rule(Expiration={"Days": -1})], "InvalidArgument"),
    ([rule(Expiration={})], "MalformedXML"),
    ([rule(Expiration={"Days": 1, "Date": NEW_YEAR})], "MalformedXML"),
    ([rule(Expiration={"Days": 1, "ExpiredObjectDeleteMarker": True})], "MalformedXML"),
    ([rule(Expiration={"Date": NEW_YEAR + timedelta(hours=1)})], "InvalidArgument"),
    ([rule(Expiration={"ExpiredObjectDeleteMarker": True}, Filter={"Tag": tag("a")})], "InvalidRequest"),
    ([rule(NoncurrentVersionExpiration={"NoncurrentDays": 0})], "InvalidArgument"),
    ([rule(NoncurrentVersionExpiration={"NewerNoncurrentVersions": 1})], "MalformedXML"),
    ([rule(NoncurrentVersionExpiration={"NoncurrentDays": 1, "NewerNoncurrentVersions": 0})], "InvalidArgument"),
    ([rule(NoncurrentVersionExpiration={"NoncurrentDays": 1, "NewerNoncurrentVersions": 101})], "InvalidArgument"),
    (
        [{"Prefix": "", "Status": "Enabled", "NoncurrentVersionExpiration": {"NoncurrentDays": 1, "NewerNoncurrentVersions": 1}}],
        "InvalidRequest",
    ),
    ([rule(AbortIncompleteMultipartUpload={"DaysAfterInitiation": 0})], "InvalidArgument"),
    ([rule(AbortIncompleteMultipartUpload={"DaysAfterInitiation": 1}, Filter={"Tag": tag("a")})], "InvalidRequest"),
    ([rule(AbortIncompleteMultipartUpload={"DaysAfterInitiation": 1}, Filter={"ObjectSizeLessThan": 1})], "InvalidRequest"),
    ([moving(("FROZEN", 1))], "MalformedXML"),
    ([moving(("STANDARD", 1))], "MalformedXML"),
    ([moving(("STANDARD_IA", 29))], "InvalidArgument"),
    ([moving(("GLACIER", -1))], "InvalidArgument"),
    ([moving(("GLACIER", 1), ("GLACIER", 2))], "InvalidRequest"),
    ([moving(("GLACIER", 5), ("DEEP_ARCHIVE", 5))], "InvalidArgument"),
    ([moving(("STANDARD_IA", 60), ("GLACIER", 89))], "InvalidArgument"),
    ([moving(("GLACIER", 5), Expiration={"Days": 5})], "InvalidArgument"),
    ([moving(("GLACIER", 5), Expiration={"Date": NEW_YEAR})], "InvalidRequest"),
    ([rule(Transitions=[{"StorageClass": "GLACIER"}])], "MalformedXML"),
    ([rule(Transitions=[{"StorageClass": "GLACIER", "Days": 1, "Date": NEW_YEAR}])], "MalformedXML"),
    ([rule(Transitions=[{"StorageClass": "GLACIER", "Date": NEW_YEAR + timedelta(hours=1)}])], "InvalidArgument"),
    ([aging(("STANDARD_IA", 1))], "InvalidArgument"),
    ([aging(("GLACIER", 2), ("DEEP_ARCHIVE", 1))], "InvalidArgument"),
    ([aging(("GLACIER", 2), NoncurrentVersionExpiration={"NoncurrentDays": 2})], "InvalidArgument"),
]  # fmt: skip


@pytest.fixture(scope="module")
def client(served: Served) -> Iterator[Any]:
    s3 = client_for(served, parameter_validation=False)
    s3.create_bucket(Bucket="aging")
    yield s3
    s3.close()


@pytest.mark.parametrize("rules", ACCEPTED)
def test_accepted_as_put(client: Any, rules: list[dict[str, Any]]) -> None:
    client.put_bucket_lifecycle_configuration(Bucket="aging", LifecycleConfiguration={"Rules": rules})
    assert client.get_bucket_lifecycle_configuration(Bucket="aging")["Rules"] == rules
    client.delete_bucket_lifecycle(Bucket="aging")
    assert refusal(client.get_bucket_lifecycle_configuration, Bucket="aging") == ("NoSuchLifecycleConfiguration", 404)


@pytest.mark.parametrize(("rules", "code"), REFUSED)
def test_refused(client: Any, rules: list[dict[str, Any]], code: str) -> None:
    arguments = {"Bucket": "aging", "LifecycleConfiguration": {"Rules": rules}}
    assert refusal(client.put_bucket_lifecycle_configuration, **arguments) == (code, 400)
    assert refusal(client.get_bucket_lifecycle_configuration, Bucket="aging")[1] == 404


def test_the_minimum_size_of_transitions(client: Any, bucket: str) -> None:
    put, get = client.put_bucket_lifecycle_configuration, client.get_bucket_lifecycle_configuration
    arguments: dict[str, Any] = {"Bucket": bucket, "LifecycleConfiguration": {"Rules": [expiring()]}}
    assert put(**arguments)["TransitionDefaultMinimumObjectSize"] == "all_storage_classes_128K"
    put(**arguments, TransitionDefaultMinimumObjectSize="varies_by_storage_class")
    assert get(Bucket=bucket)["TransitionDefaultMinimumObjectSize"] == "varies_by_storage_class"
    assert refusal(put, **arguments, TransitionDefaultMinimumObjectSize="none") == ("InvalidRequest", 400)


def test_objects_tell_when_they_expire(s3: Any, bucket: str) -> None:
    rules = [
        expiring(ID="late days/1", Filter={"Prefix": "a/"}, Expiration={"Days": 30}),
        expiring(ID="tagged", Filter={"And": {"Prefix": "a/", "Tags": [tag("soon", "yes")]}}, Expiration={"Days": 2}),
        rule(ID="uploads", Filter={"Prefix": "a/"}, AbortIncompleteMultipartUpload={"DaysAfterInitiation": 7}),
    ]
    s3.put_bucket_lifecycle_configuration(Bucket=bucket, LifecycleConfiguration={"Rules": rules})
    put = s3.put_object(Bucket=bucket, Key="a/1", Body=b"x")
    assert due(put["Expiration"]) == ("late%20days/1", midnight(31))
    assert s3.get_object(Bucket=bucket, Key="a/1")["Expiration"] == put["Expiration"]
    assert s3.head_object(Bucket=bucket, Key="a/1")["Expiration"] == put["Expiration"]
    tagged = s3.put_object(Bucket=bucket, Key="a/2", Body=b"x", Tagging="soon=yes")
    assert due(tagged["Expiration"]) == ("tagged", midnight(3))
    assert due(s3.copy_object(Bucket=bucket, Key="a/3", CopySource=f"{bucket}/a/2")["Expiration"]) == ("tagged", midnight(3))
    assert "Expiration" not in s3.put_object(Bucket=bucket, Key="b", Body=b"x", Tagging="soon=yes")
    upload = s3.create_multipart_upload(Bucket=bucket, Key="a/4")
    assert (upload["AbortDate"], upload["AbortRuleId"]) == (midnight(8), "uploads")
    part = s3.upload_part(Bucket=bucket, Key="a/4", UploadId=upload["UploadId"], PartNumber=1, Body=b"x")
    assert s3.list_parts(Bucket=bucket, Key="a/4", UploadId=upload["UploadId"])["AbortRuleId"] == "uploads"
    parts = {"Parts": [{"PartNumber": 1, "ETag": part["ETag"]}]}
    done = s3.complete_multipart_upload(Bucket=bucket, Key="a/4", UploadId=upload["UploadId"], MultipartUpload=parts)
    assert due(done["Expiration"])[0] == "late%20days/1"


def due(header: str) -> tuple[str, datetime]:
    found = re.fullmatch(r'expiry-date="(.+)", rule-id="(.+)"', header)
    assert found is not None
    return found[2], parsedate_to_datetime(found[1])


def midnight(days: int) -> datetime:
    return datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0) + timedelta(days=days)
