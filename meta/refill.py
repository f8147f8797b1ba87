"""Filling a container from what chunks tell: rows as they were, without the rules that made them."""

from __future__ import annotations

import apsw
import msgspec

from meta.protocol.holding import Refill
from meta.row import has_rows, insert, remember_moved
from meta.transaction import ContainerTransaction
from node.errors import AlreadyExists

_encode = msgspec.msgpack.Encoder().encode


def refill(transaction: ContainerTransaction, batch: Refill) -> None:
    """Versions of a key come together, in any order. Raises: BucketNotFound, AlreadyExists when a row is there already."""
    _ = transaction.settings
    try:
        _objects(transaction, batch)
        _uploads(transaction, batch)
    except apsw.ConstraintError as error:
        raise AlreadyExists("a row of that key and version, or upload and part, is there already") from error
    for layout in batch.deletions:
        transaction.drop("", "", layout)
    for key, version in batch.stale:
        transaction.stale(key, -version)
    transaction.begin_after(batch.seq)


def _objects(transaction: ContainerTransaction, batch: Refill) -> None:
    last = ""
    for each in batch.objects:
        row = each.row
        older = row.key == last or has_rows(transaction.db, row.key)
        last = row.key
        insert(transaction, row, parts=each.parts, moved=each.moved, older=older)
        transaction.version(row.version, row.version - 1)
        if each.moved:
            contents = [content for content in (row.content, *each.parts.split(",")) if content]
            remember_moved(transaction, contents, row.key, row.version)


def _uploads(transaction: ContainerTransaction, batch: Refill) -> None:
    for row in batch.uploads:
        transaction.write("INSERT INTO uploads VALUES (?, ?, ?, ?)", (row.key, row.upload, row.started_us, _encode(row)))
        transaction.count("upload", 1, 0)
    for upload, part in batch.parts:
        values = (upload, part.part, part.size, part.etag, part.mtime_us, _encode(part.checksums), part.content, part.layout)
        transaction.write("INSERT INTO parts VALUES (?, ?, ?, ?, ?, ?, ?, ?)", values)
        transaction.count("part", 1, part.size)
