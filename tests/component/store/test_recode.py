"""A change of storage policy: every byte and every word of an object stays, only where and how it lies changes."""

from __future__ import annotations

import random
import shutil
from pathlib import Path

import msgspec
import pytest
import trio

from meta.protocol.bucket import BucketSettings
from meta.protocol.holding import Cursor, Holding
from meta.protocol.jobs import Job
from meta.protocol.object import ObjectRow
from meta.protocol.upload import PartRow
from node.errors import InvalidArgument, NotEnoughServices, Superseded
from store import keepsake, workers
from store.jobs import runner
from store.layout import Layout
from store.policy import POLICIES, SMALL_BYTES_MAX, STORAGE_POLICY, PolicySet
from store.rebuild.compare import differences
from store.rebuild.site import build, open_site
from store.rebuild.swap import NEW_FOLDER
from store.recode import is_right, recode
from store.scrub import Scrub
from store.store import Store
from store.tally import Tally
from tests.component.store.history import History, contents, quiet
from tests.component.store.support import BUCKET, chunk_files, file_of, opened, put, read, until_none
from tests.component.store.test_jobs import ended

BUCKETS = ("plain", "versions", "suspended")


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "SYNC_PERIOD_S", 0.02)
    monkeypatch.setattr(workers, "SCAN_PERIOD_S", 0.02)
    monkeypatch.setattr(keepsake, "KEEP_PERIOD_S", 0.02)
    monkeypatch.setattr(runner, "LOOK_S", 0.02)


async def holdings(store: Store, bucket: str) -> list[Holding]:
    found: list[Holding] = []
    while page := await store.meta.container(bucket).walk(found[-1].cursor if found else Cursor(), 500):
        found += page
    return found


def told(holding: Holding) -> tuple[str, ObjectRow | None, str, PartRow | None]:
    """All but where it lies, and the number of its latest change."""
    row = holding.row and msgspec.structs.replace(holding.row, layout=b"", policy="", seq=0)
    part = holding.part and msgspec.structs.replace(holding.part, layout=b"")
    return holding.key, row, holding.upload, part


def sizes(holding: Holding) -> list[int]:
    return [metachunk.size for metachunk in Layout.parse(holding.layout).metachunks]


async def no_strangers(store: Store) -> list[str]:
    """What a scrub of the volumes finds, young chunks too."""
    tally = Tally()
    scrub = Scrub(store._context, tally, deep=True, repair=False, grace_s=0.0)
    for volume in sorted(store.volumes):
        after: str | None = ""
        while after is not None:
            after, _ = await scrub.files(volume, after)
    return tally.sentences()


@pytest.mark.slow
@pytest.mark.timeout(600)
async def test_all_kinds_of_objects_stay_what_they_are_from_policy_to_policy(tmp_path: Path, seed: str, scale: float) -> None:
    async with opened(tmp_path, 9, workers=True) as store:
        await History(store, seed).run(int(60 * scale))
        await quiet(store)
        before = await contents(store)
        was = {bucket: await holdings(store, bucket) for bucket in BUCKETS}
        for policy in ("EC42", "TWOCOPIES", "EC63"):
            for bucket in BUCKETS:
                await store.meta.container(bucket).change_settings(documents={STORAGE_POLICY: policy})
                done = await ended(store, await store.submit_job(Job("change-policy", {"bucket": bucket})))
                assert (done.state, done.message) == ("done", "")
            await quiet(store)
            policies = PolicySet.of_bucket(policy, 9)
            for bucket in BUCKETS:
                now = await holdings(store, bucket)
                assert [told(each) for each in now] == [told(each) for each in was[bucket]]
                assert [sizes(each) for each in now] == [sizes(each) for each in was[bucket]]
                assert all(is_right(Layout.parse(each.layout), policies, store._context.fleet) for each in now)
            assert await contents(store) == before
        await until_none(store.meta.dirty_containers)
        assert await no_strangers(store) == []
    async with open_site(tmp_path) as site:
        await build(site, tmp_path / NEW_FOLDER)
    assert list(differences(tmp_path / "meta", tmp_path / NEW_FOLDER)) == []


@pytest.mark.parametrize("policy", sorted(set(POLICIES) - {"EC123"}))
async def test_every_policy_becomes_every_other(tmp_path: Path, seed: str, policy: str) -> None:
    rng = random.Random(seed)
    async with opened(tmp_path, 9) as store:
        for size in (0, 1, SMALL_BYTES_MAX, SMALL_BYTES_MAX + 1, 2_000_001):
            body = rng.randbytes(size)
            row = await put(store, f"k{size}", body)
            holder = Holding(row.key, row.layout, row)
            for name in (policy, rng.choice(sorted(set(POLICIES) - {"EC123", policy}))):
                policies = PolicySet.of_bucket(name, 9)
                await recode(store._context, BUCKET, holder, policies)
                now = await store.get_row(BUCKET, row.key)
                layout = Layout.parse(now.layout)
                wanted = policies.small if size <= SMALL_BYTES_MAX else policies.large
                assert {each.name for each in layout.policies} <= {wanted.name, policies.large.name}
                assert now.policy == layout.policies[0].name
                assert len(layout.metachunks[0].chunks) == layout.policies[0].chunks
                assert await read(store, now) == body
                assert [each async for each in store.verify(now, BUCKET)] == []
                holder = Holding(now.key, now.layout, now)


@pytest.mark.slow
async def test_metachunks_of_a_large_object_keep_their_sizes(tmp_path: Path) -> None:
    body = random.Random(1).randbytes(65 << 20)
    async with opened(tmp_path, 9) as store:
        row = await put(store, "k", body)
        assert await recode(store._context, BUCKET, Holding("k", row.layout, row), PolicySet.of_bucket("THREECOPIES", 9)) == len(body)
        now = await store.get_row(BUCKET, "k")
        assert sizes(Holding("k", now.layout, now)) == sizes(Holding("k", row.layout, row))
        assert await read(store, now) == body
        assert [each async for each in store.verify(now, BUCKET)] == []


async def test_new_objects_of_a_bucket_get_its_policy_and_others_the_stores(tmp_path: Path) -> None:
    async with opened(tmp_path, 9) as store:
        await store.meta.create_bucket(BucketSettings("other", "account", "owner", 1))
        await store.meta.container(BUCKET).change_settings(documents={STORAGE_POLICY: "TWOCOPIES"})
        assert (await put(store, "k", bytes(200_000))).policy == "TWOCOPIES"
        assert (await put(store, "s", bytes(2))).policy == "TWOCOPIES"
        await store.meta.container(BUCKET).change_settings(documents={STORAGE_POLICY: None})
        assert (await put(store, "k2", bytes(200_000))).policy == "EC63"


async def test_what_was_replaced_meanwhile_is_left_alone(tmp_path: Path) -> None:
    async with opened(tmp_path, 9) as store:
        old = await put(store, "k", bytes(300_000))
        new = await put(store, "k", bytes(300_001))
        with pytest.raises(Superseded):
            await recode(store._context, BUCKET, Holding("k", old.layout, old), PolicySet.of_bucket("TWOCOPIES", 9))
        assert (await store.get_row(BUCKET, "k")).layout == new.layout
        named = {chunk for row in (old, new) for _, chunk in Layout.parse(row.layout).places()}
        assert {file.name for file in chunk_files(tmp_path)} == named  # the old one's wait for the workers


async def test_nothing_whole_is_replaced_by_what_is_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with opened(tmp_path, 9) as store:
        row = await put(store, "k", bytes(300_000))
        there = {file.name for file in chunk_files(tmp_path)}
        store._context.fleet.retire(sorted(store.volumes)[:2])
        with pytest.raises(NotEnoughServices):
            await recode(store._context, BUCKET, Holding("k", row.layout, row), PolicySet.of_bucket("EC123", 9))
        assert (await store.get_row(BUCKET, "k")).layout == row.layout
        assert {file.name for file in chunk_files(tmp_path)} == there


async def test_a_damaged_object_is_made_whole_on_the_way(tmp_path: Path) -> None:
    body = random.Random(2).randbytes(400_000)
    async with opened(tmp_path, 9) as store:
        row = await put(store, "k", body)
        layout = Layout.parse(row.layout)
        for chunk in layout.metachunks[0].chunks[:3]:
            file_of(store, layout, chunk).unlink()
        await recode(store._context, BUCKET, Holding("k", row.layout, row), PolicySet.of_bucket("EC42", 9))
        assert await read(store, await store.get_row(BUCKET, "k")) == body


async def test_a_rebuild_in_the_middle_finds_what_can_be_read(tmp_path: Path) -> None:
    """Killed while the fragments were written: more of them than there are copies, and too few to read."""
    async with opened(tmp_path, 9) as store:
        await store.meta.container(BUCKET).change_settings(documents={STORAGE_POLICY: "TWOCOPIES"})
        row = await put(store, "k", bytes(300_000))
        layout = Layout.parse(row.layout)
        kept = [file_of(store, layout, chunk) for chunk in layout.metachunks[0].chunks]
        aside = tmp_path / "aside"
        aside.mkdir()
        for file in kept:
            shutil.copy2(file, aside / file.name)
        await recode(store._context, BUCKET, Holding("k", row.layout, row), PolicySet.of_bucket("EC63", 9))
        layout = Layout.parse((await store.get_row(BUCKET, "k")).layout)
        for chunk in layout.metachunks[0].chunks[:4]:
            file_of(store, layout, chunk).unlink()
    for file in kept:
        shutil.copy2(aside / file.name, file)
    shutil.rmtree(tmp_path / "meta")
    async with open_site(tmp_path) as site:
        report = await build(site, tmp_path / NEW_FOLDER)
    assert (report.versions, report.unwhole) == (1, [])


async def test_reads_while_the_policy_changes_back_and_forth_never_fail(tmp_path: Path, seed: str) -> None:
    rng = random.Random(seed)
    async with opened(tmp_path, 6, workers=True) as store:
        bodies = {f"k{number}": rng.randbytes(rng.choice((10, 200_000, 3_000_000))) for number in range(12)}
        for key, body in bodies.items():
            await put(store, key, body)
        reads = 0

        async def readers() -> None:
            nonlocal reads
            while True:
                key = rng.choice(sorted(bodies))
                assert await read(store, await store.get_row(BUCKET, key)) == bodies[key]
                reads += 1

        async with trio.open_nursery() as nursery:
            for _ in range(4):
                nursery.start_soon(readers)
            for policy in ("TWOCOPIES", "EC42", "SINGLE", "EC21"):
                done = await ended(store, await store.submit_job(Job("change-policy", {"bucket": BUCKET, "policy": policy})))
                assert (done.state, done.progress["lost"]) == ("done", 0)
                assert done.progress["changed"] >= 8
            nursery.cancel_scope.cancel()
        assert reads > 20


async def test_only_a_prefix_and_first_without_doing_it(tmp_path: Path) -> None:
    async with opened(tmp_path, 9, workers=True) as store:
        for key in ("a/1", "a/2", "b/1"):
            await put(store, key, bytes(200_000))
        wanted = {"bucket": BUCKET, "policy": "TWOCOPIES", "prefix": "a/"}
        dry = await ended(store, await store.submit_job(Job("change-policy", {**wanted, "dry": "1"})))
        assert (dry.progress["found"], dry.progress["bytes"]) == (2, 400_000)
        assert (await store.get_row(BUCKET, "a/1")).policy == "EC63"
        await ended(store, await store.submit_job(Job("change-policy", wanted)))
        assert [(await store.get_row(BUCKET, key)).policy for key in ("a/1", "a/2", "b/1")] == ["TWOCOPIES", "TWOCOPIES", "EC63"]


async def test_a_policy_that_the_volumes_can_not_keep_is_refused(tmp_path: Path) -> None:
    async with opened(tmp_path, 3) as store:
        for policy, words in (("EC63", "needs 9 volumes"), ("NONE", "there is no storage policy")):
            with pytest.raises(InvalidArgument, match=words):
                await store.submit_job(Job("change-policy", {"bucket": BUCKET, "policy": policy}))
