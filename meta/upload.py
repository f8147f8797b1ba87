"""Multipart uploads: parts gather beside the objects; completion makes one row of them, their chunks stay where they are."""

from __future__ import annotations

from typing import Any

import apsw
import msgspec

from meta.listing import begin, common_prefix, successor
from meta.protocol.listing import LIST_LIMIT_MAX, ListRequest
from meta.protocol.object import NO_CONDITION, Dropped, PutResult
from meta.protocol.upload import PARTS_MAX, Complete, PartPage, PartRow, UploadPage, UploadRow, parts_digest
from meta.row import check_key, find
from meta.transaction import ContainerTransaction, read_settings, remember_completed
from meta.version import check_current, check_quota, store
from node.errors import AlreadyExists, BucketNotEmpty, InvalidArgument, Superseded, UploadNotFound

PARTS_ABORTED_MAX = 100_000
"""Parts that go with their bucket in one transaction: about 2 s."""

_upload_decoder = msgspec.msgpack.Decoder(UploadRow)
_result_decoder = msgspec.msgpack.Decoder(PutResult)
_checksums_decoder = msgspec.msgpack.Decoder(dict[str, str])
_encode = msgspec.msgpack.Encoder().encode

_PARTS = "SELECT part, size, etag, content, {layout}, mtime_us, checksums FROM parts WHERE upload = ? AND part > ? ORDER BY part LIMIT ?"


def create(transaction: ContainerTransaction, row: UploadRow) -> UploadRow:
    """Raises: BucketNotFound, InvalidArgument, AlreadyExists."""
    check_key(row.key)
    _ = transaction.settings
    if not row.upload:
        raise InvalidArgument("an upload needs an id")
    row = msgspec.structs.replace(row, started_us=transaction.now_us)
    try:
        transaction.write("INSERT INTO uploads VALUES (?, ?, ?, ?)", (row.key, row.upload, row.started_us, _encode(row)))
    except apsw.ConstraintError as error:
        raise AlreadyExists("there is such an upload already") from error
    transaction.count("upload", 1, 0)
    return row


def get(db: apsw.Connection, key: str, upload: str) -> UploadRow:
    """Raises: BucketNotFound, UploadNotFound."""
    value = db.execute("SELECT value FROM uploads WHERE key = ? AND upload = ?", (key, upload)).get
    if value is None:
        read_settings(db)
        raise UploadNotFound("there is no such upload")
    return _upload_decoder.decode(value)


def put_part(transaction: ContainerTransaction, key: str, upload: str, part: PartRow) -> tuple[Dropped, ...]:
    """Raises: BucketNotFound, UploadNotFound, InvalidArgument, QuotaExceeded."""
    if not 1 <= part.part <= PARTS_MAX:
        raise InvalidArgument(f"parts are numbered from 1 to {PARTS_MAX}")
    _ = transaction.settings
    if transaction.db.execute("SELECT 1 FROM uploads WHERE key = ? AND upload = ?", (key, upload)).get is None:
        raise UploadNotFound("there is no such upload")
    old = transaction.db.execute("SELECT size, content, layout FROM parts WHERE upload = ? AND part = ?", (upload, part.part)).get
    check_quota(transaction, part.size - (old[0] if old else 0))
    dropped: tuple[Dropped, ...] = ()
    if old is not None:
        size, content, layout = old
        transaction.count("part", -1, -size)
        dropped = transaction.drop(content, "", layout)
    transaction.write(
        "INSERT OR REPLACE INTO parts VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        (
            upload,
            part.part,
            part.size,
            part.etag,
            part.mtime_us or transaction.now_us,
            _encode(part.checksums),
            part.content,
            part.layout,
        ),
    )
    transaction.count("part", 1, part.size)
    return dropped


def list_parts(db: apsw.Connection, key: str, upload: str, after: int, limit: int, layouts: bool) -> PartPage:
    """With layouts the limit may reach PARTS_MAX, for completion wants them all. Raises: BucketNotFound, UploadNotFound."""
    limit = min(max(limit, 0), PARTS_MAX if layouts else LIST_LIMIT_MAX)
    db.execute("BEGIN")
    try:
        row = get(db, key, upload)
        found: list[Any] = db.execute(_PARTS.format(layout="layout" if layouts else "x''"), (upload, after, limit + 1)).fetchall()
    finally:
        db.execute("COMMIT")
    parts = [
        PartRow(part, size, etag, content, layout, mtime_us, _checksums_decoder.decode(checksums))
        for part, size, etag, content, layout, mtime_us, checksums in found[:limit]
    ]
    return PartPage(row, parts, 0 < limit < len(found))


def list_uploads(db: apsw.Connection, request: ListRequest, upload_after: str) -> UploadPage:
    """In order of key, then upload id. upload_after: uploads of key `request.after` behind this id come first. Raises: BucketNotFound.

    Uploads in progress are few beside objects, so a common prefix is passed row by row.
    """
    limit = min(request.limit, LIST_LIMIT_MAX)
    page = UploadPage([], [], False)
    db.execute("BEGIN")
    try:
        read_settings(db)
        place = begin(request)
        if limit <= 0 or place is None:
            return page
        key = place[0]
        # begin() knows ages; here the second column is the upload's id, "" before all of them.
        inclusive = place != (request.after, 1 << 62)
        position = (key, "") if inclusive else (key, upload_after or "\U0010ffff")
        sql = "SELECT key, upload, value FROM uploads WHERE (key, upload) > (?, ?)"
        stop = successor(request.prefix)
        if stop is not None:
            sql += " AND key < ?"
        cursor = db.execute(sql + " ORDER BY key, upload", position if stop is None else (*position, stop))
        return _upload_page(cursor, request, limit)
    finally:
        db.execute("COMMIT")


def _upload_page(cursor: apsw.Cursor, request: ListRequest, limit: int) -> UploadPage:
    uploads: list[UploadRow] = []
    prefixes: list[str] = []
    last = (request.after, "")
    for key, upload, value in cursor:
        common = common_prefix(key, request.prefix, request.delimiter)
        if common is not None and prefixes and prefixes[-1] == common:
            continue
        if len(uploads) + len(prefixes) == limit:
            cursor.close(True)
            return UploadPage(uploads, prefixes, True, *last)
        if common is None:
            uploads.append(_upload_decoder.decode(value))
            last = (key, upload)
        else:
            prefixes.append(common)
            last = (common, "")
    return UploadPage(uploads, prefixes, False)


def complete(transaction: ContainerTransaction, request: Complete) -> PutResult:
    """Raises: BucketNotFound, UploadNotFound, Superseded, PreconditionFailed, ObjectNotFound, Locked, QuotaExceeded."""
    db, row, upload = transaction.db, request.row, request.upload
    _ = transaction.settings
    if db.execute("SELECT 1 FROM uploads WHERE key = ? AND upload = ?", (row.key, upload)).get is None:
        done = db.execute("SELECT result FROM completed WHERE upload = ? AND key = ?", (upload, row.key)).get
        if done is None:
            raise UploadNotFound("there is no such upload")
        return _result_decoder.decode(done)
    there = {
        part: (content, layout)
        for part, content, layout in db.execute("SELECT part, content, layout FROM parts WHERE upload = ?", (upload,))
    }
    for part, content in request.parts:
        if part not in there or there[part][0] != content:
            raise Superseded(f"part {part} was replaced meanwhile")
    if request.digest and request.digest != parts_digest(there[part][1] for part, _ in request.parts):
        raise Superseded("chunks of the parts were moved meanwhile")
    newest = find(db, row.key, None)
    if request.condition != NO_CONDITION:
        check_current(request.condition, newest)
    size = db.execute("SELECT coalesce(sum(size), 0) FROM parts WHERE upload = ?", (upload,)).get
    result = store(transaction, row, newest, parts=",".join(content for _, content in request.parts), stale=True, freed=size)
    unused = _clear(transaction, row.key, upload, used={content for _, content in request.parts})
    result = PutResult(result.version, result.null, result.mtime_us, result.dropped + unused)
    remember_completed(transaction, upload, row.key, _encode(msgspec.structs.replace(result, dropped=())))
    return result


def abort(transaction: ContainerTransaction, key: str, upload: str) -> tuple[Dropped, ...]:
    """Raises: BucketNotFound, UploadNotFound."""
    _ = transaction.settings
    if transaction.db.execute("SELECT 1 FROM uploads WHERE key = ? AND upload = ?", (key, upload)).get is None:
        raise UploadNotFound("there is no such upload")
    return _clear(transaction, key, upload, used=set())


def abort_all(transaction: ContainerTransaction) -> None:
    """Every upload of a bucket that goes. Raises: BucketNotEmpty when that would be too much for one transaction."""
    if transaction.db.execute("SELECT count(*) FROM parts").get > PARTS_ABORTED_MAX:
        raise BucketNotEmpty(f"the bucket's uploads in progress have more than {PARTS_ABORTED_MAX} parts: abort some first")
    uploads: list[Any] = transaction.db.execute("SELECT key, upload FROM uploads").fetchall()
    for key, upload in uploads:
        _clear(transaction, key, upload, used=set())


def _clear(transaction: ContainerTransaction, key: str, upload: str, *, used: set[str]) -> tuple[Dropped, ...]:
    """Removes an upload; contents of parts that no object uses join the deletions."""
    parts: list[Any] = transaction.db.execute("SELECT size, content, layout FROM parts WHERE upload = ?", (upload,)).fetchall()
    dropped: list[Dropped] = []
    for size, content, layout in parts:
        transaction.count("part", -1, -size)
        if content not in used:
            dropped += transaction.drop(content, "", layout)
    transaction.write("DELETE FROM parts WHERE upload = ?", (upload,))
    transaction.write("DELETE FROM uploads WHERE key = ? AND upload = ?", (key, upload))
    transaction.count("upload", -1, 0)
    return tuple(dropped)
