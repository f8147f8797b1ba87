"""Making the buckets and their rows out of what was put together."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from meta.protocol.bucket import SYSTEM_BUCKET, BucketSettings
from meta.protocol.container import Container
from meta.protocol.door import Meta
from meta.protocol.holding import Refill, Restored
from meta.protocol.listing import ListRequest
from meta.protocol.upload import PartRow, UploadRow
from node.buffers import BufferPool
from node.errors import FrazilError, ObjectNotFound, RecordCorrupt
from rawx.chunk import UNREADABLE, Buffer
from store.fleet import Fleet
from store.get import Subject, read_content
from store.keepsake import ACCOUNTS_KEY, BUCKETS_PREFIX, ENCRYPTION_KEY, encryption_keys_of, settings_of
from store.layout import Layout
from store.rebuild.assembly import Unwhole, Whole, newest_first, part_row
from store.rebuild.census import Census
from store.rebuild.grouping import decode_row, decode_whole
from store.rebuild.report import Progress, Report

REFILL_ROWS = 2_000
"""Rows of one metadata transaction: about 100 ms."""
READ_BUFFER_BYTES = 16 << 20


class Filler:
    """Makes the buckets and their rows."""

    def __init__(self, fleet: Fleet, meta: Meta, census: Census, report: Report, progress: Progress) -> None:
        self._fleet = fleet
        self._meta = meta
        self._census = census
        self._report = report
        self._progress = progress
        self._reads = BufferPool(READ_BUFFER_BYTES)

    async def fill(self, bucket: str) -> None:
        await self._meta.create_bucket(BucketSettings(SYSTEM_BUCKET, SYSTEM_BUCKET, SYSTEM_BUCKET, 0))
        await self._fill_rows(SYSTEM_BUCKET)
        await self._restore_accounts()
        await self._restore_encryption_keys()
        buckets = [bucket] if bucket else sorted({*self._census.buckets(), *await self._kept_buckets()} - {SYSTEM_BUCKET})
        for name in buckets:
            await self._meta.create_bucket(await self._settings(name))
            await self._fill_rows(name)
            self._report.buckets += 1
        await self._fill_uploads(bucket)

    async def _restore_accounts(self) -> None:
        dump = await self._kept(ACCOUNTS_KEY)
        if dump is not None:
            try:
                await self._meta.accounts.restore(dump)
            except RecordCorrupt as error:
                self._can_not_use(ACCOUNTS_KEY, str(error))
            else:
                self._report.accounts = True

    async def _restore_encryption_keys(self) -> None:
        kept = await self._kept(ENCRYPTION_KEY)
        if kept is not None:
            try:
                keys = encryption_keys_of(kept)
            except UNREADABLE as error:
                self._can_not_use(ENCRYPTION_KEY, f"the encryption keys are not readable: {error}")
            else:
                await self._meta.encryption.restore_encryption_keys(keys)

    async def _kept(self, key: str) -> bytes | None:
        """What an object of the system's bucket says; None without it."""
        try:
            row = await self._meta.container(SYSTEM_BUCKET).get(key)
        except ObjectNotFound:
            return None
        pieces: list[bytes] = []

        async def keep(piece: Buffer) -> None:
            pieces.append(bytes(piece))

        subject = Subject(SYSTEM_BUCKET, key, row.version)
        try:
            await read_content(self._fleet, self._reads, subject, Layout.parse(row.layout), 0, row.size, keep)
        except FrazilError as error:
            self._can_not_use(key, str(error))
            return None
        return b"".join(pieces)

    def _can_not_use(self, key: str, reason: str) -> None:
        """A keepsake is rotten, or a newer Frazil's: what it tells is told to be lost, and all else goes on."""
        self._report.tell(Unwhole(SYSTEM_BUCKET, key, "", reason, 0))

    async def _kept_buckets(self) -> list[str]:
        """Also those without a single object."""
        names: list[str] = []
        after = ""
        while True:
            page = await self._meta.container(SYSTEM_BUCKET).list(ListRequest(prefix=BUCKETS_PREFIX, after=after))
            names += [row.key.removeprefix(BUCKETS_PREFIX) for row in page.rows]
            if not page.truncated:
                return names
            after = page.next_after

    async def _settings(self, bucket: str) -> BucketSettings:
        """As kept, else as far as the chunks tell."""
        kept = await self._kept(BUCKETS_PREFIX + bucket)
        if kept is not None:
            try:
                return settings_of(kept)
            except UNREADABLE as error:
                self._can_not_use(BUCKETS_PREFIX + bucket, f"the settings of the bucket are not readable: {error}")
        self._report.guessed.append(bucket)
        account, owner, created_us, versioned = "", Counter[str](), 0, False
        for group in self._census.rows(bucket):
            for _, _, _, value in group:
                row = decode_row(value).row
                owner[row.owner] += 1
                created_us = min(created_us or row.version, row.version)
                versioned = versioned or not row.null
        record = self._census.any_record(bucket)
        account = record.account if record is not None else ""
        owners = [pair.user_id for pair in await self._meta.accounts.keys() if pair.account == account]
        return BucketSettings(
            bucket,
            account,
            owners[0] if owners else owner.most_common(1)[0][0] if owner else account,
            created_us,
            versioning="Enabled" if versioned else "",
        )

    async def _fill_rows(self, bucket: str) -> None:
        container, report = self._meta.container(bucket), self._report
        batch = _Batch()
        for group in self._census.rows(bucket):
            rows = [(decode_row(value), seq) for seq, _, _, value in group]
            kept, replaced = newest_first(rows) if len(rows) > 1 else ([rows[0][0]], [])
            batch.deletions += replaced
            report.replaced += len(replaced)
            told = {(row.row.version, seq): (thin, stale) for (row, seq), (_, thin, stale, _) in zip(rows, group, strict=True)}
            for each in kept:
                row = each.row
                thin, stale = told[row.version, row.seq]
                if thin:
                    report.tell_thin(bucket, row)
                if stale:
                    batch.stale.append((row.key, row.version))
                batch.objects.append(each)
                batch.seq = max(batch.seq, row.seq)
                if bucket != SYSTEM_BUCKET:
                    report.markers += row.marker
                    report.versions += not row.marker
            if batch.count >= REFILL_ROWS:
                self._progress("rows", len(batch.objects))
                await batch.flush(container)
        batch.deletions += self._census.leftovers(bucket)
        report.stale += len(batch.stale)
        self._progress("rows", len(batch.objects))
        await batch.flush(container)

    async def _fill_uploads(self, only: str) -> None:
        for bucket, group in self._census.pieces():
            if only and bucket != only:
                continue
            decoded = [decode_whole(value) for _, value in group]
            if any(found.head.object is not None for found in decoded):
                continue
            parts: dict[int, tuple[UploadRow, Whole]] = {}
            batch = _Batch()
            for found in decoded:
                upload, part = part_row(found)
                if part.part in parts:
                    batch.deletions.append(part.layout)
                    continue
                parts[part.part] = upload, found
                batch.parts.append((upload.upload, part))
            batch.uploads.append(next(iter(parts.values()))[0])
            self._report.uploads += 1
            self._report.parts += len(parts)
            await batch.flush(self._meta.container(bucket))


@dataclass(slots=True)
class _Batch:
    objects: list[Restored] = field(default_factory=list)
    uploads: list[UploadRow] = field(default_factory=list)
    parts: list[tuple[str, PartRow]] = field(default_factory=list)
    deletions: list[bytes] = field(default_factory=list)
    stale: list[tuple[str, int]] = field(default_factory=list)
    seq: int = 0

    @property
    def count(self) -> int:
        return len(self.objects) + len(self.deletions)

    async def flush(self, container: Container) -> None:
        if self.objects or self.uploads or self.deletions:
            await container.refill(
                Refill(
                    tuple(self.objects),
                    tuple(self.uploads),
                    tuple(self.parts),
                    tuple(self.deletions),
                    tuple(self.stale),
                    self.seq,
                )
            )
        for waiting in (self.objects, self.uploads, self.parts, self.deletions, self.stale):
            waiting.clear()
