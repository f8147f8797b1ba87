"""The access control list that a request asks for: read, its users found, and checked against what the bucket allows."""

from __future__ import annotations

from collections.abc import Sequence

from s3.acl import (
    BUCKET_OWNER_FULL_CONTROL,
    CANNED,
    CANNED_OF_OBJECTS,
    FULL_CONTROL,
    USER,
    Grant,
    encode_acl,
    grants_of,
    is_public,
)
from s3.authorize import Guard
from s3.call import Call
from s3.errors import S3Error, invalid_argument
from s3.grantee import EMAIL, GRANT_HEADERS, Wish, parse_acl_document, wishes_of_headers
from s3.ownership import ENFORCED
from s3.source import read_document

_CANNED = b"x-amz-acl"


def asks_by_header(call: Call) -> bool:
    return call.header(_CANNED) is not None or any(call.header(name) is not None for name in GRANT_HEADERS)


async def acl_of_headers(call: Call, guard: Guard | None, *, of_bucket: bool = False) -> str:
    """As it is kept; "" when no header asks for one. guard: None in a bucket that refuses none.

    Raises: InvalidArgument, InvalidRequest, UnresolvableGrantByEmailAddress, AccessControlListNotSupported, AccessDenied.
    """
    canned = call.header(_CANNED)
    granted = [name for name in GRANT_HEADERS if call.header(name) is not None]
    if canned is None and not granted:
        return ""
    if canned is not None and granted:
        raise S3Error("InvalidRequest", "Specifying both Canned ACLs and Header Grants is not allowed")
    if canned is None:
        acl = encode_acl(await _found(call, wishes_of_headers(call.header)))
    else:
        acl = canned.decode("latin-1")
        if acl not in (CANNED if of_bucket else CANNED_OF_OBJECTS):
            raise invalid_argument("", "x-amz-acl", acl)
    if guard is not None:
        check_acl(acl, guard)
    return acl


async def acl_of_request(call: Call, owner: str, guard: Guard, *, of_bucket: bool) -> str:
    """What a PutBucketAcl or PutObjectAcl asks for, by headers or in its body. owner: of the bucket or object.

    Raises: as acl_of_headers; MalformedACLError, UnexpectedContent, MissingSecurityHeader, AccessDenied for another owner.
    """
    if asks_by_header(call):
        if call.request.has_body:
            raise S3Error("UnexpectedContent")
        return await acl_of_headers(call, guard, of_bucket=of_bucket)
    if not call.request.has_body:
        raise S3Error("MissingSecurityHeader", "Your request was missing a required header", MissingHeaderName="x-amz-acl")
    try:
        document = await read_document(call, "AccessControlPolicy")
    except S3Error as error:
        raise (S3Error("MalformedACLError") if error.code == "MalformedXML" else error) from error
    named, wishes = parse_acl_document(document)
    if named != owner:
        raise S3Error("AccessDenied")
    acl = encode_acl(await _found(call, wishes))
    check_acl(acl, guard, owner)
    return acl


def check_acl(acl: str, guard: Guard, owner: str = "") -> None:
    """owner: of the object, "" while that is the bucket's. Raises: AccessControlListNotSupported, AccessDenied."""
    grants = grants_of(acl, owner or guard.owner, guard.owner)
    only_the_owner = grants == (Grant(FULL_CONTROL, USER, guard.owner),) and acl not in CANNED
    if guard.ownership == ENFORCED and acl != BUCKET_OWNER_FULL_CONTROL and not only_the_owner:
        raise S3Error("AccessControlListNotSupported")
    if guard.block.block_public_acls and is_public(grants):
        raise S3Error("AccessDenied")


async def _found(call: Call, wishes: Sequence[Wish]) -> list[Grant]:
    """Raises: InvalidArgument, UnresolvableGrantByEmailAddress, AmbiguousGrantByEmailAddress."""
    keyring = call.services.keyring
    grants = []
    for wish in wishes:
        grantee, kind = wish.grantee, wish.kind
        if kind == USER and await keyring.person(grantee) is None:
            raise invalid_argument("Invalid id", "CanonicalUser/ID", grantee)
        if kind == EMAIL:
            people = await keyring.by_email(grantee)
            if len(people) != 1:
                raise S3Error("UnresolvableGrantByEmailAddress" if not people else "AmbiguousGrantByEmailAddress")
            grantee, kind = people[0].user_id, USER
        grants.append(Grant(wish.permission, kind, grantee))
    return grants
