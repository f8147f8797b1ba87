"""Changing which key wraps an object's data key. Metadata only: no byte of the object is read, decrypted or written."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from meta.protocol.object import Change, ObjectRow
from node.errors import Superseded
from store.context import Context
from store.envelope import CUSTOMER, Envelope, envelope_of

TRIES_MAX = 5
"""While the object's tags and the like change beside us."""

Wanted = Callable[[Envelope | None], Envelope | None]
"""What the envelope found is to become (mode, key, context, bucket_key count); None to leave it. May refuse by raising."""


async def rewrap(
    context: Context, bucket: str, key: str, version: int | None, wanted: Wanted, *, expect_content: str | None = None
) -> bool:
    """Whether anything was changed. Everything else of the version stays: ETag, times, checksums, parts.

    expect_content: of the row that was authorized; with another content there it is Superseded.

    Raises: ObjectNotFound, VersionNotFound, BucketNotFound, Superseded; EncryptionKeyNotFound, EncryptionKeyDisabled; SealBroken,
    RecordCorrupt; what `wanted` raises.
    """
    for _ in range(TRIES_MAX):
        row = await context.container(bucket).get(key, version)
        if expect_content is not None and row.content != expect_content:
            raise Superseded("the version has another content now")
        old = envelope_of(row.attributes)
        wish = wanted(old)
        if old is None or wish is None:
            return False
        assert CUSTOMER not in (old.mode, wish.mode)
        if await _change(context, bucket, row, old, wish):
            context.afterwork.look_for_stale_records(bucket)
            return True
    raise Superseded("the object was changed again and again meanwhile")


async def _change(context: Context, bucket: str, row: ObjectRow, old: Envelope, wish: Envelope) -> bool:
    """False when the row was changed since it was read."""
    vault = context.vault
    envelope, _ = await vault.seal(msgspec.structs.replace(wish, parts=old.parts), data_key=await vault.open(old))
    change = Change(
        row.key,
        0 if row.null else row.version,
        attributes=envelope.into(row.attributes),
        expect_content=row.content,
        expect_seq=row.seq,
    )
    try:
        await context.container(bucket).change(change)
    except Superseded:
        return False
    return True


def newest_version(current: Callable[[str], int]) -> Wanted:
    """Keeps mode and key, wraps with the key's newest version. current: that, by key id; 0 to leave what is wrapped with the key alone."""

    def wanted(envelope: Envelope | None) -> Envelope | None:
        if envelope is None or envelope.mode == CUSTOMER or envelope.version >= current(envelope.key):
            return None
        return envelope

    return wanted
