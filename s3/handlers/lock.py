"""Object lock: a bucket's configuration, retention and legal hold of versions."""

from __future__ import annotations

from meta.protocol.bucket import LockSettings
from meta.protocol.object import Change
from s3 import lock
from s3.call import Call
from s3.errors import S3Error
from s3.handlers.read import current_row
from s3.source import read_document
from s3.version import parse_version
from s3.xml import DECLARATION, NAMESPACE, XmlRefused, text_of


def _version(call: Call) -> int | None:
    text = call.query.get("versionId")
    return None if text is None else parse_version(text)


async def get_configuration(call: Call) -> None:
    settings = call.settings
    if not settings.object_lock:
        raise S3Error("ObjectLockConfigurationNotFoundError", BucketName=call.bucket)
    default, rule = settings.default_retention, ""
    if default is not None:
        period = f"<Days>{default.days}</Days>" if default.days else f"<Years>{default.years}</Years>"
        rule = f"<Rule><DefaultRetention><Mode>{default.mode}</Mode>{period}</DefaultRetention></Rule>"
    await call.answer_xml(
        f'{DECLARATION}<ObjectLockConfiguration xmlns="{NAMESPACE}"><ObjectLockEnabled>Enabled</ObjectLockEnabled>{rule}'
        "</ObjectLockConfiguration>"
    )


async def put_configuration(call: Call) -> None:
    document = await read_document(call, "ObjectLockConfiguration", checksum_required=True)
    try:
        default = lock.parse_configuration(document)
    except XmlRefused as error:
        raise S3Error("MalformedXML") from error
    await call.container.change_settings(lock=LockSettings(default))
    await call.answer(200)


async def get_retention(call: Call) -> None:
    lock.require_lock(call.settings)
    attributes = (await current_row(call)).attributes
    if not attributes.retain_mode:
        raise S3Error("NoSuchObjectLockConfiguration")
    await call.answer_xml(
        f'{DECLARATION}<Retention xmlns="{NAMESPACE}"><Mode>{attributes.retain_mode}</Mode>'
        f"<RetainUntilDate>{lock.moment(attributes.retain_until_us)}</RetainUntilDate></Retention>"
    )


async def put_retention(call: Call) -> None:
    lock.require_lock(call.settings)
    document = await read_document(call, "Retention", checksum_required=True)
    try:
        mode, until = lock.parse_retention(document)
        until_us = lock.parse_moment(until) if until else 0
    except ValueError as error:
        raise S3Error("MalformedXML") from error
    if mode:
        lock.require_future(call, until_us, until)
    change = Change(
        call.key,
        version=_version(call),
        retain_mode=mode,
        retain_until_us=until_us,
        bypass_governance=lock.may_bypass(call, call.access),
        expect_content=call.content,
    )
    await call.container.change(change)
    await call.answer(200)


async def get_legal_hold(call: Call) -> None:
    lock.require_lock(call.settings)
    held = (await current_row(call)).attributes.legal_hold
    if held is None:
        raise S3Error("NoSuchObjectLockConfiguration")
    await call.answer_xml(f'{DECLARATION}<LegalHold xmlns="{NAMESPACE}"><Status>{lock.ON if held else lock.OFF}</Status></LegalHold>')


async def put_legal_hold(call: Call) -> None:
    lock.require_lock(call.settings)
    document = await read_document(call, "LegalHold", checksum_required=True)
    try:
        status = text_of(document, "Status")
    except XmlRefused as error:
        raise S3Error("MalformedXML") from error
    if status not in (lock.ON, lock.OFF):
        raise S3Error("MalformedXML")
    await call.container.change(Change(call.key, version=_version(call), legal_hold=status == lock.ON, expect_content=call.content))
    await call.answer(200)
