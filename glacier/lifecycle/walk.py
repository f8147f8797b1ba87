"""Going through buckets with rules, page by page: what is due in each. Reads only."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec
import trio

from glacier.lifecycle.calendar import Calendar
from glacier.lifecycle.plan import Action, Kind, Planner, Rules
from glacier.lifecycle.rule import abortion_of
from meta.protocol.bucket import BucketSettings
from meta.protocol.container import Container
from meta.protocol.door import Meta
from meta.protocol.listing import LIST_LIMIT_MAX, Listed, ListPage, ListRequest
from meta.protocol.object import ObjectRow
from meta.protocol.upload import UploadRow
from node.errors import BaseNotFound, BucketNotFound, Damaged, NotFound

RULES_AT_ONCE = 10_000
"""Versions times rules that one page looks at: about 10 ms."""
ROWS_LEAST = 10
ROWS_BETWEEN = 64
"""Looked at before others have a turn: rows that must be read for their tags take 30 us each."""
BUCKETS_PAGE = 100
"""Buckets looked at in one step for any that has rules."""
_ALL_VERSIONS = 1 << 62
"""As after_version: the key's newest comes next."""

RulesOf = Callable[[BucketSettings], Rules | None]
"""The rules of a bucket, None when it has none. Raises: FrazilError when its document can't be read."""


class Position(msgspec.Struct, frozen=True, omit_defaults=True):
    """Where a walk is. key: of the last version that was looked at;  version: it, while others of the key may follow;  uploads: versions
    are done, key and upload are of the last upload."""

    bucket: str = ""
    key: str = ""
    version: int = 0
    uploads: bool = False
    upload: str = ""


class Due(msgspec.Struct, frozen=True):
    """Something to be done. row: the version as it was when that was decided;  upload: for ABORT instead."""

    bucket: str
    action: Action
    row: ObjectRow | None = None
    upload: UploadRow | None = None

    @property
    def key(self) -> str:
        named = self.row or self.upload
        assert named is not None
        return named.key


class Page(msgspec.Struct, frozen=True):
    """due, and how many rows were looked at; next: None at the end of what was to be gone through;  bucket_done: its last page.

    problem: why a bucket is passed over, or the rest of it
    """

    due: Sequence[Due]
    rows: int
    next: Position | None
    bucket_done: str = ""
    problem: str = ""


class Walk:
    """Of all buckets, or of one. A key's versions are decided in one go: the walk remembers those that came before; when it does not, for
    another process began it, the key is begun again."""

    def __init__(self, meta: Meta, rules_of: RulesOf, calendar: Calendar, now_us: Callable[[], int], bucket: str = "") -> None:
        self._meta = meta
        self._rules_of = rules_of
        self._calendar = calendar
        self._now_us = now_us
        self._only = bucket
        self._planner: Planner | None = None
        self._rules: Rules | None = None
        self._bucket = ""

    def __repr__(self) -> str:
        return f"<Walk bucket={self._bucket!r} {self._planner!r}>"

    async def page(self, position: Position) -> Page:
        """Raises: FrazilError."""
        if not position.bucket:
            return Page((), 0, Position(self._only) if self._only else await self._next_bucket(""))
        try:
            fresh = await self._prepare(position.bucket)
            if self._planner is None:
                return Page((), 0, await self._next_bucket(position.bucket))
            if position.uploads:
                return await self._uploads(position)
            if fresh and position.version:
                position = msgspec.structs.replace(position, version=_ALL_VERSIONS)
            return await self._versions(self._planner, position)
        except BucketNotFound:
            problem = ""
        except (Damaged, BaseNotFound) as error:  # the others' rules need not wait until somebody mends it
            if self._only:
                raise
            problem = f"bucket {position.bucket}: {error}"
        self._planner = None
        return Page((), 0, await self._next_bucket(position.bucket), problem=problem)

    async def _prepare(self, bucket: str) -> bool:
        """Whether it is begun, or begun again because its rules are others now."""
        rules = self._rules_of(await self._meta.container(bucket).settings())
        if self._planner is not None and bucket == self._bucket and rules == self._rules:
            return False
        self._bucket, self._rules = bucket, rules
        self._planner = None if rules is None else Planner(rules, self._calendar, self._now_us())
        return True

    async def _next_bucket(self, after: str) -> Position | None:
        """The next that has rules, within BUCKETS_PAGE; else the last that was looked at, to go on behind it."""
        if self._only:
            return None
        found = await self._meta.accounts.buckets("", after=after, limit=BUCKETS_PAGE)
        for entry in found:
            try:
                settings = await self._meta.container(entry.bucket).settings()
                if settings.documents and self._rules_of(settings) is not None:
                    return Position(entry.bucket)
            except BucketNotFound:
                continue
            except (Damaged, BaseNotFound):
                return Position(entry.bucket)  # told when its turn comes
        return Position(found[-1].bucket) if len(found) == BUCKETS_PAGE else None

    async def _versions(self, planner: Planner, position: Position) -> Page:
        container = self._meta.container(position.bucket)
        limit = max(ROWS_LEAST, min(LIST_LIMIT_MAX, RULES_AT_ONCE // max(len(planner), 1)))
        request = ListRequest(planner.prefix, after=position.key, after_version=position.version or None, limit=limit, versions=True)
        page = await container.list(request) if len(planner) else ListPage([], [], False)
        rows, following = _whole_keys(page) if page.truncated else (page.rows, None)
        due = []
        for at, row in enumerate(rows):
            if at % ROWS_BETWEEN == 0:
                await trio.lowlevel.checkpoint()
            last = at + 1 == len(rows) or rows[at + 1].key != row.key
            found = await self._decide(planner, container, row, last=last)
            if found is not None:
                due.append(found)
        if following is not None:
            return Page(due, len(rows), Position(position.bucket, *following))
        if planner.of_uploads:
            return Page(due, len(rows), Position(position.bucket, uploads=True))
        return await self._ended(position.bucket, due, len(rows))

    async def _ended(self, bucket: str, due: Sequence[Due], rows: int) -> Page:
        self._planner = None
        return Page(due, rows, await self._next_bucket(bucket), bucket)

    async def _decide(self, planner: Planner, container: Container, version: Listed, *, last: bool) -> Due | None:
        """The row is read where tags count or something is due, and is what the decision is about."""
        row = None
        try:
            if planner.wants_tags(version):
                row = await container.get(version.key, version.version)
            action = planner.decide(version, row.attributes.tags if row is not None else {}, last=last)
            if action is None:
                return None
            row = row or await container.get(version.key, version.version)
        except NotFound:  # gone meanwhile
            return None
        return Due(self._bucket, action, row) if row.storage_class == version.storage_class else None

    async def _uploads(self, position: Position) -> Page:
        assert self._rules is not None
        lifecycle, now_us = self._rules.lifecycle, self._now_us()
        page = await self._meta.container(position.bucket).list_uploads(ListRequest(after=position.key), position.upload)
        due = []
        for upload in page.uploads:
            found = abortion_of(lifecycle, upload.key, upload.started_us, self._calendar)
            if found is not None and found.at_us <= now_us:
                due.append(Due(position.bucket, Action(Kind.ABORT, found.rule), upload=upload))
        if page.truncated:
            return Page(due, len(page.uploads), Position(position.bucket, page.next_key, uploads=True, upload=page.next_upload))
        return await self._ended(position.bucket, due, len(page.uploads))


def _whole_keys(page: ListPage) -> tuple[list[Listed], tuple[str, int]]:
    """The rows of a truncated page without the key that may go on behind it, unless the page holds no other; and where to go on."""
    rows = page.rows
    kept = [row for row in rows if row.key != rows[-1].key]
    if kept:
        return kept, (kept[-1].key, 0)
    return rows, (page.next_after, page.next_version or 0)
