"""Buckets themselves and their settings."""

from __future__ import annotations

from meta.protocol.bucket import BucketSettings
from s3.acl import PRIVATE, grants_of, shares
from s3.attributes import refuse_not_yet
from s3.call import Call
from s3.creation import Creation
from s3.errors import S3Error, invalid_argument, not_implemented
from s3.ownership import ENFORCED, OWNERSHIP_CONTROLS, controls_of
from s3.shape import read
from s3.source import read_document
from s3.target import is_bucket_name
from s3.xml import DECLARATION, NAMESPACE, XmlRefused, escape, text_of


async def create(call: Call) -> None:
    name = call.bucket
    if not is_bucket_name(name):
        raise S3Error("InvalidBucketName", BucketName=name)
    refuse_not_yet(call)
    locked = call.text(b"x-amz-bucket-object-lock-enabled").lower() == "true"
    ownership = _ownership(call)
    if call.text(b"x-amz-bucket-namespace", "global") != "global":
        raise not_implemented("A bucket namespace of an account")
    document = await read_document(call, "CreateBucketConfiguration", empty=True)
    try:
        creation = read(document, Creation)
    except XmlRefused as error:
        raise S3Error("MalformedXML") from error
    region = call.services.options.region
    creation.check_region(region)
    identity = call.identity
    now_us = int(call.services.now_s() * 1_000_000)
    await call.store.meta.create_bucket(
        BucketSettings(
            bucket=name,
            account=identity.account,
            owner=identity.user_id,
            created_us=now_us,
            region=region,
            acl=call.acl or PRIVATE,
            versioning="Enabled" if locked else "",
            object_lock=locked,
            documents=creation.documents() | ownership,
        )
    )
    await call.answer(200, (b"Location", b"/" + name.encode("ascii")))


def _ownership(call: Call) -> dict[str, str]:
    """The document that an x-amz-object-ownership header asks for. Raises: InvalidArgument, InvalidBucketAclWithObjectOwnership."""
    mode = call.text(b"x-amz-object-ownership")
    if not mode:
        return {}
    try:
        controls = controls_of(mode)
    except ValueError as error:
        raise invalid_argument("Invalid x-amz-object-ownership header: " + mode, "x-amz-object-ownership", mode) from error
    owner = call.identity.user_id
    if mode == ENFORCED and call.acl and shares(grants_of(call.acl, owner, owner), owner):
        raise S3Error("InvalidBucketAclWithObjectOwnership")
    return {OWNERSHIP_CONTROLS.name: OWNERSHIP_CONTROLS.encode(controls)}


async def delete(call: Call) -> None:
    await call.store.meta.remove_bucket(call.bucket)
    await call.answer(204)


async def head(call: Call) -> None:
    region = (call.settings.region or call.services.options.region).encode("ascii")
    await call.answer(200, (b"x-amz-bucket-region", region), (b"Content-Type", b"application/xml"))


async def location(call: Call) -> None:
    """us-east-1 is written as an empty constraint, as it was before regions had names."""
    region = call.settings.region or call.services.options.region
    shown = "" if region == "us-east-1" else escape(region)
    await call.answer_xml(f'{DECLARATION}<LocationConstraint xmlns="{NAMESPACE}">{shown}</LocationConstraint>')


async def get_versioning(call: Call) -> None:
    state = call.settings.versioning
    shown = f"<Status>{state}</Status>" if state else ""
    await call.answer_xml(f'{DECLARATION}<VersioningConfiguration xmlns="{NAMESPACE}">{shown}</VersioningConfiguration>')


async def put_versioning(call: Call) -> None:
    document = await read_document(call, "VersioningConfiguration")
    try:
        state = text_of(document, "Status")
        delete_with_device = text_of(document, "MfaDelete", "Disabled")
    except XmlRefused as error:
        raise S3Error("MalformedXML") from error
    if state not in ("Enabled", "Suspended"):
        raise S3Error("MalformedXML")
    if delete_with_device != "Disabled":
        raise not_implemented("MFA delete")
    await call.container.change_settings(versioning=state)
    await call.answer(200)
