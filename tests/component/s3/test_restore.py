"""Cold storage classes and restores through boto3, over a tier that sleeps until the test wakes it."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from glacier.lifecycle.calendar import Calendar
from meta.protocol.object import Change
from s3.call import GatewayOptions
from store.tier import Priority
from store.webhooks import Webhook, save_webhooks
from tests.component.s3.conftest import Served, client_for
from tests.component.s3.test_configuration import refusal, tag
from tests.component.s3.test_notification import post
from tests.support.receiver import Receiver
from tests.support.sleeper import Sleeper

DAY_S = 60.0
"""Of this store; longer than any test."""
BODY = b"ice " * 1000
COLD = ["GLACIER", "DEEP_ARCHIVE"]


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    options = GatewayOptions(calendar=Calendar(int(DAY_S * 1e6)))
    with Served(options).running(tmp_path_factory.mktemp("cold")) as running:
        yield running


@pytest.fixture
def tier(served: Served) -> Iterator[Sleeper]:
    before, tier = served.store._context.tier, Sleeper()
    served.store._context.tier = tier
    yield tier
    served.store._context.tier = before


def until(condition: Callable[[], Any], timeout_s: float = 10.0) -> Any:
    deadline = time.monotonic() + timeout_s
    while not (found := condition()):
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)
    return found


def asleep(s3: Any, tier: Sleeper, bucket: str, key: str, storage_class: str = "GLACIER") -> Any:
    before = len(tier.frozen)
    put = s3.put_object(Bucket=bucket, Key=key, Body=BODY, StorageClass=storage_class)
    until(lambda: len(tier.frozen) > before)
    return put


def restore(s3: Any, bucket: str, key: str, days: int = 2, tier: str | None = None, **more: Any) -> int:
    request: dict[str, Any] = {"Days": days} | ({"GlacierJobParameters": {"Tier": tier}} if tier else {})
    answer = s3.restore_object(Bucket=bucket, Key=key, RestoreRequest=request, **more)
    return int(answer["ResponseMetadata"]["HTTPStatusCode"])


def shown(s3: Any, bucket: str, key: str, **more: Any) -> str:
    return str(s3.head_object(Bucket=bucket, Key=key, **more).get("Restore", ""))


def expiry(header: str) -> datetime:
    assert header.startswith('ongoing-request="false", expiry-date="')
    return datetime.strptime(header[38:-1], "%a, %d %b %Y %H:%M:%S GMT").replace(tzinfo=UTC)


@pytest.fixture(scope="module")
def receiver(served: Served) -> Iterator[Receiver]:
    found = Receiver()
    found.start()
    save_webhooks(served.store.home, {"cold": Webhook("cold", found.url)})
    yield found
    found.stop()


# Classes


@pytest.mark.parametrize("name", COLD)
def test_every_way_of_writing_puts_an_object_straight_into_a_cold_class(s3: Any, bucket: str, tier: Sleeper, name: str) -> None:
    s3.put_object(Bucket=bucket, Key="put", Body=BODY, StorageClass=name)
    s3.put_object(Bucket=bucket, Key="warm", Body=BODY)
    s3.copy_object(Bucket=bucket, Key="copy", CopySource=f"{bucket}/warm", StorageClass=name)
    upload = s3.create_multipart_upload(Bucket=bucket, Key="parts", StorageClass=name)["UploadId"]
    part = s3.upload_part(Bucket=bucket, Key="parts", UploadId=upload, PartNumber=1, Body=BODY)
    parts = {"Parts": [{"PartNumber": 1, "ETag": part["ETag"]}]}
    s3.complete_multipart_upload(Bucket=bucket, Key="parts", UploadId=upload, MultipartUpload=parts)
    fields = {"x-amz-storage-class": name}
    form = s3.generate_presigned_post(bucket, "form", Fields=fields, Conditions=[fields])
    post(form["url"], form["fields"], BODY)
    s3.copy_object(Bucket=bucket, Key="warm", CopySource=f"{bucket}/warm", StorageClass=name)  # onto itself
    listed = {each["Key"]: each["StorageClass"] for each in s3.list_objects_v2(Bucket=bucket)["Contents"]}
    assert listed == dict.fromkeys(["put", "copy", "parts", "form", "warm"], name)
    for key in listed:
        assert s3.head_object(Bucket=bucket, Key=key)["StorageClass"] == name
        assert s3.get_object_attributes(Bucket=bucket, Key=key, ObjectAttributes=["StorageClass"])["StorageClass"] == name
    until(lambda: len(tier.frozen) == 5)


@pytest.mark.parametrize("name", ["STANDARD", "REDUCED_REDUNDANCY", "STANDARD_IA", "ONEZONE_IA", "INTELLIGENT_TIERING", "GLACIER_IR"])
def test_all_other_classes_are_read_at_once(s3: Any, bucket: str, tier: Sleeper, name: str) -> None:
    s3.put_object(Bucket=bucket, Key="k", Body=BODY, StorageClass=name)
    got = s3.get_object(Bucket=bucket, Key="k")
    assert (got["Body"].read(), got.get("StorageClass", "STANDARD")) == (BODY, name)
    assert refusal(s3.restore_object, Bucket=bucket, Key="k", RestoreRequest={"Days": 1}) == ("InvalidObjectState", 403)
    assert tier.calls == 0


def test_no_way_around_a_restore_reads_cold_bytes(s3: Any, bucket: str, tier: Sleeper) -> None:
    asleep(s3, tier, bucket, "k")
    where = {"Bucket": bucket, "Key": "k"}
    upload = s3.create_multipart_upload(Bucket=bucket, Key="parts")["UploadId"]
    attempts: list[Callable[[], Any]] = [
        lambda: s3.get_object(**where),
        lambda: s3.get_object(**where, Range="bytes=0-0"),
        lambda: s3.get_object(**where, PartNumber=1),
        lambda: s3.copy_object(Bucket=bucket, Key="copy", CopySource=f"{bucket}/k"),
        lambda: s3.copy_object(**where, CopySource=f"{bucket}/k", StorageClass="STANDARD"),
        lambda: s3.copy_object(**where, CopySource=f"{bucket}/k", MetadataDirective="REPLACE", StorageClass="GLACIER"),
        lambda: s3.upload_part_copy(Bucket=bucket, Key="parts", UploadId=upload, PartNumber=1, CopySource=f"{bucket}/k"),
        lambda: s3.put_object(**where, Body=b"more", WriteOffsetBytes=len(BODY)),
    ]
    for attempt in attempts:
        with pytest.raises(s3.exceptions.ClientError) as caught:
            attempt()
        error = caught.value.response["Error"]
        assert (error["Code"], error["StorageClass"]) == ("InvalidObjectState", "GLACIER")
    assert s3.head_object(**where)["ContentLength"] == len(BODY)
    s3.put_object_tagging(**where, Tagging={"TagSet": [tag("a")]})
    s3.rename_object(Bucket=bucket, Key="new", RenameSource="k")
    assert refusal(s3.get_object, Bucket=bucket, Key="new") == ("InvalidObjectState", 403)
    s3.delete_object(Bucket=bucket, Key="new")


# Restores


@pytest.mark.parametrize("speed", ["Expedited", "Standard", "Bulk", None])
def test_a_restored_copy_is_there_for_its_days(s3: Any, bucket: str, tier: Sleeper, speed: str | None) -> None:
    asleep(s3, tier, bucket, "k")
    assert shown(s3, bucket, "k") == ""
    assert restore(s3, bucket, "k", tier=speed) == 202
    assert shown(s3, bucket, "k") == 'ongoing-request="true"'
    assert refusal(s3.get_object, Bucket=bucket, Key="k") == ("InvalidObjectState", 403)
    ((priority, _),) = until(lambda: list(tier.asked.values()))
    assert priority == {"Expedited": Priority.EXPEDITED, "Bulk": Priority.BULK}.get(speed or "", Priority.STANDARD)
    tier.wake()
    until(lambda: "false" in shown(s3, bucket, "k"))
    ends = expiry(shown(s3, bucket, "k"))
    assert abs(ends - datetime.now(UTC) - timedelta(seconds=2 * DAY_S)) < timedelta(seconds=5)
    assert [until_us / 1e6 > ends.timestamp() for until_us in tier.awake.values()] == [True]
    got = s3.get_object(Bucket=bucket, Key="k")
    assert (got["Body"].read(), got["StorageClass"]) == (BODY, "GLACIER")
    s3.copy_object(Bucket=bucket, Key="copy", CopySource=f"{bucket}/k")
    assert "Restore" not in s3.head_object(Bucket=bucket, Key="copy")
    cold = s3.copy_object(Bucket=bucket, Key="k", CopySource=f"{bucket}/k", StorageClass="DEEP_ARCHIVE", MetadataDirective="REPLACE")
    assert cold["CopyObjectResult"]["ETag"] == got["ETag"]
    assert shown(s3, bucket, "k") == ""


def test_a_restore_that_is_over_is_gone_for_everybody(s3: Any, bucket: str, tier: Sleeper, served: Served) -> None:
    put = asleep(s3, tier, bucket, "k")
    frozen = set(tier.frozen)
    restore(s3, bucket, "k", days=1)
    until(lambda: tier.asked)
    tier.wake()
    until(lambda: "false" in shown(s3, bucket, "k"))
    container = served.store.meta.container(bucket)

    async def age() -> None:
        """As if its days were over."""
        row = await container.get("k")
        await served.store.change_cold(bucket, Change("k", restored={**row.attributes.extra["restore"], "until_us": 1}))

    served.run(age)
    assert refusal(s3.get_object, Bucket=bucket, Key="k") == ("InvalidObjectState", 403)
    assert shown(s3, bucket, "k") == ""
    until(lambda: not tier.awake)
    assert tier.frozen == frozen
    head = s3.head_object(Bucket=bucket, Key="k")
    assert (head["ETag"], head["StorageClass"]) == (put["ETag"], "GLACIER")
    assert restore(s3, bucket, "k") == 202


def test_a_repeated_restore_changes_the_days_and_one_under_way_only_its_speed(s3: Any, bucket: str, tier: Sleeper) -> None:
    asleep(s3, tier, bucket, "k")
    assert restore(s3, bucket, "k", tier="Bulk") == 202
    wish = {"Days": 9, "GlacierJobParameters": {"Tier": "Bulk"}}
    assert refusal(s3.restore_object, Bucket=bucket, Key="k", RestoreRequest=wish) == ("RestoreAlreadyInProgress", 409)
    assert restore(s3, bucket, "k", days=9, tier="Expedited") == 202
    until(lambda: [priority for priority, _ in tier.asked.values()] == [Priority.EXPEDITED])
    assert refusal(s3.restore_object, Bucket=bucket, Key="k", RestoreRequest={"Days": 1}) == ("RestoreAlreadyInProgress", 409)
    tier.wake()
    until(lambda: "false" in shown(s3, bucket, "k"))
    assert expiry(shown(s3, bucket, "k")) < datetime.now(UTC) + timedelta(seconds=3 * DAY_S), "days are the first request's"
    assert restore(s3, bucket, "k", days=30) == 200
    ends = expiry(shown(s3, bucket, "k"))
    assert ends > datetime.now(UTC) + timedelta(seconds=29 * DAY_S)
    assert all(until_us / 1e6 > ends.timestamp() for until_us in tier.awake.values()), "the tier keeps it as long"
    assert restore(s3, bucket, "k", days=1) == 200
    assert expiry(shown(s3, bucket, "k")) < ends


def test_each_version_is_restored_by_itself(s3: Any, bucket: str, tier: Sleeper) -> None:
    tier.prompt = True
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    old = asleep(s3, tier, bucket, "k")["VersionId"]
    new = asleep(s3, tier, bucket, "k")["VersionId"]
    assert restore(s3, bucket, "k", VersionId=old) == 202
    until(lambda: "false" in shown(s3, bucket, "k", VersionId=old))
    assert shown(s3, bucket, "k") == ""
    assert s3.get_object(Bucket=bucket, Key="k", VersionId=old)["Body"].read() == BODY
    assert refusal(s3.get_object, Bucket=bucket, Key="k") == ("InvalidObjectState", 403)
    marker = s3.delete_object(Bucket=bucket, Key="k")["VersionId"]
    wish = {"RestoreRequest": {"Days": 1}}
    assert refusal(s3.restore_object, Bucket=bucket, Key="k", **wish) == ("NoSuchKey", 404)
    assert refusal(s3.restore_object, Bucket=bucket, Key="k", VersionId=marker, **wish) == ("MethodNotAllowed", 405)
    assert refusal(s3.restore_object, Bucket=bucket, Key="k", VersionId=f"{1:016x}", **wish) == ("NoSuchVersion", 404)
    assert restore(s3, bucket, "k", VersionId=new) == 202


def test_listings_show_restores_to_who_asks(s3: Any, bucket: str, tier: Sleeper) -> None:
    for key in ("back", "never", "under way"):
        asleep(s3, tier, bucket, key)
    s3.put_object(Bucket=bucket, Key="warm", Body=b"w")
    restore(s3, bucket, "back")
    until(lambda: tier.asked)
    tier.wake()
    until(lambda: "false" in shown(s3, bucket, "back"))
    restore(s3, bucket, "under way")
    ends = expiry(shown(s3, bucket, "back"))
    for method, name in ((s3.list_objects, "Contents"), (s3.list_objects_v2, "Contents"), (s3.list_object_versions, "Versions")):
        found = {each["Key"]: each.get("RestoreStatus") for each in method(Bucket=bucket, OptionalObjectAttributes=["RestoreStatus"])[name]}
        assert found.pop("back") == {"IsRestoreInProgress": False, "RestoreExpiryDate": ends}
        assert found == {"never": None, "under way": {"IsRestoreInProgress": True}, "warm": None}
        assert all("RestoreStatus" not in each for each in method(Bucket=bucket)[name])


def test_an_object_without_bytes_is_restored_too(s3: Any, bucket: str, tier: Sleeper) -> None:
    s3.put_object(Bucket=bucket, Key="k", Body=b"", StorageClass="GLACIER")
    assert refusal(s3.get_object, Bucket=bucket, Key="k") == ("InvalidObjectState", 403)
    restore(s3, bucket, "k")
    until(lambda: "false" in shown(s3, bucket, "k"))
    assert s3.get_object(Bucket=bucket, Key="k")["Body"].read() == b""
    assert tier.calls == 0


REFUSED: list[tuple[dict[str, Any], tuple[str, int]]] = [
    ({}, ("MalformedXML", 400)),
    ({"Days": 0}, ("InvalidArgument", 400)),
    ({"Days": -1}, ("InvalidArgument", 400)),
    ({"Days": 2**31}, ("MalformedXML", 400)),
    ({"Days": 36_501}, ("InvalidArgument", 400)),
    ({"Days": 1, "GlacierJobParameters": {"Tier": "Fast"}}, ("MalformedXML", 400)),
    ({"Days": 1, "Tier": "Bulk", "GlacierJobParameters": {"Tier": "Bulk"}}, ("MalformedXML", 400)),
    ({"Days": 1, "GlacierJobParameters": {"Tier": "Expedited"}}, ("InvalidArgument", 400)),
    ({"Type": "SELECT"}, ("NotImplemented", 501)),
]


@pytest.mark.parametrize(("wish", "expected"), REFUSED, ids=str)
def test_what_no_restore_may_ask_is_refused(served: Served, bucket: str, tier: Sleeper, wish: Any, expected: Any) -> None:
    s3 = client_for(served, parameter_validation=False)
    s3.put_object(Bucket=bucket, Key="k", Body=b"x", StorageClass="DEEP_ARCHIVE")
    assert refusal(s3.restore_object, Bucket=bucket, Key="k", RestoreRequest=wish) == expected
    assert shown(s3, bucket, "k") == ""
    assert refusal(s3.restore_object, Bucket=bucket, Key="none", RestoreRequest={"Days": 1}) == ("NoSuchKey", 404)
    s3.close()


def test_a_restore_needs_its_own_permission(s3: Any, stranger: Any, bucket: str, tier: Sleeper) -> None:
    asleep(s3, tier, bucket, "k")
    wish = {"Bucket": bucket, "Key": "k", "RestoreRequest": {"Days": 1}}
    assert refusal(stranger.restore_object, **wish) == ("AccessDenied", 403)
    statement = {"Effect": "Allow", "Principal": "*", "Action": "s3:GetObject", "Resource": f"arn:aws:s3:::{bucket}/*"}
    s3.put_bucket_policy(Bucket=bucket, Policy=json.dumps({"Version": "2012-10-17", "Statement": [statement]}))
    assert refusal(stranger.restore_object, **wish) == ("AccessDenied", 403)
    statement["Action"] = "s3:RestoreObject"
    s3.put_bucket_policy(Bucket=bucket, Policy=json.dumps({"Version": "2012-10-17", "Statement": [statement]}))
    assert stranger.restore_object(**wish)["ResponseMetadata"]["HTTPStatusCode"] == 202


def test_destinations_are_told_of_restores(s3: Any, bucket: str, tier: Sleeper, receiver: Receiver) -> None:
    tier.prompt = True
    configuration = {"TopicConfigurations": [{"TopicArn": "arn:aws:sns:::cold", "Events": ["s3:ObjectRestore:*"]}]}
    s3.put_bucket_notification_configuration(Bucket=bucket, NotificationConfiguration=configuration)
    asleep(s3, tier, bucket, "k")
    restore(s3, bucket, "k")
    until(lambda: len(receiver.names(bucket)) == 2)
    asked, completed = (record for record in receiver.records if record["s3"]["bucket"]["name"] == bucket)
    assert (asked["eventName"], completed["eventName"]) == ("ObjectRestore:Post", "ObjectRestore:Completed")
    assert completed["userIdentity"] == {"principalId": "s3.amazonaws.com"}
    data = completed["glacierEventData"]["restoreEventData"]
    assert data["lifecycleRestoreStorageClass"] == "GLACIER"
    assert datetime.fromisoformat(data["lifecycleRestorationExpiryTime"]) == expiry(shown(s3, bucket, "k"))
    assert completed["s3"]["object"]["size"] == len(BODY)
    assert asked["s3"]["object"]["sequencer"] < completed["s3"]["object"]["sequencer"]
