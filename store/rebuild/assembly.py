"""From the records of chunks to rows of the metadata: which chunks make a content, and what the content is. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache

import msgspec

from meta.protocol.holding import Restored
from meta.protocol.object import ObjectRow
from meta.protocol.upload import PARTS_MAX, PartRow, UploadRow
from meta.row import check_key
from node.errors import InvalidArgument
from rawx.chunk import ChunkRecord, ObjectRecord
from store.cipher import plain_bytes
from store.delete import Place
from store.envelope import ENCRYPTION
from store.layout import Draft, Layout
from store.mosaic import Tile, mosaic_of
from store.policy import POLICIES, Policy
from store.record import attributes_of, span_of, upload_of

POLICIES_REMEMBERED = 1_024
CHECKSUM_DIGITS = 32


class Fact(msgspec.Struct, frozen=True, gc=False):
    """One chunk as it was found."""

    volume: str
    chunk: str
    record: ChunkRecord

    @property
    def place(self) -> Place:
        return self.volume, self.chunk


class Unwhole(msgspec.Struct, frozen=True):
    """A content of which too little is left, or of which no chunk tells what it is."""

    bucket: str
    key: str
    content: str
    reason: str
    chunks: int


class Whole(msgspec.Struct, frozen=True):
    """A content that can be read.

    head     the record that tells most of it: of the last metachunk, the highest seq
    spare    chunks that repeat what the layout names already, or fit to nothing of it
    thin     some metachunk has fewer chunks than a write is acknowledged with
    stale    some record of the last metachunk is older than the head;  moved: some record names another key
    """

    head: ChunkRecord
    layout: Layout
    spare: tuple[Place, ...] = ()
    thin: bool = False
    stale: bool = False
    moved: bool = False


def assemble(facts: Sequence[Fact]) -> Whole | Unwhole:
    """All chunks that name one content."""
    records = [fact.record for fact in facts]
    heads = [record for record in records if record.metachunks and (record.object or record.upload)]
    if not heads:
        any_record = records[0]
        reason = "its last part is missing or was never written: no chunk tells what it is"
        return Unwhole(any_record.bucket, any_record.key, any_record.content, reason, len(facts))
    head = max(heads, key=lambda record: (record.seq, record.object is not None))
    if reason := _senseless(head):
        return Unwhole(head.bucket, head.key, head.content, reason, len(facts))
    by_metachunk: dict[int, list[Fact]] = {}
    for fact in facts:
        by_metachunk.setdefault(fact.record.metachunk, []).append(fact)
    draft, spare, thin = Draft(), [], False
    for index in range(head.metachunks):
        policy, chosen, rest = _choose(by_metachunk.pop(index, []))
        spare += [fact.place for fact in rest]
        if policy is None or len(chosen) < policy.needed:
            needed = policy.needed if policy else 1
            reason = f"metachunk {index} of {head.metachunks} needs {needed} chunks, {len(chosen)} are left"
            return Unwhole(head.bucket, head.key, head.content, reason, len(facts))
        thin = thin or len(chosen) < policy.quorum
        draft.add(policy, chosen[0].record.metachunk_size, map(_place, chosen))
    spare += [fact.place for rest in by_metachunk.values() for fact in rest]
    return Whole(
        head,
        draft.layout(),
        tuple(spare),
        thin,
        min(record.seq for record in heads) < head.seq,
        {record.key for record in records} != {head.key},
    )


def _senseless(head: ChunkRecord) -> str:
    """Why no object can be what the record says; "" when one can."""
    try:
        check_key(head.key)
    except InvalidArgument as error:
        return f"its record names no key: {error}"
    told = head.object
    if told is not None and not 1 <= told.part <= told.parts <= PARTS_MAX:
        return f"its record says that it is part {told.part} of {told.parts}"
    if told is None and head.upload is not None and not 1 <= head.upload.part <= PARTS_MAX:
        return f"its record says that it is part {head.upload.part} of an upload"
    return ""


def _place(fact: Fact) -> tuple[int, str, bytes, bytes]:
    """As a layout's draft takes it."""
    record = fact.record
    return record.position, fact.volume, bytes.fromhex(fact.chunk), bytes.fromhex(record.checksum)


def assemble_mosaic(head: ChunkRecord, contents: Mapping[str, Sequence[Fact]]) -> Whole | Unwhole:
    """An object that was partly rewritten. head: the newest record of its newest content; contents: chunks of all that it names.

    Raises: msgspec.ValidationError, RecordCorrupt.
    """
    record = head.object
    assert record is not None
    mosaic = mosaic_of(attributes_of(record))
    assert mosaic is not None
    by_tile: dict[Tile, list[Fact]] = {}
    for content in mosaic.contents:
        for fact in contents[content]:
            by_tile.setdefault((content, fact.record.metachunk), []).append(fact)
    count = sum(map(len, contents.values()))
    draft, spare, thin = Draft(), [], False
    for tile in mosaic.tiles:
        policy, chosen, rest = _choose(by_tile.pop(tile, []))
        spare += [fact.place for fact in rest]
        if policy is None or len(chosen) < policy.needed:
            needed = policy.needed if policy else 1
            reason = f"metachunk {tile[1]} of content {tile[0]} needs {needed} chunks, {len(chosen)} are left"
            return Unwhole(head.bucket, head.key, head.content, reason, count)
        thin = thin or len(chosen) < policy.quorum
        draft.add(policy, chosen[0].record.metachunk_size, map(_place, chosen))
    spare += [fact.place for rest in by_tile.values() for fact in rest]
    layout = draft.layout()
    if layout.size != record.size:
        return Unwhole(head.bucket, head.key, head.content, f"its pieces have {layout.size} bytes instead of {record.size}", count)
    stale = any(fact.record.object is not None and fact.record.seq < head.seq for fact in contents[head.content])
    moved = any(fact.record.key != head.key for facts in contents.values() for fact in facts)
    return Whole(head, layout, tuple(spare), thin, stale, moved)


def mosaic_row(whole: Whole) -> Restored:
    """Raises: msgspec.ValidationError, RecordCorrupt."""
    restored = single_row(whole)
    mosaic = mosaic_of(restored.row.attributes)
    assert mosaic is not None
    return msgspec.structs.replace(restored, parts=",".join(mosaic.contents))


def _choose(facts: Iterable[Fact]) -> tuple[Policy | None, list[Fact], list[Fact]]:
    """Policy, one chunk for each position in order, and the others. What most chunks agree on is right."""
    fitting: dict[tuple[object, ...], list[Fact]] = {}
    strange: list[Fact] = []
    for fact in facts:
        record = fact.record
        policy = _fitting(record.policy, record.unit_bytes, record.metachunk_size, record.size)
        if policy is None or not 0 <= record.position < policy.chunks or len(record.checksum) != CHECKSUM_DIGITS:
            strange.append(fact)
        else:
            same = "" if policy.coded else record.checksum
            fitting.setdefault((record.policy, record.unit_bytes, record.metachunk_size, same), []).append(fact)
    if not fitting:
        return None, [], strange
    group = max(fitting.values(), key=_worth) if len(fitting) > 1 else next(iter(fitting.values()))
    strange += [fact for other in fitting.values() if other is not group for fact in other]
    best = {fact.record.position: fact for fact in group}
    if len(best) < len(group):
        best.clear()
        for fact in sorted(group, key=lambda fact: (-fact.record.seq, fact.volume, fact.chunk)):
            if fact.record.position in best:
                strange.append(fact)
            else:
                best[fact.record.position] = fact
    return policy_of(group[0].record), [best[position] for position in sorted(best)], strange


def _worth(facts: Sequence[Fact]) -> tuple[bool, int]:
    """Chunks under one policy that can be read before those that can't, be they more: a change of policy may have been under way."""
    policy, positions = policy_of(facts[0].record), {fact.record.position for fact in facts}
    return policy is not None and len(positions) >= policy.needed, len(positions)


def policy_of(record: ChunkRecord) -> Policy | None:
    """With the unit size that the chunk was written with; None when there is no such policy."""
    return _policy(record.policy, record.unit_bytes)


@lru_cache(maxsize=POLICIES_REMEMBERED)
def _policy(name: str, unit_bytes: int) -> Policy | None:
    known = POLICIES.get(name)
    return None if known is None else known if known.unit_bytes == unit_bytes else replace(known, unit_bytes=unit_bytes)


@lru_cache(maxsize=POLICIES_REMEMBERED)
def _fitting(name: str, unit_bytes: int, metachunk_size: int, size: int) -> Policy | None:
    """The policy, if under it a metachunk of that size has chunks of that size. Those of one metachunk come together: asked once."""
    policy = _policy(name, unit_bytes)
    fits = policy is not None and unit_bytes > 0 and metachunk_size >= 0 and size == policy.chunk_bytes(metachunk_size)
    return policy if fits else None


def single_row(whole: Whole) -> Restored:
    """The row of an object that is one content. Raises: msgspec.ValidationError."""
    record = whole.head.object
    assert record is not None
    content = "" if record.marker else whole.head.content
    row = _row(whole.head, record, content, whole.layout)
    return Restored(row, moved=whole.moved)


def part_row(whole: Whole) -> tuple[UploadRow, PartRow]:
    """An upload in progress as one of its parts tells it, and that part. Raises: msgspec.ValidationError."""
    record = whole.head.upload
    assert record is not None
    part = PartRow(record.part, record.size, record.etag, whole.head.content, whole.layout.encode(), record.mtime_us, record.checksums)
    return upload_of(record, whole.head.key), part


def joined_row(parts: Sequence[Whole]) -> Restored | Unwhole:
    """The row of an object that was uploaded in parts: all of them, in order. Some may still say that they are parts of an upload.

    Raises: msgspec.ValidationError.
    """
    heads = [part.head for part in parts if part.head.object is not None]
    head = max(heads, key=lambda record: record.seq)
    record = head.object
    assert record is not None
    sizes = tuple(size for part in parts for size in _part_sizes(part, record))
    covered = [number for part in parts for number in covers(part.head)]
    whole = covered == list(range(1, record.parts + 1))
    if not record.after and not (whole and sum(sizes) == record.size):
        reason = f"{sum(sizes)} of {record.size} bytes are left, in parts {[_number(part.head) for part in parts]} of {record.parts}"
        return Unwhole(head.bucket, head.key, record.content or head.content, reason, len(parts))
    sums = [each for part in parts for each in _part_checksums(part.head)]
    layout = Layout.join(part.layout for part in parts)
    row = _row(head, record, record.content or head.content, layout)
    attributes = msgspec.structs.replace(row.attributes, parts=sizes, part_checksums=tuple(sums))
    row = msgspec.structs.replace(row, attributes=attributes)
    moved = any(part.moved or part.head.key != head.key for part in parts)
    return Restored(row, ",".join(part.head.content for part in parts), moved)


def appended(before: Restored, link: Restored) -> Restored | None:
    """An object that grew, from what it was and what was appended (see store/append.py); None when they don't make the whole."""
    old, new = before.row, link.row
    sizes = old.attributes.parts or (old.size,)
    sums = old.attributes.part_checksums if len(sizes) > 1 else tuple(old.attributes.checksums.values())
    attributes = msgspec.structs.replace(
        new.attributes,
        parts=(*sizes, *new.attributes.parts),
        part_checksums=(*sums, *new.attributes.part_checksums) if new.attributes.checksums else (),
    )
    if sum(attributes.parts) != new.size:
        return None
    layout = Layout.join((Layout.parse(old.layout), Layout.parse(new.layout)))
    row = msgspec.structs.replace(new, attributes=attributes, layout=layout.encode(), policy=layout.policies[0].name)
    moved = before.moved or link.moved or old.key != new.key
    return Restored(row, f"{before.parts or old.content},{link.parts}", moved)


def _part_sizes(part: Whole, record: ObjectRecord) -> Sequence[int]:
    """Plain bytes of the parts of the object that the content covers. record: says whether the object is encrypted."""
    extra = record.attributes.get("extra", {})
    stored = part.layout.size
    return span_of(part.head.object) or (plain_bytes(stored) if isinstance(extra, dict) and ENCRYPTION in extra else stored,)


def covers(record: ChunkRecord) -> range:
    """Numbers of the parts that the content is."""
    number = _number(record)
    return range(number - max(len(span_of(record.object)), 1) + 1, number + 1)


def _number(record: ChunkRecord) -> int:
    if record.object is not None:
        return record.object.part
    return record.upload.part if record.upload is not None else 0


def _part_checksums(record: ChunkRecord) -> list[str]:
    if record.object is None:
        return [*record.upload.checksums.values()][:1] if record.upload is not None else []
    sums = record.object.attributes.get("part_checksums")
    return [str(each) for each in sums] if isinstance(sums, list) else []


def _row(head: ChunkRecord, record: ObjectRecord, content: str, layout: Layout) -> ObjectRow:
    return ObjectRow(
        key=head.key,
        version=record.version,
        null=record.null,
        marker=record.marker,
        size=record.size,
        etag=record.etag,
        mtime_us=record.mtime_us,
        storage_class=record.storage_class,
        policy="" if record.marker else layout.policies[0].name,
        owner=record.owner,
        content=content,
        layout=layout.encode(),
        seq=head.seq,
        attributes=attributes_of(record),
    )


def newest_first(rows: Iterable[tuple[Restored, int]]) -> tuple[list[Restored], list[bytes]]:
    """Of one key: the versions that were there, and the layouts of those that others had replaced.

    rows: with the seq of each. Of two rows of one version the one with the higher seq is it; of null versions the newest.
    """
    kept: list[Restored] = []
    replaced: list[bytes] = []
    null = False
    for each, _ in sorted(rows, key=lambda pair: (-pair[0].row.version, -pair[1])):
        same = bool(kept) and kept[-1].row.version == each.row.version
        if same or (each.row.null and null):
            replaced.append(each.row.layout)
            continue
        null = null or each.row.null
        kept.append(each)
    return kept, replaced
