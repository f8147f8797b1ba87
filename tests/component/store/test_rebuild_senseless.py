"""What lies on the volumes may be rotten, of another Frazil, or somebody's malice: it is told, and all else comes back."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cli.exit import Hinted
from cli.rebuilt import check_told
from store import keepsake, workers
from store.context import Context
from store.rebuild.compare import differences
from store.rebuild.report import Report
from store.rebuild.swap import NEW_FOLDER, base_of, put_in_place
from store.tally import Tally
from tests.component.store.history import quiet
from tests.component.store.support import BUCKET, chunk_files, flip, opened, put
from tests.component.store.test_rebuild import rebuilt
from tests.component.store.test_scrub import by_chunks, by_metadata
from tests.support.survey import chunk_paths, is_keepsake

RECORD = "user.frazil.chunk"
Change = Callable[[dict[str, Any]], None]


def record(**fields: Any) -> Change:
    return lambda told: told.update(fields)


def object_(**fields: Any) -> Change:
    return lambda told: told["object"].update(fields)


def part(told: dict[str, Any]) -> None:
    del told["object"]
    told["upload"] = {"upload": "u", "part": 0, "size": 1, "etag": "e", "mtime_us": 1}


UNREADABLE = {
    "a version beyond what is kept": object_(version=1 << 63),
    "a sequence number beyond": record(seq=1 << 70),
    "a part below the first": object_(part=-1, parts=3),
    "another format": record(v=2),
}
SENSELESS = {
    "no key": record(key=""),
    "too long a key": record(key="k" * 1_025),
    "more parts than memory": object_(part=1 << 40, parts=1 << 40),
    "part nought": part,
    "a number that only JSON holds": object_(attributes={"parts": [1 << 70]}),
    "a mosaic beyond memory": object_(attributes={"extra": {"mosaic": {"contents": ["c"], "pieces": [[0, 0, 1 << 40]]}}}),
    "more metachunks than there are": record(metachunks=1 << 60),
}


def clone(file: Path, name: str, change: Change) -> None:
    """Another chunk like this one, of another content."""
    target = file.parents[1] / name[:3] / name
    target.parent.mkdir(exist_ok=True)
    shutil.copyfile(file, target)
    os.setxattr(target, "user.frazil.units", os.getxattr(file, "user.frazil.units"))
    told = json.loads(os.getxattr(file, RECORD)) | {"content": os.urandom(16).hex()}
    change(told)
    os.setxattr(target, RECORD, json.dumps(told).encode())


def not_utf8(file: Path) -> None:
    """As one flipped bit leaves it."""
    os.setxattr(file, RECORD, os.getxattr(file, RECORD).replace(b'"key":"rot', b'"key":"ro\xf4'))


async def test_records_that_make_no_sense_keep_nothing_else_from_coming_back(tmp_path: Path) -> None:
    async with opened(tmp_path, 1) as store:
        await put(store, "k", b"data")
        (file,) = chunk_files(tmp_path)
        await put(store, "rot", b"data")
    (rotten,) = set(chunk_files(tmp_path)) - {file}
    not_utf8(rotten)
    for change in (UNREADABLE | SENSELESS).values():
        clone(file, os.urandom(16).hex(), change)
    clone(file, f"{os.urandom(16).hex()}a", record(key="half a byte"))
    shutil.rmtree(tmp_path / "meta")
    report = await rebuilt(tmp_path)
    assert report.damaged == {"record": len(UNREADABLE) + 1}
    assert len({each.content for each in report.unwhole}) == len(SENSELESS)
    assert report.versions == 1
    put_in_place(tmp_path)
    async with opened(tmp_path, 1) as store:
        assert await store.read_whole(await store.get_row(BUCKET, "k")) == b"data"


async def test_a_record_with_a_flipped_bit_ends_no_scrub(tmp_path: Path) -> None:
    async with opened(tmp_path, 3) as store:
        await put(store, "rot", b"data")
        not_utf8(chunk_files(tmp_path)[0])
        await workers.Settler(store._context).work()
        told: Tally = await by_chunks(store)
        assert [each.problem for each in told.damages] == ["nameless"]
        assert [(each.problem, each.outcome) for each in (await by_metadata(store)).damages] == [("record", "repaired")]
        assert (await by_chunks(store)).damages == []


@pytest.mark.parametrize("rot", ["bytes", "newer"])
async def test_a_rotten_keepsake_costs_what_it_kept_and_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rot: str) -> None:
    for module, name in ((workers, "SYNC_PERIOD_S"), (workers, "SCAN_PERIOD_S"), (keepsake, "KEEP_PERIOD_S")):
        monkeypatch.setattr(module, name, 0.02)
    keep = keepsake._keep

    async def keep_other(context: Context, key: str, _: bytes) -> None:
        await keep(context, key, b'{"bucket": {"in a form of tomorrow": 2}}')

    if rot == "newer":
        monkeypatch.setattr(keepsake, "_keep", keep_other)
    async with opened(tmp_path, 1, workers=True) as store:
        await put(store, "k", b"data")
        await quiet(store)
    if rot == "bytes":
        for file in filter(is_keepsake, chunk_paths([tmp_path])):
            flip(file, 3)
    shutil.rmtree(tmp_path / "meta")
    report = await rebuilt(tmp_path)
    assert f"buckets/{BUCKET}" in {each.key for each in report.unwhole}
    assert report.guessed == [BUCKET]
    assert report.versions == 1


async def test_a_base_that_can_not_be_read_is_told_and_the_others_compared(tmp_path: Path) -> None:
    async with opened(tmp_path, 1) as store:
        for number in range(200):
            await put(store, f"k{number}", b"data")
    await rebuilt(tmp_path)
    base = base_of(tmp_path / "meta", BUCKET)
    pages = base.stat().st_size // 4_096
    with base.open("r+b") as file:
        for page in range(2, pages):
            file.seek(page * 4_096)
            file.write(b"\xff" * 4_096)
    found = list(differences(tmp_path / "meta", tmp_path / NEW_FOLDER))
    assert ("objects", "unreadable") in {(each.table, each.what) for each in found if each.base == base.name}


async def test_of_a_bucket_that_no_chunk_knows_none_is_made(tmp_path: Path) -> None:
    async with opened(tmp_path, 1) as store:
        await put(store, "k", b"data")
    told: Report = await rebuilt(tmp_path, bucket="typo")
    with pytest.raises(Hinted, match="no chunk tells of a bucket typo"):
        check_told(told, "typo")
    check_told(await rebuilt(tmp_path, bucket=BUCKET), BUCKET)
