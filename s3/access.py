"""The one step between signature and handler: reads what the decision needs, asks `authorize.allow`, refuses."""

from __future__ import annotations

from urllib.parse import unquote_to_bytes

from meta.protocol import BucketSettings, ObjectRow
from node.errors import BucketNotFound, ObjectNotFound, VersionNotFound
from s3.authorize import Decision, allow, may_know_absence
from s3.call import Call, CopySource
from s3.errors import S3Error
from s3.router import ANYBODY, Level
from s3.target import decode_key, is_bucket_name
from s3.version import parse_version


async def authorize(call: Call) -> None:
    """Leaves settings, and where they were needed row and source, in the call. Raises: S3Error, BucketNotFound."""
    route = call.route
    if route.permission == ANYBODY:
        return
    if route.level is Level.SERVICE or route.operation == "CreateBucket":
        _require(allow(call.identity, route.permission, None))
        return
    call.settings = settings = await _settings(call, call.bucket)
    expected = call.header(b"x-amz-expected-bucket-owner")
    if expected is not None:
        _check_owner(expected, settings)
    permission = route.permission
    if call.query and "versionId" in call.query and permission in _OF_VERSIONS:
        permission = _OF_VERSIONS[permission]
    decision = allow(call.identity, permission, settings)
    if decision is Decision.UNDECIDED:
        call.row, decision = await _ask_object(call, permission, settings, call.bucket, call.key, call.query.get("versionId"))
    _require(decision)
    if route.source:
        call.source = await _read_source(call)


_OF_VERSIONS = {
    "s3:GetObject": "s3:GetObjectVersion",
    "s3:DeleteObject": "s3:DeleteObjectVersion",
    "s3:GetObjectTagging": "s3:GetObjectVersionTagging",
    "s3:PutObjectTagging": "s3:PutObjectVersionTagging",
    "s3:DeleteObjectTagging": "s3:DeleteObjectVersionTagging",
    "s3:GetObjectAcl": "s3:GetObjectVersionAcl",
    "s3:PutObjectAcl": "s3:PutObjectVersionAcl",
}


def _require(decision: Decision) -> None:
    if decision is not Decision.ALLOW:
        raise S3Error("AccessDenied")


def _check_owner(expected: bytes, settings: BucketSettings) -> None:
    if expected.decode("latin-1") not in (settings.owner, settings.account):
        raise S3Error("AccessDenied")


async def _settings(call: Call, bucket: str) -> BucketSettings:
    if not is_bucket_name(bucket):
        raise S3Error("InvalidBucketName", BucketName=bucket)
    try:
        return await call.store.meta.container(bucket).settings()
    except BucketNotFound as error:
        if call.identity.anonymous:  # who shows no key learns nothing, not even which names are free
            raise S3Error("AccessDenied") from error
        raise S3Error("NoSuchBucket", BucketName=bucket) from error


async def _ask_object(
    call: Call, permission: str, settings: BucketSettings, bucket: str, key: str, version: str | None
) -> tuple[ObjectRow | None, Decision]:
    """The object's own ACL decides. One that isn't there is told only to who may list the bucket."""
    number = None if version is None else parse_version(version)
    try:
        row = await call.store.meta.container(bucket).get(key, number)
    except (ObjectNotFound, VersionNotFound):
        if may_know_absence(call.identity, settings):
            raise
        return None, Decision.DENY
    if row.marker:
        return row, Decision.ALLOW if may_know_absence(call.identity, settings) else Decision.DENY
    return row, allow(call.identity, permission, settings, row.attributes.acl)


async def _read_source(call: Call) -> CopySource:
    """The source of a copy: parsed once, authorised and read as that same value. Raises: S3Error."""
    bucket, key, version = parse_copy_source(call.text(b"x-amz-copy-source"))
    settings = call.settings if bucket == call.bucket else await _settings(call, bucket)
    expected = call.header(b"x-amz-source-expected-bucket-owner")
    if expected is not None:
        _check_owner(expected, settings)
    permission = "s3:GetObject" if version is None else "s3:GetObjectVersion"
    decision = allow(call.identity, permission, settings)
    if decision is Decision.UNDECIDED:
        row, decision = await _ask_object(call, permission, settings, bucket, key, version)
    elif decision is Decision.ALLOW:
        row = await call.store.meta.container(bucket).get(key, None if version is None else parse_version(version))
    else:
        row = None
    _require(decision)
    assert row is not None
    if row.marker:
        raise S3Error("NoSuchKey" if version is None else "InvalidRequest", Key=key)
    return CopySource(bucket, settings, row)


def parse_copy_source(header: str) -> tuple[str, str, str | None]:
    """Bucket, key and version id of an x-amz-copy-source: "[/]bucket/key[?versionId=id]", URL-encoded. Raises: InvalidArgument."""
    path, mark, query = header.partition("?")
    version = None
    if mark:
        name, _, version = query.partition("=")
        if name != "versionId" or not version or "&" in version:
            raise S3Error("InvalidArgument", "Copy Source must mention the source bucket and key: sourcebucket/sourcekey")
    raw = unquote_to_bytes(path.encode("latin-1"))
    bucket, _, key = raw.removeprefix(b"/").partition(b"/")
    if not bucket or not key:
        raise S3Error("InvalidArgument", "Copy Source must mention the source bucket and key: sourcebucket/sourcekey")
    return bucket.decode("latin-1"), decode_key(key), version
