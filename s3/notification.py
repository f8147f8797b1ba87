"""Event notifications: which events of a bucket go to whom, and what S3 refuses in their document. Pure.

Destinations are ARNs in AWS's forms, of which the service and the name count: arn:aws:sns:::NAME, arn:aws:sqs:::NAME,
arn:aws:lambda:::function:NAME. The operator says which URL a name is (store/webhooks.py).
Source: https://docs.aws.amazon.com/AmazonS3/latest/userguide/notification-how-to-event-types-and-destinations.html
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Iterator
from itertools import combinations
from typing import Annotated, ClassVar, TypeVar
from urllib.parse import quote_plus

import msgspec

from s3.configuration import Configuration
from s3.errors import S3Error, invalid_argument, not_implemented
from s3.shape import Shape, write

CONFIGURATIONS_MAX = 100
ID_MAX = 255
FILTER_VALUE_BYTES_MAX = 1_024

CREATED_PUT = "s3:ObjectCreated:Put"
CREATED_POST = "s3:ObjectCreated:Post"
CREATED_COPY = "s3:ObjectCreated:Copy"
CREATED_PARTS = "s3:ObjectCreated:CompleteMultipartUpload"
REMOVED = "s3:ObjectRemoved:Delete"
REMOVED_BY_MARKER = "s3:ObjectRemoved:DeleteMarkerCreated"
TAGGING_PUT = "s3:ObjectTagging:Put"
TAGGING_DELETED = "s3:ObjectTagging:Delete"
ACL_PUT = "s3:ObjectAcl:Put"
RESTORE_ASKED = "s3:ObjectRestore:Post"
RESTORED = "s3:ObjectRestore:Completed"
RESTORE_OVER = "s3:ObjectRestore:Delete"
EXPIRED = "s3:LifecycleExpiration:Delete"
EXPIRED_BY_MARKER = "s3:LifecycleExpiration:DeleteMarkerCreated"
TRANSITION = "s3:LifecycleTransition"
TEST = "s3:TestEvent"

_HAPPEN = (
    *(CREATED_PUT, CREATED_POST, CREATED_COPY, CREATED_PARTS, REMOVED, REMOVED_BY_MARKER, TAGGING_PUT, TAGGING_DELETED, ACL_PUT),
    *(RESTORE_ASKED, RESTORED, RESTORE_OVER, EXPIRED, EXPIRED_BY_MARKER, TRANSITION),
)
_OTHERS = (
    "s3:ReducedRedundancyLostObject",
    "s3:Replication:OperationFailedReplication",
    "s3:Replication:OperationNotTracked",
    "s3:Replication:OperationMissedThreshold",
    "s3:Replication:OperationReplicatedAfterThreshold",
    "s3:IntelligentTiering",
)
"""Known, and so accepted, but nothing here causes them (yet)."""
EVENTS = frozenset((*_HAPPEN, *_OTHERS))
PATTERNS = EVENTS | {event.rpartition(":")[0] + ":*" for event in EVENTS if event.count(":") == 2}


class FilterRule(Shape, frozen=True):
    name: str
    value: str = ""


class KeyFilter(Shape, frozen=True):
    rules: tuple[FilterRule, ...] = msgspec.field(default=(), name="FilterRule")

    def value_of(self, name: str) -> str:
        return next((rule.value for rule in self.rules if rule.name.lower() == name), "")


class Filter(Shape, frozen=True):
    key: KeyFilter | None = msgspec.field(default=None, name="S3Key")


Events = Annotated[tuple[str, ...], msgspec.Meta(min_length=1)]


class Target(Shape, frozen=True, kw_only=True):
    """What topics, queues and functions have in common."""

    SERVICE: ClassVar[str] = ""
    id: str = ""
    filter: Filter | None = None
    arn: str
    events: Events = msgspec.field(name="Event")

    @property
    def key(self) -> KeyFilter:
        return (self.filter.key if self.filter is not None else None) or KeyFilter()

    def wants(self, event: str, key: str) -> bool:
        return (
            any(_matches(pattern, event) for pattern in self.events)
            and key.startswith(self.key.value_of("prefix"))
            and key.endswith(self.key.value_of("suffix"))
        )

    @property
    def webhook(self) -> str:
        """The name of its destination. Raises: InvalidArgument."""
        parts = self.arn.split(":", 5)
        if len(parts) != 6 or parts[0] != "arn" or not parts[1].startswith("aws") or parts[2] != self.SERVICE:
            raise invalid_argument("The ARN is not well formed", type(self).__name__, self.arn)
        name = parts[5].removeprefix("function:") if self.SERVICE == "lambda" else parts[5]
        if not _NAME.fullmatch(name):
            raise invalid_argument("The ARN is not well formed", type(self).__name__, self.arn)
        return name


_LATER_EVENTS = ("s3:ObjectTagging", "s3:ObjectAcl", "s3:Lifecycle")
"""Those that came with version 2.3 of the message."""
_NAME = re.compile(r"[A-Za-z0-9_-]{1,80}")


class Topic(Target, frozen=True, kw_only=True):
    SERVICE: ClassVar[str] = "sns"
    arn: str = msgspec.field(name="Topic")


class Queue(Target, frozen=True, kw_only=True):
    SERVICE: ClassVar[str] = "sqs"
    arn: str = msgspec.field(name="Queue")


class Function(Target, frozen=True, kw_only=True):
    SERVICE: ClassVar[str] = "lambda"
    arn: str = msgspec.field(name="CloudFunction")


class EventBridge(Shape, frozen=True):
    """On, when it is there."""


class Notification(Shape, frozen=True):
    topics: tuple[Topic, ...] = msgspec.field(default=(), name="TopicConfiguration")
    queues: tuple[Queue, ...] = msgspec.field(default=(), name="QueueConfiguration")
    functions: tuple[Function, ...] = msgspec.field(default=(), name="CloudFunctionConfiguration")
    event_bridge: EventBridge | None = msgspec.field(default=None, name="EventBridgeConfiguration")

    @property
    def targets(self) -> tuple[Target, ...]:
        return (*self.topics, *self.queues, *self.functions)

    def wanting(self, event: str, key: str) -> Iterator[Target]:
        return (target for target in self.targets if target.wants(event, key))


def _matches(pattern: str, event: str) -> bool:
    return pattern == event or (pattern.endswith(":*") and event.startswith(pattern[:-1]))


def checked(notification: Notification) -> Notification:
    """With ids for those that have none. Raises: InvalidArgument, NotImplemented."""
    if notification.event_bridge is not None:
        raise not_implemented("EventBridge")
    if len(notification.targets) > CONFIGURATIONS_MAX:
        raise S3Error("InvalidArgument", f"At most {CONFIGURATIONS_MAX} notification configurations are allowed.")
    for target in notification.targets:
        _check_target(target)
    whole = Notification(_named(notification.topics), _named(notification.queues), _named(notification.functions))
    ids = [target.id for target in whole.targets]
    if len(set(ids)) != len(ids):
        raise S3Error("InvalidArgument", "Same ID used for multiple configurations. Configuration IDs must be unique")
    for one, other in combinations(whole.targets, 2):
        if _overlap(one, other):
            raise S3Error(
                "InvalidArgument",
                "Configuration is ambiguously defined. Cannot have overlapping suffixes in two rules if the prefixes are overlapping for "
                "the same event type.",
            )
    return whole


_T = TypeVar("_T", bound=Target)


def _named(targets: tuple[_T, ...]) -> tuple[_T, ...]:
    return tuple(target if target.id else msgspec.structs.replace(target, id=_id_for(target)) for target in targets)


def _id_for(target: Target) -> str:
    """The same each time the same document comes."""
    return base64.urlsafe_b64encode(hashlib.blake2b(write(target, "Target").encode(), digest_size=24).digest()).decode("ascii")


def _check_target(target: Target) -> None:
    _ = target.webhook
    if len(target.id) > ID_MAX:
        raise invalid_argument(f"The ID length should not exceed allowed limit of {ID_MAX}", "Id", target.id)
    for event in target.events:
        if event not in PATTERNS:
            raise invalid_argument("The event is not supported for notifications", "Event", event)
    names = [rule.name.lower() for rule in target.key.rules]
    for rule in target.key.rules:
        if rule.name.lower() not in ("prefix", "suffix"):
            raise invalid_argument("filter rule name must be either prefix or suffix", "FilterRule.Name", rule.name)
        if len(rule.value.encode()) > FILTER_VALUE_BYTES_MAX:
            words = f"Size of filter rule value cannot exceed {FILTER_VALUE_BYTES_MAX} bytes in UTF-8"
            raise invalid_argument(words, "FilterRule.Value", rule.value)
    for name in ("prefix", "suffix"):
        if names.count(name) > 1:
            raise invalid_argument(f"Cannot specify more than one {name} rule in a filter.", "FilterRule.Name", name)


def _overlap(one: Target, other: Target) -> bool:
    """Whether one event of one key could be meant by both."""
    prefixes, suffixes = ([target.key.value_of(name) for target in (one, other)] for name in ("prefix", "suffix"))
    return (
        any(_matches(a, b) or _matches(b, a) for a in one.events for b in other.events)
        and (prefixes[0].startswith(prefixes[1]) or prefixes[1].startswith(prefixes[0]))
        and (suffixes[0].endswith(suffixes[1]) or suffixes[1].endswith(suffixes[0]))
    )


NOTIFICATION = Configuration("notification", "NotificationConfiguration", Notification, default=Notification(), checked=checked)


class Happened(msgspec.Struct, frozen=True, kw_only=True):
    """One change of an object, as its event tells it.

    event       one of EVENTS;  time: ISO 8601 with milliseconds
    sequencer   hex digits that grow for each key
    size, etag  None when the object is gone;  version: "" in a bucket that never had versions
    cold        what a class or restore has come to, as it stands in the message
    """

    event: str
    time: str
    region: str
    bucket: str
    owner: str
    requester: str
    address: str
    request_id: str
    host_id: str
    key: str
    sequencer: str
    version: str = ""
    size: int | None = None
    etag: str | None = None
    cold: dict[str, object] | None = None

    def message(self, configuration: str) -> bytes:
        """The JSON that a destination gets, for its configuration of that id.

        Source: https://docs.aws.amazon.com/AmazonS3/latest/userguide/notification-content-structure.html
        """
        content: dict[str, object] = {"key": quote_plus(self.key, safe="/")}
        content |= {name: value for name, value in (("size", self.size), ("eTag", self.etag)) if value is not None}
        if self.version:
            content["versionId"] = self.version
        content["sequencer"] = self.sequencer
        record = {
            "eventVersion": "2.3" if self.event.startswith(_LATER_EVENTS) else "2.1",
            "eventSource": "aws:s3",
            "awsRegion": self.region,
            "eventTime": self.time,
            "eventName": self.event.removeprefix("s3:"),
            "userIdentity": {"principalId": self.requester or "Anonymous"},
            "requestParameters": {"sourceIPAddress": self.address},
            "responseElements": {"x-amz-request-id": self.request_id, "x-amz-id-2": self.host_id},
            "s3": {
                "s3SchemaVersion": "1.0",
                "configurationId": configuration,
                "bucket": {"name": self.bucket, "ownerIdentity": {"principalId": self.owner}, "arn": f"arn:aws:s3:::{self.bucket}"},
                "object": content,
            },
        }
        return msgspec.json.encode({"Records": [record | (self.cold or {})]})


def trial_message(*, time: str, bucket: str, request_id: str, host_id: str) -> bytes:
    """What a destination gets when a configuration first names it."""
    return msgspec.json.encode(
        {"Service": "Amazon S3", "Event": TEST, "Time": time, "Bucket": bucket, "RequestId": request_id, "HostId": host_id}
    )
