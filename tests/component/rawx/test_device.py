"""Volumes on one file system: what waits for all of them is made durable by one sync, and what fails on one is its own."""

from __future__ import annotations

import errno
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from node.errors import DeadlineExceeded, InvalidArgument, VolumeSick
from rawx.commit import Begun, Committer, Request
from rawx.device import STALLED_S, Devices
from rawx.durability import Syncer, Unsynced
from rawx.fanout import Put, put_all
from rawx.folders import NewFile
from rawx.volume import Volume, open_volume
from tests.component.rawx.conftest import NAMESPACE, file_of, put, sample


@pytest.fixture
def volumes(tmp_path: Path) -> Iterator[list[Volume]]:
    devices = Devices()
    opened = [open_volume(tmp_path / str(number), namespace=NAMESPACE, create=True, devices=devices) for number in range(3)]
    yield opened
    for volume in opened:
        volume.close()
    assert repr(devices) == "<Devices 0>"


def puts(volumes: list[Volume]) -> list[Put]:
    samples = [sample(1000) for _ in volumes]
    return [Put(volume, made.chunk, made.data, made.record, made.units) for volume, made in zip(volumes, samples, strict=True)]


def watched(monkeypatch: pytest.MonkeyPatch, sync: Callable[..., Any]) -> list[int]:
    """How many files each sync was for."""
    counts: list[int] = []

    def counted(syncer: Syncer, files: Sequence[Unsynced], roots: Sequence[int] = ()) -> Any:
        counts.append(len(files))
        return sync(syncer, files, roots)

    monkeypatch.setattr(Syncer, "sync", counted)
    return counts


async def test_chunks_of_several_volumes_share_one_sync(volumes: list[Volume], monkeypatch: pytest.MonkeyPatch) -> None:
    counts = watched(monkeypatch, Syncer.sync)
    wanted = puts(volumes)
    outcomes, _ = await put_all(wanted)
    assert outcomes == [None, None, None]
    assert counts == [3]
    for each in wanted:
        assert isinstance(each.volume, Volume)
        assert (await each.volume.head(each.chunk, deep=True)).record == each.record


async def test_a_volume_that_fails_harms_no_other_on_its_disk(volumes: list[Volume], monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise OSError(errno.EIO, "broken by the test")

    monkeypatch.setattr(volumes[1].folders, "link", fail)
    wanted = puts(volumes)
    outcomes, _ = await put_all(wanted)
    assert [type(outcome) for outcome in outcomes] == [type(None), VolumeSick, type(None)]
    assert [bool(volume.health.sick) for volume in volumes] == [False, True, False]
    assert [file_of(volume, each.chunk).exists() for volume, each in zip(volumes, wanted, strict=True)] == [True, False, True]


@pytest.mark.parametrize("failed", [0, 1, 2])
async def test_a_sync_that_fails_for_one_file_drops_that_one(volumes: list[Volume], monkeypatch: pytest.MonkeyPatch, failed: int) -> None:
    def sync(_: Syncer, files: Sequence[Unsynced], __: Sequence[int]) -> list[OSError | None]:
        return [OSError(errno.EIO, "broken by the test") if file.root == volumes[failed].root else None for file in files]

    watched(monkeypatch, sync)
    wanted = puts(volumes)
    outcomes, _ = await put_all(wanted)
    assert [outcome is not None for outcome in outcomes] == [number == failed for number in range(3)]
    assert [file_of(volume, each.chunk).exists() for volume, each in zip(volumes, wanted, strict=True)] == [n != failed for n in range(3)]


async def test_new_folders_stay_unsynced_until_a_sync_succeeds(volumes: list[Volume], monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[set[int]] = []

    def sync(_: Syncer, files: Sequence[Unsynced], roots: Sequence[int]) -> list[OSError | None]:
        asked.append(set(roots))
        return [OSError(errno.EDQUOT, "broken by the test") if file.root == volumes[0].root else None for file in files]

    watched(monkeypatch, sync)
    await put_all(puts(volumes))
    await put_all(puts(volumes[:1]))
    assert asked[0] == {volume.root for volume in volumes}
    assert asked[1] == {volumes[0].root}


async def test_a_record_that_is_no_json_fails_its_own_chunk_only(volumes: list[Volume], monkeypatch: pytest.MonkeyPatch) -> None:
    counts = watched(monkeypatch, Syncer.sync)
    good, bad = puts(volumes), sample(1000, key="\ud800", seq=1)
    outcomes, _ = await put_all([*good, Put(volumes[0], bad.chunk, bad.data, bad.record, bad.units)])
    assert [type(outcome) for outcome in outcomes] == [type(None)] * 3 + [InvalidArgument]
    assert counts == [3]
    assert all(file_of(volume, each.chunk).exists() for volume, each in zip(volumes, good, strict=True))
    with pytest.raises(InvalidArgument):
        await volumes[0].update(good[0].chunk, bad.record)
    assert (await volumes[0].head(good[0].chunk, deep=True)).record == good[0].record


async def test_what_is_given_up_after_its_batch_began_is_done_all_the_same(volumes: list[Volume], monkeypatch: pytest.MonkeyPatch) -> None:
    begin = Committer.begin

    def given_up_first(committer: Committer, begun: Begun) -> None:
        for request in begun.requests:
            request.abandoned = True
        begin(committer, begun)

    monkeypatch.setattr(Committer, "begin", given_up_first)
    made = await put(volumes[0], sample(10))
    assert file_of(volumes[0], made.chunk).exists()


async def test_a_chunk_that_was_given_up_does_not_count_even_if_it_comes_at_once(
    volumes: list[Volume], monkeypatch: pytest.MonkeyPatch
) -> None:
    go, link, give_up = threading.Event(), volumes[0].folders.link, volumes[0].give_up

    def slow_link(file: NewFile, chunk: str) -> None:
        go.wait(5)
        link(file, chunk)

    def give_up_and_wait(request: Request) -> None:
        give_up(request)
        go.set()
        deadline_s = time.monotonic() + 5
        while "busy=True" in repr(volumes[0]._device.commits) and time.monotonic() < deadline_s:
            time.sleep(0.001)

    monkeypatch.setattr(volumes[0].folders, "link", slow_link)
    monkeypatch.setattr(volumes[0], "give_up", give_up_and_wait)
    monkeypatch.setattr(volumes[0], "wait_s", 0.05)
    outcomes, _ = await put_all(puts(volumes[:1]))
    assert [type(outcome) for outcome in outcomes] == [DeadlineExceeded]


async def test_nobody_joins_a_device_that_hangs(volumes: list[Volume], tmp_path: Path) -> None:
    device = volumes[0]._device
    assert device is volumes[2]._device
    device._began_s = time.monotonic() - STALLED_S - 1
    fresh = open_volume(tmp_path / "fresh", namespace=NAMESPACE, create=True, devices=volumes[0]._devices)
    assert fresh._device is not device
    await put(fresh, sample(10))
    fresh.close()
