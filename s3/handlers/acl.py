"""Access control lists of buckets and objects."""

from __future__ import annotations

from collections.abc import Sequence

from meta.protocol.object import Change
from s3.acl import PRIVATE, USER, Grant, grants_of
from s3.attributes import refuse_not_yet, version_headers
from s3.call import Call
from s3.grantee import acl_document
from s3.handlers.read import current_row
from s3.notification import ACL_PUT
from s3.ownership import ENFORCED, ownership_of
from s3.publish import publish_row
from s3.version import parse_version
from s3.wish import acl_of_request


async def _shown(call: Call, owner: str, acl: str) -> str:
    """In a bucket where lists don't count there is nothing but the owner's right to show."""
    bucket_owner = call.settings.owner
    if ownership_of(call.settings) == ENFORCED:
        owner, acl = bucket_owner, PRIVATE
    grants: Sequence[Grant] = grants_of(acl, owner, bucket_owner)
    users = {owner, *(grant.grantee for grant in grants if grant.kind == USER)}
    return acl_document(owner, grants, {user: await call.services.keyring.display_name(user) for user in users})


async def get_bucket_acl(call: Call) -> None:
    await call.answer_xml(await _shown(call, call.settings.owner, call.settings.acl))


async def put_bucket_acl(call: Call) -> None:
    refuse_not_yet(call)
    acl = await acl_of_request(call, call.settings.owner, call.access.guard, of_bucket=True)
    await call.container.change_settings(acl=acl)
    await call.answer(200)


async def get_object_acl(call: Call) -> None:
    row = await current_row(call)
    document = await _shown(call, row.owner or call.settings.owner, row.attributes.acl)
    await call.answer_xml(document, *version_headers(row.version, row.null, call.settings))


async def put_object_acl(call: Call) -> None:
    refuse_not_yet(call)
    row = await current_row(call)
    acl = await acl_of_request(call, row.owner or call.settings.owner, call.access.guard, of_bucket=False)
    text = call.query.get("versionId")
    version = None if text is None else parse_version(text)
    changed = await call.container.change(Change(call.key, version=version, acl=acl, expect_content=row.content))
    if call.settings.documents:
        await publish_row(call, ACL_PUT, changed)
    await call.answer(200, *version_headers(changed.version, changed.null, call.settings))
