"""What a request offers to the conditions of policies: the values of their keys, worked out only when a policy asks. Pure.

Source: https://docs.aws.amazon.com/AmazonS3/latest/userguide/amazon-s3-policy-keys.html
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime

from s3.call import Call
from s3.conditionkey import EXISTING_TAG, REQUEST_TAG
from s3.errors import S3Error
from s3.formclaim import OLD_KEY
from s3.principal import account_arn, user_arn
from s3.tags import TAGGING_HEADER, tags_of_header

Values = Sequence[str]
_NONE: Values = ()
_NO_TAGS: Mapping[str, str] = {}
_CREATING = frozenset({"PutObject", "CopyObject", "CompleteMultipartUpload", "PostObject", "RenameObject"})
_IN_PARTS = frozenset({"CreateMultipartUpload", "UploadPart", "UploadPartCopy"})
_DAY_S = 86_400


class Context:
    """Belongs to one request. existing: tags of the object that is asked about; body: what the document in the body says, by condition key
    (set where a policy asks for it); source: bucket/key of the copy source as it was parsed."""

    __slots__ = ("_call", "account", "body", "existing", "source", "tags")

    def __init__(self, call: Call) -> None:
        self._call = call
        self.account = ""
        self.existing: Mapping[str, str] = _NO_TAGS
        self.body: Mapping[str, Values] = {}
        self.tags: Mapping[str, str] | None = None
        self.source = ""

    def __repr__(self) -> str:
        return f"<Context of {self._call!r}>"

    def values(self, key: str) -> Values:
        """key: as s3.wildcard.normal_key gives it."""
        found = self.body.get(key)
        if found is not None:
            return found
        if key.startswith(EXISTING_TAG):
            return _one(self.existing.get(key[len(EXISTING_TAG) :]))
        if key.startswith(REQUEST_TAG):
            return _one(self._request_tags().get(key[len(REQUEST_TAG) :]))
        make = _KEYS.get(key)
        return _NONE if make is None else make(self)

    def _request_tags(self) -> Mapping[str, str]:
        if self.tags is None:
            try:
                self.tags = tags_of_header(self._call.header(TAGGING_HEADER))
            except S3Error:  # the handler refuses it in the right words
                self.tags = _NO_TAGS
        return self.tags

    # Keys

    def _source_ip(self) -> Values:
        address = self._call.request.address
        return (address[0],) if isinstance(address, tuple) else _NONE

    def _secure(self) -> Values:
        return ("true" if self._call.request.secure else "false",)

    def _current_time(self) -> Values:
        return (datetime.fromtimestamp(int(self._call.services.now_s()), UTC).isoformat(),)

    def _epoch_time(self) -> Values:
        return (str(int(self._call.services.now_s())),)

    def _principal_arn(self) -> Values:
        who = self._call.identity
        if who.anonymous:
            return _NONE
        return (user_arn(who.account, who.user) if who.user else account_arn(who.account),)

    def _principal_account(self) -> Values:
        return _one(self._call.identity.account or None)

    def _principal_type(self) -> Values:
        return ("Anonymous" if self._call.identity.anonymous else "User",)

    def _userid(self) -> Values:
        return ("anonymous" if self._call.identity.anonymous else self._call.identity.user_id,)

    def _username(self) -> Values:
        return _one(self._call.identity.user or None)

    def _region(self) -> Values:
        return (self._call.services.options.region,)

    def _resource_account(self) -> Values:
        return _one(self.account or None)

    def _copy_source(self) -> Values:
        """Both with a slash before it and without, as clients write it and AWS's examples do."""
        return (self.source, "/" + self.source) if self.source else _NONE

    def _request_tag_keys(self) -> Values:
        return tuple(self._request_tags())

    def _creates(self) -> Values:
        operation = self._call.route.operation
        if operation in _CREATING:
            return ("true",)
        return ("false",) if operation in _IN_PARTS else _NONE

    def _remaining_days(self) -> Values:
        until = self.body.get("s3:object-lock-retain-until-date") or self._header(b"x-amz-object-lock-retain-until-date")
        if not until:
            return _NONE
        try:
            moment = datetime.fromisoformat(until[0])
        except ValueError:  # the handler refuses it in the right words
            return _NONE
        seconds = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() - self._call.services.now_s()
        return (str(-(-seconds // _DAY_S)),)

    def _signature_version(self) -> Values:
        signed = self._call.signed
        if signed.identity.anonymous:
            return _NONE
        form = self._call.form
        old = signed.claim is None if form is None else OLD_KEY in form.fields
        return ("AWS",) if old else ("AWS4-HMAC-SHA256",)

    def _auth_type(self) -> Values:
        signed = self._call.signed
        if signed.identity.anonymous:
            return _NONE
        return ("POST" if self._call.form is not None else "REST-QUERY-STRING" if signed.presigned else "REST-HEADER",)

    def _signature_age(self) -> Values:
        """Milliseconds since it was signed."""
        claim = self._call.signed.claim
        return _NONE if claim is None else (str(int((self._call.services.now_s() - claim.time_s) * 1000)),)

    def _header(self, name: bytes) -> Values:
        value = self._call.header(name)
        return _NONE if value is None else (value.decode("latin-1"),)

    def _parameter(self, name: str) -> Values:
        return _one(self._call.query.get(name))


def _one(value: str | None) -> Values:
    return _NONE if value is None else (value,)


Make = Callable[[Context], Values]


def _of_header(name: str) -> Make:
    return lambda context: context._header(name.encode("ascii"))


def _of_parameter(name: str) -> Make:
    return lambda context: context._parameter(name)


_SAME_AS_HEADER = (
    "x-amz-acl",
    "x-amz-content-sha256",
    "x-amz-grant-full-control",
    "x-amz-grant-read",
    "x-amz-grant-read-acp",
    "x-amz-grant-write",
    "x-amz-grant-write-acp",
    "x-amz-metadata-directive",
    "x-amz-object-ownership",
    "x-amz-server-side-encryption",
    "x-amz-server-side-encryption-aws-kms-key-id",
    "x-amz-server-side-encryption-customer-algorithm",
    "x-amz-storage-class",
    "x-amz-website-redirect-location",
    "if-match",
    "if-none-match",
)
_KEYS: Mapping[str, Make] = {
    "aws:sourceip": Context._source_ip,
    "aws:securetransport": Context._secure,
    "aws:referer": _of_header("referer"),
    "aws:useragent": _of_header("user-agent"),
    "aws:currenttime": Context._current_time,
    "aws:epochtime": Context._epoch_time,
    "aws:principalarn": Context._principal_arn,
    "aws:principalaccount": Context._principal_account,
    "aws:principaltype": Context._principal_type,
    "aws:userid": Context._userid,
    "aws:username": Context._username,
    "aws:requestedregion": Context._region,
    "aws:resourceaccount": Context._resource_account,
    "s3:resourceaccount": Context._resource_account,
    "s3:prefix": _of_parameter("prefix"),
    "s3:delimiter": _of_parameter("delimiter"),
    "s3:max-keys": _of_parameter("max-keys"),
    "s3:versionid": _of_parameter("versionId"),
    "s3:requestobjecttagkeys": Context._request_tag_keys,
    "s3:x-amz-copy-source": Context._copy_source,
    "s3:objectcreationoperation": Context._creates,
    "s3:object-lock-mode": _of_header("x-amz-object-lock-mode"),
    "s3:object-lock-legal-hold": _of_header("x-amz-object-lock-legal-hold"),
    "s3:object-lock-retain-until-date": _of_header("x-amz-object-lock-retain-until-date"),
    "s3:object-lock-remaining-retention-days": Context._remaining_days,
    "s3:signatureversion": Context._signature_version,
    "s3:authtype": Context._auth_type,
    "s3:signatureage": Context._signature_age,
    **{f"s3:{name}": _of_header(name) for name in _SAME_AS_HEADER},
}
