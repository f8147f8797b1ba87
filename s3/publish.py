"""Changes of objects become events of their bucket, durable before the request that made them is answered.

Handlers call this only in buckets that have documents. When an event can't be kept the request fails although the object has changed:
its client tries again, and no change that was answered lacks its event. What lifecycle rules and restores do has no request: its events
are kept behind the change, and one may be lacking where the process was killed in between.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from meta.protocol.bucket import BucketSettings
from meta.protocol.object import DeleteResult, ObjectRow
from meta.spool import Record
from s3.call import Call
from s3.moment import iso_date
from s3.notification import CREATED_COPY, NOTIFICATION, REMOVED, REMOVED_BY_MARKER, Happened
from s3.outbox import topic_of
from s3.version import encode_version


class Change(msgspec.Struct, frozen=True):
    """at_us: of its place in the order of the key's changes; cold: what a class or restore has come to, by AWS's names."""

    event: str
    key: str
    at_us: int
    version: str = ""
    size: int | None = None
    etag: str | None = None
    cold: dict[str, object] | None = None


class Origin(msgspec.Struct, frozen=True):
    """Who caused a change, where and when. region: of the gateway."""

    now_us: int
    region: str
    host_id: str
    requester: str
    address: str = ""
    request_id: str = ""


async def publish_row(call: Call, event: str, row: ObjectRow) -> None:
    """The object was made, or something about it changed. Raises: as Channel.add."""
    await publish(call, [change_of_row(call.settings, event, row, _now_us(call))])


def change_of_row(settings: BucketSettings, event: str, row: ObjectRow, now_us: int, cold: dict[str, object] | None = None) -> Change:
    made = event.startswith("s3:ObjectCreated:")
    at_us = row.version if made else max(now_us, row.version + 1)
    version = encode_version(row.version, row.null) if settings.versioning else ""
    size = row.size if made or event.startswith(("s3:ObjectRestore:", "s3:LifecycleTransition")) else None
    return Change(event, row.key, at_us, version, size, row.etag or None, cold)


async def publish_deletions(call: Call, results: Iterable[DeleteResult]) -> None:
    """What was refused, or had nothing to delete, is no event. Raises: as Channel.add."""
    events = REMOVED, REMOVED_BY_MARKER
    changes = [change_of_deletion(call.settings, events, result, _now_us(call)) for result in results if is_deletion(result)]
    if changes:
        await publish(call, changes)


async def publish_rename(call: Call, source: str) -> None:
    """To who keeps a list of the keys it is one that came and one that went. Raises: as Channel.add."""
    row = await call.container.get(call.key)
    await publish_row(call, CREATED_COPY, row)
    await publish(call, [Change(REMOVED, source, max(_now_us(call), row.version + 1))])


def is_deletion(result: DeleteResult) -> bool:
    return not result.error and bool(result.version or result.made_marker)


def change_of_deletion(settings: BucketSettings, events: tuple[str, str], result: DeleteResult, now_us: int) -> Change:
    """events: of what is gone, and of what a marker hides."""
    version = encode_version(result.version, result.null) if settings.versioning else ""
    if result.made_marker:
        return Change(events[1], result.key, result.version, version)
    return Change(events[0], result.key, max(now_us, result.version + 1), version)


async def publish(call: Call, changes: Iterable[Change]) -> None:
    """Raises: as Channel.add."""
    options, address = call.services.options, call.request.address
    origin = Origin(
        _now_us(call),
        options.region,
        options.host_id,
        call.identity.user_id,
        address[0] if isinstance(address, tuple) else "",
        call.request.id,
    )
    records = records_of(call.settings, changes, origin)
    if records:
        await call.services.outbox.events.add(records)


def records_of(settings: BucketSettings, changes: Iterable[Change], origin: Origin) -> list[Record]:
    """What is to be handed over to those whom the bucket tells of such changes."""
    notification = NOTIFICATION.of(settings)
    if notification is None:
        return []
    records = []
    for change in changes:
        happened = _happened(settings, change, origin)
        for target in notification.wanting(change.event, change.key):
            topic = topic_of(settings.account, target.webhook)
            records.append(Record(topic, f"{settings.bucket}/{change.key}", origin.now_us, happened.message(target.id)))
    return records


def _now_us(call: Call) -> int:
    return int(call.services.now_s() * 1_000_000)


def _happened(settings: BucketSettings, change: Change, origin: Origin) -> Happened:
    return Happened(
        event=change.event,
        time=iso_date(origin.now_us)[:-4] + f"{origin.now_us // 1_000 % 1_000:03}Z",
        region=settings.region or origin.region,
        bucket=settings.bucket,
        owner=settings.owner,
        requester=origin.requester,
        address=origin.address,
        request_id=origin.request_id,
        host_id=origin.host_id,
        key=change.key,
        sequencer=f"{change.at_us:016X}",
        version=change.version,
        size=change.size,
        etag=change.etag,
        cold=change.cold,
    )
