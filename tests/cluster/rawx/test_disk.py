"""Volumes on disks that lose power, fill up, turn read-only or are small in their attributes."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec
import pytest
import trio

from node.errors import FrazilError, VolumeFull, VolumeNotFound, VolumeReadOnly, VolumeSick
from rawx.chunk import new_chunk_id
from rawx.probe import Probe
from rawx.volume import Volume, open_volume
from tests.component.rawx.conftest import NAMESPACE, UNIT, Sample, file_of, put, sample
from tests.support.disk import MIB, LoopDisk
from tests.support.need import need_programs, need_root

pytestmark = pytest.mark.root


async def write_everything(volume: Volume) -> list[Sample]:
    """Chunks that came in every way, all acknowledged."""
    made: list[Sample] = []

    async def small(wanted: Sample) -> None:
        made.append(await put(volume, wanted))

    await small(sample(4096))
    async with trio.open_nursery() as nursery:
        for index in range(32):
            nursery.start_soon(small, sample(4096 + index))
    await small(sample(100, attributes={"long": "x" * 5000}))
    large = sample(12 * MIB)
    upload = await volume.create(large.chunk, len(large.data))
    for at in range(0, len(large.data), MIB):
        await upload.write(large.data[at : at + MIB])
    await upload.commit(large.record, large.units)
    made.append(large)
    for attributes in ({}, {"long": "x" * 5000}):
        old = await put(volume, sample(10))
        assert old.record.object is not None
        about = msgspec.structs.replace(old.record.object, attributes=dict(attributes))
        record = msgspec.structs.replace(old.record, seq=1, object=about)
        await volume.update(old.chunk, record)
        made.append(Sample(old.chunk, old.data, record, old.units))
    copied = sample(3 * UNIT)
    await put(volume, copied)
    target = new_chunk_id()
    await volume.copy(copied.chunk, target, msgspec.structs.replace(copied.record, seq=1))
    made += [copied, Sample(target, copied.data, msgspec.structs.replace(copied.record, seq=1), copied.units)]
    return made


async def check(volume: Volume, made: list[Sample]) -> None:
    for wanted in made:
        stat = await volume.head(wanted.chunk, deep=True)
        assert (stat.record, stat.units) == (wanted.record, wanted.units)


@pytest.mark.parametrize("kind", ["ext4", "xfs"])
async def test_what_was_acknowledged_survives_a_power_cut(scratch: Path, kind: str, rounds: int) -> None:
    need_root()
    need_programs("xfs_io", f"mkfs.{kind}")
    with LoopDisk(scratch / "disk", kind=kind) as disk:
        made: list[Sample] = []
        for _ in range(max(rounds // 3, 2)):
            volume = open_volume(disk.root / "volume", namespace=NAMESPACE, create=True)
            await check(volume, made)
            made += await write_everything(volume)
            unfinished = await volume.create(new_chunk_id(), 0)
            await unfinished.write(bytes(MIB))
            disk.cut()
            await unfinished.abort()
            with pytest.raises(FrazilError):
                await put(volume, sample(10))
            assert volume.health.sick
            os.close(volume.root)  # not `close`: the process died
            os.close(volume.journal._descriptor)
            os.close(volume.journal._folder)
            os.close(volume._device._root)
            disk.power_cycle()
        volume = open_volume(disk.root / "volume", namespace=NAMESPACE)
        await volume.sweep()
        await check(volume, made)
        for chunk in (await volume.list("", 10_000)).chunks:
            await volume.head(chunk, deep=True)
        volume.close()


async def test_small_attributes_get_a_sidecar(scratch: Path) -> None:
    need_root()
    with LoopDisk(scratch / "disk", size_bytes=64 * MIB, block_bytes=1024) as disk:
        volume = open_volume(disk.root / "volume", namespace=NAMESPACE, create=True)
        for wanted in (sample(200 * UNIT), sample(10, key="k" * 1024), sample(10, key="ü" * 512, attributes={"m": "é" * 1024})):
            await put(volume, wanted)
            assert file_of(volume, wanted.chunk).with_name(wanted.chunk + ".record").exists()
            await check(volume, [wanted])
        small = await put(volume, sample(10))
        assert not file_of(volume, small.chunk).with_name(small.chunk + ".record").exists()
        longer = msgspec.structs.replace(small.record, seq=1, key="k" * 1024)
        await volume.update(small.chunk, longer)
        await check(volume, [Sample(small.chunk, small.data, longer, small.units)])
        full = await put(volume, sample(10))
        for size in range(1000, 0, -1):  # attributes of others leave no room even for the pointer
            try:
                os.setxattr(file_of(volume, full.chunk), f"user.{size}", b"x" * size)
            except OSError:
                continue
        await volume.update(full.chunk, msgspec.structs.replace(full.record, seq=1, key="k" * 1024))
        assert (await volume.head(full.chunk, deep=True)).record.seq == 1
        volume.close()


@pytest.mark.parametrize("what", ["bytes", "inodes"])
async def test_a_full_disk_refuses_and_recovers(scratch: Path, what: str) -> None:
    need_root()
    with LoopDisk(scratch / "disk", size_bytes=64 * MIB, inodes=5000) as disk:
        volume = open_volume(disk.root / "volume", namespace=NAMESPACE, create=True)
        made = [await put(volume, sample(4096)) for _ in range(20)]
        if what == "bytes":
            disk.fill()
        else:
            disk.fill_inodes()
        for size in (4096, 3 * MIB):
            upload = await volume.create(new_chunk_id(), size)
            with pytest.raises(VolumeFull):
                await upload.write(bytes(size))
                raise AssertionError("written to a full disk") if what == "inodes" else VolumeFull
            await upload.abort()
            with pytest.raises(VolumeFull):
                await put(volume, sample(size))
        await check(volume, made)
        probe = Probe(volume)
        await probe.run()
        assert volume.health.sick == ""
        assert "free" in volume.health.full
        with pytest.raises(VolumeFull):
            await volume.create(new_chunk_id(), 1)
        assert await volume.delete([made.pop().chunk]) == []
        disk.release()
        await probe.run()
        made.append(await put(volume, sample(4096)))
        await check(volume, made)
        assert (await volume.list("", 100)).chunks == sorted(wanted.chunk for wanted in made)
        volume.close()


async def test_a_read_only_disk_still_reads(scratch: Path) -> None:
    need_root()
    with LoopDisk(scratch / "disk", size_bytes=64 * MIB) as disk:
        disk.unmount()
        disk.mount("errors=remount-ro")
        volume = open_volume(disk.root / "volume", namespace=NAMESPACE, create=True)
        made = [await put(volume, sample(4096)) for _ in range(3)]
        disk.trigger_error()
        with pytest.raises((VolumeReadOnly, VolumeSick)):
            await put(volume, sample(4096))
        await Probe(volume).run()
        assert ((await volume.stat()).read_only, volume.health.sick) == (True, "")
        with pytest.raises(VolumeReadOnly):
            await put(volume, sample(4096))
        with pytest.raises(VolumeReadOnly):
            await volume.delete([made[0].chunk])
        await check(volume, made)
        volume.close()


@pytest.mark.parametrize("what", ["inodes", "read-only"])
async def test_a_disk_that_takes_no_file_is_opened_read_and_used_again(scratch: Path, what: str) -> None:
    """As after a restart: its bytes were as lost, and where each volume had no inode left nothing could be deleted either."""
    need_root()
    with LoopDisk(scratch / "disk", size_bytes=64 * MIB, inodes=5000) as disk:
        volume = open_volume(disk.root / "volume", namespace=NAMESPACE, create=True)
        made = [await put(volume, sample(4096)) for _ in range(3)]
        await volume.settle([wanted.chunk for wanted in made])
        volume.close()
        if what == "inodes":
            disk.fill_inodes()
        else:
            disk.unmount()
            disk.mount("ro")
        volume = open_volume(disk.root / "volume", namespace=NAMESPACE)
        await volume.sweep()
        await check(volume, made)
        assert (await volume.list("", 100)).chunks == sorted(wanted.chunk for wanted in made)
        assert (await volume.recent(), await volume.noted()) == ([], [])
        with pytest.raises(VolumeFull if what == "inodes" else VolumeReadOnly):
            await put(volume, sample(4096))
        if what == "inodes":
            gone = made.pop().chunk
            assert await volume.delete([gone]) == []
            await volume.settle([gone])
            disk.release()
        else:
            disk.mount("remount,rw")
        await Probe(volume).run()
        made.append(await put(volume, sample(4096)))
        assert await volume.recent() == [made[-1].chunk]
        await check(volume, made)
        volume.close()
        open_volume(disk.root / "volume", namespace=NAMESPACE).close()


async def test_an_unmounted_disk_is_not_written_beside(scratch: Path) -> None:
    need_root()
    with LoopDisk(scratch / "disk", size_bytes=64 * MIB) as disk:
        open_volume(disk.root, namespace=NAMESPACE, create=True).close()
        disk.unmount()
        with pytest.raises(VolumeNotFound):
            open_volume(disk.root, namespace=NAMESPACE)
