"""Which events go where, against a model; and that no two destinations could be meant by one event."""

from __future__ import annotations

import itertools
import json
from urllib.parse import unquote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from s3.errors import S3Error
from s3.notification import (
    EVENTS,
    NOTIFICATION,
    PATTERNS,
    Filter,
    FilterRule,
    Happened,
    KeyFilter,
    Notification,
    Queue,
    Topic,
    checked,
    trial_message,
)
from s3.shape import read, write
from s3.xml import parse

_TEXT = st.text("ab/", max_size=3)


def _topic(prefix: str | None, suffix: str | None, events: list[str], arn: str = "arn:aws:sns:us-east-1:1:t") -> Topic:
    rules = tuple(FilterRule(name, value) for name, value in (("prefix", prefix), ("Suffix", suffix)) if value is not None)
    return Topic(arn=arn, events=tuple(events), filter=Filter(KeyFilter(rules)) if rules else None)


_topics = st.builds(_topic, st.none() | _TEXT, st.none() | _TEXT, st.lists(st.sampled_from(sorted(PATTERNS)), min_size=1, max_size=3))


def _wants(topic: Topic, event: str, key: str) -> bool:
    rules = {rule.name.lower(): rule.value for rule in (topic.filter.key.rules if topic.filter and topic.filter.key else ())}
    named = event in topic.events or event[: event.rindex(":")] + ":*" in topic.events
    return named and key.find(rules.get("prefix", "")) == 0 and key[::-1].find(rules.get("suffix", "")[::-1]) == 0


@given(st.lists(_topics, max_size=4), st.sampled_from(sorted(EVENTS)), st.text("ab/", max_size=5))
def test_events_go_where_the_model_says(topics: list[Topic], event: str, key: str) -> None:
    wanting = list(Notification(tuple(topics)).wanting(event, key))
    assert wanting == [topic for topic in topics if _wants(topic, event, key)]


@given(st.lists(_topics, min_size=2, max_size=3))
def test_no_event_is_meant_by_two_of_an_accepted_document(topics: list[Topic]) -> None:
    try:
        accepted = checked(Notification(tuple(topics)))
    except S3Error as error:
        assert error.code == "InvalidArgument"
        return
    keys = ["".join(letters) for length in range(5) for letters in itertools.product("ab/", repeat=length)]
    for event in EVENTS:
        assert all(len(list(accepted.wanting(event, key))) < 2 for key in keys)


@given(_topics)
def test_round_trip(topic: Topic) -> None:
    accepted = checked(Notification((topic,)))
    again = read(parse(write(accepted, "N").encode(), "N"), Notification)
    assert again == accepted == checked(again)
    assert accepted.topics[0].id
    assert NOTIFICATION.encode(accepted).startswith("<NotificationConfiguration ")


@pytest.mark.parametrize(
    ("target", "name"),
    [
        (Topic(arn="arn:aws:sns:::hook_1", events=("s3:ObjectCreated:*",)), "hook_1"),
        (Queue(arn="arn:aws:sqs:eu-west-1:123456789012:q-2", events=("s3:ObjectCreated:*",)), "q-2"),
        (Topic(arn="arn:aws:sqs:::q", events=("s3:ObjectCreated:*",)), ""),
        (Topic(arn="arn:aws:sns:::a/../b", events=("s3:ObjectCreated:*",)), ""),
        (Topic(arn="http://169.254.169.254/", events=("s3:ObjectCreated:*",)), ""),
        (Topic(arn="arn:aws:sns:", events=("s3:ObjectCreated:*",)), ""),
        (Topic(arn="", events=("s3:ObjectCreated:*",)), ""),
    ],
)
def test_the_name_in_an_arn(target: Topic | Queue, name: str) -> None:
    if name:
        assert target.webhook == name
    else:
        with pytest.raises(S3Error, match="ARN"):
            checked(Notification((target,)) if isinstance(target, Topic) else Notification((), (target,)))


def test_a_message_is_as_aws_writes_it() -> None:
    happened = Happened(
        event="s3:ObjectCreated:Put",
        time="2026-01-01T00:00:00.123Z",
        region="us-east-1",
        bucket="b",
        owner="owner",
        requester="",
        address="10.0.0.1",
        request_id="R",
        host_id="H",
        key="a/red flöwer+.jpg",
        sequencer="00",
        version="v",
        size=0,
        etag="e",
    )
    (record,) = json.loads(happened.message("id"))["Records"]
    assert record["eventVersion"] == "2.1"
    assert record["eventName"] == "ObjectCreated:Put"
    assert record["s3"]["object"] == {"key": "a/red+fl%C3%B6wer%2B.jpg", "size": 0, "eTag": "e", "versionId": "v", "sequencer": "00"}
    assert unquote_plus(record["s3"]["object"]["key"]) == happened.key
    assert record["userIdentity"] == {"principalId": "Anonymous"}
    assert record["s3"]["bucket"]["arn"] == "arn:aws:s3:::b"
    test = json.loads(trial_message(time="t", bucket="b", request_id="r", host_id="h"))
    assert test == {"Service": "Amazon S3", "Event": "s3:TestEvent", "Time": "t", "Bucket": "b", "RequestId": "r", "HostId": "h"}
