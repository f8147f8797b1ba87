"""Events end to end: configured through boto3, received by a real HTTP server."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest

from meta.spool import Spool
from store.webhooks import Webhook, load_webhooks, save_webhooks
from tests.component.s3.conftest import STRANGER, Served, client_for
from tests.component.s3.test_configuration import refusal
from tests.support.receiver import Receiver

ARN = "arn:aws:sns:us-east-1:000000000000:hook"
ALL = ["s3:ObjectCreated:*", "s3:ObjectRemoved:*", "s3:ObjectTagging:*", "s3:ObjectAcl:Put"]


@pytest.fixture(scope="module")
def receiver(served: Served) -> Iterator[Receiver]:
    found = Receiver()
    found.start()
    home = served.store.home
    save_webhooks(home, {name: Webhook(name, found.url) for name in ("hook", "queue", "function")})
    yield found
    found.stop()
    save_webhooks(home, {})


def topic(arn: str = ARN, events: list[str] | None = None, **more: Any) -> dict[str, Any]:
    return {"TopicConfigurations": [{"Id": "t", "TopicArn": arn, "Events": events or ALL, **more}]}


def filtered(*rules: tuple[str, str]) -> dict[str, Any]:
    return {"Filter": {"Key": {"FilterRules": [{"Name": name, "Value": value} for name, value in rules]}}}


@pytest.fixture
def notifying(s3: Any, bucket: str, receiver: Receiver) -> str:
    s3.put_bucket_notification_configuration(Bucket=bucket, NotificationConfiguration=topic())
    receiver.wait(lambda: any(message.get("Bucket") == bucket for message in receiver.messages))
    return bucket


def test_a_destination_hears_of_its_configuration(notifying: str, receiver: Receiver) -> None:
    (test,) = [message for message in receiver.messages if message.get("Bucket") == notifying]
    assert (test["Service"], test["Event"]) == ("Amazon S3", "s3:TestEvent")


def test_each_change_is_an_event(s3: Any, notifying: str, receiver: Receiver) -> None:
    bucket = notifying
    put = s3.put_object(Bucket=bucket, Key="a b", Body=b"12345")
    s3.put_object_tagging(Bucket=bucket, Key="a b", Tagging={"TagSet": [{"Key": "k", "Value": "v"}]})
    s3.delete_object_tagging(Bucket=bucket, Key="a b")
    s3.put_object_acl(Bucket=bucket, Key="a b", ACL="private")
    s3.copy_object(Bucket=bucket, Key="copy", CopySource=f"{bucket}/a b")
    upload = s3.create_multipart_upload(Bucket=bucket, Key="parts")["UploadId"]
    part = s3.upload_part(Bucket=bucket, Key="parts", UploadId=upload, PartNumber=1, Body=b"x")
    parts = {"Parts": [{"PartNumber": 1, "ETag": part["ETag"]}]}
    s3.complete_multipart_upload(Bucket=bucket, Key="parts", UploadId=upload, MultipartUpload=parts)
    form = s3.generate_presigned_post(bucket, "form")
    post(form["url"], form["fields"], b"from a form")
    s3.delete_object(Bucket=bucket, Key="a b")
    s3.delete_object(Bucket=bucket, Key="was never there")
    s3.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": "copy"}, {"Key": "parts"}]})
    expected = [
        ("ObjectCreated:Put", "a+b"),
        ("ObjectTagging:Put", "a+b"),
        ("ObjectTagging:Delete", "a+b"),
        ("ObjectAcl:Put", "a+b"),
        ("ObjectCreated:Copy", "copy"),
        ("ObjectCreated:CompleteMultipartUpload", "parts"),
        ("ObjectCreated:Post", "form"),
        ("ObjectRemoved:Delete", "a+b"),
        ("ObjectRemoved:Delete", "copy"),
        ("ObjectRemoved:Delete", "parts"),
    ]
    receiver.wait(lambda: len(receiver.names(bucket)) >= len(expected))
    found = receiver.names(bucket)
    assert sorted(found) == sorted(expected)
    for key in ("a+b", "copy", "parts"):  # of one key in order
        assert [pair for pair in found if pair[1] == key] == [pair for pair in expected if pair[1] == key]
    records = [record for record in receiver.records if record["s3"]["bucket"]["name"] == bucket]
    (first,) = [record for record in records if (record["eventName"], record["s3"]["object"]["key"]) == expected[0]]
    assert first["s3"]["object"]["size"] == 5
    assert first["s3"]["object"]["eTag"] == put["ETag"].strip('"')
    assert first["s3"]["configurationId"] == "t"
    assert first["responseElements"]["x-amz-request-id"] == put["ResponseMetadata"]["HTTPHeaders"]["x-amz-request-id"]
    assert first["requestParameters"]["sourceIPAddress"] == "127.0.0.1"
    sequence = [record["s3"]["object"]["sequencer"] for record in records if record["s3"]["object"]["key"] == "a+b"]
    assert sequence == sorted(sequence)


def test_appends_and_renames(s3: Any, notifying: str, receiver: Receiver) -> None:
    s3.put_object(Bucket=notifying, Key="log", Body=b"1")
    s3.put_object(Bucket=notifying, Key="log", Body=b"2", WriteOffsetBytes=1)
    s3.rename_object(Bucket=notifying, Key="old", RenameSource="log")
    receiver.wait(lambda: len(receiver.names(notifying)) >= 4)
    assert sorted(receiver.names(notifying)) == [
        ("ObjectCreated:Copy", "old"),
        ("ObjectCreated:Put", "log"),
        ("ObjectCreated:Put", "log"),
        ("ObjectRemoved:Delete", "log"),
    ]


def test_markers_and_versions(s3: Any, notifying: str, receiver: Receiver) -> None:
    bucket = notifying
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    version = s3.put_object(Bucket=bucket, Key="k", Body=b"1")["VersionId"]
    marker = s3.delete_object(Bucket=bucket, Key="k")["VersionId"]
    s3.delete_object(Bucket=bucket, Key="k", VersionId=version)
    receiver.wait(lambda: len(receiver.names(bucket)) >= 3)
    records = [record for record in receiver.records if record["s3"]["bucket"]["name"] == bucket]
    assert [(record["eventName"], record["s3"]["object"]["versionId"]) for record in records] == [
        ("ObjectCreated:Put", version),
        ("ObjectRemoved:DeleteMarkerCreated", marker),
        ("ObjectRemoved:Delete", version),
    ]


def test_filters_and_their_destinations(s3: Any, bucket: str, receiver: Receiver) -> None:
    configuration = {
        **topic(events=["s3:ObjectCreated:*"], **filtered(("prefix", "images/"), ("suffix", ".jpg"))),
        "QueueConfigurations": [{"Id": "q", "QueueArn": "arn:aws:sqs:::queue", "Events": ["s3:ObjectRemoved:*"]}],
        "LambdaFunctionConfigurations": [
            {"Id": "f", "LambdaFunctionArn": "arn:aws:lambda:::function:function", "Events": ["s3:ObjectTagging:Put"]}
        ],
    }
    s3.put_bucket_notification_configuration(Bucket=bucket, NotificationConfiguration=configuration)
    got = s3.get_bucket_notification_configuration(Bucket=bucket)
    del got["ResponseMetadata"]
    assert got == configuration
    for key in ("images/1.jpg", "images/1.png", "1.jpg"):
        s3.put_object(Bucket=bucket, Key=key, Body=b"")
    s3.put_object_tagging(Bucket=bucket, Key="1.jpg", Tagging={"TagSet": []})
    s3.delete_object(Bucket=bucket, Key="images/1.png")
    expected = {("ObjectCreated:Put", "images/1.jpg"), ("ObjectTagging:Put", "1.jpg"), ("ObjectRemoved:Delete", "images/1.png")}
    receiver.wait(lambda: len(receiver.names(bucket)) >= 3)
    assert set(receiver.names(bucket)) == expected
    s3.put_bucket_notification_configuration(Bucket=bucket, NotificationConfiguration={})
    s3.put_object(Bucket=bucket, Key="images/2.jpg", Body=b"")
    assert set(s3.get_bucket_notification_configuration(Bucket=bucket)) == {"ResponseMetadata"}


def test_events_wait_for_a_receiver_that_is_away_and_come_in_order(s3: Any, notifying: str, receiver: Receiver) -> None:
    bucket, keys = notifying, ["a", "b", "c"]
    receiver.stop()
    for number in range(12):
        s3.put_object(Bucket=bucket, Key=keys[number % 3], Body=b"x" * number)
    assert receiver.names(bucket) == []
    receiver.status = 503
    receiver.start()
    receiver.wait(lambda: receiver.refused > 0)
    receiver.status = 204
    receiver.wait(lambda: len(receiver.names(bucket)) >= 12)
    receiver.status = 200
    for key in keys:
        objects = [record["s3"]["object"] for record in receiver.records if record["s3"]["bucket"]["name"] == bucket]
        sizes = [each["size"] for each in objects if each["key"] == key]
        assert sizes == sorted(sizes)
        assert len(set(sizes)) == 4


def test_a_host_that_no_resolver_takes_harms_nobody(served: Served, s3: Any, notifying: str, receiver: Receiver) -> None:
    home = served.store.home
    save_webhooks(home, {**load_webhooks(home), "lost": Webhook("lost", f"http://{'a' * 64}.invalid/")})
    s3.create_bucket(Bucket="lost-events")
    s3.put_bucket_notification_configuration(Bucket="lost-events", NotificationConfiguration=topic(arn="arn:aws:sns:::lost"))
    s3.put_object(Bucket="lost-events", Key="k", Body=b"")
    s3.put_object(Bucket=notifying, Key="k", Body=b"")
    receiver.wait(lambda: receiver.names(notifying) == [("ObjectCreated:Put", "k")])
    assert served.run(topics, served)["one/lost"] == 2  # with the test event


@pytest.mark.slow
def test_an_event_that_is_refused_for_good_is_given_up(s3: Any, notifying: str, receiver: Receiver) -> None:
    receiver.status, before = 400, receiver.refused
    s3.put_object(Bucket=notifying, Key="poison", Body=b"")
    receiver.wait(lambda: receiver.refused >= before + 5, timeout_s=30)
    receiver.status = 200
    s3.put_object(Bucket=notifying, Key="fine", Body=b"")
    receiver.wait(lambda: bool(receiver.names(notifying)))
    assert receiver.names(notifying) == [("ObjectCreated:Put", "fine")]


def test_a_redirect_is_not_followed(s3: Any, notifying: str, receiver: Receiver) -> None:
    receiver.status, before = 302, receiver.refused
    s3.put_object(Bucket=notifying, Key="k", Body=b"")
    receiver.wait(lambda: receiver.refused > before)
    assert receiver.names(notifying) == []
    receiver.status = 200
    receiver.wait(lambda: receiver.names(notifying) == [("ObjectCreated:Put", "k")])


REFUSED: list[tuple[dict[str, Any], str]] = [
    (topic(events=["s3:ObjectCreated:Nothing"]), "InvalidArgument"),
    (topic(events=["ObjectCreated"]), "InvalidArgument"),
    ({"TopicConfigurations": [{"TopicArn": ARN, "Events": []}]}, "MalformedXML"),
    (topic(arn="arn:aws:sqs:::hook"), "InvalidArgument"),
    (topic(arn="http://127.0.0.1/"), "InvalidArgument"),
    (topic(arn="arn:aws:sns:::unknown"), "InvalidArgument"),
    (topic(Id="x" * 256), "InvalidArgument"),
    (topic(**filtered(("prefix", "a"), ("prefix", "b"))), "InvalidArgument"),
    (topic(**filtered(("middle", "a"))), "InvalidArgument"),
    (topic(**filtered(("prefix", "a" * 1025))), "InvalidArgument"),
    ({**topic(), "QueueConfigurations": [{"QueueArn": "arn:aws:sqs:::queue", "Events": ["s3:ObjectCreated:Put"]}]}, "InvalidArgument"),
    (
        {
            **topic(events=["s3:ObjectCreated:*"]),
            "QueueConfigurations": [{"Id": "t", "QueueArn": "arn:aws:sqs:::queue", "Events": ["s3:ObjectRemoved:*"]}],
        },
        "InvalidArgument",
    ),
    ({"EventBridgeConfiguration": {}}, "NotImplemented"),
]


@pytest.mark.usefixtures("receiver")
@pytest.mark.parametrize(("configuration", "code"), REFUSED)
def test_refused(served: Served, bucket: str, configuration: dict[str, Any], code: str) -> None:
    s3 = client_for(served, parameter_validation=False)
    put = s3.put_bucket_notification_configuration
    assert refusal(put, Bucket=bucket, NotificationConfiguration=configuration)[0] == code
    assert served.run(served.store.meta.container(bucket).settings).documents == {}
    s3.close()


def test_a_webhook_of_an_account_serves_no_other(served: Served, s3: Any, bucket: str, receiver: Receiver) -> None:
    home = served.store.home
    save_webhooks(home, {**load_webhooks(home), "theirs": Webhook("theirs", receiver.url, "two")})
    configuration = topic(arn="arn:aws:sns:::theirs")
    put = s3.put_bucket_notification_configuration
    assert refusal(put, Bucket=bucket, NotificationConfiguration=configuration) == ("InvalidArgument", 400)
    put(Bucket=bucket, NotificationConfiguration=configuration, SkipDestinationValidation=True)
    s3.put_object(Bucket=bucket, Key="k", Body=b"")
    receiver.wait(lambda: "one/theirs" not in served.run(topics, served))
    assert receiver.names(bucket) == []
    other = client_for(served, STRANGER)
    other.create_bucket(Bucket="theirs")
    other.put_bucket_notification_configuration(Bucket="theirs", NotificationConfiguration=configuration)
    other.put_object(Bucket="theirs", Key="k", Body=b"")
    receiver.wait(lambda: receiver.names("theirs") == [("ObjectCreated:Put", "k")])
    other.close()


async def topics(served: Served) -> dict[str, int]:
    spool = Spool(served.store.home / "spool" / "events.db", number_max=1, bytes_max=1)
    found = await spool.topics()
    await spool.aclose()
    return found


@pytest.mark.usefixtures("receiver")
def test_a_destination_may_be_registered_later(s3: Any, bucket: str, served: Served) -> None:
    configuration = topic(arn="arn:aws:sns:::unknown")
    put = s3.put_bucket_notification_configuration
    put(Bucket=bucket, NotificationConfiguration=configuration, SkipDestinationValidation=True)
    assert "unknown" not in load_webhooks(served.store.home)


def post(url: str, fields: dict[str, str], body: bytes) -> None:
    boundary = "frontier"
    parts = [f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n' for name, value in fields.items()]
    head = "".join(parts) + f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="f"\r\n\r\n'
    data = head.encode() + body + f"\r\n--{boundary}--\r\n".encode()
    request = urllib.request.Request(url, data, {"Content-Type": f"multipart/form-data; boundary={boundary}"})
    with urllib.request.urlopen(request, timeout=10) as answer:
        assert answer.status == 204


def test_messages_are_json(notifying: str, receiver: Receiver) -> None:
    assert all(json.loads(json.dumps(message)) for message in receiver.messages)
