from __future__ import annotations

import hashlib

import pytest

from meta.protocol.upload import PartRow
from store.multipart import PART_BYTES_MIN, EntityTooSmall, InvalidPart, InvalidPartOrder, choose_parts, whole_etag


def row(part: int, size: int = PART_BYTES_MIN) -> PartRow:
    return PartRow(part, size, hashlib.md5(b"%d" % part).hexdigest(), f"{part:032x}", checksums={"crc32": "AAAAAA=="})


THERE = [row(1), row(2), row(5, 3)]


def test_the_listed_parts_are_chosen_and_may_skip_some() -> None:
    wanted = [(1, THERE[0].etag, {}), (5, f'"{THERE[2].etag}"', {"crc32": "AAAAAA=="})]
    assert choose_parts(THERE, wanted) == [THERE[0], THERE[2]]


@pytest.mark.parametrize(
    ("wanted", "error"),
    [
        ([], InvalidPart),
        ([(2, THERE[1].etag, {}), (1, THERE[0].etag, {})], InvalidPartOrder),
        ([(1, THERE[0].etag, {}), (1, THERE[0].etag, {})], InvalidPartOrder),
        ([(3, THERE[0].etag, {})], InvalidPart),
        ([(1, THERE[1].etag, {})], InvalidPart),
        ([(1, THERE[0].etag, {"crc32": "BBBBBB=="})], InvalidPart),
    ],
)
def test_what_is_not_there_is_refused(wanted: list[tuple[int, str, dict[str, str]]], error: type[Exception]) -> None:
    with pytest.raises(error):
        choose_parts(THERE, wanted)


def test_only_the_last_part_may_be_small() -> None:
    small = [row(1, PART_BYTES_MIN - 1), row(2, 1)]
    with pytest.raises(EntityTooSmall):
        choose_parts(small, [(each.part, each.etag, {}) for each in small])
    assert choose_parts(small, [(2, small[1].etag, {})]) == [small[1]]


def test_the_whole_etag_is_the_md5_of_the_parts_md5s() -> None:
    raw = hashlib.md5(b"1").digest() + hashlib.md5(b"2").digest()
    assert whole_etag(THERE[:2]) == hashlib.md5(raw).hexdigest() + "-2"
