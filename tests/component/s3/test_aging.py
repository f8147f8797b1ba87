"""Lifecycle rules at work, through boto3: a store whose days are less than a second long."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest

from glacier.lifecycle.calendar import Calendar
from s3.call import GatewayOptions
from store.webhooks import Webhook, save_webhooks
from tests.component.s3.conftest import Served
from tests.component.s3.test_configuration import refusal, tag
from tests.component.s3.test_restore import restore, shown, until
from tests.support.receiver import Receiver
from tests.support.sleeper import Sleeper

DAY_S = 0.6
LARGE = b"ice " * 40_000


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    options = GatewayOptions(calendar=Calendar(int(DAY_S * 1e6)))
    with pytest.MonkeyPatch.context() as patch, Served(options).running(tmp_path_factory.mktemp("aging")) as running:
        patch.setattr("store.jobs.runner.LOOK_S", 0.05)
        yield running


@pytest.fixture
def tier(served: Served) -> Iterator[Sleeper]:
    before, tier = served.store._context.tier, Sleeper(prompt=True)
    served.store._context.tier = tier
    yield tier
    served.store._context.tier = before


@pytest.fixture(scope="module")
def receiver(served: Served) -> Iterator[Receiver]:
    found = Receiver()
    found.start()
    save_webhooks(served.store.home, {"cold": Webhook("cold", found.url)})
    yield found
    found.stop()


def aging(s3: Any, bucket: str, *rules: dict[str, Any]) -> None:
    whole = [
        {"ID": f"r{at}", "Status": "Enabled", **({} if "Filter" in each else {"Filter": {"Prefix": ""}}), **each}
        for at, each in enumerate(rules)
    ]
    s3.put_bucket_lifecycle_configuration(Bucket=bucket, LifecycleConfiguration={"Rules": whole})


def keys(s3: Any, bucket: str) -> list[str]:
    return [each["Key"] for each in s3.list_objects_v2(Bucket=bucket).get("Contents", [])]


def all_of(s3: Any, bucket: str) -> list[tuple[str, str]]:
    """(key, version id or "marker"), newest first."""
    page = s3.list_object_versions(Bucket=bucket)
    rows = [(each["Key"], each["LastModified"], each["VersionId"]) for each in page.get("Versions", [])]
    return [(key, version) for key, _, version in rows] + [(each["Key"], "marker") for each in page.get("DeleteMarkers", [])]


def test_objects_expire_after_their_days(s3: Any, bucket: str) -> None:
    aging(s3, bucket, {"Filter": {"Prefix": "a/"}, "Expiration": {"Days": 1}}, {"Filter": {"Tag": tag("t")}, "Expiration": {"Days": 2}})
    for key in ("a/1", "a/2", "b/1"):
        s3.put_object(Bucket=bucket, Key=key, Body=b"x")
    s3.put_object(Bucket=bucket, Key="b/tagged", Body=b"x", Tagging="t=v")
    assert "expiry-date" in s3.head_object(Bucket=bucket, Key="a/1")["Expiration"]
    until(lambda: keys(s3, bucket) == ["b/1", "b/tagged"])
    until(lambda: keys(s3, bucket) == ["b/1"])


def test_versions_expire_into_markers_and_both_go_in_the_end(s3: Any, bucket: str) -> None:
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    version = s3.put_object(Bucket=bucket, Key="k", Body=b"x")["VersionId"]
    aging(s3, bucket, {"Expiration": {"Days": 1}, "NoncurrentVersionExpiration": {"NoncurrentDays": 2}})
    until(lambda: all_of(s3, bucket) == [("k", version), ("k", "marker")])
    until(lambda: all_of(s3, bucket) == [])


def test_a_number_of_newer_versions_is_kept(s3: Any, bucket: str) -> None:
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    made = [s3.put_object(Bucket=bucket, Key="k", Body=b"x")["VersionId"] for _ in range(5)]
    aging(s3, bucket, {"NoncurrentVersionExpiration": {"NoncurrentDays": 1, "NewerNoncurrentVersions": 2}})
    until(lambda: [version for _, version in all_of(s3, bucket)] == made[:1:-1])
    time.sleep(2 * DAY_S)
    assert len(all_of(s3, bucket)) == 3


def test_what_is_locked_stays(s3: Any, served: Served) -> None:
    s3.create_bucket(Bucket="locked", ObjectLockEnabledForBucket=True)
    held = s3.put_object(Bucket="locked", Key="k", Body=b"x", ObjectLockLegalHoldStatus="ON", ChecksumAlgorithm="CRC32")["VersionId"]
    free = s3.put_object(Bucket="locked", Key="k", Body=b"x")["VersionId"]
    s3.put_object(Bucket="locked", Key="k", Body=b"x")
    aging(s3, "locked", {"NoncurrentVersionExpiration": {"NoncurrentDays": 1}})
    until(lambda: ("k", free) not in all_of(s3, "locked"))
    assert ("k", held) in all_of(s3, "locked")


def test_uploads_that_nobody_completes_are_aborted(s3: Any, bucket: str) -> None:
    upload = s3.create_multipart_upload(Bucket=bucket, Key="k")["UploadId"]
    s3.upload_part(Bucket=bucket, Key="k", UploadId=upload, PartNumber=1, Body=b"x")
    aging(s3, bucket, {"AbortIncompleteMultipartUpload": {"DaysAfterInitiation": 1}})
    until(lambda: "Uploads" not in s3.list_multipart_uploads(Bucket=bucket))
    part = {"Bucket": bucket, "Key": "k", "UploadId": upload, "PartNumber": 2, "Body": b"x"}
    assert refusal(s3.upload_part, **part) == ("NoSuchUpload", 404)


def test_objects_move_to_glacier_are_restored_and_freeze_again(s3: Any, bucket: str, tier: Sleeper) -> None:
    put = s3.put_object(Bucket=bucket, Key="large", Body=LARGE)
    s3.put_object(Bucket=bucket, Key="small", Body=b"too small to be worth it")
    before = s3.head_object(Bucket=bucket, Key="large")
    aging(s3, bucket, {"Transitions": [{"Days": 0, "StorageClass": "GLACIER"}]})
    until(lambda: s3.head_object(Bucket=bucket, Key="large").get("StorageClass") == "GLACIER")
    after = s3.head_object(Bucket=bucket, Key="large")
    assert (after["ETag"], after["LastModified"]) == (put["ETag"], before["LastModified"])
    assert refusal(s3.get_object, Bucket=bucket, Key="large") == ("InvalidObjectState", 403)
    assert s3.get_object(Bucket=bucket, Key="small")["Body"].read() == b"too small to be worth it"
    until(lambda: len(tier.frozen) == 1)
    restore(s3, bucket, "large", days=2)
    until(lambda: "false" in shown(s3, bucket, "large"))
    assert s3.get_object(Bucket=bucket, Key="large")["Body"].read() == LARGE
    until(lambda: shown(s3, bucket, "large") == "")
    assert refusal(s3.get_object, Bucket=bucket, Key="large") == ("InvalidObjectState", 403)
    until(lambda: not tier.awake)


def test_old_versions_move_and_the_coldest_class_wins(s3: Any, bucket: str, tier: Sleeper) -> None:
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    old = s3.put_object(Bucket=bucket, Key="k", Body=LARGE)["VersionId"]
    new = s3.put_object(Bucket=bucket, Key="k", Body=LARGE)["VersionId"]
    moves = [{"NoncurrentDays": 0, "StorageClass": "GLACIER_IR"}, {"NoncurrentDays": 1, "StorageClass": "GLACIER"}]
    aging(s3, bucket, {"NoncurrentVersionTransitions": moves})

    def classes() -> dict[str, str]:
        return {each["VersionId"]: each["StorageClass"] for each in s3.list_object_versions(Bucket=bucket)["Versions"]}

    until(lambda: classes() == {old: "GLACIER", new: "STANDARD"})


def test_rules_that_are_gone_or_disabled_do_nothing(s3: Any, bucket: str) -> None:
    s3.put_object(Bucket=bucket, Key="k", Body=b"x")
    aging(s3, bucket, {"Expiration": {"Days": 1}, "Status": "Disabled"})
    time.sleep(2 * DAY_S)
    s3.delete_bucket_lifecycle(Bucket=bucket)
    time.sleep(DAY_S)
    assert keys(s3, bucket) == ["k"]


def test_destinations_are_told_of_what_rules_do(s3: Any, bucket: str, tier: Sleeper, receiver: Receiver) -> None:
    events = ["s3:LifecycleExpiration:*", "s3:LifecycleTransition"]
    configuration = {"TopicConfigurations": [{"TopicArn": "arn:aws:sns:::cold", "Events": events}]}
    s3.put_bucket_notification_configuration(Bucket=bucket, NotificationConfiguration=configuration)
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    version = s3.put_object(Bucket=bucket, Key="k", Body=LARGE)["VersionId"]
    aging(
        s3,
        bucket,
        {"Transitions": [{"Days": 0, "StorageClass": "GLACIER"}], "Expiration": {"Days": 2}},
        {"NoncurrentVersionExpiration": {"NoncurrentDays": 1}},
    )
    expected = ["LifecycleTransition", "LifecycleExpiration:DeleteMarkerCreated", "LifecycleExpiration:Delete"]
    until(lambda: [name for name, _ in receiver.names(bucket)][:3] == expected)
    moved, marked, gone = [record for record in receiver.records if record["s3"]["bucket"]["name"] == bucket][:3]
    assert moved["lifecycleEventData"] == {"transitionEventData": {"destinationStorageClass": "GLACIER"}}
    assert (moved["eventVersion"], moved["s3"]["object"]["size"]) == ("2.3", len(LARGE))
    assert [record["s3"]["object"]["versionId"] == version for record in (moved, marked, gone)] == [True, False, True]


def test_the_job_tells_what_it_did(s3: Any, served: Served) -> None:
    async def job() -> Any:
        (found,) = [each for each in await served.store.meta.jobs.jobs() if each.kind == "lifecycle"]
        return found

    found = until(lambda: (each := served.run(job)).progress.get("passes", 0) > 1 and each)
    assert found.state == "running"
    assert "versions" in found.message
