"""Copies within the store: chunk by chunk on the same volumes where the policy is the same, else through this process."""

from __future__ import annotations

from base64 import b64encode

import msgspec

from meta.protocol.object import NO_CONDITION, Attributes, Condition, ObjectRow
from node.errors import NotEnoughServices
from rawx.chunk import Buffer, ChunkRecord
from store.content import ContentWriter, Tail
from store.context import Context
from store.envelope import envelope_of
from store.layout import Layout
from store.mosaic import without_mosaic
from store.moved import following
from store.opening import Read
from store.policy import PolicySet
from store.put import commit_object, put_object, write
from store.record import object_record

DEFAULT_CHECKSUM = "crc64nvme"
"""Of what is written anew and had none."""


class CopyKeys(msgspec.Struct, frozen=True):
    """Data keys of the source and of the target; b"" for what is not encrypted. The same for both: the sealed bytes are copied."""

    source: bytes = b""
    target: bytes = b""

    def __repr__(self) -> str:
        return "<CopyKeys>"


NO_KEYS = CopyKeys()


class ContentSource:
    """A range of a stored object as the source of another. `digests` are computed and kept."""

    def __init__(self, read: Read, start: int, stop: int, digests: frozenset[str] = frozenset()) -> None:
        self.length: int | None = stop - start
        self.digests = digests
        self._read = read
        self._at, self._stop = start, stop

    async def fill(self, buffer: memoryview) -> int:
        """Raises: ContentLost, ContentAway, SealBroken, Busy."""
        count = min(len(buffer), self._stop - self._at)
        filled = 0

        async def sink(piece: Buffer) -> None:
            nonlocal filled
            buffer[filled : filled + len(piece)] = piece
            filled += len(piece)

        await self._read(self._at, self._at + count, sink)
        self._at += count
        return count

    def complete(self, digests: dict[str, bytes]) -> dict[str, str]:
        return {name: b64encode(digests[name]).decode() for name in sorted(self.digests)}


async def copy_object(
    context: Context,
    source: ObjectRow,
    source_bucket: str,
    bucket: str,
    key: str,
    *,
    attributes: Attributes,
    owner: str,
    storage_class: str,
    condition: Condition = NO_CONDITION,
    keys: CopyKeys = NO_KEYS,
    digests: frozenset[str] = frozenset(),
) -> ObjectRow:
    """A new object of the source's bytes. The caller keeps the source from being deleted meanwhile.

    Where the data key stays the same, so do ETag, parts and checksums (those are in `attributes`); else, and when `digests` are to be
    computed, the bytes are written anew as one content. Raises: as put_object; ContentLost, ContentAway, SealBroken.
    """
    stored: ObjectRow | None = None
    attributes = without_mosaic(attributes)
    if keys.source == keys.target and not digests:
        stored = source
        layout = Layout.parse(source.layout)
        record, policies = await context.new_content(bucket, key, storage_class)
        known = {policies.small.name, policies.large.name}
        stays = not policies.pool or context.fleet.means(layout.volumes, policies.pool)
        if stays and {policy.name for policy in layout.policies} <= known:
            try:
                return await _copy_chunks(context, source, record, policies, attributes, owner, storage_class, condition)
            except (
                NotEnoughServices
            ):  # a volume is away, full or retired, a chunk is damaged: the bytes can still be read and written elsewhere
                pass
        content = ContentSource(following(context, source, bucket=source_bucket, stored=True), 0, layout.size)
    else:
        digests = digests or frozenset(source.attributes.checksums or (DEFAULT_CHECKSUM,))
        attributes = of_one_piece(attributes)
        content = ContentSource(following(context, source, bucket=source_bucket, data_key=keys.source), 0, source.size, digests)
    return await put_object(
        context,
        bucket,
        key,
        content,
        attributes=attributes,
        owner=owner,
        storage_class=storage_class,
        condition=condition,
        stored=stored,
        data_key=keys.target,
    )


def of_one_piece(attributes: Attributes) -> Attributes:
    """Without what is said of parts, pieces and of the whole: it is told anew."""
    attributes = without_mosaic(attributes)
    envelope = envelope_of(attributes)
    if envelope is not None and envelope.parts:
        attributes = msgspec.structs.replace(envelope, parts=()).into(attributes)
    return msgspec.structs.replace(attributes, parts=(), part_checksums=(), checksums={}, checksum_type="")


async def _copy_chunks(
    context: Context,
    source: ObjectRow,
    record: ChunkRecord,
    policies: PolicySet,
    attributes: Attributes,
    owner: str,
    storage_class: str,
    condition: Condition,
) -> ObjectRow:
    version, bucket, layout = context.stamp(), record.bucket, Layout.parse(source.layout)
    row = ObjectRow(
        key=record.key,
        version=version,
        null=context.guess_null(bucket),
        size=source.size,
        etag=source.etag,
        mtime_us=version,
        storage_class=storage_class,
        policy=source.policy,
        owner=owner,
        content=record.content,
        attributes=attributes,
    )
    writer = ContentWriter(context.fleet, context.writes, policies, record, lambda _: Tail())
    copied = await write(context, bucket, writer, lambda: writer.copy(layout, Tail(object=object_record(row))))
    return await commit_object(context, bucket, msgspec.structs.replace(row, layout=copied.encode()), writer, condition)
