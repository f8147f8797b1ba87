"""Who owns what is written into a bucket, and its public-access block."""

from __future__ import annotations

from s3.acl import grants_of, shares
from s3.call import Call
from s3.errors import S3Error
from s3.handlers.configuration import deleter, getter, keep, putter, received
from s3.ownership import ENFORCED, OWNERSHIP_CONTROLS
from s3.publicaccess import PUBLIC_ACCESS_BLOCK

get_public_access_block, put_public_access_block = getter(PUBLIC_ACCESS_BLOCK), putter(PUBLIC_ACCESS_BLOCK)
delete_public_access_block = deleter(PUBLIC_ACCESS_BLOCK)
get_ownership_controls, delete_ownership_controls = getter(OWNERSHIP_CONTROLS), deleter(OWNERSHIP_CONTROLS)


async def put_ownership_controls(call: Call) -> None:
    controls = await received(call, OWNERSHIP_CONTROLS)
    settings = call.settings
    if controls.rules[0].object_ownership == ENFORCED and shares(grants_of(settings.acl, settings.owner, settings.owner), settings.owner):
        raise S3Error("InvalidBucketAclWithObjectOwnership")
    await keep(call, OWNERSHIP_CONTROLS, controls)
    await call.answer(200)
