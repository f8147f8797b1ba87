"""Objects that were partly rewritten, from chunks of several contents (see store/mosaic.py). Blocking work on the census."""

from __future__ import annotations

import msgspec

from node.errors import RecordCorrupt
from store.layout import layout_of_places
from store.mosaic import Mosaic, mosaic_of
from store.rebuild.assembly import Fact, Unwhole, Whole, assemble_mosaic, mosaic_row
from store.rebuild.census import Census, encode
from store.rebuild.report import Report
from store.record import attributes_of


def put_mosaics_together(census: Census, report: Report) -> None:
    """The newest that is whole of each object becomes a row and claims its contents; they are not looked at by themselves any more.

    A content that tells of an older one, or of one that was still being written, is left over where a whole one shares contents with it.
    """
    waiting: list[tuple[str, str, Mosaic]] = []
    for bucket, content in census.mosaics():
        if census.is_claimed(bucket, content):
            continue
        facts = census.chunks_of(bucket, content)
        head = max((fact.record for fact in facts if fact.record.object is not None), key=lambda record: record.seq)
        assert head.object is not None
        try:
            mosaic = mosaic_of(attributes_of(head.object))
            if mosaic is None:
                continue
            waiting.append((bucket, content, mosaic))
            if any(census.is_claimed(bucket, each) for each in mosaic.contents):
                continue
            contents = {each: census.chunks_of(bucket, each) for each in mosaic.contents}
            found = assemble_mosaic(head, contents | {content: facts})
            if isinstance(found, Whole):
                _keep(census, found, mosaic)
        except (msgspec.ValidationError, OverflowError, RecordCorrupt) as error:
            report.tell(Unwhole(bucket, head.key, content, f"its record can't be understood: {error}", len(facts)))
    for bucket, content, mosaic in waiting:
        if not census.is_claimed(bucket, content) and any(census.is_claimed(bucket, each) for each in mosaic.contents):
            _leave(census, bucket, census.chunks_of(bucket, content))
            census.claim(bucket, [content])


def _keep(census: Census, found: Whole, mosaic: Mosaic) -> None:
    head = found.head
    restored = mosaic_row(found)
    census.add_many("rows", [(head.bucket, head.key, head.seq, found.thin, found.stale, encode(restored))])
    if found.spare:
        census.add_many("leftovers", [(head.bucket, layout_of_places(found.spare).encode())])
    census.claim(head.bucket, mosaic.contents)


def _leave(census: Census, bucket: str, facts: list[Fact]) -> None:
    census.add_many("leftovers", [(bucket, layout_of_places(fact.place for fact in facts).encode())])
