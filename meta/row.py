"""Rows of `objects`: reading, writing and removing one, with the sums and the list of deletions kept in step."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import apsw
import msgspec

from meta.lock import check_removal, is_protected
from meta.protocol.object import Attributes, Dropped, ObjectRow, Seen
from meta.protocol.restore import COLD_CLASSES, restore_of
from meta.transaction import ContainerTransaction
from node.errors import InvalidArgument, Locked, Superseded

KEY_BYTES_MAX = 1_024

_COLUMNS = (
    "key, age, is_null, marker, size, etag, mtime_us, storage_class, policy, owner, content, layout, seq, attributes,"
    " protected, moved, parts"
)
READ = "key, age, is_null, marker, size, etag, mtime_us, storage_class, policy, owner, content, layout, seq, attributes"
"""What readers get, in the order of ObjectRow's fields."""
_READ_NEWEST = f"SELECT {READ} FROM objects WHERE key = ? ORDER BY age LIMIT 1"
_NEWEST = f"SELECT {_COLUMNS} FROM objects WHERE key = ? ORDER BY age LIMIT 1"
_VERSION = f"SELECT {_COLUMNS} FROM objects WHERE key = ? AND age = ?"
_NULL = f"SELECT {_COLUMNS} FROM objects WHERE key = ? AND is_null = 1 LIMIT 1"
_INSERT = (
    "INSERT INTO objects(key, age, is_null, marker, size, etag, mtime_us, storage_class, policy, owner, content, layout, seq,"
    " attributes, protected, moved, parts, checksum_algorithm, checksum_type) VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)"
)
_IS_NEWEST = "SELECT NOT EXISTS (SELECT 1 FROM objects WHERE key = ? AND age < ?)"
_THERE = "SELECT 1 FROM objects WHERE key = ? AND age = ?"
_OTHERS = "SELECT 1 FROM objects WHERE key = ? AND age <> ? LIMIT 1"

_encode = msgspec.msgpack.Encoder().encode
_decoder = msgspec.msgpack.Decoder(Attributes)
_NO_ATTRIBUTES = Attributes()
_NO_ATTRIBUTES_BYTES = _encode(_NO_ATTRIBUTES)


class Stored(msgspec.Struct, frozen=True):
    """A row as it lies in the table, columns in the order of _COLUMNS."""

    key: str
    age: int
    is_null: int
    marker: int
    size: int
    etag: str
    mtime_us: int
    storage_class: str
    policy: str
    owner: str
    content: str
    layout: bytes
    seq: int
    attributes: bytes
    protected: int
    moved: int
    parts: str

    @property
    def visible_etag(self) -> str | None:
        """For conditions: a marker is no object."""
        return None if self.marker else self.etag

    @property
    def contents(self) -> list[str]:
        """Every content id that the row's chunks may name."""
        return [content for content in (self.content, *self.parts.split(",")) if content]

    def row(self) -> ObjectRow:
        return decode_row(
            self.key, self.age, self.is_null, self.marker, self.size, self.etag, self.mtime_us, self.storage_class, self.policy,
            self.owner, self.content, self.layout, self.seq, self.attributes,
        )  # fmt: skip


def check_key(key: str) -> None:
    """Raises: InvalidArgument."""
    try:
        size = len(key.encode())
    except UnicodeEncodeError as error:
        raise InvalidArgument("a key is valid UTF-8") from error
    if not 0 < size <= KEY_BYTES_MAX:
        raise InvalidArgument(f"a key has 1 to {KEY_BYTES_MAX} bytes")


def find(db: apsw.Connection, key: str, version: int | None) -> Stored | None:
    """version None: the newest row of the key; 0: the null version."""
    found = _select(db, key, version)
    return None if found is None else Stored(*found)


def find_row(db: apsw.Connection, key: str, version: int | None) -> ObjectRow | None:
    """The same for readers: straight into what they get."""
    found = db.execute(_READ_NEWEST, (key,)).get if version is None else _select(db, key, version)
    return None if found is None else decode_row(*found[:14])


def has_rows(db: apsw.Connection, key: str) -> bool:
    return db.execute("SELECT 1 FROM objects WHERE key = ? LIMIT 1", (key,)).get is not None


def insert(transaction: ContainerTransaction, row: ObjectRow, *, parts: str = "", moved: bool = False, older: bool) -> None:
    """older: the key has other rows. `row` is complete: version, seq and all."""
    attributes = row.attributes
    transaction.write(
        _INSERT,
        (
            row.key,
            -row.version,
            row.null,
            row.marker,
            row.size,
            row.etag,
            row.mtime_us,
            row.storage_class,
            row.policy,
            row.owner,
            row.content,
            row.layout,
            row.seq,
            _NO_ATTRIBUTES_BYTES if attributes is _NO_ATTRIBUTES else _encode(attributes),
            is_protected(attributes),
            moved,
            parts,
            ",".join(attributes.checksums),
            attributes.checksum_type,
        ),
    )
    count(transaction, row.marker, row.storage_class, row.size, 1)
    if older:
        transaction.count("older", 1, 0)
    if row.storage_class in COLD_CLASSES:
        list_cold(transaction, row.key, -row.version, attributes)


def take(transaction: ContainerTransaction, stored: Stored, *, others: bool | None = None) -> bool:
    """Removes a row whose content lives on elsewhere. others: whether the key has other rows, None: look; returned."""
    transaction.write("DELETE FROM objects WHERE key = ? AND age = ?", (stored.key, stored.age))
    if others is None:
        others = has_rows(transaction.db, stored.key)
    if others:
        transaction.count("older", -1, 0)
    if stored.moved:
        for content in stored.contents:
            transaction.write("DELETE FROM moved WHERE content = ?", (content,))
    if stored.storage_class in COLD_CLASSES:
        unlist_cold(transaction, stored.key, stored.age)
    count(transaction, bool(stored.marker), stored.storage_class, stored.size, -1)
    return others


def remove(transaction: ContainerTransaction, stored: Stored, *, others: bool | None = None) -> tuple[bool, tuple[Dropped, ...]]:
    """Removes a row for good: its content joins the deletions. The lock was checked. Returns whether other rows of the key stay."""
    others = take(transaction, stored, others=others)
    return others, transaction.drop(stored.content, stored.parts, stored.layout)


def remember_moved(transaction: ContainerTransaction, contents: Iterable[str], key: str, version: int) -> None:
    """`moved` names them, for their chunks' records may still name another key."""
    for content in contents:
        transaction.write("INSERT OR REPLACE INTO moved VALUES (?, ?, ?)", (content, key, -version))


def list_cold(transaction: ContainerTransaction, key: str, age: int, attributes: Attributes) -> None:
    """Puts a version of a cold class into the list of meta/cold.py, or back into it."""
    restore = restore_of(attributes)
    due_us = (restore.until_us or restore.asked_us) if restore else 0
    transaction.write("INSERT OR REPLACE INTO cold VALUES (?, ?, ?)", (key, age, due_us))


def unlist_cold(transaction: ContainerTransaction, key: str, age: int) -> None:
    transaction.write("DELETE FROM cold WHERE key = ? AND age = ?", (key, age))


def check_seen(transaction: ContainerTransaction, found: Stored | None, seen: Seen) -> None:
    """Raises: Superseded."""
    if found is None or found.seq != seen.seq:
        raise Superseded("the version is gone, or was changed, meanwhile")
    newest = transaction.db.execute(_IS_NEWEST, (found.key, found.age)).get
    if bool(newest) != (not seen.newer):
        raise Superseded("another version of the key is the newest by now")
    if any(transaction.db.execute(_THERE, (found.key, -version)).get is None for version in seen.newer):
        raise Superseded("a newer version of the key is gone meanwhile")
    if seen.alone and transaction.db.execute(_OTHERS, (found.key, found.age)).get is not None:
        raise Superseded("the key has other versions by now")


def check_lock(transaction: ContainerTransaction, stored: Stored, *, bypass_governance: bool) -> None:
    """Raises: Locked under legal hold or retention, and when what protects the version can't be read."""
    if not stored.protected:
        return
    try:
        attributes = _decoder.decode(stored.attributes)
    except msgspec.DecodeError as error:
        raise Locked(f"the version is protected, and it can't be read how: {error}") from error
    check_removal(attributes, transaction.now_us, bypass_governance=bypass_governance)


def _select(db: apsw.Connection, key: str, version: int | None) -> Any:
    if version is None:
        return db.execute(_NEWEST, (key,)).get
    if version == 0:
        return db.execute(_NULL, (key,)).get
    return db.execute(_VERSION, (key, -version)).get


def decode_row(
    key: str, age: int, is_null: int, marker: int, size: int, etag: str, mtime_us: int, storage_class: str, policy: str, owner: str,
    content: str, layout: bytes, seq: int, attributes: bytes,
) -> ObjectRow:  # fmt: skip
    decoded = _NO_ATTRIBUTES if attributes == _NO_ATTRIBUTES_BYTES else _decoder.decode(attributes)
    return ObjectRow(
        key, -age, is_null == 1, marker == 1, size, etag, mtime_us, storage_class, policy, owner, content, layout, seq, decoded
    )  # fmt: skip


def count(transaction: ContainerTransaction, marker: bool, storage_class: str, size: int, sign: int) -> None:
    """Adds a version to the sums, or takes it from them."""
    if marker:
        transaction.count("marker", sign, 0)
    else:
        transaction.count("class/" + storage_class, sign, sign * size)
