"""RestoreObject: a wish in the object's row, which glacier/lifecycle carries out."""

from __future__ import annotations

import msgspec

from glacier.lifecycle.calendar import GRACE_US
from meta.protocol.object import Change, ObjectRow
from node.errors import BoardsMissing, Superseded
from s3.access import authorize_again
from s3.attributes import version_headers
from s3.call import Call
from s3.errors import S3Error
from s3.handlers.read import current_row
from s3.notification import RESTORE_ASKED
from s3.publish import publish_row
from s3.restore import Wish, parse_wish, restored
from s3.source import read_document
from store.layout import Layout
from store.tier import Priority

TRIES_MAX = 5
"""While the object's tags and the like change beside us."""


async def restore_object(call: Call) -> None:
    wish = parse_wish(await read_document(call, "RestoreRequest"))
    for left in reversed(range(TRIES_MAX)):
        row = await current_row(call)
        try:
            status = await _restore(call, row, wish)
        except Superseded:
            if not left:
                raise
            await authorize_again(call)
        else:
            await call.answer(status, *version_headers(row.version, row.null, call.settings))
            return


async def _restore(call: Call, row: ObjectRow, wish: Wish) -> int:
    """The answer's status. Raises: S3Error; Superseded when the object was changed since its row was read."""
    restore, status = restored(row, wish, call.now_us, call.services.options.calendar)
    if status == 202 and row.size:
        try:
            await call.store.tier.promise(Layout.parse(row.layout))
        except BoardsMissing as error:
            raise S3Error("ServiceUnavailable", f"The object can't be restored now: {error}") from error
    if status == 200 and row.size:
        await call.store.tier.thaw(Layout.parse(row.layout), Priority.EXPEDITED, restore.until_us + GRACE_US)
    change = Change(row.key, row.version, restored=msgspec.to_builtins(restore), expect_content=row.content, expect_seq=row.seq)
    changed = await call.store.change_cold(call.bucket, change)
    if status == 202 and restore.asked_us == call.now_us and call.settings.documents:
        await publish_row(call, RESTORE_ASKED, changed)
    return status
