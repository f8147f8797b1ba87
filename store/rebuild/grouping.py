"""From chunks to rows: contents are put together from chunks, and objects from the contents of their parts. Blocking work on the census."""

from __future__ import annotations

import msgspec

from meta.protocol.holding import Restored
from store.layout import layout_of_places
from store.mosaic import has_mosaic
from store.rebuild.assembly import Unwhole, Whole, appended, assemble, covers, joined_row, single_row
from store.rebuild.census import Census, encode
from store.rebuild.pieces import put_mosaics_together
from store.rebuild.report import Report

ROWS_AT_ONCE = 2_000
SENSELESS = (msgspec.ValidationError, OverflowError)
"""Of attributes that are none, or that nothing but JSON can hold."""
_MULTIPART = 1 << 62
"""Rank of a part whose record knows the finished object, above the times of parts of uploads."""

decode_row = msgspec.msgpack.Decoder(Restored).decode
decode_whole = msgspec.msgpack.Decoder(Whole).decode


def put_together(census: Census, report: Report) -> None:
    """From chunks to rows, in passes: what was partly rewritten, contents, wholes of several contents. Blocking."""
    put_mosaics_together(census, report)
    rows: list[tuple[object, ...]] = []
    pieces: list[tuple[object, ...]] = []
    leftovers: list[tuple[object, ...]] = []
    links: list[tuple[object, ...]] = []

    def flush(least: int) -> None:
        for table, waiting in (("rows", rows), ("pieces", pieces), ("leftovers", leftovers), ("links", links)):
            if len(waiting) >= least:
                census.add_many(table, waiting)
                waiting.clear()

    for number, facts in enumerate(census.contents(), 1):
        if number % ROWS_AT_ONCE == 0:
            flush(1)
        found = assemble(facts)
        if isinstance(found, Unwhole):
            report.tell(found)
            continue
        head = found.head
        if found.spare:
            leftovers.append((head.bucket, layout_of_places(found.spare).encode()))
        try:
            if head.upload is not None and head.object is None:
                pieces.append((head.bucket, head.upload.upload, head.upload.part, head.upload.mtime_us, encode(found)))
            elif head.object is not None and has_mosaic(head.object):
                reason = "a part of it was rewritten, and the rest is missing"
                report.tell(Unwhole(head.bucket, head.key, head.content, reason, len(facts)))
            elif head.object is not None and (head.object.content or head.object.parts > 1):
                whole = head.object.content or head.content
                pieces.append((head.bucket, whole, head.object.part, _MULTIPART + head.seq, encode(found)))
            else:
                rows.append((head.bucket, head.key, head.seq, found.thin, found.stale, encode(single_row(found))))
        except SENSELESS as error:
            report.tell(Unwhole(head.bucket, head.key, head.content, f"its record can't be understood: {error}", len(facts)))
    flush(1)
    for bucket, group in census.pieces():
        _put_parts_together(bucket, group, rows, leftovers, links, report)
        flush(ROWS_AT_ONCE)
    flush(1)
    census.sort()
    _put_chains_together(census, report)


def _put_parts_together(
    bucket: str,
    group: list[tuple[int, bytes]],
    rows: list[tuple[object, ...]],
    leftovers: list[tuple[object, ...]],
    links: list[tuple[object, ...]],
    report: Report,
) -> None:
    """An object that was uploaded in parts becomes a row; what was appended to another waits for that; uploads in progress stay here."""
    decoded = [(part, decode_whole(value)) for part, value in group]
    if all(found.head.object is None for _, found in decoded):
        return
    finished: dict[int, Whole] = {}
    waiting: dict[int, Whole] = {}
    spare: list[Whole] = []
    for part, found in decoded:
        there = finished if found.head.object is not None else waiting
        if part in there:
            spare.append(found)
        else:
            there[part] = found
    chosen, rest = _completed(finished, waiting)
    try:
        joined = joined_row(chosen)
    except SENSELESS as error:
        head = chosen[0].head
        joined = Unwhole(bucket, head.key, head.content, f"its record can't be understood: {error}", len(chosen))
    if isinstance(joined, Unwhole):
        report.tell(joined)
        return
    leftovers += [(bucket, found.layout.encode()) for found in (*spare, *rest)]
    seqs = {found.head.seq for found in chosen}
    stale = len(seqs) > 1 or any(found.stale or found.head.object is None for found in chosen)
    values = (joined.row.seq, any(found.thin for found in chosen), stale, encode(joined))
    after = chosen[0].head.object.after if chosen[0].head.object is not None else 0
    if after and _number(chosen[0]) > 1:
        links.append((bucket, joined.row.key, joined.row.version, after, *values))
    else:
        rows.append((bucket, joined.row.key, *values))


def _number(found: Whole) -> int:
    return found.head.object.part if found.head.object is not None else 0


def _put_chains_together(census: Census, report: Report) -> None:
    """Objects that grew by appending: oldest link first, each behind the version that it names."""
    for bucket, key, after, seq, thin, stale, value in census.links():
        link = decode_row(value)
        for number, old_thin, old_stale, old_value in census.rows_of(bucket, key):
            before = decode_row(old_value)
            if before.row.version == after:
                grown = appended(before, link)
                if grown is None:
                    continue
                census.replace_row(number, (bucket, key, seq, thin or old_thin, stale or old_stale, encode(grown)))
                break
        else:
            reason = f"what was appended is there, the version {after} that it was appended to is not"
            report.tell(Unwhole(bucket, key, link.row.content, reason, 0))


def _completed(finished: dict[int, Whole], waiting: dict[int, Whole]) -> tuple[list[Whole], list[Whole]]:
    """The object's parts in order, and those that it was completed without. Parts whose records have not learnt of the completion fill the
    gaps, in their order, if they fill them just."""
    record = max((found.head for found in finished.values()), key=lambda head: head.seq).object
    assert record is not None
    first = min(finished) if record.after else 1
    covered = {number for found in finished.values() for number in covers(found.head)}
    gaps = [number for number in range(first, record.parts + 1) if number not in covered]
    if gaps and len(gaps) == len(waiting):
        filled = finished | dict(zip(gaps, (waiting[number] for number in sorted(waiting)), strict=True))
        if sum(found.layout.size for found in filled.values()) == record.size:
            return [filled[number] for number in sorted(filled)], []
    return [finished[number] for number in sorted(finished)], list(waiting.values())
