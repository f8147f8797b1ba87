"""Two folders of metadata compared, table by table. What a rebuild can't or need not bring back alike is left out: see meta/README.md."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import apsw
import msgspec

from meta.connection import open_reader
from node.errors import BaseNotFound, FrazilError
from store.layout import Layout

Row = tuple[Any, ...]


class Difference(msgspec.Struct, frozen=True):
    """what: "missing" in the second, "more" there, "changed"; or "unreadable": the rest of the table was not compared."""

    base: str
    table: str
    key: tuple[Any, ...]
    what: str


def _layout(data: bytes) -> Any:
    """The same for the same chunks, in whatever order they are named."""
    layout = Layout.parse(data)
    return [
        (each.size, layout.policies[each.policy], sorted((c.position, layout.volumes[c.volume], c.name, c.checksum) for c in each.chunks))
        for each in layout.metachunks
    ]


def _sums(text: str) -> Any:
    """Those that are not zero."""
    return {place: sums for place, sums in msgspec.json.decode(text).items() if any(sums)}


def _same(row: Row) -> Row:
    return row


_OBJECTS = (
    "key, age, is_null, marker, size, etag, mtime_us, storage_class, owner, checksum_algorithm, checksum_type, policy, protected,"
    " content, attributes, parts, layout"
)
_PARTS = "upload, part, size, etag, mtime_us, checksums, content, layout"

_Table = tuple[str, str, int, Callable[[Row], Row]]
_CONTAINER: tuple[_Table, ...] = (
    ("settings", "SELECT one, removed, value FROM settings", 1, _same),
    ("objects", f"SELECT {_OBJECTS} FROM objects ORDER BY key, age", 2, lambda row: (*row[:-1], _layout(row[-1]))),
    ("uploads", "SELECT key, upload, started_us, value FROM uploads ORDER BY 1, 2", 2, _same),
    ("parts", f"SELECT {_PARTS} FROM parts ORDER BY 1, 2", 2, lambda row: (*row[:-1], _layout(row[-1]))),
    ("state", "SELECT one, sums FROM state", 1, lambda row: (row[0], _sums(row[1]))),
)
_OTHERS: dict[str, tuple[_Table, ...]] = {
    "registry": (("names", "SELECT * FROM names ORDER BY bucket", 1, _same),),
    "meta0": (("prefixes", "SELECT * FROM prefixes ORDER BY prefix", 1, _same),),
    "meta1": (("containers", "SELECT * FROM containers WHERE removed = 0 ORDER BY id", 1, _same),),
    "encryption": (("encryption_keys", "SELECT * FROM encryption_keys ORDER BY id", 1, _same),),
    "accounts": (("buckets", "SELECT * FROM buckets ORDER BY account, bucket", 2, _same),),
}

_DIRECTORY = ("meta0", "meta1")


def differences(old: Path, new: Path, *, only: str = "", directory: bool = True) -> Iterator[Difference]:
    """only: file name of a container, to compare nothing else;  directory: also where containers are.

    Blocking; one row of each is in memory at a time.
    """
    if not only:
        for kind, tables in _OTHERS.items():
            if kind in _DIRECTORY and not directory:
                continue
            for name in sorted({path.name for folder in (old, new) for path in (folder / kind).glob("*.db")}):
                yield from _compare(old / kind / name, new / kind / name, name, tables)
        yield from _compare_accounts(old, new)
    containers = {path.relative_to(folder) for folder in (old, new) for path in folder.glob("container/*/*.db")}
    for path in sorted(containers):
        if not only or path.name == only:
            yield from _compare(old / path, new / path, path.name, _CONTAINER)


def _compare_accounts(old: Path, new: Path) -> Iterator[Difference]:
    """Whatever tables there are."""
    from meta.accounts import ACCOUNTS

    tables: tuple[_Table, ...] = tuple(
        (table, f"SELECT * FROM {table} ORDER BY 1, 2", 1, _same) for table in ACCOUNTS.tables if table != "buckets"
    )
    yield from _compare(old / "accounts/accounts.db", new / "accounts/accounts.db", "accounts.db", tables)


def _compare(old: Path, new: Path, base: str, tables: tuple[_Table, ...]) -> Iterator[Difference]:
    for table, statement, width, plain in tables:
        try:
            yield from _merge(base, table, width, _rows(old, statement, plain), _rows(new, statement, plain))
        except (apsw.Error, FrazilError):
            yield Difference(base, table, (), "unreadable")


def _rows(path: Path, statement: str, plain: Callable[[Row], Row]) -> Iterator[Row]:
    try:
        reader = open_reader(path)
    except BaseNotFound:
        return
    try:
        for row in reader.execute(statement):
            yield plain(row)
    finally:
        reader.close()


def _merge(base: str, table: str, width: int, old: Iterator[Row], new: Iterator[Row]) -> Iterator[Difference]:
    """Both in the order of their keys, the first `width` columns."""
    left, right = next(old, None), next(new, None)
    while left is not None or right is not None:
        left_key = None if left is None else _order(left[:width])
        right_key = None if right is None else _order(right[:width])
        if right_key is None or (left_key is not None and left_key < right_key):
            assert left is not None
            yield Difference(base, table, left[:width], "missing")
            left = next(old, None)
        elif left_key is None or right_key < left_key:
            assert right is not None
            yield Difference(base, table, right[:width], "more")
            right = next(new, None)
        else:
            if left != right:
                assert left is not None
                yield Difference(base, table, left[:width], "changed")
            left, right = next(old, None), next(new, None)


def _order(key: Row) -> tuple[Any, ...]:
    """As SQLite orders it: text by its UTF-8 bytes."""
    return tuple(part.encode() if isinstance(part, str) else part for part in key)
