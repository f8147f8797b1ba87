"""Changes of objects become events of their bucket, durable before the request that made them is answered.

Handlers call this only in buckets that have documents. When an event can't be kept the request fails although the object has changed:
its client tries again, and no change that was answered lacks its event.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from meta.protocol.object import DeleteResult, ObjectRow
from meta.spool import Record
from s3.call import Call
from s3.moment import iso_date
from s3.notification import CREATED_COPY, NOTIFICATION, REMOVED, REMOVED_BY_MARKER, Happened
from s3.outbox import topic_of
from s3.version import encode_version


class Change(msgspec.Struct, frozen=True):
    """at_us: of its place in the order of the key's changes."""

    event: str
    key: str
    at_us: int
    version: str = ""
    size: int | None = None
    etag: str | None = None


async def publish_row(call: Call, event: str, row: ObjectRow) -> None:
    """The object was made, or something about it changed. Raises: as Channel.add."""
    made = event.startswith("s3:ObjectCreated:")
    at_us = row.version if made else max(_now_us(call), row.version + 1)
    version = encode_version(row.version, row.null) if call.settings.versioning else ""
    await publish(call, [Change(event, row.key, at_us, version, row.size if made else None, row.etag or None)])


async def publish_deletions(call: Call, results: Iterable[DeleteResult]) -> None:
    """What was refused, or had nothing to delete, is no event. Raises: as Channel.add."""
    changes = [_deletion(call, result) for result in results if not result.error and (result.version or result.made_marker)]
    if changes:
        await publish(call, changes)


async def publish_rename(call: Call, source: str) -> None:
    """To who keeps a list of the keys it is one that came and one that went. Raises: as Channel.add."""
    row = await call.container.get(call.key)
    await publish_row(call, CREATED_COPY, row)
    await publish(call, [Change(REMOVED, source, max(_now_us(call), row.version + 1))])


def _deletion(call: Call, result: DeleteResult) -> Change:
    version = encode_version(result.version, result.null) if call.settings.versioning else ""
    if result.made_marker:
        return Change(REMOVED_BY_MARKER, result.key, result.version, version)
    return Change(REMOVED, result.key, max(_now_us(call), result.version + 1), version)


async def publish(call: Call, changes: Iterable[Change]) -> None:
    """Raises: as Channel.add."""
    notification = NOTIFICATION.of(call.settings)
    if notification is None:
        return
    now_us = _now_us(call)
    records = []
    for change in changes:
        happened = _happened(call, change, now_us)
        for target in notification.wanting(change.event, change.key):
            topic = topic_of(call.settings.account, target.webhook)
            records.append(Record(topic, f"{call.bucket}/{change.key}", now_us, happened.message(target.id)))
    if records:
        await call.services.outbox.events.add(records)


def _now_us(call: Call) -> int:
    return int(call.services.now_s() * 1_000_000)


def _happened(call: Call, change: Change, now_us: int) -> Happened:
    options, address = call.services.options, call.request.address
    return Happened(
        event=change.event,
        time=iso_date(now_us)[:-4] + f"{now_us // 1_000 % 1_000:03}Z",
        region=call.settings.region or options.region,
        bucket=call.bucket,
        owner=call.settings.owner,
        requester=call.identity.user_id,
        address=address[0] if isinstance(address, tuple) else "",
        request_id=call.request.id,
        host_id=options.host_id,
        key=change.key,
        sequencer=f"{change.at_us:016X}",
        version=change.version,
        size=change.size,
        etag=change.etag,
    )
