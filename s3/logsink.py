"""Lines of access logs on their way: each request's, behind its answer, to the spool; from the spool, bundled, into the target bucket.

A request does not wait for its line: a task that always flushes takes what is there, so that all that come while the disk syncs share the
next sync. Killed in between, a process loses the lines of that moment; what is on the spool is delivered at least once.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from random import Random

import msgspec
import trio

from glacier.lifecycle.calendar import DAY_US
from meta.protocol.bucket import BucketSettings
from meta.protocol.object import Attributes
from meta.spool import Record
from node.errors import BucketNotFound, FrazilError
from node.log import get_logger
from node.metrics import counter
from s3.accesslog import LOGGING, Entry, LoggingEnabled, operation_of
from s3.call import Call
from s3.default_encryption import rule_of
from s3.encryption import key_of
from s3.errors import CODES
from s3.handlers.logging import check_target
from s3.outbox import Channel
from store.afterwork import Bell
from store.envelope import Envelope
from store.source import BytesSource
from store.store import Store

QUEUE_MAX = 10_000
"""Lines in memory; who finds more there waits for a sync."""
BATCH = 1_000
RETRY_S = 1.0
LINES_MAX = 20_000
"""Lines of one log object, about 10 MiB."""
POLL_S_MAX = 5.0
LINE_AGE_S_MAX = 3 * 86_400.0
"""So long a target that takes no logs, for whatever reason, is tried again."""
WEBSITE = "WEBSITE"
log = get_logger("s3.logsink")


def entries_of(call: Call, operation: str, spent_s: float) -> list[Entry]:
    """The request's, and for one that deleted many objects each one's. operation: WEBSITE for requests to a website."""
    whole = _entry_of(call, operation, spent_s)
    return [whole, *(_deletion(whole, key, version, code) for key, version, code in getattr(call, "batch", ()))]


def _deletion(whole: Entry, key: str, version: str, code: str) -> Entry:
    status = CODES[code][0] if code else 204
    return msgspec.structs.replace(whole, operation="BATCH.DELETE.OBJECT", key=key, version=version, status=status, error=code, sent=0)


def _entry_of(call: Call, operation: str, spent_s: float) -> Entry:
    request, signed = call.request, call.signed
    headers, address = request.headers, request.address
    query = f"?{request.raw_query.decode('latin-1')}" if request.raw_query else ""
    auth = "" if signed.identity.anonymous or call.form is not None else "QueryString" if signed.presigned else "AuthHeader"
    found = getattr(call, "found", None)
    return Entry(
        owner=call.settings.owner,
        bucket=call.bucket,
        at_us=int((call.services.now_s() - spent_s) * 1_000_000),
        address=address[0] if isinstance(address, tuple) else "",
        requester=signed.identity.user_id,
        request_id=request.id,
        operation=f"WEBSITE.{request.method}.OBJECT" if operation == WEBSITE else operation_of(call.route),
        key=call.key,
        uri=f"{request.method} {request.raw_path.decode('latin-1')}{query} HTTP/{request.http_version}",
        status=call.reply.status,
        error=getattr(call, "refused", ""),
        sent=call.reply.sent,
        size=None if found is None else found.size,
        spent_ms=round(spent_s * 1_000),
        referer=headers.get(b"referer", b"").decode("latin-1"),
        agent=headers.get(b"user-agent", b"").decode("latin-1"),
        version=call.query.get("versionId", ""),
        host_id=call.services.options.host_id,
        signature="SigV4" if signed.claim is not None else "SigV2" if auth else "",
        auth=auth,
        host=headers.get(b"host", b"").decode("latin-1"),
    )


class LogSink:
    """One for each gateway."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._waiting: deque[Record] = deque()
        self._bell = Bell()

    def __repr__(self) -> str:
        return f"<LogSink waiting={len(self._waiting)}>"

    async def write(self, entries: Sequence[Entry]) -> None:
        """Waits only when too many lines wait already."""
        self._waiting.extend(Record(entry.bucket, "", entry.at_us, entry.line().encode()) for entry in entries)
        self._bell.ring()
        if len(self._waiting) > QUEUE_MAX:
            await self.flush()

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await self._bell.wait(RETRY_S)
            while self._waiting:
                await self.flush()

    async def flush(self) -> None:
        """Puts a batch on the spool. A disk that takes none costs the lines, never the requests they are of."""
        batch = [self._waiting.popleft() for _ in range(min(len(self._waiting), BATCH))]
        try:
            await self._channel.add(batch)
        except FrazilError as error:
            counter("s3_log_lines_lost", "Lines of access logs that could not be put on the spool.").inc(len(batch))
            log.error("lines of access logs are lost", extra={"count": len(batch), "error": str(error)})

    async def aclose(self) -> None:
        while self._waiting:
            await self.flush()


class LogDelivery:
    """Runs in one process of a store. period_s: how old a line gets before it is delivered."""

    def __init__(self, channel: Channel, store: Store, *, period_s: float, now_s: Callable[[], float], random: Random) -> None:
        self._channel = channel
        self._store = store
        self._period_s = period_s
        self._now_s = now_s
        self._random = random

    def __repr__(self) -> str:
        return f"<LogDelivery {self._channel!r}>"

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await trio.sleep(min(self._period_s, POLL_S_MAX))
            if self._channel.used:
                await self._deliver_all()

    async def _deliver_all(self) -> None:
        try:
            topics = await self._channel.spool.topics()
        except FrazilError as error:
            log.warning("the lines of access logs that wait can't be read now", extra={"error": str(error)})
            return
        for bucket, number in topics.items():
            try:
                oldest = (await self._channel.spool.take(bucket, 1))[0]
                if number >= LINES_MAX or self._now_s() - oldest.at_us / 1e6 >= self._period_s:
                    await self._deliver(bucket)
            except FrazilError as error:
                log.warning("an access log can't be delivered now", extra={"bucket": bucket, "error": str(error)})

    async def _deliver(self, bucket: str) -> None:
        """Raises: FrazilError, and the lines stay."""
        records = await self._channel.spool.take(bucket, LINES_MAX)
        try:
            source = await self._store.meta.container(bucket).settings()
            status = LOGGING.of(source)
        except BucketNotFound:
            status = None
        if status is None or status.enabled is None:  # it was turned off: nobody wants them
            await self._channel.spool.done(records)
            return
        earlier = [record for record in records if record.at_us < source.created_us]
        if earlier:  # of a bucket that had the name before, perhaps another owner's
            await self._channel.spool.done(earlier)
            records = [record for record in records if record.at_us >= source.created_us]
        try:
            target = await self._target(source, status.enabled)
            for each in _bundles(records, status.enabled):
                await self._put(source, target, status.enabled, each)
                await self._channel.spool.done(each)
        except FrazilError:
            oldest_us = int((self._now_s() - LINE_AGE_S_MAX) * 1_000_000)
            await self._channel.spool.done([record for record in records if record.at_us < oldest_us])
            raise

    async def _target(self, source: BucketSettings, wanted: LoggingEnabled) -> BucketSettings:
        """Raises: InvalidTargetBucketForLogging: it may have changed since it was allowed."""
        try:
            target = await self._store.meta.container(wanted.target_bucket).settings()
        except BucketNotFound:
            target = None
        check_target(source, target)
        assert target is not None
        return target

    async def _put(self, source: BucketSettings, target: BucketSettings, wanted: LoggingEnabled, records: Sequence[Record]) -> None:
        at_us = records[0].at_us if wanted.by_event else int(self._now_s() * 1_000_000)
        unique = f"{self._random.getrandbits(64):016X}"
        attributes = Attributes(type="text/plain", acl=wanted.acl(target.owner))
        attributes, data_key = await self._sealed(target, attributes)
        await self._store.put_object(
            target.bucket,
            wanted.key(account=source.account, region=source.region, bucket=source.bucket, at_us=at_us, unique=unique),
            BytesSource(b"".join(record.body for record in records), frozenset({"crc64nvme"})),
            attributes=attributes,
            owner=target.owner,
            data_key=data_key,
        )

    async def _sealed(self, target: BucketSettings, attributes: Attributes) -> tuple[Attributes, bytes]:
        """Encrypted as the target's default says."""
        default = rule_of(target).apply_server_side_encryption_by_default
        if default is None:
            return attributes, b""
        vault = self._store.vault
        key = "" if default.key is None else key_of(default.key, region=target.region, default=vault.default_key)
        envelope, data_key = await vault.seal(Envelope(default.algorithm, "", key=key))
        return envelope.into(attributes), data_key


def _bundles(records: Sequence[Record], wanted: LoggingEnabled) -> list[list[Record]]:
    """What goes into one object: all, or where its name tells the day of its lines, a day's."""
    if not wanted.by_event:
        return [list(records)] if records else []
    days: dict[int, list[Record]] = {}
    for record in records:
        days.setdefault(record.at_us // DAY_US, []).append(record)
    return list(days.values())
