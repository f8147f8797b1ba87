"""A bucket's policy, and whether it makes the bucket public."""

from __future__ import annotations

import msgspec

from s3.acl import grants_of, is_public
from s3.authorize import POLICY, Decision, decide, guard_of
from s3.call import Call
from s3.errors import S3Error
from s3.ownership import ENFORCED
from s3.policy import POLICY_BYTES_MAX, parse_policy
from s3.source import read_body
from s3.statement import Ask, PolicyRefused
from s3.xml import DECLARATION, NAMESPACE

_CONFIRMED = b"x-amz-confirm-remove-self-bucket-access"


async def get_policy(call: Call) -> None:
    text = call.settings.documents.get(POLICY)
    if text is None:
        raise S3Error("NoSuchBucketPolicy", BucketName=call.bucket)
    await call.reply.whole(200, call.headers((b"Content-Type", b"application/json")), text.encode())


async def put_policy(call: Call) -> None:
    text = await _received(call)
    guard = call.access.guard
    try:
        policy = parse_policy(text, call.bucket)
    except PolicyRefused as error:
        raise S3Error("MalformedPolicy", str(error)) from error
    if guard.block.block_public_policy and policy.public:
        raise S3Error("AccessDenied")
    ask = Ask(call.identity, "s3:PutBucketPolicy", call.bucket, call.access.values)
    new = guard_of(msgspec.structs.replace(call.settings, documents={**call.settings.documents, POLICY: text}))
    if decide(ask, new) is not Decision.ALLOW and call.text(_CONFIRMED).lower() != "true":
        raise S3Error(
            "AccessDenied",
            "The policy would take your own right to change it away. Confirm that with x-amz-confirm-remove-self-bucket-access: true",
        )
    await call.container.change_settings(documents={POLICY: text})
    await call.answer(204)


async def _received(call: Call) -> str:
    """Raises: MissingRequestBodyError, MalformedPolicy."""
    if not call.request.has_body:
        raise S3Error("MissingRequestBodyError")
    data = await read_body(call, POLICY_BYTES_MAX, too_large=_too_large())
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise S3Error("MalformedPolicy") from error


def _too_large() -> S3Error:
    return S3Error("MalformedPolicy", f"Normalized policy document exceeds the maximum allowed size of {POLICY_BYTES_MAX} bytes.")


async def delete_policy(call: Call) -> None:
    await call.container.change_settings(documents={POLICY: None})
    await call.answer(204)


async def get_policy_status(call: Call) -> None:
    """A bucket without a policy has a status too, as in Ceph: its access control list may make it public."""
    guard = call.access.guard
    by_list = (
        guard.ownership != ENFORCED and is_public(grants_of(guard.acl, guard.owner, guard.owner)) and not guard.block.ignore_public_acls
    )
    by_policy = guard.policy is not None and guard.policy.public and not guard.block.restrict_public_buckets
    shown = "true" if by_list or by_policy else "false"
    await call.answer_xml(f'{DECLARATION}<PolicyStatus xmlns="{NAMESPACE}"><IsPublic>{shown}</IsPublic></PolicyStatus>')
