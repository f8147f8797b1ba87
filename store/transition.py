"""Another storage class for a version in place: its name, its number and its times stay.

Where the class has a policy of its own the bytes are written anew under it first (store/recode.py): what a crash leaves then is a version
of the old class under the new policy, which the next try finds right. Cold classes are the cold tier's, which finds the version in the
container's list.
"""

from __future__ import annotations

import msgspec

from meta.protocol.holding import Holding
from meta.protocol.object import Change, ObjectRow, Seen
from meta.protocol.restore import COLD_CLASSES
from node.errors import Superseded
from store.context import Context
from store.layout import Layout
from store.recode import is_right, recode


async def transition(context: Context, bucket: str, row: ObjectRow, storage_class: str, seen: Seen) -> ObjectRow:
    """The version as it is now. Raises: Superseded when what was seen is otherwise by now; NotFound; as recode."""
    container = context.container(bucket)
    concerned = context.classes and not context.classes.keys().isdisjoint((row.storage_class, storage_class))
    if concerned and row.size and row.storage_class not in COLD_CLASSES:  # what sleeps keeps its policy: it would have to be woken
        policies = context.policies_of(await container.settings(), storage_class)
        if not is_right(Layout.parse(row.layout), policies, context.fleet):
            await recode(context, bucket, Holding(row.key, row.layout, row), policies)
            row, seen = await _again(context, bucket, row, seen)
    change = Change(row.key, row.version, storage_class=storage_class, expect_content=row.content, seen=seen)
    changed = await container.change(change)
    context.afterwork.look_for_stale_records(bucket)
    if storage_class in COLD_CLASSES:
        context.afterwork.look_for_cold(bucket)
    return changed


async def _again(context: Context, bucket: str, row: ObjectRow, seen: Seen) -> tuple[ObjectRow, Seen]:
    """The version where it lies now, if nothing else of it was changed. Raises: Superseded, NotFound."""
    now = await context.container(bucket).get(row.key, row.version)
    if (now.content, now.storage_class, now.attributes) != (row.content, row.storage_class, row.attributes):
        raise Superseded("the version was changed while its bytes were written anew")
    return now, msgspec.structs.replace(seen, seq=now.seq)
