"""Server access logs: the document that asks for them, the line that a request becomes, the names of the objects they lie in. Pure.

Source: https://docs.aws.amazon.com/AmazonS3/latest/userguide/LogFormat.html, .../ServerLogs.html
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Annotated, Literal
from urllib.parse import quote

import msgspec

from s3.acl import FULL_CONTROL, GROUP, GROUPS, USER, Grant, encode_acl
from s3.configuration import Configuration
from s3.errors import S3Error, not_implemented
from s3.router import Level, Route
from s3.shape import Shape
from s3.target import KEY_BYTES_MAX

GRANTS_MAX = 100
PREFIX_BYTES_MAX = 800
"""So that the rest of the key fits in its 1,024 bytes, with the longest names."""
FIELD_CHARACTERS_MAX = 2_048
"""Of what a client says: the URI, its referrer, its name."""
VERSION_CHARACTERS_MAX = 64
"""Of a version id as the client wrote it. One that was made here has 16."""


class Grantee(Shape, frozen=True):
    id: str | None = msgspec.field(default=None, name="ID")
    display_name: str | None = None
    email: str | None = msgspec.field(default=None, name="EmailAddress")
    uri: str | None = msgspec.field(default=None, name="URI")
    type: Literal["CanonicalUser", "AmazonCustomerByEmail", "Group"] | None = msgspec.field(default=None, name="@type")


class TargetGrant(Shape, frozen=True):
    grantee: Grantee
    permission: Literal["FULL_CONTROL", "READ", "WRITE"]


class TargetGrants(Shape, frozen=True):
    grants: Annotated[tuple[TargetGrant, ...], msgspec.Meta(max_length=GRANTS_MAX)] = msgspec.field(default=(), name="Grant")


class SimplePrefix(Shape, frozen=True):
    """PREFIX, then the time of delivery."""


class PartitionedPrefix(Shape, frozen=True):
    """PREFIX, then account, region, bucket and day."""

    partition_date_source: Literal["EventTime", "DeliveryTime"] = "DeliveryTime"


class KeyFormat(Shape, frozen=True):
    simple: SimplePrefix | None = msgspec.field(default=None, name="SimplePrefix")
    partitioned: PartitionedPrefix | None = msgspec.field(default=None, name="PartitionedPrefix")


class LoggingEnabled(Shape, frozen=True, kw_only=True):
    target_bucket: str
    target_grants: TargetGrants | None = None
    target_prefix: str
    target_object_key_format: KeyFormat | None = None

    @property
    def partitioned(self) -> PartitionedPrefix | None:
        return None if self.target_object_key_format is None else self.target_object_key_format.partitioned

    @property
    def by_event(self) -> bool:
        """Whether a log's name tells the day of its lines."""
        return self.partitioned is not None and self.partitioned.partition_date_source == "EventTime"

    def acl(self, owner: str) -> str:
        """As meta.protocol.object.Attributes keeps it: the target's owner has full control, beside whom the grants name."""
        grants = [Grant(FULL_CONTROL, USER, owner)]
        for each in self.target_grants.grants if self.target_grants is not None else ():
            who = each.grantee
            grants.append(Grant(each.permission, GROUP, who.uri) if who.uri else Grant(each.permission, USER, who.id or ""))
        return encode_acl(grants) if len(grants) > 1 else "private"

    def key(self, *, account: str, region: str, bucket: str, at_us: int, unique: str) -> str:
        """Of the log of that bucket with lines of the day of at_us (by_event), or that is delivered at at_us."""
        at = datetime.fromtimestamp(at_us / 1e6, UTC)
        name = f"{at:%Y-%m-%d}-00-00-00-{unique}" if self.by_event else f"{at:%Y-%m-%d-%H-%M-%S}-{unique}"
        folder = f"{account}/{region}/{bucket}/{at:%Y/%m/%d}/" if self.partitioned is not None else ""
        return f"{self.target_prefix}{folder}{name}"


class LoggingStatus(Shape, frozen=True):
    enabled: LoggingEnabled | None = msgspec.field(default=None, name="LoggingEnabled")


def checked(status: LoggingStatus) -> LoggingStatus:
    """Raises: MalformedXML, InvalidArgument, NotImplemented."""
    wanted = status.enabled
    if wanted is None:
        return status
    if len(wanted.target_prefix.encode()) > PREFIX_BYTES_MAX:
        raise S3Error("InvalidArgument", f"The TargetPrefix may have at most {PREFIX_BYTES_MAX} bytes.")
    form = wanted.target_object_key_format
    if form is not None and (form.simple is None) == (form.partitioned is None):
        raise S3Error("MalformedXML")
    for grant in wanted.target_grants.grants if wanted.target_grants is not None else ():
        who = grant.grantee
        if who.email is not None:
            raise not_implemented("A target grant by e-mail address")
        if (who.id is None) == (who.uri is None):
            raise S3Error("MalformedXML")
        if who.uri is not None and who.uri not in GROUPS:
            raise S3Error("InvalidArgument", "Invalid group uri", ArgumentName="uri", ArgumentValue=who.uri)
    return status


LOGGING = Configuration("logging", "BucketLoggingStatus", LoggingStatus, default=LoggingStatus(), checked=checked)


# Lines

_RESOURCES = {
    "ListObjects": "BUCKET",
    "ListObjectsV2": "BUCKET",
    "ListObjectVersions": "BUCKETVERSIONS",
    "ListMultipartUploads": "UPLOADS",
    "CreateMultipartUpload": "UPLOADS",
    "CompleteMultipartUpload": "UPLOAD",
    "AbortMultipartUpload": "UPLOAD",
    "ListParts": "UPLOAD",
    "UploadPart": "PART",
    "UploadPartCopy": "PART",
    "DeleteObjects": "MULTI_OBJECT_DELETE",
    "GetBucketLogging": "LOGGING_STATUS",
    "PutBucketLogging": "LOGGING_STATUS",
    "GetBucketPolicy": "BUCKETPOLICY",
    "PutBucketPolicy": "BUCKETPOLICY",
    "DeleteBucketPolicy": "BUCKETPOLICY",
    "GetObjectTagging": "OBJECT_TAGGING",
    "PutObjectTagging": "OBJECT_TAGGING",
    "DeleteObjectTagging": "OBJECT_TAGGING",
}
_WORD = re.compile(r"(?<=[a-z])(?=[A-Z])|-")
_SECRET = re.compile(r"(?i)((?:^|[?&])(?:X-Amz-Signature|X-Amz-Security-Token|Signature)=)[^&\s]*")
_UNPRINTABLE = re.compile(r'[^\x20-\x7e]|"')


def operation_of(route: Route) -> str:
    """As AWS writes it: REST.GET.OBJECT."""
    if route.method == "OPTIONS":
        return "REST.OPTIONS.PREFLIGHT"
    resource = _RESOURCES.get(route.operation)
    if resource is None:
        names = [condition.partition("=")[0] for condition in route.query]
        resource = _WORD.sub("_", names[0]).upper() if names else "OBJECT" if route.level is Level.OBJECT else "BUCKET"
    return f"REST.{'COPY' if route.source else route.method}.{resource}"


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """One request. "" and None are shown as "-"; at_us: its beginning; uri, referer, agent, version, key: as the client sent them."""

    owner: str
    bucket: str
    at_us: int
    address: str = ""
    requester: str = ""
    request_id: str
    operation: str
    key: str = ""
    uri: str
    status: int
    error: str = ""
    sent: int = 0
    size: int | None = None
    spent_ms: int
    referer: str = ""
    agent: str = ""
    version: str = ""
    host_id: str = ""
    signature: str = ""
    auth: str = ""
    host: str = ""

    def line(self) -> str:
        at = datetime.fromtimestamp(self.at_us / 1e6, UTC)
        uri = _SECRET.sub(r"\1REDACTED", self.uri)
        fields = (
            self.owner,
            self.bucket,
            f"[{at:%d/%b/%Y:%H:%M:%S} +0000]",
            self.address,
            self.requester,
            self.request_id,
            self.operation,
            quote(self.key[:KEY_BYTES_MAX], safe="/"),
            f'"{_plain(uri)}"',
            str(self.status),
            self.error,
            str(self.sent or ""),
            "" if self.size is None else str(self.size),
            str(self.spent_ms),
            "",
            f'"{_plain(self.referer) or "-"}"',
            f'"{_plain(self.agent) or "-"}"',
            quote(self.version[:VERSION_CHARACTERS_MAX], safe=""),
            self.host_id,
            self.signature,
            "",
            self.auth,
            _plain(self.host).replace(" ", "%20"),
            "",
            "",
            "",
        )
        return " ".join(field or "-" for field in fields) + "\n"


def _plain(text: str) -> str:
    """Without what could end a field or a line."""
    return _UNPRINTABLE.sub(lambda found: f"%{ord(found[0]):02X}", text[:FIELD_CHARACTERS_MAX])
