"""Damage of every kind, found and repaired, with nothing wrong served and nothing good called damaged."""

from __future__ import annotations

import hashlib
import os
import random
from collections import Counter
from itertools import combinations
from pathlib import Path

import pytest
import trio

from meta.protocol.holding import BEGIN, Claim, Cursor
from meta.protocol.object import Attributes, Change
from node.errors import FrazilError
from store import repair, workers
from store.codec import codec
from store.layout import Layout
from store.scrub import Scrub
from store.source import BytesSource
from store.store import Store
from store.tally import Damage, Tally
from tests.component.store.support import BUCKET, chunk_files, flip, opened, put, read, until_none
from tests.support.damage import Damager

OBJECTS = 40
DAMAGES = 60
"""At scale 1; 500 from scale 9 on."""


async def by_metadata(store: Store, *, deep: bool = True, repair: bool = True) -> Tally:
    tally = Tally()
    scrub = Scrub(store._context, tally, deep=deep, repair=repair, grace_s=0.0)
    for bucket in (BUCKET, ".frazil"):
        cursor: Cursor | None = BEGIN
        while cursor is not None:
            try:
                cursor, _ = await scrub.holders(bucket, cursor)
            except FrazilError:
                cursor = None
    return tally


async def by_chunks(store: Store, *, deep: bool = True, repair: bool = True) -> Tally:
    tally = Tally()
    scrub = Scrub(store._context, tally, deep=deep, repair=repair, grace_s=0.0)
    for volume in store.volumes:
        after: str | None = ""
        while after is not None:
            after, _ = await scrub.files(volume, after)
    return tally


async def fill(store: Store, rng: random.Random, count: int) -> dict[str, bytes]:
    bodies = {}
    for number in range(count):
        body = rng.randbytes(rng.choice((0, 1, 5_000, 131_072, 200_000, 1_600_000)))
        bodies[f"k{number:04d}"] = body
        await put(store, f"k{number:04d}", body)
    return bodies


@pytest.mark.slow
@pytest.mark.timeout(3600)
async def test_the_seeded_damage_set_is_found_and_repaired_while_clients_go_on(tmp_path: Path, seed: str, scale: float) -> None:
    rng = random.Random(seed)
    damages = min(int(DAMAGES * scale), 500)
    async with opened(tmp_path, 9, workers=True) as store:
        bodies = await fill(store, rng, max(OBJECTS, damages // 2))
        assert (await by_metadata(store)).damages == []
        assert (await by_chunks(store)).damages == []
        layouts = [Layout.parse((await store.get_row(BUCKET, key)).layout) for key in bodies]
        done = await trio.to_thread.run_sync(damage, tmp_path, rng, damages, layouts)
        async with trio.open_nursery() as clients:
            clients.start_soon(use, store, rng, bodies)
            metadata, chunks = await by_metadata(store), await by_chunks(store)
            clients.cancel_scope.cancel()
        found = Counter(each.problem for each in (*metadata.damages, *chunks.damages))
        assert set(found) <= {*done, "duplicated", "misplaced", "nameless", "swapped", "corrupt"}, (found, done)
        for problem in ("truncated", "missing", "record"):
            assert found[problem] == done[problem], (problem, found, done)
        assert {each.outcome for each in metadata.damages} == {"repaired"}
        await until_none(store.meta.dirty_containers)
        second, third = await by_metadata(store), await by_chunks(store)
        if third.damages:  # what the first left as the spare of a repair
            third = await by_chunks(store)
        assert second.damages == []
        assert third.damages == []
        for key, body in bodies.items():
            assert await read(store, await store.get_row(BUCKET, key)) == body
        named = {chunk for key in bodies for _, chunk in Layout.parse((await store.get_row(BUCKET, key)).layout).places()}
        others = {chunk for key in ("new",) for chunk in await _chunks(store, key)}
        assert {file.name for file in chunk_files(tmp_path)} == named | others, "orphans are left"


async def _chunks(store: Store, key: str) -> list[str]:
    try:
        return [chunk for _, chunk in Layout.parse((await store.get_row(BUCKET, key)).layout).places()]
    except FrazilError:
        return []


def damage(path: Path, rng: random.Random, count: int, layouts: list[Layout]) -> Counter[str]:
    files = {file.name: file for file in chunk_files(path)}
    damager = Damager(sorted((path / "volumes").iterdir()), rng)
    metachunks = [(layout, metachunk) for layout in layouts for metachunk in layout.metachunks]
    rng.shuffle(metachunks)
    damager.spare = [files[metachunk.chunks[0].name] for _, metachunk in metachunks[: len(metachunks) // 3] if metachunk.size > 10]
    done: Counter[str] = Counter()
    victims = [
        files[chunk.name]
        for layout, metachunk in metachunks[len(metachunks) // 3 :]
        for chunk in rng.sample(metachunk.chunks, min(layout.policies[metachunk.policy].tolerates, 3))
    ]
    rng.shuffle(victims)
    for number, file in enumerate(victims[:count]):
        done[damager.kinds[number % len(damager.kinds)](file)] += 1
    return done


async def use(store: Store, rng: random.Random, bodies: dict[str, bytes]) -> None:
    """Reads must never fail nor be wrong; writes go on."""
    while True:
        key = rng.choice(list(bodies))
        body = await read(store, await store.get_row(BUCKET, key))
        assert hashlib.md5(body).digest() == hashlib.md5(bodies[key]).digest(), key
        await put(store, "new", rng.randbytes(100_000))
        await trio.sleep(0.001)


@pytest.mark.parametrize("run_bytes", [repair.RUN_BYTES, 1 << 20])
async def test_units_of_damaged_chunks_are_used_where_they_are_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run_bytes: int
) -> None:
    """Four of nine chunks of a 6+3 are damaged, each in another stripe: every stripe can be decoded, also when several are read at once."""
    monkeypatch.setattr(repair, "RUN_BYTES", run_bytes)
    async with opened(tmp_path, 9) as store:
        body = random.Random(1).randbytes(9_000_000)
        layout = Layout.parse((await put(store, "k", body)).layout)
        files = {file.name: file for file in chunk_files(tmp_path)}
        for number, chunk in enumerate(layout.metachunks[0].chunks[:4]):
            flip(files[chunk.name], number * layout.policies[0].unit_bytes + 5)
        tally = await by_metadata(store)
        assert [each.outcome for each in tally.damages] == ["repaired"] * 4
        assert (await by_metadata(store)).damages == []
        assert await read(store, await store.get_row(BUCKET, "k")) == body


async def test_what_can_not_be_repaired_is_told_and_left_as_it_is(tmp_path: Path) -> None:
    async with opened(tmp_path, 3) as store:
        layout = Layout.parse((await put(store, "k", bytes(1_000_000))).layout)
        files = {file.name: file for file in chunk_files(tmp_path)}
        for chunk in layout.metachunks[0].chunks[:2]:
            flip(files[chunk.name], 5)
        before = {file: file.read_bytes() for file in chunk_files(tmp_path)}
        assert [each.outcome for each in (await by_metadata(store)).damages] == ["lost", "lost"]
        assert {file: file.read_bytes() for file in chunk_files(tmp_path)} == before


async def test_the_damaged_original_goes_to_quarantine(tmp_path: Path) -> None:
    async with opened(tmp_path, 9) as store:
        layout = Layout.parse((await put(store, "k", bytes(2_000_000))).layout)
        file = {file.name: file for file in chunk_files(tmp_path)}[layout.metachunks[0].chunks[0].name]
        flip(file, 5)
        await by_metadata(store)
        assert not file.exists()
        (quarantined,) = (file.parents[1] / "quarantine").iterdir()
        assert quarantined.name.startswith(file.name)


async def test_a_stale_record_is_written_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "SYNC_PERIOD_S", 0.02)
    async with opened(tmp_path, 3, workers=True) as store:
        await put(store, "k", b"data")
        file = chunk_files(tmp_path)[0]
        old = os.getxattr(file, "user.frazil.chunk")
        await store.meta.container(BUCKET).change(Change("k", tags={"a": "b"}))
        assert (await by_metadata(store)).damages == [], "its new record is on its way"
        await until_none(store.meta.dirty_containers)
        os.setxattr(file, "user.frazil.chunk", old)
        assert [each.problem for each in (await by_metadata(store)).damages] == ["stale"]
        await until_none(store.meta.dirty_containers)
        assert b'"a":"b"' in os.getxattr(file, "user.frazil.chunk")
        assert (await by_metadata(store)).damages == []


async def test_an_upload_in_flight_is_nobodys_orphan(tmp_path: Path) -> None:
    class Slow(BytesSource):
        async def fill(self, buffer: memoryview) -> int:
            count = await super().fill(buffer)
            await trio.sleep(0.01)
            return count

    async with opened(tmp_path, 3) as store:
        async with trio.open_nursery() as nursery:
            source = Slow(bytes(130 << 20))
            nursery.start_soon(lambda: store.put_object(BUCKET, "slow", source, attributes=Attributes(), owner="o"))
            with trio.fail_after(60):
                while not chunk_files(tmp_path):  # noqa: ASYNC110 - the first metachunk's chunks
                    await trio.sleep(0.01)
            for _ in range(5):
                assert (await by_chunks(store, deep=False)).damages == []
        assert (await by_metadata(store)).damages == []


async def test_a_chunk_of_a_bucket_whose_metadata_is_gone_is_left_alone(tmp_path: Path) -> None:
    async with opened(tmp_path, 1) as store:
        await put(store, "k", b"data")
        assert await store.meta.container(BUCKET).holders([Claim("k", "x" * 32)]) == [None]
        files = chunk_files(tmp_path)
        from meta.directory import container_id

        number = container_id(BUCKET)
    for path in (tmp_path / "meta/container").glob(f"*/{number}.db*"):
        path.unlink()
    async with opened(tmp_path, 1) as store:
        assert {each.problem for each in (await by_chunks(store)).damages} == {"foreign"}
        assert chunk_files(tmp_path) == files


@pytest.mark.parametrize(("k", "m"), [(6, 3), (12, 3)])
def test_every_set_of_survivors_decodes(k: int, m: int) -> None:
    """And one wrong unit among the survivors never goes unseen: its checksum tells before it is used."""
    rng = random.Random(k)
    unit = 64
    data = bytearray(rng.randbytes(unit * k))
    parity = bytearray(unit * m)
    engine = codec(k, m)
    engine.encode(memoryview(data), memoryview(parity))
    whole = bytes(data + parity)
    units = {position: whole[position * unit : (position + 1) * unit] for position in range(k + m)}
    for lost in combinations(range(k + m), m):
        into = [memoryview(bytearray(unit)) for _ in lost]
        engine.rebuild({position: units[position] for position in units if position not in lost}, lost, into)
        assert [bytes(each) for each in into] == [units[position] for position in lost]


def test_the_summary_reads_as_a_sentence() -> None:
    tally = Tally()
    for outcome in ("repaired", "repaired", "lost"):
        tally.add(Damage("v1", "c", "corrupt", BUCKET, "k", "", outcome))
    tally.add(Damage("v2", "c", "missing", BUCKET, "k", "", "repaired"))
    tally.add(Damage("v3", "c", "orphaned", outcome="deleted", where="host3.disk1"))
    for _ in range(2):
        tally.add(Damage("v5", "c", "unreadable", BUCKET, "k", "", "waits"))
    tally.passed_over("v4", "host4.disk1")
    assert tally.sentences() == [
        "3 chunks of 1 object were corrupt on volume v1: 1 lost, 2 repaired",
        "1 chunk of 1 object was missing on volume v2: repaired",
        "1 chunk was orphaned on volume v3 (host3.disk1): deleted",
        "2 chunks of 1 object were unreadable on volume v5: all waiting",
        "volume v4 (host4.disk1) did not answer and was passed over",
    ]
