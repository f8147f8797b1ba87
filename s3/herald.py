"""What the lifecycle engine tells, as events of the bucket."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from glacier.lifecycle.news import Event, News
from meta.protocol.bucket import BucketSettings
from meta.protocol.door import Meta
from meta.protocol.restore import restore_of
from s3.moment import iso_date
from s3.notification import EXPIRED, EXPIRED_BY_MARKER, RESTORE_OVER, RESTORED, TRANSITION
from s3.outbox import Outbox
from s3.publish import Change, Origin, change_of_deletion, change_of_row, records_of

REQUESTER = "s3.amazonaws.com"
"""Who causes what no request causes."""
_EVENTS = {Event.MOVED: TRANSITION, Event.RESTORED: RESTORED, Event.RESTORE_OVER: RESTORE_OVER}


class LifecycleHerald:
    """Implements glacier.lifecycle.news.Herald."""

    def __init__(self, meta: Meta, outbox: Outbox, *, region: str, host_id: str, now_s: Callable[[], float]) -> None:
        self._meta = meta
        self._outbox = outbox
        self._region, self._host_id, self._now_s = region, host_id, now_s

    def __repr__(self) -> str:
        return f"<LifecycleHerald {self._outbox!r}>"

    async def tell(self, bucket: str, news: Sequence[News]) -> None:
        """Raises: BucketNotFound; as s3.outbox.Channel.add."""
        settings = await self._meta.container(bucket).settings()
        if not settings.documents:
            return
        now_us = int(self._now_s() * 1_000_000)
        origin = Origin(now_us, self._region, self._host_id, REQUESTER)
        records = records_of(settings, [_change(settings, each, now_us) for each in news], origin)
        if records:
            await self._outbox.events.add(records)


def _change(settings: BucketSettings, news: News, now_us: int) -> Change:
    if news.deletion is not None:
        return change_of_deletion(settings, (EXPIRED, EXPIRED_BY_MARKER), news.deletion, now_us)
    row = news.row
    assert row is not None
    cold: dict[str, object] | None = None
    restore = restore_of(row.attributes)
    if news.event is Event.RESTORED and restore is not None:
        data = {"lifecycleRestorationExpiryTime": iso_date(restore.until_us), "lifecycleRestoreStorageClass": row.storage_class}
        cold = {"glacierEventData": {"restoreEventData": data}}
    elif news.event is Event.MOVED:
        cold = {"lifecycleEventData": {"transitionEventData": {"destinationStorageClass": row.storage_class}}}
    return change_of_row(settings, _EVENTS[news.event], row, now_us, cold)
