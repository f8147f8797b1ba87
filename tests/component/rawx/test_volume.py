"""A volume of this host: identity, journal, sweep, health."""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import trio
import trio.testing

from node import threads
from node.errors import ChunkCorrupt, ChunkNotFound, DeadlineExceeded, InvalidArgument, VolumeForeign, VolumeNotFound, VolumeSick
from node.threads import run_blocking
from rawx import system
from rawx import upload as upload_module
from rawx.chunk import new_chunk_id
from rawx.commit import Removal
from rawx.fanout import write_all
from rawx.folders import NewFile
from rawx.probe import Probe
from rawx.reader import PIECE_BYTES
from rawx.volume import WAIT_S, Volume, open_volume
from tests.component.rawx.conftest import NAMESPACE, UNIT, file_of, put, sample


def test_a_volume_keeps_its_identity(tmp_path: Path) -> None:
    volume = open_volume(tmp_path / "a" / "v", namespace=NAMESPACE, create=True)
    volume.close()
    again = open_volume(tmp_path / "a" / "v", namespace=NAMESPACE, volume_id=volume.volume_id)
    assert again.volume_id == volume.volume_id
    again.close()
    assert b'"namespace":"test"' in os.getxattr(tmp_path / "a" / "v", "user.frazil.volume")


def test_another_ones_volume_is_refused(tmp_path: Path) -> None:
    open_volume(tmp_path, namespace=NAMESPACE, volume_id="one", create=True).close()
    for namespace, volume_id in (("other", None), (NAMESPACE, "two")):
        for create in (False, True):
            with pytest.raises(VolumeForeign):
                open_volume(tmp_path, namespace=namespace, volume_id=volume_id, create=create)
    os.setxattr(tmp_path, "user.frazil.volume", b"{}")
    with pytest.raises(VolumeForeign):
        open_volume(tmp_path, namespace=NAMESPACE)


def test_a_folder_without_identity_is_no_volume(tmp_path: Path) -> None:
    with pytest.raises(VolumeNotFound):
        open_volume(tmp_path / "missing", namespace=NAMESPACE)
    with pytest.raises(VolumeNotFound):
        open_volume(tmp_path, namespace=NAMESPACE)
    (tmp_path / "letter").write_text("not mine")
    with pytest.raises(VolumeForeign):
        open_volume(tmp_path, namespace=NAMESPACE, create=True)


async def test_a_chunk_is_a_plain_file_with_a_readable_record(volume: Volume) -> None:
    made = await put(volume, sample(3 * UNIT))
    path = file_of(volume, made.chunk)
    assert path.read_bytes() == made.data
    assert b'"bucket":"bucket","key":"a/key"' in os.getxattr(path, "user.frazil.chunk")
    assert os.getxattr(path, "user.frazil.units") == b"\x01" + UNIT.to_bytes(4, "little") + made.units


async def test_the_journal_outlives_a_dead_process_and_hides_living_ones(volume: Volume) -> None:
    other = open_volume(volume.path, namespace=NAMESPACE)
    theirs, second, mine = await put(other, sample(1)), await put(other, sample(1)), await put(volume, sample(1))
    assert await volume.recent() == [mine.chunk]
    other.close()
    [name] = [path for path in (volume.path / "journal").iterdir() if theirs.chunk.encode() in path.read_bytes()]
    with name.open("ab") as file:
        file.write(b"+" + b"a" * 20)  # torn by a crash: no newline
    assert await volume.recent() == [theirs.chunk, second.chunk, mine.chunk]
    await volume.settle([theirs.chunk])
    assert await volume.recent() == [second.chunk, mine.chunk]
    await volume.settle([second.chunk])
    assert not name.exists()
    assert await volume.recent() == [mine.chunk]


async def test_a_journal_is_bounded(volume: Volume, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rawx.journal._JOURNAL_BYTES_MAX", 1000)
    monkeypatch.setattr("rawx.journal.JOURNAL_CHUNKS_MAX", 10)
    chunks = [(await put(volume, sample(0))).chunk for _ in range(100)]
    assert 10 <= len(await volume.recent()) <= 30
    assert (await volume.recent())[-1] == chunks[-1]
    assert sum(path.stat().st_size for path in (volume.path / "journal").iterdir()) <= 1100
    assert len(list((volume.path / "journal").iterdir())) == 1


async def test_a_torn_line_harms_no_other(volume: Volume, monkeypatch: pytest.MonkeyPatch) -> None:
    whole, torn, next_one = new_chunk_id(), new_chunk_id(), new_chunk_id()

    def half(descriptor: int, data: bytes) -> None:
        os.write(descriptor, data[: len(data) * 3 // 4])
        raise OSError(errno.ENOSPC, "broken by the test")

    with monkeypatch.context() as patch, pytest.raises(OSError, match="broken by the test"):
        patch.setattr("rawx.journal.write_all_bytes", half)
        volume.journal.add([whole, torn])
    volume.journal.add([next_one])
    assert volume.journal.recent() == [whole, next_one]


async def test_a_volume_opens_while_another_process_looks_at_its_journal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    flock, looked = fcntl.flock, []

    def after_another(descriptor: int, operation: int) -> None:
        if operation & fcntl.LOCK_EX and "/journal/." in os.readlink(f"/proc/self/fd/{descriptor}"):
            other = os.open(f"/proc/self/fd/{descriptor}", os.O_RDONLY)
            flock(other, fcntl.LOCK_SH)
            threading.Timer(0.02, os.close, [other]).start()
            looked.append(other)
        flock(descriptor, operation)

    monkeypatch.setattr(fcntl, "flock", after_another)
    open_volume(tmp_path / "v", namespace=NAMESPACE, create=True).close()
    assert len(looked) == 1


async def test_the_sweep_removes_leftovers_and_nothing_else(volume: Volume) -> None:
    plain, beside = await put(volume, sample(10)), await put(volume, sample(10, attributes={"long": "x" * 5000}))
    folder = file_of(volume, plain.chunk).parent
    (folder / f".{new_chunk_id()}.12345678").write_bytes(b"half an upload")
    (folder / f".{new_chunk_id()}.12345678.record").write_bytes(b"{}")
    (folder / f"{new_chunk_id()}.record").write_bytes(b"{}")
    assert await volume.sweep() == 0, "what is younger than the volume's opening may be an upload under way"
    volume.close()
    await trio.sleep(0.02)  # more than the file system's clock is coarse
    again = open_volume(volume.path, namespace=NAMESPACE)
    assert await again.sweep() == 3
    assert await again.sweep() == 0
    for made in (plain, beside):
        assert (await again.head(made.chunk, deep=True)).record == made.record
    again.close()


async def test_a_sidecar_goes_with_its_chunk(volume: Volume) -> None:
    made = await put(volume, sample(10, attributes={"long": "x" * 5000}))
    sidecar = file_of(volume, made.chunk).with_name(made.chunk + ".record")
    assert sidecar.exists()
    assert b"sidecar" in os.getxattr(file_of(volume, made.chunk), "user.frazil.chunk")
    await volume.quarantine(made.chunk, "r" * 5000)
    assert not sidecar.exists()
    assert len([path for path in (volume.path / "quarantine").iterdir() if path.name.endswith(".record")]) == 1


async def test_reserved_blocks_are_given_back(volume: Volume) -> None:
    made = sample(33 * UNIT)
    upload = await volume.create(made.chunk, 64 << 20)
    await upload.write(made.data[: 20 * UNIT])
    await upload.write(made.data[20 * UNIT :])
    await upload.commit(made.record, made.units)
    assert (await volume.head(made.chunk, deep=True)).units == made.units
    assert file_of(volume, made.chunk).stat().st_blocks * 512 <= 34 * UNIT


async def test_an_aborted_upload_is_left_alone_by_a_thread_of_its_commit_that_comes_late(
    volume: Volume, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = sample(33 * UNIT)
    upload = await volume.create(made.chunk, len(made.data))
    await upload.write(made.data)
    late: list[Callable[[], object]] = []

    async def not_yet(function: Callable[[int], int], done: int) -> None:
        late.append(lambda: function(done))
        await trio.sleep_forever()

    async def meanwhile(discard: Callable[[], None]) -> None:
        with pytest.raises(InvalidArgument):
            late[0]()
        discard()

    monkeypatch.setattr(upload, "_run", not_yet)
    with trio.move_on_after(0.02):
        await upload.commit(made.record, made.units)
    monkeypatch.setattr(upload, "_run", meanwhile)
    await upload.abort()
    assert upload._file is None
    assert len(late) == 1


async def test_a_removed_folder_is_made_again(volume: Volume) -> None:
    made = await put(volume, sample(10))
    shutil.rmtree(file_of(volume, made.chunk).parent)
    with pytest.raises(ChunkNotFound):
        await volume.get(made.chunk, 10, made.checksum)
    await put(volume, made)


async def test_a_removed_volume_refuses_and_closes(tmp_path: Path) -> None:
    volume = open_volume(tmp_path / "v", namespace=NAMESPACE, create=True)
    made = await put(volume, sample(10))
    shutil.rmtree(tmp_path / "v")
    with pytest.raises(ChunkNotFound):
        await volume.get(made.chunk, 10, made.checksum)
    with pytest.raises(VolumeSick):
        await put(volume, made)
    with pytest.raises(VolumeSick):
        await volume.get(made.chunk, 10, made.checksum)
    volume.close()


async def test_cold_bytes_are_read_by_a_thread(volume: Volume, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the kernel has in its cache is forged: nobody can decree it, and a quick disk brings what was evicted back at once."""
    made = await put(volume, sample(4 * UNIT, unit_bytes=2 * PIECE_BYTES))
    small = await put(volume, sample(100))
    cold, waited, preadv = True, set[int](), os.preadv

    def forged(descriptor: int, buffers: list[memoryview], offset: int, flags: int = 0) -> int:
        if flags & os.RWF_NOWAIT and cold:
            raise BlockingIOError(errno.EAGAIN, "it is not in the cache")
        if not flags & os.RWF_NOWAIT:
            waited.add(threading.get_ident())
        return preadv(descriptor, buffers, offset, flags)

    monkeypatch.setattr(os, "preadv", forged)
    assert await volume.get(small.chunk, 100, small.checksum) == small.data
    reader = await volume.open(made.chunk, made.checksum)
    got = memoryview(bytearray(4 * UNIT))
    assert not reader.read_now(0, got)
    await reader.read(0, got)
    assert got == made.data
    assert waited
    assert threading.get_ident() not in waited
    cold = False
    assert reader.read_now(0, got)
    await reader.aclose()


async def test_an_opened_chunk_is_opened_again_without_its_attributes(volume: Volume) -> None:
    made = await put(volume, sample(3 * UNIT))
    (await volume.open(made.chunk, made.checksum)).close()
    os.removexattr(file_of(volume, made.chunk), "user.frazil.units")
    (await volume.open(made.chunk, made.checksum)).close()
    os.setxattr(file_of(volume, made.chunk), "user.frazil.units", b"\x01" + UNIT.to_bytes(4, "little") + made.units)
    with pytest.raises(ChunkCorrupt):
        await volume.open(made.chunk, b"x" * 16)


async def test_no_descriptor_is_left_open(volume: Volume) -> None:
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(3):
        made = await put(volume, sample(UNIT))
        await volume.head(made.chunk, deep=True)
        upload = await volume.create(new_chunk_id(), UNIT)
        await upload.write(made.data)
        await upload.abort()
        with pytest.raises(ChunkCorrupt):
            await volume.open(made.chunk, b"x" * 16)
    assert len(os.listdir("/proc/self/fd")) == before


async def test_a_hung_disk_makes_the_volume_sick_until_a_probe_succeeds(tmp_path: Path) -> None:
    volume = open_volume(tmp_path / "v", namespace=NAMESPACE, create=True)
    held = await put(volume, sample(1))
    volume.wait_s = 0.05
    with file_of(volume, held.chunk).open() as file:
        fcntl.flock(file, fcntl.LOCK_EX)  # the committer's thread hangs at this chunk, as it would on a dead disk
        with pytest.raises(DeadlineExceeded):
            await volume.update(held.chunk, sample(1, seq=1).record)
        with pytest.raises(VolumeSick):
            await put(volume, sample(1))
        with pytest.raises(VolumeSick):
            await volume.get(held.chunk, 1, held.checksum)
        assert "no answer" in (await volume.stat()).sick
        volume.health.sick = ""
        late = sample(1)
        with pytest.raises(DeadlineExceeded):
            await put(volume, late)
    await Probe(volume).run()
    assert (await volume.stat()).sick == ""
    volume.wait_s = WAIT_S
    await put(volume, sample(1))
    with pytest.raises(ChunkNotFound):
        await volume.head(late.chunk, deep=False)
    volume.close()


@pytest.mark.parametrize("doing", ["reading", "writing"])
async def test_a_process_that_was_stopped_doesnt_take_the_disk_for_sick(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, doing: str
) -> None:
    monkeypatch.setattr(threads, "TURN_S", 0.1)
    volume = open_volume(tmp_path / "v", namespace=NAMESPACE, create=True, wait_s=0.05)

    async def call() -> None:
        with pytest.raises(DeadlineExceeded, match="no turn"):
            if doing == "reading":
                await volume.bounded(doing, time.sleep, 0.5)
            else:
                await put(volume, sample(1))

    if doing == "writing":
        monkeypatch.setattr(volume.folders, "link", lambda *_: time.sleep(0.5))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(call)
        await trio.testing.wait_all_tasks_blocked()
        time.sleep(0.2)  # noqa: ASYNC251 - as if the process was stopped
    assert volume.health.sick == ""
    volume.close()


async def test_a_put_that_was_given_up_is_deleted_after_it_and_holds_no_other_delete(
    volume: Volume, monkeypatch: pytest.MonkeyPatch
) -> None:
    there, late = await put(volume, sample(1)), sample(1)
    linking, go, link = threading.Event(), threading.Event(), volume.folders.link

    def slow_link(file: NewFile, chunk: str) -> None:
        linking.set()
        go.wait(5)
        link(file, chunk)

    monkeypatch.setattr(volume.folders, "link", slow_link)
    async with trio.open_nursery() as nursery:
        with trio.CancelScope() as scope:
            nursery.start_soon(_cancel_when, linking, scope)
            await put(volume, late)
        assert scope.cancelled_caught
        assert await volume.delete([there.chunk]) == []
        nursery.start_soon(volume.delete, [late.chunk])
        await trio.testing.wait_all_tasks_blocked()
        assert not file_of(volume, late.chunk).exists()
        go.set()
    assert not file_of(volume, late.chunk).exists()
    assert not volume._given_up


async def _cancel_when(event: threading.Event, scope: trio.CancelScope) -> None:
    await run_blocking(event.wait, 5)
    scope.cancel()


async def test_a_hung_write_costs_its_volume_not_the_stripe(tmp_path: Path) -> None:
    volumes = [open_volume(tmp_path / str(index), namespace=NAMESPACE, create=True) for index in range(3)]
    release = threading.Event()
    samples = [sample(10) for _ in volumes]
    uploads = [await volume.create(made.chunk, 10) for volume, made in zip(volumes, samples, strict=True)]
    real = uploads[1].write_blocking
    uploads[1].write_blocking = lambda data: (release.wait(), real(data))[1]  # type: ignore[method-assign]
    outcomes = await write_all([(upload, made.data) for upload, made in zip(uploads, samples, strict=True)], stall_s=0.05)
    assert [type(outcome) for outcome in outcomes] == [type(None), DeadlineExceeded, type(None)]
    release.set()
    for index, (upload, made) in enumerate(zip(uploads, samples, strict=True)):
        if index == 1:
            with pytest.raises(DeadlineExceeded):
                await upload.commit(made.record, made.units)
            await upload.abort()
            assert volumes[1].health.sick
        else:
            await upload.commit(made.record, made.units)
    for volume in volumes:
        volume.close()


async def test_a_replaced_folder_is_noticed(tmp_path: Path) -> None:
    volume = open_volume(tmp_path / "v", namespace=NAMESPACE, create=True)
    probe = Probe(volume)
    await probe.run()
    assert volume.health.sick == ""
    (tmp_path / "v").rename(tmp_path / "away")
    await probe.run()
    assert "gone" in volume.health.sick
    (tmp_path / "v").mkdir()
    await probe.run()
    assert "replaced" in volume.health.sick
    (tmp_path / "v").rmdir()
    (tmp_path / "away").rename(tmp_path / "v")
    os.setxattr(tmp_path / "v", "user.frazil.volume", b'{"id":"x","namespace":"y"}')
    await probe.run()
    assert "identity" in volume.health.sick
    with pytest.raises(VolumeSick):
        await volume.list("", 1)
    volume.close()


async def test_many_volumes_objects_share_one_folder(volume: Volume) -> None:
    other = open_volume(volume.path, namespace=NAMESPACE)
    async with trio.open_nursery() as nursery:
        for index in range(20):
            nursery.start_soon(put, (volume, other)[index % 2], sample(100))
    assert (await volume.list("", 100)).chunks == (await other.list("", 100)).chunks
    assert len((await volume.list("", 100)).chunks) == 20
    other.close()


async def test_settling_journals_leaves_a_probe_under_way_alone(volume: Volume, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.fsync

    def settle_meanwhile(descriptor: int) -> None:
        volume.journal.settle([new_chunk_id()])
        real(descriptor)

    monkeypatch.setattr(os, "fsync", settle_meanwhile)
    await Probe(volume).run()
    assert volume.health.sick == ""


async def test_what_younger_chunks_append_to_the_journal_makes_no_upload_older(volume: Volume) -> None:
    made = sample(10, attributes={"long": "x" * 5000})
    await trio.sleep(0.02)  # more than the file system's clock is coarse
    half = file_of(volume, made.chunk).with_name(f"{made.chunk}.record")
    half.parent.mkdir(exist_ok=True)
    half.write_bytes(b"{}")  # a sidecar whose chunk is about to be linked
    await trio.sleep(0.02)
    await put(volume, sample(10))
    assert await volume.sweep() == 0
    assert half.exists()


async def test_a_new_folder_is_synced_though_deletions_come_between(volume: Volume) -> None:
    upload = await volume.create(new_chunk_id(), 0)
    await upload.write(b"data")
    assert volume.folders.names_unsynced
    await volume._submit(Removal([new_chunk_id()]))
    assert volume.folders.names_unsynced, "a batch without files syncs no folder"
    await upload.abort()


async def test_the_folders_of_a_volume_in_use_are_made_ahead(volume: Volume, monkeypatch: pytest.MonkeyPatch) -> None:
    def folders() -> int:
        return sum(1 for name in os.listdir(volume.path) if len(name) == 3)

    for _ in range(3):
        await put(volume, sample(1))
    await Probe(volume).run()
    assert folders() <= 3
    monkeypatch.setattr("rawx.folders.AHEAD_AFTER", 1)
    for _ in range(8):
        await Probe(volume).run()
    assert folders() == 4096
    await put(volume, sample(1))
    assert not volume.folders.names_unsynced


async def test_a_slow_disk_that_gets_on_is_not_taken_for_one_that_hangs(volume: Volume, monkeypatch: pytest.MonkeyPatch) -> None:
    """The whole takes longer than the bound, each piece of the write-back less."""
    monkeypatch.setattr(upload_module, "WRITE_BACK_BYTES", 1 << 20)
    monkeypatch.setattr(upload_module, "WRITE_BACK_S", 0.05)
    finish = system.finish_write_back
    pieces: list[int] = []

    def slow(descriptor: int, offset: int = 0, count: int = 0) -> None:
        time.sleep(0.06)  # in a thread
        pieces.append(offset)
        finish(descriptor, offset, count)

    monkeypatch.setattr(system, "finish_write_back", slow)
    monkeypatch.setattr(volume, "wait_s", 0.25)
    made = sample(6 << 20)
    upload = await volume.create(made.chunk, len(made.data))
    await upload.write(made.data)
    await upload.commit(made.record, made.units)
    assert pieces == [number << 20 for number in range(6)]
    assert not volume.health.sick
    assert await volume.head(made.chunk, deep=True)


async def test_what_is_no_file_or_has_no_inode_is_one_chunks_damage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The look at all others goes on: a scrub had passed over the volume, and a rebuild of the metadata had ended."""
    volume = open_volume(tmp_path / "v", namespace=NAMESPACE, create=True)
    good, bad = [(await put(volume, sample(10))).chunk for _ in range(2)]
    pipe, loop, folder = (new_chunk_id() for _ in range(3))
    for chunk in (pipe, loop, folder):
        (volume.path / chunk[:3]).mkdir(exist_ok=True)
    os.mkfifo(volume.path / pipe[:3] / pipe)
    (volume.path / loop[:3] / loop).symlink_to(loop)
    (volume.path / folder[:3] / folder).mkdir()
    plain = system.open_plain

    def open_plain(root: int, path: str) -> int:
        if path.endswith(bad):
            raise OSError(errno.EBADMSG, "broken by the test")
        return plain(root, path)

    monkeypatch.setattr(system, "open_plain", open_plain)
    looks = await volume.examine([bad, pipe, loop, folder, good], deep=True)
    assert [look.problem for look in looks] == ["corrupt", "record", "corrupt", "record", ""]
    assert not volume.health.sick
    volume.close()


async def test_a_chunk_in_anothers_folder_ends_no_list_and_is_put_home(tmp_path: Path) -> None:
    volume = open_volume(tmp_path / "v", namespace=NAMESPACE, create=True)
    stray, *others = sorted([(await put(volume, sample(10, attributes={"long": "x" * 5000}))).chunk for _ in range(6)], reverse=True)
    away = volume.path / others[-1][:3]
    for suffix in ("", ".record"):
        (volume.path / stray[:3] / f"{stray}{suffix}").rename(away / f"{stray}{suffix}")
    found: list[str] = []
    while page := (await volume.list(found[-1] if found else "", 2)).chunks:
        found += page
    assert found == sorted(others)
    await volume.sweep()
    assert (await volume.list("", 10)).chunks == sorted([stray, *others])
    assert (await volume.head(stray, deep=True)).record.size == 10
    volume.close()
