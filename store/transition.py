"""Another storage class for a version in place: its name, its number and its times stay. Bytes move only where the class has a policy of
its own; cold classes are the cold tier's, which finds the version in the container's list."""

from __future__ import annotations

from meta.protocol.object import Change, ObjectRow, Seen
from meta.protocol.restore import COLD_CLASSES
from store.context import Context


async def transition(context: Context, bucket: str, row: ObjectRow, storage_class: str, seen: Seen) -> ObjectRow:
    """The version as it is now. Raises: Superseded when what was seen is otherwise by now; NotFound."""
    change = Change(row.key, row.version, storage_class=storage_class, expect_content=row.content, seen=seen)
    changed = await context.container(bucket).change(change)
    context.afterwork.look_for_stale_records(bucket)
    if storage_class in COLD_CLASSES:
        context.afterwork.look_for_cold(bucket)
    return changed
