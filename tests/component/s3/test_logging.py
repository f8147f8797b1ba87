"""Access logs end to end: requests of a bucket become lines of objects in another."""

from __future__ import annotations

import http.client
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from typing import Any

import pytest
from botocore.exceptions import ClientError

from meta.spool import Record
from s3.call import GatewayOptions
from s3.logsink import LINE_AGE_S_MAX, LogDelivery
from s3.outbox import Outbox
from tests.component.s3.conftest import STRANGER, Served, client_for
from tests.component.s3.test_configuration import refusal
from tests.unit.s3.test_accesslog import FIELD

PERIOD_S = 0.2


@pytest.fixture(scope="module")
def logging(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    served = Served(GatewayOptions(log_period_s=PERIOD_S))
    with served.running(tmp_path_factory.mktemp("store")) as running:
        yield running


@pytest.fixture
def s3(logging: Served) -> Iterator[Any]:
    client = client_for(logging)
    yield client
    client.close()


_count = 0


@pytest.fixture
def pair(s3: Any) -> tuple[str, str]:
    """A bucket that is logged, and the one where its logs go."""
    global _count
    _count += 1
    source, target = f"source-{_count}", f"logs-{_count}"
    for name in (source, target):
        s3.create_bucket(Bucket=name)
    s3.put_bucket_logging(Bucket=source, BucketLoggingStatus=status(target))
    return source, target


def status(target: str, prefix: str = "log/", **more: Any) -> dict[str, Any]:
    return {"LoggingEnabled": {"TargetBucket": target, "TargetPrefix": prefix, **more}}


def lines(s3: Any, target: str) -> list[list[str]]:
    found = []
    for entry in s3.list_objects_v2(Bucket=target).get("Contents", ()):
        text = s3.get_object(Bucket=target, Key=entry["Key"])["Body"].read().decode()
        found += [FIELD.findall(line) for line in text.splitlines()]
    return sorted(found, key=lambda fields: fields[2])


def wait(condition: Callable[[], bool]) -> None:
    until = time.monotonic() + 15
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.05)


def test_each_request_becomes_a_line(logging: Served, s3: Any, pair: tuple[str, str]) -> None:
    source, target = pair
    put = s3.put_object(Bucket=source, Key="a b", Body=b"12345")
    s3.get_object(Bucket=source, Key="a b", Range="bytes=0-1")
    with pytest.raises(ClientError):
        s3.get_object(Bucket=source, Key="none")
    s3.copy_object(Bucket=source, Key="copy", CopySource=f"{source}/a b")
    s3.list_objects_v2(Bucket=source)
    s3.delete_objects(Bucket=source, Delete={"Objects": [{"Key": "copy"}]})
    with pytest.raises(ClientError):
        client_for(logging, STRANGER).get_object(Bucket=source, Key="a b")
    connection = http.client.HTTPConnection("127.0.0.1", logging.port, timeout=10)
    connection.request("GET", f"/{source}/a%20b?X-Amz-Signature=proof", headers={"User-Agent": 'a "quoted" one', "Referer": "http://x"})
    connection.getresponse().read()
    connection.request("GET", f"/{source}/a%20b", headers={"User-Agent": 'a "quoted" one', "Referer": "http://x"})
    connection.getresponse().read()
    connection.close()
    wait(lambda: len(lines(s3, target)) >= 10)
    found = {(fields[6], fields[7], fields[9], fields[10]): fields for fields in lines(s3, target)}
    assert set(found) == {
        ("REST.PUT.LOGGING_STATUS", "-", "200", "-"),
        ("REST.PUT.OBJECT", "a%20b", "200", "-"),
        ("REST.GET.OBJECT", "a%20b", "206", "-"),
        ("REST.GET.OBJECT", "none", "404", "NoSuchKey"),
        ("REST.COPY.OBJECT", "copy", "200", "-"),
        ("REST.GET.BUCKET", "-", "200", "-"),
        ("REST.POST.MULTI_OBJECT_DELETE", "-", "200", "-"),
        ("BATCH.DELETE.OBJECT", "copy", "204", "-"),
        ("REST.GET.OBJECT", "a%20b", "403", "AccessDenied"),
    }
    fields = found["REST.PUT.OBJECT", "a%20b", "200", "-"]
    assert (fields[0], fields[1], fields[3], fields[4]) == ("a" * 64, source, "127.0.0.1", "a" * 64)
    assert fields[5] == put["ResponseMetadata"]["HTTPHeaders"]["x-amz-request-id"]
    assert fields[8] == f'"PUT /{source}/a%20b HTTP/1.1"'
    assert fields[12] == "5"
    assert re.match(r'"[Bb]oto', fields[16])
    assert (fields[19], fields[21], fields[22]) == ("SigV4", "AuthHeader", f"127.0.0.1:{logging.port}")
    ranged = found["REST.GET.OBJECT", "a%20b", "206", "-"]
    assert (ranged[11], ranged[12]) == ("2", "5")
    anonymous = [fields for fields in lines(s3, target) if fields[4] == "-"]
    assert [fields[16] for fields in anonymous] == ['"a %22quoted%22 one"']
    keys = [entry["Key"] for entry in s3.list_objects_v2(Bucket=target)["Contents"]]
    assert all(re.fullmatch(r"log/\d{4}-\d\d-\d\d-\d\d-\d\d-\d\d-[0-9A-F]{16}", key) for key in keys)


def test_a_request_that_is_refused_before_it_is_routed_is_answered(logging: Served, pair: tuple[str, str]) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", logging.port, timeout=10)
    for target in ("k?X-Amz-Signature=1&X-Amz-Signature=2", "k?a=%zz"):
        connection.request("GET", f"/{pair[0]}/{target}", headers={"Origin": "http://a.example.com"})
        answer = connection.getresponse()
        assert (answer.status, b"<Error>" in answer.read()) == (400, True)
    connection.close()


def test_partitioned_names_grants_and_encryption(logging: Served, s3: Any, pair: tuple[str, str]) -> None:
    source, target = pair
    rule = {"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256"}}
    s3.put_bucket_encryption(Bucket=target, ServerSideEncryptionConfiguration={"Rules": [rule]})
    grants = [{"Grantee": {"Type": "CanonicalUser", "ID": STRANGER.user_id}, "Permission": "READ"}]
    form = {"PartitionedPrefix": {"PartitionDateSource": "EventTime"}}
    wanted = status(target, "p/", TargetGrants=grants, TargetObjectKeyFormat=form)
    s3.put_bucket_logging(Bucket=source, BucketLoggingStatus=wanted)
    assert s3.get_bucket_logging(Bucket=source)["LoggingEnabled"] == wanted["LoggingEnabled"]
    wait(lambda: s3.list_objects_v2(Bucket=target, Prefix="p/")["KeyCount"] > 0)
    key = s3.list_objects_v2(Bucket=target, Prefix="p/")["Contents"][0]["Key"]
    assert re.fullmatch(rf"p/one/us-east-1/{source}/\d{{4}}/\d\d/\d\d/\d{{4}}-\d\d-\d\d-00-00-00-[0-9A-F]{{16}}", key)
    stranger = client_for(logging, STRANGER)
    got = stranger.get_object(Bucket=target, Key=key)
    assert got["ServerSideEncryption"] == "AES256"
    assert got["ContentType"] == "text/plain"
    assert b"REST.PUT.LOGGING_STATUS" in got["Body"].read()
    stranger.close()


@pytest.mark.parametrize("name", ["alias/aws/s3", "arn:aws:kms:us-east-1:000000000000:alias/aws/s3"])
def test_a_log_is_encrypted_with_the_key_that_an_alias_names(s3: Any, pair: tuple[str, str], name: str) -> None:
    rule = {"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "aws:kms", "KMSMasterKeyID": name}}
    s3.put_bucket_encryption(Bucket=pair[1], ServerSideEncryptionConfiguration={"Rules": [rule]})
    s3.put_object(Bucket=pair[0], Key="k", Body=b"")
    wait(lambda: "k" in [fields[7] for fields in lines(s3, pair[1])])


def deliver(served: Served, path: Path, record: Record, *, now_s: float) -> dict[str, int]:
    """How many lines wait by topic after a delivery from a spool of its own."""

    async def work() -> dict[str, int]:
        outbox = Outbox(path)
        await outbox.lines.add([record])
        delivery = LogDelivery(outbox.lines, served.store, period_s=0, now_s=lambda: now_s, random=Random(1))
        await delivery._deliver_all()
        topics: dict[str, int] = await outbox.lines.spool.topics()
        await outbox.aclose()
        return topics

    found: dict[str, int] = served.run(work)
    return found


def test_lines_that_can_not_be_written_are_given_up_in_the_end(logging: Served, s3: Any, pair: tuple[str, str], tmp_path: Path) -> None:
    source, target = pair
    rule = {"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "aws:kms", "KMSMasterKeyID": "alias/nobodys"}}
    s3.put_bucket_encryption(Bucket=target, ServerSideEncryptionConfiguration={"Rules": [rule]})
    record = Record(source, "", int(time.time() * 1_000_000), b"line\n")
    assert deliver(logging, tmp_path / "young", record, now_s=time.time() + 60) == {source: 1}
    assert deliver(logging, tmp_path / "old", record, now_s=time.time() + LINE_AGE_S_MAX + 60) == {}
    s3.delete_bucket_encryption(Bucket=target)


def test_lines_of_a_bucket_that_had_the_name_before_go_to_nobody(logging: Served, s3: Any, pair: tuple[str, str], tmp_path: Path) -> None:
    source, target = pair
    record = Record(source, "", int((time.time() - 3_600) * 1_000_000), b"of another owner\n")
    assert deliver(logging, tmp_path, record, now_s=time.time()) == {}
    texts = [
        s3.get_object(Bucket=target, Key=entry["Key"])["Body"].read() for entry in s3.list_objects_v2(Bucket=target).get("Contents", ())
    ]
    assert not [text for text in texts if b"another owner" in text]


def test_lines_wait_for_a_target_that_is_away(s3: Any, pair: tuple[str, str]) -> None:
    source, target = pair
    wait(lambda: len(lines(s3, target)) == 1)
    for entry in s3.list_objects_v2(Bucket=target)["Contents"]:
        s3.delete_object(Bucket=target, Key=entry["Key"])
    s3.delete_bucket(Bucket=target)
    s3.put_object(Bucket=source, Key="while it was away", Body=b"")
    time.sleep(4 * PERIOD_S)
    s3.create_bucket(Bucket=target)
    wait(lambda: "while%20it%20was%20away" in [fields[7] for fields in lines(s3, target)])


def test_nothing_is_logged_once_it_is_turned_off(s3: Any, pair: tuple[str, str]) -> None:
    source, target = pair
    s3.put_bucket_logging(Bucket=source, BucketLoggingStatus={})
    assert "LoggingEnabled" not in s3.get_bucket_logging(Bucket=source)
    before = lines(s3, target)
    s3.put_object(Bucket=source, Key="k", Body=b"")
    time.sleep(4 * PERIOD_S)
    assert [fields for fields in lines(s3, target) if fields[7] == "k"] == []
    assert len(lines(s3, target)) <= len(before) + 1


def test_refused_targets(logging: Served, s3: Any, pair: tuple[str, str]) -> None:
    source, target = pair
    other = client_for(logging, STRANGER)
    other.create_bucket(Bucket="of-a-stranger")
    free = client_for(logging, parameter_validation=False)
    put = free.put_bucket_logging
    invalid = ("InvalidTargetBucketForLogging", 400)
    for name in ("nobody-has-this", "No_Name", "of-a-stranger"):
        assert refusal(put, Bucket=source, BucketLoggingStatus=status(name)) == invalid
    grant = {"Grantee": {"Type": "AmazonCustomerByEmail", "EmailAddress": "a@b"}, "Permission": "READ"}
    nobody = {"Grantee": {"Type": "Group", "URI": "http://x"}, "Permission": "READ"}
    for more, code in (
        ({"TargetGrants": [grant]}, "NotImplemented"),
        ({"TargetGrants": [nobody]}, "InvalidArgument"),
        ({"TargetObjectKeyFormat": {}}, "MalformedXML"),
        ({"TargetObjectKeyFormat": {"SimplePrefix": {}, "PartitionedPrefix": {}}}, "MalformedXML"),
        ({"TargetPrefix": "x" * 801}, "InvalidArgument"),
    ):
        wanted = {"LoggingEnabled": {**status(target)["LoggingEnabled"], **more}}
        assert refusal(put, Bucket=source, BucketLoggingStatus=wanted)[0] == code
    assert s3.get_bucket_logging(Bucket=source)["LoggingEnabled"] == status(target)["LoggingEnabled"]
    other.close()
    free.close()
