"""A bucket seen as folders: what lies directly below a prefix, and what one name stands for. For programs that show keys as paths.

One range scan in (key, age) order; what lies deeper is passed with a seek to the first key behind it, as in meta/listing.py. Rows come
without their layouts, so that most pages never touch the blobs' overflow pages.
"""

from __future__ import annotations

from typing import Any

import apsw

from meta.listing import ROWS_SEEN_MAX, STEPS_BEFORE_SEEK, successor
from meta.protocol.folder import BEHIND, BROWSE_LIMIT_MAX, FOLDER_END, BrowsePage, ChangedKey, Changes, Node, Peek, folder_of
from meta.protocol.object import ObjectRow
from meta.recent import LAYOUT_BYTES_MAX
from meta.row import decode_row, find_row
from meta.script import change_lines
from meta.transaction import read_settings

ENTRIES_SEEN_MAX = 1_000
SEEN_PER_NAME = 8
"""Rows that are looked at for each name of a stretch."""
_COLUMNS = "key, age, is_null, marker, size, etag, mtime_us, storage_class, policy, owner, content, x'', seq, attributes"
_UNDER = "(SELECT 1 FROM objects AS under WHERE under.key >= objects.key || '/' AND under.key < objects.key || '0' LIMIT 1)"
_SCAN = f"SELECT {_COLUMNS}, {_UNDER} FROM objects WHERE key >= ? AND key < ? ORDER BY key, age"
_SCAN_OPEN = f"SELECT {_COLUMNS}, {_UNDER} FROM objects WHERE key >= ? ORDER BY key, age"
_LAYOUT = f"CASE WHEN length(layout) <= {LAYOUT_BYTES_MAX} THEN layout ELSE x'' END"
"""SQLite knows the length of a blob without reading its overflow pages."""
_SCAN_WHOLE, _SCAN_OPEN_WHOLE = (scan.replace("x''", _LAYOUT) for scan in (_SCAN, _SCAN_OPEN))
_FOLDER = f"SELECT {_COLUMNS} FROM objects WHERE key >= ? AND key < ? ORDER BY key, age"


def peek(db: apsw.Connection, key: str) -> Peek:
    """Raises: BucketNotFound."""
    db.execute("BEGIN")
    try:
        row = find_row(db, key, None)
        folder, marker = find_folder(db, key + FOLDER_END)
        if row is None and not folder:
            read_settings(db)  # a removed bucket has no rows, so only an empty answer has to look
        return Peek(None if row is None or row.marker else row, folder, marker)
    finally:
        db.execute("COMMIT")


def browse(db: apsw.Connection, prefix: str, begin: str, limit: int) -> BrowsePage:
    """Raises: BucketNotFound."""
    return _page(db, _Walk(db, prefix, min(limit, BROWSE_LIMIT_MAX)), max(begin, prefix))


def stretch(db: apsw.Connection, key: str, limit: int) -> BrowsePage:
    """What is in the key's folder from the key on. Rows have their layouts, if those have at most LAYOUT_BYTES_MAX.

    It ends early where many rows are deleted keys' or older versions. Raises: BucketNotFound.
    """
    walk = _Walk(db, folder_of(key), limit, seen_max=limit * SEEN_PER_NAME, layouts=True)
    return _page(db, walk, key)


def _page(db: apsw.Connection, walk: _Walk, begin: str) -> BrowsePage:
    db.execute("BEGIN")
    try:
        page = walk.page(begin)
        if not page.nodes:
            read_settings(db)
        return page
    finally:
        db.execute("COMMIT")


def changes(db: apsw.Connection, after: int) -> Changes:
    """At most ENTRIES_SEEN_MAX entries of the log; more count as lost."""
    last: int = db.execute("SELECT coalesce(max(entry), 0) FROM entries").get
    if after < 0 or last <= after:
        return Changes(last, lost=after > last)
    rows = list(db.execute("SELECT entry, script FROM entries WHERE entry > ? ORDER BY entry LIMIT ?", (after, ENTRIES_SEEN_MAX)))
    if len(rows) != last - after or any(script is None for _, script in rows):
        return Changes(last, lost=True)
    return Changes(last, [ChangedKey(line.key, line.kind == "folder") for _, script in rows for line in change_lines(script) if line.key])


def find_folder(db: apsw.Connection, prefix: str) -> tuple[bool, ObjectRow | None]:
    """Whether a visible key begins with the prefix, and the row of the prefix itself."""
    last = None
    cursor = db.execute(_FOLDER, (prefix, prefix[: -len(FOLDER_END)] + BEHIND))
    try:
        for found in cursor:
            if found[0] != last and not found[3]:
                return True, decode_row(*found) if found[0] == prefix else None
            last = found[0]
    finally:
        cursor.close(True)
    return False, None


def has_others(db: apsw.Connection, prefix: str) -> bool:
    """Whether a visible key begins with the prefix that is not the prefix itself."""
    begin: str | None = prefix
    while begin:  # a page ends early where many rows are deleted keys' or older versions
        page = _Walk(db, prefix, 2).page(begin)
        if any(node.key != prefix for node in page.nodes):
            return True
        begin = page.begin
    return False


class _Walk:
    """One page: one instance, one use."""

    def __init__(self, db: apsw.Connection, prefix: str, limit: int, *, seen_max: int = ROWS_SEEN_MAX, layouts: bool = False) -> None:
        self._db, self._prefix, self._limit, self._seen_max = db, prefix, limit, seen_max
        self._scan, self._scan_open = (_SCAN_WHOLE, _SCAN_OPEN_WHOLE) if layouts else (_SCAN, _SCAN_OPEN)
        self._stop = successor(prefix)
        self._nodes: list[Node] = []
        self._rolled: str | None = None  # the folder whose keys are being passed over
        self._key: str | None = None  # the key whose older versions are
        self._seen = 0

    def page(self, place: str | None) -> BrowsePage:
        patience = STEPS_BEFORE_SEEK
        while place is not None and (self._stop is None or place < self._stop):
            stop = self._stop
            cursor = self._db.execute(self._scan_open, (place,)) if stop is None else self._db.execute(self._scan, (place, stop))
            steps, place = 0, None
            for found in cursor:
                self._seen += 1
                if self._passed_over(found[0]):
                    steps += 1
                    if steps > patience:
                        place, patience = self._beyond(found[0]), 1
                        break
                    continue
                if steps:
                    steps, patience = 0, STEPS_BEFORE_SEEK
                if len(self._nodes) >= self._limit or self._seen > self._seen_max:
                    cursor.close(True)
                    return BrowsePage(self._nodes, found[0])
                self._take(found)
            cursor.close(True)
        return BrowsePage(self._nodes)

    def _passed_over(self, key: str) -> bool:
        if self._rolled is not None:
            if key.startswith(self._rolled):
                return True
            self._rolled = None
        return key == self._key

    def _beyond(self, key: str) -> str | None:
        return key + "\0" if self._rolled is None else successor(self._rolled)

    def _take(self, found: Any) -> None:
        key, marker = found[0], found[3]
        self._key = key
        if marker:
            return
        at = key.find(FOLDER_END, len(self._prefix))
        if at >= 0:
            folder = self._rolled = key[: at + len(FOLDER_END)]
            self._nodes.append(Node(folder, decode_row(*found[:14]) if key == folder else None))
            return
        shadowed = found[14] is not None and find_folder(self._db, key + FOLDER_END)[0]
        self._nodes.append(Node(key, decode_row(*found[:14]), shadowed))
