"""The one step between signature and handler: reads what the decisions need, asks `authorize.decide`, refuses.

The caller's right to the operation itself comes first. Only then are the other wishes of the request looked at (access control lists name
users, and whether those are there is nobody else's business), and the permissions that they need.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from urllib.parse import unquote_to_bytes

from meta.protocol.bucket import BucketSettings
from meta.protocol.object import ObjectRow
from node.errors import BucketNotFound, NotFound, ObjectNotFound, VersionNotFound
from s3.acl import PRIVATE, grants_of, shares
from s3.action import ACTIONS, OF_VERSIONS
from s3.authorize import ABSENT, Decision, Guard, Thing, decide, guard_of, is_plain
from s3.body import BODIES, read_creation, read_for_conditions
from s3.call import Call, CopySource, Rights
from s3.context import Context
from s3.errors import S3Error
from s3.ownership import DEFAULT, MIXED, owner_of_new
from s3.router import ANYBODY, Level
from s3.statement import Ask
from s3.target import decode_key, is_bucket_name
from s3.version import parse_version
from s3.wish import acl_of_headers

_CREATES_OBJECT = frozenset({"PutObject", "CopyObject", "CreateMultipartUpload", "PostObject"})
_OF_EXISTING = frozenset(name for name, level in ACTIONS.items() if level is Level.OBJECT) - {
    "s3:PutObject",
    "s3:DeleteObject",
    "s3:DeleteObjectVersion",
    "s3:AbortMultipartUpload",
    "s3:ListMultipartUploadParts",
}
"""Permissions to do something with an object that must be there: that it isn't is told only to who may list."""
OF_A_VERSION = frozenset(
    {
        "DeleteObject",
        "DeleteObjectAnnotation",
        "DeleteObjectTagging",
        "GetObject",
        "GetObjectAcl",
        "GetObjectAnnotation",
        "GetObjectAttributes",
        "GetObjectLegalHold",
        "GetObjectRetention",
        "GetObjectTagging",
        "HeadObject",
        "ListObjectAnnotations",
        "PutObjectAcl",
        "PutObjectAnnotation",
        "PutObjectLegalHold",
        "PutObjectRetention",
        "PutObjectTagging",
        "RestoreObject",
        "UpdateObjectEncryption",
    }
)
"""Operations that act on the version which the query names; all others act on the key, whatever the query says."""
_OF_UPLOADS = frozenset({"s3:AbortMultipartUpload", "s3:ListMultipartUploadParts"})
_WISHES: Mapping[bytes, str] = {
    b"x-amz-tagging": "s3:PutObjectTagging",
    b"x-amz-object-lock-mode": "s3:PutObjectRetention",
    b"x-amz-object-lock-retain-until-date": "s3:PutObjectRetention",
    b"x-amz-object-lock-legal-hold": "s3:PutObjectLegalHold",
}
"""Headers of a write that need a permission of their own."""
_WISHES_OF_BUCKETS: Mapping[bytes, tuple[str, ...]] = {
    b"x-amz-object-ownership": ("s3:PutBucketOwnershipControls",),
    b"x-amz-bucket-object-lock-enabled": ("s3:PutBucketVersioning", "s3:PutBucketObjectLockConfiguration"),
}


class Access:
    """What one caller may do with one key of one bucket ("" for the bucket itself). Facts of the object are fetched once, when needed.

    plain   everything is allowed: nothing was or need be read
    row     the object's row, when it was read;  missing: the error that says why there is none
    """

    __slots__ = ("_call", "_context", "_guard", "bucket", "key", "missing", "plain", "row", "settings", "thing", "version")

    def __init__(self, call: Call, settings: BucketSettings, bucket: str, key: str, version: str | None) -> None:
        who = call.identity
        self._call = call
        self._context: Context | None = None
        self._guard: Guard | None = None
        self.settings = settings
        self.bucket = bucket
        self.key = key
        self.version = version
        self.row: ObjectRow | None = None
        self.thing: Thing | None = None
        self.missing: NotFound | None = None
        self.plain = who.account == settings.account and not who.anonymous and not who.boundaries and is_plain(settings)

    def __repr__(self) -> str:
        return f"<Access of {self._call.identity.account!r} to {self.bucket}/{self.key} plain={self.plain} thing={self.thing}>"

    @property
    def guard(self) -> Guard:
        if self._guard is None:
            self._guard = guard_of(self.settings)
        return self._guard

    @property
    def context(self) -> Context:
        if self._context is None:
            self._context = Context(self._call)
            self._context.account = self.settings.account
        return self._context

    def values(self, key: str) -> Sequence[str]:
        return self.context.values(key)

    async def require(self, permission: str, future: Thing | None = None) -> None:
        """future: the object as it is about to be written. Raises: AccessDenied; ObjectNotFound, VersionNotFound to who may know."""
        if self.plain:
            return
        if self.version is not None and future is None:
            permission = OF_VERSIONS.get(permission, permission)
        if future is None and permission in _OF_EXISTING:
            await self._fetch(permission)
            if self.missing is not None and self.may("s3:ListBucket"):
                raise self.missing
        decision = self._decide(permission, future or self.thing)
        if decision is Decision.UNDECIDED:
            await self._fetch(permission)
            decision = self._decide(permission, self.thing)
        if decision is not Decision.ALLOW or (self.missing is not None and permission in _OF_EXISTING):
            if self.row is not None and self.row.marker and self.version is None and self.may("s3:ListBucket"):
                raise ObjectNotFound("a delete marker is the newest version")
            raise S3Error("AccessDenied")

    def may(self, permission: str) -> bool:
        """Of what is known already: a decision that would need more is a no."""
        return self.plain or self._decide(permission, self.thing) is Decision.ALLOW

    def _decide(self, permission: str, thing: Thing | None) -> Decision:
        resource = f"{self.bucket}/{self.key}" if ACTIONS.get(permission) is Level.OBJECT else self.bucket
        return decide(Ask(self._call.identity, permission, resource, self.context.values), self.guard, thing)

    async def _fetch(self, permission: str) -> None:
        if self.thing is not None:
            return
        container = self._call.store.meta.container(self.bucket)
        self.thing = ABSENT
        try:
            if permission in _OF_UPLOADS:
                self.thing = Thing(owner=(await container.get_upload(self.key, self._call.query.get("uploadId", ""))).owner)
                return
            row = await container.get(self.key, None if self.version is None else parse_version(self.version))
        except (ObjectNotFound, VersionNotFound) as error:
            self.missing = error
        except NotFound:  # no such upload: nobody's
            return
        else:
            self.row = row
            if not row.marker:
                foreign = self.guard.mixed and await self._is_foreign(row.owner)
                self.thing = Thing(row.owner, row.attributes.acl, foreign)
                self.context.existing = row.attributes.tags
            elif not self.may("s3:ListBucket"):
                self.missing = ObjectNotFound("there is no such object")

    async def _is_foreign(self, owner: str) -> bool:
        if owner in ("", self.settings.owner):
            return False
        person = await self._call.services.keyring.person(owner)
        return person is None or person.account != self.settings.account


async def authorize(call: Call) -> None:
    """Leaves settings and access, and where they were needed row and source, in the call. Raises: S3Error, NotFound."""
    route = call.route
    if route.permission == ANYBODY:
        return
    if route.level is Level.SERVICE:
        if decide(Ask(call.identity, route.permission, "*", Context(call).values), None) is not Decision.ALLOW:
            raise S3Error("AccessDenied")
        return
    if route.operation == "CreateBucket":
        await _authorize_creation(call)
        return
    call.settings = settings = await _settings(call, call.bucket)
    expected = call.header(b"x-amz-expected-bucket-owner")
    if expected is not None:
        _check_owner(expected, settings)
    version = call.query.get("versionId") if call.query and route.operation in OF_A_VERSION else None
    call.access = access = Access(call, settings, call.bucket, call.key, version)
    if route.source:
        await _authorize_copy(call, access)
    elif not access.plain:
        await _authorize(call, access)
    if route.operation in _CREATES_OBJECT:
        await _authorize_wishes(call, access)


async def authorize_key(call: Call, key: str, version: str | None, *permissions: str) -> Rights:
    """Another key of the bucket that the handler finds in the request. Raises: AccessDenied, NotFound."""
    if call.access.plain:
        return call.access
    access = Access(call, call.settings, call.bucket, key, version)
    for permission in permissions:
        await access.require(permission)
    return access


async def authorize_again(call: Call) -> None:
    """For a read that has to look at its object anew, for it was replaced. Raises: S3Error, NotFound."""
    call.row = None
    await authorize(call)


async def _authorize(call: Call, access: Access) -> None:
    permission = call.route.permission
    if call.route.operation == "DeleteObjects":
        if access.guard.policy is None and not call.identity.boundaries:  # else each key for itself
            await access.require(permission)
        return
    if call.route.operation in BODIES:
        await read_for_conditions(call, access.guard.policy, access.context)
    await access.require(permission)
    call.row = access.row
    if call.route.operation == "GetObjectAttributes":
        await access.require("s3:GetObjectAttributes")
    if permission == "s3:PutObject":
        if call.header(b"x-amz-write-offset-bytes") not in (None, b"0"):
            await access.require("s3:GetObject")  # whoever appends to an object owns what is in it then
        await _note_foreign(call, access)


async def _note_foreign(call: Call, access: Access) -> None:
    """From the first write of another account on, a bucket's owner is asked object by object."""
    who, settings = call.identity, access.settings
    if who.account == settings.account or MIXED in settings.documents or owner_of_new(who, settings, "") == settings.owner:
        return
    call.settings = await call.store.meta.container(access.bucket).change_settings(documents={MIXED: "1"})


async def _authorize_wishes(call: Call, access: Access) -> None:
    """What else the headers of a write ask for."""
    call.acl = await acl_of_headers(call, access.guard if not access.plain or call.settings.documents else None)
    if access.plain:
        return
    owner = owner_of_new(call.identity, call.settings, call.acl)
    future = Thing(owner, PRIVATE, new=True)
    if shares(grants_of(call.acl or PRIVATE, owner, call.settings.owner), owner, call.settings.owner):
        await access.require("s3:PutObjectAcl", future)
    for permission in sorted({_WISHES[name] for name in _WISHES if call.header(name) is not None}):
        await access.require(permission, future)
    source = call.source
    if source is not None and source.row.attributes.tags and call.text(b"x-amz-tagging-directive", "COPY") == "COPY":
        await access.require("s3:PutObjectTagging", future)


async def _authorize_creation(call: Call) -> None:
    """A bucket is asked about as it will be: its maker's."""
    who, name = call.identity, call.bucket
    if who.anonymous:
        raise S3Error("AccessDenied")
    future = BucketSettings(bucket=name, account=who.account, owner=who.user_id, created_us=0)
    access = Access(call, future, name, "", None)
    await read_for_conditions(call, None, access.context)
    await access.require(call.route.permission)
    if who.boundaries and (await read_creation(call)).get("Tags"):
        await access.require("s3:PutBucketTagging")
    call.acl = await acl_of_headers(call, Guard(who.account, who.user_id, PRIVATE, DEFAULT), of_bucket=True)
    if call.acl:
        await access.require("s3:PutBucketAcl")
    for header, permissions in _WISHES_OF_BUCKETS.items():
        if call.header(header) is not None:
            for permission in permissions:
                await access.require(permission)


def _check_owner(expected: bytes, settings: BucketSettings) -> None:
    if expected.decode("latin-1") not in (settings.owner, settings.account):
        raise S3Error("AccessDenied")


async def _settings(call: Call, bucket: str) -> BucketSettings:
    if not is_bucket_name(bucket):
        raise S3Error("InvalidBucketName", BucketName=bucket)
    try:
        return await call.store.meta.container(bucket).settings()
    except BucketNotFound as error:
        raise S3Error("NoSuchBucket", BucketName=bucket) from error


async def _authorize_copy(call: Call, access: Access) -> None:
    """The source of a copy: parsed once, authorised and read as that same value. Raises: S3Error."""
    bucket, key, version = parse_copy_source(call.text(b"x-amz-copy-source"))
    settings = call.settings if bucket == call.bucket else await _settings(call, bucket)
    expected = call.header(b"x-amz-source-expected-bucket-owner")
    if expected is not None:
        _check_owner(expected, settings)
    source = Access(call, settings, bucket, key, version)
    for each in (access, source):
        if not each.plain:
            each.context.source = f"{bucket}/{key}"
    if not access.plain:
        await _authorize(call, access)
    await source.require("s3:GetObject")
    row = source.row
    if row is None:
        row = await call.store.meta.container(bucket).get(key, None if version is None else parse_version(version))
    if row.marker:
        raise S3Error("NoSuchKey" if version is None else "InvalidRequest", Key=key)
    if row.attributes.tags and call.route.operation == "CopyObject" and call.text(b"x-amz-tagging-directive", "COPY") == "COPY":
        await source.require("s3:GetObjectTagging")
    call.source = CopySource(bucket, settings, row)


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
