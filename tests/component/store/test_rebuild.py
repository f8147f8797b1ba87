"""Wiped metadata comes back from the chunks alone."""

from __future__ import annotations

import os
import random
import shutil
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from meta.directory import container_id
from meta.protocol.listing import ListRequest
from meta.protocol.object import Attributes, Change
from node.errors import ConfigError, Unavailable
from store import keepsake, rewrite, workers
from store.layout import Layout
from store.rebuild import helper as help_process
from store.rebuild import page as page_module
from store.rebuild import survey
from store.rebuild.compare import differences
from store.rebuild.page import Page
from store.rebuild.report import Report
from store.rebuild.site import build, open_site
from store.rebuild.swap import NEW_FOLDER, base_of, finish_renames, is_built, put_in_place, unhealthy
from store.source import BytesSource
from store.store import Store
from tests.component.store.history import History, contents, quiet
from tests.component.store.support import BUCKET, chunk_files, opened, put, records
from tests.support import survey as outside
from tests.support.survey import is_keepsake

OBJECTS = 300
"""At scale 1; 20,000 from scale 60 on."""
FULL_OBJECTS = 20_000


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "SYNC_PERIOD_S", 0.02)
    monkeypatch.setattr(workers, "SCAN_PERIOD_S", 0.02)
    monkeypatch.setattr(keepsake, "KEEP_PERIOD_S", 0.02)
    monkeypatch.setattr(rewrite, "WHOLE_BYTES_MAX", 1_000)  # so that objects of a few contents are put together anew


async def rebuilt(path: Path, *, bucket: str = "") -> Report:
    """The metadata in PATH/meta.rebuilt, not put in place."""
    async with open_site(path) as site:
        return await build(site, path / NEW_FOLDER, bucket=bucket)


@pytest.mark.parametrize("helper", ["well", "killed"])
async def test_a_second_process_finds_what_one_would(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, helper: str
) -> None:
    async with opened(tmp_path, 9) as store:
        for number in range(120):
            await put(store, f"k{number}", b"x" * number)
    alone = await rebuilt(tmp_path)
    os.rename(tmp_path / NEW_FOLDER, tmp_path / "alone")
    monkeypatch.setattr(survey, "HELP_CHUNKS", 1)
    monkeypatch.setattr(page_module, "PAGE_CHUNKS", 10)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1})
    told: list[list[Page]] = []

    async def asked(*arguments: Any) -> list[Page]:
        told.append(await ask(*arguments))
        if helper == "killed":
            raise Unavailable("it ended with code -9")
        return told[0]

    ask = help_process._ask
    monkeypatch.setattr(help_process, "_ask", asked)
    both = await rebuilt(tmp_path)
    assert sum(page.chunks for page in told[0]) > 0
    assert replace(both, seconds=0) == replace(alone, seconds=0)
    found = differences(tmp_path / "alone", tmp_path / NEW_FOLDER)
    assert [each for each in found if each.base != "accounts.db"] == []  # that says when it was made
    assert ("a helper failed" in caplog.text) == (helper == "killed")
    assert not list((tmp_path / NEW_FOLDER).glob("census*"))
    caplog.clear()


async def test_volumes_that_are_looked_at_side_by_side_share_one_census(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with opened(tmp_path, 9) as store:
        for number in range(60):
            await put(store, f"k{number}", b"x")
    monkeypatch.setattr(page_module, "LIST_CHUNKS", 4)
    async with open_site(tmp_path) as site:
        for _ in range(5):
            report = await build(replace(site, here=False), tmp_path / NEW_FOLDER)  # as the volumes of a cluster are
            assert report.versions == 60


async def test_a_helper_that_ends_before_its_time_is_done_without(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async with opened(tmp_path, 3) as store:
        for number in range(30):
            await put(store, f"k{number}", b"x")
    monkeypatch.setattr(survey, "HELP_CHUNKS", 1)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1})
    monkeypatch.setattr(sys, "executable", "/bin/false")
    report = await rebuilt(tmp_path)
    assert (report.versions, report.unwhole_count, report.thin_count) == (30, 0, 0)
    assert "a helper failed" in caplog.text
    caplog.clear()


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("volumes", [1, 9])
async def test_wiped_metadata_comes_back_equal(tmp_path: Path, seed: str, scale: float, volumes: int) -> None:
    count = min(int(OBJECTS * scale), FULL_OBJECTS)
    async with opened(tmp_path, volumes, workers=True) as store:
        await History(store, seed).run(count)
        if count == FULL_OBJECTS:
            source = BytesSource(random.Random(seed).randbytes(1 << 20) * 1024)
            await store.put_object("versions", "a GiB", source, attributes=Attributes(), owner="user-ann")
        await quiet(store)
        before = await contents(store)
    os.rename(tmp_path / "meta", tmp_path / "wiped")
    report = await rebuilt(tmp_path)
    assert list(differences(tmp_path / "wiped", tmp_path / NEW_FOLDER)) == []
    assert not report.unwhole, report.unwhole
    assert not report.guessed
    assert not report.thin
    assert report.accounts
    assert report.versions == len(before)
    put_in_place(tmp_path)
    async with opened(tmp_path, volumes, workers=True) as store:
        assert await contents(store) == before
        await quiet(store)
        named = {chunk for bucket in (".frazil", "bucket") for chunk in await _chunks(store, bucket)}
        assert named


async def _chunks(store: Store, bucket: str) -> set[str]:
    page = await store.meta.container(bucket).list(ListRequest())
    rows = [await store.get_row(bucket, listed.key) for listed in page.rows]
    return {chunk for row in rows for _, chunk in Layout.parse(row.layout).places()} | {""}


async def test_a_rebuilt_store_goes_on_behind_its_versions_and_numbers(tmp_path: Path) -> None:
    async with opened(tmp_path, 3, workers=True) as store:
        old = await put(store, "k", b"old")
        await store.meta.container(BUCKET).change(Change("k", tags={"a": "b"}))
        await quiet(store)
    shutil.rmtree(tmp_path / "meta")
    await rebuilt(tmp_path)
    put_in_place(tmp_path)
    async with opened(tmp_path, 3, workers=True) as store:
        row = await store.get_row(BUCKET, "k")
        assert (row.version, row.attributes.tags) == (old.version, {"a": "b"})
        await store.meta.container(BUCKET).change(Change("k", tags={"c": "d"}))
        await quiet(store)
        assert {record.object.attributes["tags"]["c"] for record in await records(store, row) if record.object} == {"d"}  # type: ignore[index]
        new = await put(store, "k", b"new")
        assert new.version > old.version
        await quiet(store)
        assert len(chunk_files(tmp_path)) == 3


async def test_what_newer_versions_replaced_is_deleted_and_not_restored(tmp_path: Path) -> None:
    """As after a crash between a commit and the deletion of what it replaced."""
    async with opened(tmp_path, 3) as store:
        for number in range(4):
            await put(store, "k", bytes([number]))
        assert len(chunk_files(tmp_path)) == 12
        kept = {file.name: file.read_bytes() for file in chunk_files(tmp_path)}
        names = {file.name: file for file in chunk_files(tmp_path)}
        attributes = {name: os.getxattr(file, "user.frazil.chunk") for name, file in names.items()}
        units = {name: os.getxattr(file, "user.frazil.units") for name, file in names.items()}
    for name, data in kept.items():
        names[name].write_bytes(data)
        os.setxattr(names[name], "user.frazil.chunk", attributes[name])
        os.setxattr(names[name], "user.frazil.units", units[name])
    shutil.rmtree(tmp_path / "meta")
    report = await rebuilt(tmp_path)
    assert (report.versions, report.replaced) == (1, 3)
    put_in_place(tmp_path)
    async with opened(tmp_path, 3, workers=True) as store:
        assert await store.read_whole(await store.get_row(BUCKET, "k")) == bytes([3])
        await quiet(store)
        assert len(chunk_files(tmp_path)) == 3


async def test_too_few_chunks_are_told_and_fewer_than_promised_too(tmp_path: Path) -> None:
    async with opened(tmp_path, 9) as store:
        lost = Layout.parse((await put(store, "lost", bytes(2_000_000))).layout)
        thin = Layout.parse((await put(store, "thin", bytes(2_000_000))).layout)
        headless = Layout.parse((await put(store, "gone", bytes(70 << 20))).layout)
    files = {file.name: file for file in chunk_files(tmp_path)}
    for _, chunk in list(lost.places())[:4]:
        files[chunk].unlink()
    for _, chunk in list(thin.places())[:2]:
        files[chunk].unlink()
    os.truncate(files[list(thin.places())[2][1]], 5)
    for chunk in headless.metachunks[-1].chunks:
        files[chunk.name].unlink()
    for kept in [path for path in outside.chunk_paths([tmp_path]) if is_keepsake(path)]:
        kept.unlink()
    shutil.rmtree(tmp_path / "meta")
    report = await rebuilt(tmp_path)
    assert {(each.key, each.reason.split()[0]) for each in report.unwhole} == {("lost", "metachunk"), ("gone", "its")}
    assert [key for _, key, _ in report.thin] == ["thin"]
    assert report.damaged == {"truncated": 1}
    assert report.guessed == [BUCKET]
    assert report.versions == 1


async def test_one_bucket_alone(tmp_path: Path, seed: str) -> None:
    async with opened(tmp_path, 3, workers=True) as store:
        await History(store, seed).run(30)
        await quiet(store)
    report = await rebuilt(tmp_path, bucket="versions")
    assert report.buckets == 1
    only = f"{container_id('versions')}.db"
    assert list(differences(tmp_path / "meta", tmp_path / NEW_FOLDER, only=only)) == []
    assert len(list((tmp_path / NEW_FOLDER).glob("container/*/*.db"))) == 2


async def test_a_store_without_its_metadata_does_not_start_empty(tmp_path: Path) -> None:
    async with opened(tmp_path, 3) as store:
        await put(store, "k", b"data")
    shutil.rmtree(tmp_path / "meta")
    with pytest.raises(ConfigError, match="rebuild meta"):
        async with opened(tmp_path, 3):
            pass
    assert unhealthy(tmp_path / "meta")
    await rebuilt(tmp_path)
    (tmp_path / NEW_FOLDER / "complete").touch()  # killed between the renames
    assert is_built(tmp_path)
    with pytest.raises(ConfigError, match="rebuild meta"):
        async with opened(tmp_path, 3):
            pass
    finish_renames(tmp_path)
    assert not unhealthy(tmp_path / "meta")
    async with opened(tmp_path, 3) as store:
        assert await store.read_whole(await store.get_row(BUCKET, "k")) == b"data"


async def test_damaged_metadata_is_unhealthy(tmp_path: Path) -> None:
    async with opened(tmp_path, 1) as store:
        for number in range(200):
            await put(store, f"k{number}", b"data")
    assert not unhealthy(tmp_path / "meta")
    path = base_of(tmp_path / "meta", BUCKET)
    data = bytearray(path.read_bytes())
    data[3 * 8192 : 4 * 8192] = os.urandom(8192)
    path.write_bytes(data)
    assert unhealthy(tmp_path / "meta")
