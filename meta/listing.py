"""Pages of a bucket's listing, by S3's rules.

One range scan in (key, age) order. A common prefix is passed with one seek to the first key behind it, when stepping over a few rows
has not brought the scan there; so are the older versions of a key. Keys are in UTF-8 byte order, which is code point order.
A page ends early (truncated, perhaps empty) when too many rows had to be looked at: no request may hold the event loop for long.

Source: https://docs.aws.amazon.com/AmazonS3/latest/API/API_ListObjectsV2.html, API_ListObjectVersions.html
"""

from __future__ import annotations

from itertools import islice
from typing import Any

import apsw
import msgspec

from meta.protocol.listing import LIST_LIMIT_MAX, Listed, ListPage, ListRequest
from meta.protocol.restore import COLD_CLASSES, restore_of
from meta.row import find_row
from meta.transaction import read_settings, read_sums

ROWS_SEEN_MAX = 20_000
"""Rows and seeks of one page: about 20 ms."""
STEPS_BEFORE_SEEK = 8
"""Rows stepped over (0.5 us each) before a seek (8 us) is cheaper."""

_COLUMNS = "key, age, is_null, marker, size, etag, mtime_us, storage_class, owner, checksum_algorithm, checksum_type"
_SCAN = f"SELECT {_COLUMNS} FROM objects WHERE (key, age) > (?, ?) AND key < ? ORDER BY key, age"
_SCAN_OPEN = f"SELECT {_COLUMNS} FROM objects WHERE (key, age) > (?, ?) ORDER BY key, age"
_AGE_END = 1 << 62
"""Behind every version of a key."""
_AGE_BEGIN = -(1 << 62)
_LAST_CHARACTER = 0x10FFFF
_HIDDEN = "\0"
"""Behind a key to go on after: it was a delete marker, and the common prefix that it lies in was not shown. No key holds one."""
_SURROGATES = range(0xD800, 0xE000)


def successor(prefix: str) -> str | None:
    """The smallest text behind everything that begins with `prefix`; None when nothing can be behind it."""
    for at in range(len(prefix) - 1, -1, -1):
        code = ord(prefix[at])
        if code < _LAST_CHARACTER:
            code = _SURROGATES.stop if code + 1 in _SURROGATES else code + 1
            return prefix[:at] + chr(code)
    return None


def _has_history(db: apsw.Connection) -> bool:
    """Whether a key has anything but one visible version."""
    sums = read_sums(db)
    return any(place in sums and sums[place][0] for place in ("marker", "older"))


def list_page(db: apsw.Connection, request: ListRequest) -> ListPage:
    """Raises: BucketNotFound."""
    limit = min(request.limit, LIST_LIMIT_MAX)
    db.execute("BEGIN")
    try:
        if limit <= 0:
            page = ListPage([], [], False)
        elif request.versions or request.delimiter or _has_history(db):
            page = _Walk(db, request, limit).page()
        else:
            page = _flat(db, request, limit)
        if not page.rows and not page.prefixes:
            read_settings(db)  # a removed bucket has no rows, so only an empty page has to look
        return _with_restores(db, page) if request.restores else page
    finally:
        db.execute("COMMIT")


def _with_restores(db: apsw.Connection, page: ListPage) -> ListPage:
    return msgspec.structs.replace(page, rows=[_with_restore(db, row) if row.storage_class in COLD_CLASSES else row for row in page.rows])


def _with_restore(db: apsw.Connection, listed: Listed) -> Listed:
    row = find_row(db, listed.key, listed.version)
    return listed if row is None else msgspec.structs.replace(listed, restore=restore_of(row.attributes))


def common_prefix(key: str, prefix: str, delimiter: str) -> str | None:
    """What the key rolls up into; None when it shows as itself."""
    at = key.find(delimiter, len(prefix)) if delimiter else -1
    return None if at < 0 else key[: at + len(delimiter)]


def begin(request: ListRequest) -> tuple[str, int] | None:
    """The place (key, age) behind which the listing goes on; None when nothing can follow.

    A common prefix up to and including `after` was shown already, so its keys are not looked at again.
    """
    after = request.after
    if after < request.prefix:
        return (request.prefix, _AGE_BEGIN)
    if after.startswith(request.prefix) and not after.endswith(_HIDDEN):
        common = common_prefix(after, request.prefix, request.delimiter)
        if common is not None:
            behind = successor(common)
            return None if behind is None else (behind, _AGE_BEGIN)
    if request.versions and request.after_version is not None:
        return (after, -request.after_version)
    return (after, _AGE_END)


def _scan(db: apsw.Connection, place: tuple[str, int], stop: str | None) -> apsw.Cursor:
    return db.execute(_SCAN_OPEN, place) if stop is None else db.execute(_SCAN, (*place, stop))


def _flat(db: apsw.Connection, request: ListRequest, limit: int) -> ListPage:
    """Without delimiter, in a bucket where every row is visible: the page is one range of the table."""
    place = begin(request)
    assert place is not None
    cursor = _scan(db, place, successor(request.prefix))
    rows = [
        Listed(key, -age, null == 1, False, True, size, etag, mtime_us, storage_class, owner, algorithm, checksum_type)
        for key, age, null, _, size, etag, mtime_us, storage_class, owner, algorithm, checksum_type in islice(cursor, limit + 1)
    ]
    cursor.close(True)
    if len(rows) <= limit:
        return ListPage(rows, [], False)
    del rows[limit:]
    return ListPage(rows, [], True, rows[-1].key)


class _Walk:
    """The general page: one instance, one use."""

    def __init__(self, db: apsw.Connection, request: ListRequest, limit: int) -> None:
        self._db = db
        self._request = request
        self._limit = limit
        self._stop = successor(request.prefix)
        self._rows: list[Listed] = []
        self._prefixes: list[str] = []
        self._rolled: str | None = None  # the common prefix whose keys are being passed over
        # In a listing of versions that goes on within a key, that key's newest version was shown before.
        self._key: str | None = request.after if request.versions and request.after_version is not None else None
        self._next: tuple[str, int | None] = (request.after, request.after_version)
        self._hidden = ""  # the last delete marker within a common prefix; the prefix shows if a later key in it does
        self._seen = 0

    def page(self) -> ListPage:
        place = begin(self._request)
        patience = STEPS_BEFORE_SEEK
        while place is not None and (self._stop is None or place[0] < self._stop):
            cursor = _scan(self._db, place, self._stop)
            steps = 0
            place = None
            for found in cursor:
                self._seen += 1
                if self._passed_over(found[0]):
                    steps += 1
                    if steps > patience:
                        place, patience = self._behind(found[0]), 1
                        break
                    continue
                if steps:
                    steps, patience = 0, STEPS_BEFORE_SEEK
                if self._seen > ROWS_SEEN_MAX and self._hidden:
                    self._next = (self._hidden + _HIDDEN, None)
                if self._seen > ROWS_SEEN_MAX or not self._take(found):
                    cursor.close(True)
                    return ListPage(self._rows, self._prefixes, True, *self._next)
            cursor.close(True)
        return ListPage(self._rows, self._prefixes, False)

    def _passed_over(self, key: str) -> bool:
        if self._rolled is not None:
            if key.startswith(self._rolled):
                return True
            self._rolled = None
        return key == self._key and not self._request.versions

    def _behind(self, key: str) -> tuple[str, int] | None:
        if self._rolled is None:
            return (key, _AGE_END)
        behind = successor(self._rolled)
        return None if behind is None else (behind, _AGE_BEGIN)

    def _take(self, found: Any) -> bool:
        """Shows the row, or what it rolls up into, or nothing; False when it would be one too many."""
        key, age, null, marker, size, etag, mtime_us, storage_class, owner, algorithm, checksum_type = found
        versions = self._request.versions
        common = common_prefix(key, self._request.prefix, self._request.delimiter)
        if marker and not versions:
            self._key = key
            if common is None:
                self._next, self._hidden = (key, None), ""
            else:
                self._hidden = key
            return True
        if len(self._rows) + len(self._prefixes) >= self._limit:
            return False
        self._hidden = ""
        if common is not None:
            self._prefixes.append(common)
            self._rolled, self._next = common, (common, None)
            return True
        self._rows.append(
            Listed(
                key, -age, null == 1, marker == 1, key != self._key, size, etag, mtime_us, storage_class, owner, algorithm, checksum_type
            )
        )
        self._key, self._next = key, (key, -age if versions else None)
        return True
