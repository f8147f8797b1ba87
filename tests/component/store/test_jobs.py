"""Long work: done step by step, held, aborted, and taken up again after a kill."""

from __future__ import annotations

import random
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any

import msgspec
import pytest
import trio

from meta.jobs import LocalJobs
from meta.protocol.bucket import BucketSettings
from meta.protocol.holding import Cursor
from meta.protocol.jobs import Job
from meta.protocol.object import Attributes
from node.errors import AlreadyExists, ContentCold, InvalidArgument, NotEnoughServices, VolumeNotFound, VolumeReadOnly, VolumeSick
from rawx.chunk import new_chunk_id
from rawx.volume import Volume, open_volume
from store import repairer, scrub, workers
from store.absent import AbsentVolume
from store.context import Context
from store.jobs import mover, retired, runner
from store.jobs import volume as emptying
from store.jobs.duty import Duty
from store.jobs.rebalance import Rebalance
from store.jobs.scrub import ScrubChunks
from store.jobs.volume import Decommission
from store.layout import Layout
from store.location import Location, group_counts
from store.placement import Candidate, Pool, Topology
from store.policy import PolicySet
from store.repair import Need, remake
from store.source import BytesSource
from store.store import Store
from store.tally import Tally
from store.workers import Settler
from tests.component.store.support import BUCKET, chunk_files, damage_base, file_of, flip, opened, put, read, until_none

ENDED = ("done", "failed", "aborted")


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner, "LOOK_S", 0.02)
    monkeypatch.setattr(repairer, "DELAY_S", 0.02)


@asynccontextmanager
async def filled(path: Path, volumes: int = 9, count: int = 20) -> AsyncIterator[tuple[Store, dict[str, bytes]]]:
    rng = random.Random(volumes)
    async with opened(path, volumes, workers=True) as store:
        bodies = {f"k{number}": rng.randbytes(rng.choice((0, 1_000, 300_000, 1_500_000))) for number in range(count)}
        for key, body in bodies.items():
            await put(store, key, body)
        yield store, bodies


async def ended(store: Store, job: Job) -> Job:
    with trio.fail_after(60):
        while (job := await store.meta.jobs.job(job.id)).state not in ENDED:  # noqa: ASYNC110 - jobs are done by workers
            await trio.sleep(0.02)
    return job


async def check(store: Store, bodies: dict[str, bytes]) -> None:
    """Everything is readable and whole."""
    for key, body in bodies.items():
        row = await store.get_row(BUCKET, key)
        assert await read(store, row) == body
        assert [each async for each in store.verify(row, BUCKET)] == []


async def on(store: Store, volume: str, keys: dict[str, bytes]) -> int:
    """Chunks that layouts name on a volume."""
    layouts = [Layout.parse((await store.get_row(BUCKET, key)).layout) for key in keys]
    return sum(1 for layout in layouts for place, _ in layout.places() if place == volume)


async def test_scrubs_repair_and_say_so(tmp_path: Path) -> None:
    async with filled(tmp_path) as (store, bodies):
        files = [file for file in chunk_files(tmp_path) if file.stat().st_size]
        volumes = sorted({file.parent.parent for file in files})[:3]  # no more of one content than the code bears
        for file in [file for file in files if file.parent.parent in volumes][::6]:
            flip(file, 0)
        done = await ended(store, await store.submit_job(Job("scrub-meta", {"deep": "1"})))
        assert done.state == "done"
        assert "repaired" in done.message
        await check(store, bodies)
        done = await ended(store, await store.submit_job(Job("scrub-chunks", {"deep": "1"})))
        assert (done.state, done.message) == ("done", "")


async def test_damage_that_reads_meet_is_repaired_by_itself(tmp_path: Path) -> None:
    async with filled(tmp_path) as (store, _):
        row = await put(store, "k", bytes(1_500_000))
        layout = Layout.parse(row.layout)
        flip({file.name: file for file in chunk_files(tmp_path)}[layout.metachunks[0].chunks[0].name], 9)
        await store.read(row, 0, row.size, _nothing, bucket=BUCKET)

        async def damaged() -> list[object]:
            return [each async for each in store.verify(await store.get_row(BUCKET, "k"), BUCKET)]

        await until_none(damaged)


async def _nothing(_piece: object) -> None:
    await trio.lowlevel.checkpoint()


@pytest.mark.parametrize("empty", [False, True])
async def test_what_a_lost_volume_held_is_made_anew(tmp_path: Path, empty: bool) -> None:
    async with filled(tmp_path, 5) as (store, bodies):
        lost = {each.path.name: name for name, each in store.volumes.items() if isinstance(each, Volume)}["3"]
    shutil.rmtree(tmp_path / "volumes" / "3")
    if empty:
        (tmp_path / "volumes" / "3").mkdir()
    async with opened(tmp_path, 5, workers=True) as store:
        assert await on(store, lost, bodies)
        done = await ended(store, await store.submit_job(Job("rebuild-volume", {"volume": lost})))
        assert done.state == "done", done
        assert empty or await on(store, lost, bodies) == 0
        await check(store, bodies)


async def test_what_no_volume_can_take_waits_until_there_is_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(emptying, "WAIT_S", 0.02)
    monkeypatch.setattr(emptying, "AWAY_AGE_S", 0.0)
    async with filled(tmp_path, 3) as (store, bodies):
        lost = {each.path.name: name for name, each in store.volumes.items() if isinstance(each, Volume)}["3"]
    shutil.rmtree(tmp_path / "volumes" / "3")
    async with opened(tmp_path, 3, workers=True) as store:
        job = await store.submit_job(Job("rebuild-volume", {"volume": lost}))

        async def quiet() -> list[Job]:
            return [each for each in [await store.meta.jobs.job(job.id)] if "metachunks wait for volumes" not in each.message]

        await until_none(quiet)
    async with opened(tmp_path, 4, workers=True) as store:
        done = await ended(store, job)
        assert (done.state, done.message) == ("done", "")
        await check(store, bodies)


async def test_several_volumes_are_made_anew_in_one_pass(tmp_path: Path) -> None:
    async with filled(tmp_path, 9) as (store, bodies):
        names = {each.path.name: name for name, each in store.volumes.items() if isinstance(each, Volume)}
        lost = ",".join(names[number] for number in "357")
    for number in "357":
        shutil.rmtree(tmp_path / "volumes" / number)
        (tmp_path / "volumes" / number).mkdir()
    async with opened(tmp_path, 9, workers=True) as store:
        done = await ended(store, await store.submit_job(Job("rebuild-volume", {"volume": lost})))
        assert done.state == "done", done
        await check(store, bodies)
        with pytest.raises(InvalidArgument, match="name a volume"):
            await store.submit_job(Job("scrub-meta", {"host": "host3"}))


async def test_an_emptied_volume_holds_nothing_and_takes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with filled(tmp_path, 5) as (store, bodies):
        volume = next(iter(store.volumes))
        job = await store.submit_job(Job("decommission", {"volume": volume}))
        async with trio.open_nursery() as readers:
            readers.start_soon(_read_on, store, bodies)
            assert (await ended(store, job)).state == "done"
            readers.cancel_scope.cancel()
        assert await on(store, volume, bodies) == 0
        for number in range(10):
            bodies[f"new{number}"] = b"new"
            await put(store, f"new{number}", b"new")
        assert await on(store, volume, bodies) == 0
        await check(store, bodies)


class _Halting(BytesSource):
    """Its last bytes come when they are let go."""

    def __init__(self, data: bytes, go: trio.Event) -> None:
        super().__init__(data)
        self._go = go

    async def fill(self, buffer: memoryview) -> int:
        if len(self._rest) < 22 << 20:
            await self._go.wait()
        return await super().fill(buffer)


async def test_an_emptied_volume_is_done_only_when_the_writes_that_drew_it_before_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(emptying, "WRITERS_S", 0.1)
    async with opened(tmp_path, 2, policy="SINGLE", workers=True) as store:
        go = trio.Event()
        bodies = {f"k{number}": bytes(30 << 20) for number in range(3)}

        async def write(key: str) -> None:
            await store.put_object(BUCKET, key, _Halting(bodies[key], go), attributes=Attributes(), owner="owner")

        async with trio.open_nursery() as writers:
            for key in bodies:
                writers.start_soon(write, key)
            drawn: list[str] = []
            while len(store._context.afterwork.in_flight) < 3 or not drawn:
                await trio.sleep(0.01)
                drawn = [name for name, each in store.volumes.items() if await each.noted()]
            volume = drawn[0]
            job = await store.submit_job(Job("decommission", {"volume": volume}))
            with pytest.raises(trio.TooSlowError), trio.fail_after(2):
                await ended(store, job)
            go.set()
        assert (await ended(store, job)).state == "done"
        assert await on(store, volume, bodies) == 0
        await check(store, bodies)


def opened_beside(store: Store, volume: str) -> Volume:
    """As another process has it."""
    mine = store.volumes[volume]
    assert isinstance(mine, Volume)
    return open_volume(mine.path, namespace=mine.identity.namespace, volume_id=volume)


async def test_an_emptied_volume_is_done_only_when_what_other_processes_began_there_has_come_to_its_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(emptying, "WRITERS_S", 0.1)
    monkeypatch.setattr(retired, "REOPEN_S", 0.0)
    async with filled(tmp_path, 5, 5) as (store, bodies):
        volume = next(iter(store.volumes))
        with closing(opened_beside(store, volume)) as theirs:
            upload = await theirs.create(new_chunk_id(), 0)
            await upload.write(b"of another gateway")
            job = await store.submit_job(Job("decommission", {"volume": volume}))
            with pytest.raises(trio.TooSlowError), trio.fail_after(2):
                await ended(store, job)
            late = await theirs.create(new_chunk_id(), 0)
            with pytest.raises(VolumeReadOnly):
                await late.write(b"drawn by who has not heard of it")
            await late.abort()
            await upload.abort()
            assert (await ended(store, job)).state == "done"
            assert await on(store, volume, bodies) == 0
            again = await store.submit_job(Job("decommission", {"volume": volume}, pace_bytes=1))
            await store.meta.jobs.control_job(again.id, state="aborted")
            with trio.fail_after(10):
                while (await theirs.stat()).retired:  # noqa: ASYNC110 - workers do it
                    await trio.sleep(0.02)


async def test_an_emptying_does_not_wait_for_chunks_that_were_deleted_and_never_settled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As after the death of the gateway that wrote them through another process, which lives; nor for ever for what it never ended."""
    monkeypatch.setattr(emptying, "WRITERS_S", 0.1)
    monkeypatch.setattr(workers, "SCAN_PERIOD_S", 0.1)
    async with filled(tmp_path, 5, 3) as (store, bodies):
        volume = next(iter(store.volumes))
        layouts = [Layout.parse((await store.get_row(BUCKET, key)).layout) for key in bodies]
        named = [chunk for layout in layouts for place, chunk in layout.places() if place == volume]
        with closing(opened_beside(store, volume)) as theirs:
            theirs.journal.add(named)
            assert (await ended(store, await store.submit_job(Job("decommission", {"volume": volume})))).state == "done"
            theirs.journal.add([new_chunk_id()])
            monkeypatch.setattr(emptying, "BEGUN_S", 1.0)
            assert (await ended(store, await store.submit_job(Job("decommission", {"volume": volume})))).state == "done"


async def passed(task: Decommission, position: str = "") -> tuple[str, str | None]:
    """Steps to the end of a pass: where the last one began, and what it answered ("": another pass)."""
    while True:
        following, _ = await task.step(position)
        if not following:
            return position, following
        position = following


async def test_who_takes_an_emptying_over_within_a_pass_makes_another(tmp_path: Path) -> None:
    """What came behind the cursor came before he asked the volume what was begun there."""
    async with opened(tmp_path, 2, policy="SINGLE") as store:
        volume, other = store.volumes
        context, bodies = store._context, {"k1": b"1", "k2": b"2"}
        for key, body in bodies.items():
            await put(store, key, body)
        await Settler(context).work()
        context.fleet.retire({volume})
        last, _ = await passed(Decommission(context, Tally(), {"volume": volume}))
        context.fleet.retire({other})
        await store.volumes[volume].retire(False)  # as for what was begun before
        await put(store, "a", b"late")
        await Settler(context).work()
        context.fleet.retire({volume})
        task = Decommission(context, Tally(), {"volume": volume})
        assert (await passed(task, last))[1] == ""
        while (await passed(task))[1] is not None:
            pass
        assert await on(store, volume, bodies | {"a": b"late"}) == 0


@pytest.mark.parametrize("returns", [False, True])
async def test_an_emptying_is_done_without_a_volume_that_stays_away_but_not_when_it_comes_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, returns: bool
) -> None:
    async with opened(tmp_path, 2, policy="SINGLE") as store:
        volume, away, retire = next(iter(store.volumes)), [True], Volume.retire

        async def told(to: Volume, retired: bool) -> list[str]:
            if away and to.volume_id == volume:
                raise VolumeSick("it does not answer")
            return await retire(to, retired)

        monkeypatch.setattr(Volume, "retire", told)
        store._context.fleet.retire({volume})
        task = Decommission(store._context, Tally(), {"volume": volume})
        following, _ = await task.step("")
        if returns:
            away.clear()
        ended = following if following is None else (await passed(task, following))[1]
        assert ended == ("" if returns else None)
        assert (await passed(task))[1] is None


async def test_no_chunk_of_an_object_of_many_metachunks_is_left_behind(tmp_path: Path) -> None:
    async with opened(tmp_path, 2, policy="SINGLE", workers=True) as store:
        await put(store, "k", b"0")
        for number in range(1, 16):
            row = await store.get_row(BUCKET, "k")
            await store.append_object(BUCKET, row, BytesSource(b"%x" % number), combine=lambda *_: {})
        volume = next(iter(store.volumes))
        held = await on(store, volume, {"k": b""})
        assert held > 1
        done = await ended(store, await store.submit_job(Job("decommission", {"volume": volume})))
        assert done.state == "done"
        assert done.progress["moved"] >= held
        assert await on(store, volume, {"k": b""}) == 0
        await check(store, {"k": b"0123456789abcdef"})


async def test_what_comes_behind_the_cursor_of_an_emptying_is_moved_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with opened(tmp_path, 2, policy="SINGLE", workers=True) as store:
        bodies = {f"k{number}": b"%d" % number for number in range(10)}
        for key, body in bodies.items():
            await put(store, key, body)
        volume, other = store.volumes
        fleet = store._context.fleet
        visit, late = Decommission.visit, ["late"]

        async def visited(task: Decommission, bucket: str, cursor: Cursor) -> tuple[Cursor | None, int]:
            following, size = await visit(task, bucket, cursor)
            if following is None and bucket == BUCKET and late:
                bodies[late[0]] = b"late"
                fleet.retire({other})
                await store.volumes[volume].retire(False)  # as for what was begun before
                await put(store, late.pop(), b"late")
                await store.volumes[volume].retire(True)
                fleet.retire({volume})
            return following, size

        monkeypatch.setattr(Decommission, "visit", visited)
        done = await ended(store, await store.submit_job(Job("decommission", {"volume": volume})))
        assert done.state == "done"
        assert await on(store, volume, bodies) == 0
        await check(store, bodies)


async def test_an_emptying_that_leaves_something_fails_and_the_volume_stays_retired(tmp_path: Path) -> None:
    async with opened(tmp_path, 2, policy="SINGLE", workers=True) as store:
        layout = Layout.parse((await put(store, "k", b"lost")).layout)
        flip(file_of(store, layout, layout.metachunks[0].chunks[0]), 0)
        (volume,) = layout.volumes
        failed = await ended(store, await store.submit_job(Job("decommission", {"volume": volume})))
        assert failed.state == "failed"
        assert "still found 1 metachunks there, and too little can be read of 1" in failed.message
        for number in range(10):
            assert volume not in Layout.parse((await put(store, f"new{number}", b"new")).layout).volumes
        again = await store.submit_job(Job("decommission", {"volume": volume}, pace_bytes=1))
        await store.meta.jobs.control_job(again.id, state="aborted")

        async def retired() -> frozenset[str]:
            return store._context.fleet.retired

        await until_none(retired)


@pytest.mark.parametrize("way", ["copy", "append"])
async def test_a_copy_of_what_is_on_a_retired_volume_goes_elsewhere(tmp_path: Path, way: str) -> None:
    async with opened(tmp_path, 2, policy="SINGLE") as store:
        await store.meta.container(BUCKET).change_settings(versioning="Enabled")
        row = await put(store, "k", b"body")
        (volume,) = Layout.parse(row.layout).volumes
        store._context.fleet.retire({volume})
        if way == "copy":
            made = await store.copy_object(row, BUCKET, BUCKET, "k", attributes=row.attributes, owner="owner")
            assert await read(store, made) == b"body"
        else:
            made = await store.append_object(BUCKET, row, BytesSource(b"more"), combine=lambda *_: {})
            assert await read(store, made) == b"bodymore"
        assert volume not in Layout.parse(made.layout).volumes


async def _read_on(store: Store, bodies: dict[str, bytes]) -> None:
    while True:
        for key, body in bodies.items():
            assert await read(store, await store.get_row(BUCKET, key)) == body


async def test_a_job_is_held_and_goes_on_after_a_restart(tmp_path: Path) -> None:
    async with filled(tmp_path, 3, 60) as (store, bodies):
        job = await store.submit_job(Job("scrub-meta", {"deep": "1"}, pace_bytes=1 << 20))
        with pytest.raises(AlreadyExists):
            await store.submit_job(Job("scrub-meta", {"deep": "1"}))
        await store.meta.jobs.control_job(job.id, state="paused")
        held = await store.meta.jobs.job(job.id)
        await trio.sleep(0.1)
        assert (await store.meta.jobs.job(job.id)).state == "paused"
        assert held.state == "paused"
    async with opened(tmp_path, 3, workers=True) as store:
        await store.meta.jobs.control_job(job.id, state="running", pace_bytes=0)
        done = await ended(store, job)
        assert done.state == "done"
        assert done.progress["chunks"] >= 60
        await check(store, bodies)


async def test_a_job_tells_its_share_and_goes_on_at_once_when_its_pace_is_raised(tmp_path: Path) -> None:
    async with filled(tmp_path, 3, 60) as (store, _):
        job = await store.submit_job(Job("scrub-meta", {"deep": "1", "bucket": BUCKET}, pace_bytes=1))

        async def first() -> list[Job]:
            return [each for each in [await store.meta.jobs.job(job.id)] if not each.progress.get("share_ppm")]

        await until_none(first)
        begun = await store.meta.jobs.job(job.id)
        assert 0 < begun.progress["share_ppm"] < 1_000_000
        assert begun.progress["contents_total"] == 60
        await store.meta.jobs.control_job(job.id, pace_bytes=0)  # else the next step were months away
        done = await ended(store, job)
        assert (done.state, done.progress["share_ppm"]) == ("done", 1_000_000)


async def test_the_share_of_a_scrub_by_chunks_grows_to_the_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scrub, "DEEP_BYTES", 200_000)
    async with filled(tmp_path, 3, 60) as (store, _):
        tally, shares = Tally(), [0]
        task = ScrubChunks(store._context, tally, {"deep": "1"})
        position: str | None = ""
        while position is not None:
            position, _ = await task.step(position)
            shares.append(tally.counts["share_ppm"])
        assert shares == sorted(shares)
        assert len(set(shares)) > 5
        assert shares[-1] == 1_000_000


async def test_no_chunk_is_moved_to_where_its_metachunk_would_be_spread_worse(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with filled(tmp_path, 6) as (store, bodies):
        names = sorted(store.volumes)
        members = {name: Candidate(name, 1.0, Location.parse(f"host{at // 2}.disk{at % 2}")) for at, name in enumerate(names)}
        pool = Pool(groups=group_counts([each.location for each in members.values()]))
        store._context.fleet.arrange(store.volumes, Topology(members, frozenset(names), {}, pool))
        store._context.policies = PolicySet.named("THREECOPIES", 6)
        for number in range(10):
            bodies[f"spread{number}"] = b"%d" % number
            await put(store, f"spread{number}", bodies[f"spread{number}"])
        full, other = names[0], names[1]
        held = await on(store, full, {f"spread{number}": b"" for number in range(10)})

        async def uneven(_: Rebalance) -> tuple[dict[str, int], frozenset[str]]:
            return {full: 1 << 40}, frozenset({full, other})

        monkeypatch.setattr(Rebalance, "_uneven", uneven)
        done = await ended(store, await store.submit_job(Job("rebalance")))
        assert done.state == "done", done
        assert await on(store, full, {f"spread{number}": b"" for number in range(10)}) == held
        assert done.progress["kept"] >= held > 0
        await check(store, bodies)


@pytest.mark.parametrize("kept", [0, 3])
async def test_all_that_a_volume_has_too_much_is_moved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kept: int) -> None:
    """Also while what was moved leaves its disk, and though some of it can't go anywhere."""
    surplus, size = 8, 1_000
    async with opened(tmp_path, 3, policy="SINGLE", workers=True) as store:
        bodies = {f"k{number:02d}": b"%02d" % number * (size // 2) for number in range(60)}
        for key, body in bodies.items():
            await put(store, key, body)
        full = sorted(store.volumes)[0]
        held = await on(store, full, bodies)
        refused = 0

        async def uneven(_: Rebalance) -> tuple[dict[str, int], frozenset[str]]:
            return {full: (surplus - held + await on(store, full, bodies)) * size}, frozenset({full})

        async def some(context: Context, need: Need) -> int:
            nonlocal refused
            if refused < kept:
                refused += 1
                raise NotEnoughServices("refused by the test")
            return await remake(context, need)

        monkeypatch.setattr(Rebalance, "_uneven", uneven)
        monkeypatch.setattr(mover, "remake", some)
        monkeypatch.setattr(mover, "MOVE_ROWS", 5)
        assert held > surplus + kept
        done = await ended(store, await store.submit_job(Job("rebalance")))
        assert done.state == "done", done
        assert held - await on(store, full, bodies) == surplus
        await check(store, bodies)


async def test_work_that_the_metadata_forgot_is_dropped_and_duties_are_there_again(tmp_path: Path) -> None:
    async with filled(tmp_path, 3, 5) as (store, _):
        await store.submit_job(Job("scrub-chunks", {}, pace_bytes=1))
        await trio.sleep(0.2)
        jobs = store.meta.jobs
        assert isinstance(jobs, LocalJobs)
        await jobs._base.write(lambda transaction: transaction.write("DELETE FROM jobs"))
        made = await store.submit_job(Job("scrub-meta", {"bucket": BUCKET}))
        assert (await ended(store, made)).state == "done"

        async def missing() -> list[str]:
            there = {job.kind for job in await jobs.jobs() if "standing" in job.arguments}
            return [kind for kind in ("scrub-meta", "scrub-chunks") if kind not in there]

        await until_none(missing)


@pytest.mark.parametrize("kind", ["decommission", "rebuild-volume", "rebalance"])
async def test_a_plan_counts_and_changes_nothing(tmp_path: Path, kind: str) -> None:
    async with filled(tmp_path, 4) as (store, bodies):
        volume = sorted(store.volumes)[0]
        there = await on(store, volume, bodies)
        if kind == "rebuild-volume":
            held = store.volumes[volume]
            assert isinstance(held, Volume)
            for file in held.path.glob("[0-9a-f][0-9a-f][0-9a-f]/*"):
                file.unlink()
        files = chunk_files(tmp_path)
        arguments = {"dry": "1"} if kind == "rebalance" else {"dry": "1", "volume": volume}
        done = await ended(store, await store.submit_job(Job(kind, arguments)))
        assert (done.state, done.progress.get("moved", 0)) == ("done", 0)
        planned = done.progress.get("planned", 0)
        assert planned == 0 if kind == "rebalance" else planned >= there > 0
        assert chunk_files(tmp_path) == files
        assert not store._context.fleet.retired


async def test_an_aborted_job_stays_aborted(tmp_path: Path) -> None:
    async with filled(tmp_path, 3, 5) as (store, _):
        job = await store.submit_job(Job("scrub-chunks", {}, pace_bytes=1))
        await store.meta.jobs.control_job(job.id, state="aborted")
        await trio.sleep(0.1)
        assert (await store.meta.jobs.job(job.id)).state == "aborted"
        with pytest.raises(AlreadyExists):
            await store.meta.jobs.control_job(job.id, state="running")


@pytest.mark.parametrize(("kind", "arguments"), [("nonsense", {}), ("decommission", {}), ("rebuild-volume", {"volume": "nowhere"})])
async def test_work_that_can_not_be_is_refused(tmp_path: Path, kind: str, arguments: dict[str, str]) -> None:
    async with opened(tmp_path, 3) as store:
        with pytest.raises((InvalidArgument, VolumeNotFound)):
            await store.submit_job(Job(kind, arguments))


async def test_background_scrubs_are_there_and_wait_for_their_time(tmp_path: Path) -> None:
    async with opened(tmp_path, 3, workers=True) as store:
        await trio.sleep(0.2)
        standing = [job for job in await store.meta.jobs.jobs() if "standing" in job.arguments]
        assert {job.kind for job in standing} == {"scrub-meta", "scrub-chunks"}
        assert all(job.pace_bytes and not job.progress for job in standing)


async def test_background_scrubs_pass_again_and_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("store.store.DUTIES", {"scrub-meta": Duty(0, 0.0, delay_s=0.0)})
    async with filled(tmp_path, 3, 3) as (store, _):

        async def waiting() -> list[Job]:
            return [job for job in await store.meta.jobs.jobs() if job.progress.get("passes", 0) < 3]

        await until_none(waiting)


async def test_background_scrubs_go_on_when_the_clock_is_set_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with opened(tmp_path, 3, workers=True) as store:
        (job,) = [job for job in await store.meta.jobs.jobs() if job.kind == "scrub-meta"]
        ahead_us = store._context.clock.now_us() + 20 * 365 * 86_400 * 1_000_000
        await store.meta.jobs.save_job(msgspec.structs.replace(job, progress={"next_us": ahead_us}))
    monkeypatch.setattr("store.store.DUTIES", {"scrub-meta": Duty(0, 86_400.0, delay_s=0.0)})
    async with opened(tmp_path, 3, workers=True) as store:

        async def waiting() -> list[Job]:
            return [job for job in await store.meta.jobs.jobs() if job.kind == "scrub-meta" and not job.progress.get("passes")]

        await until_none(waiting)


async def test_a_rebuild_waits_for_as_many_volumes_as_chunks_were_lost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of two lost copies one alone finds a place: the work is not done with that."""
    monkeypatch.setattr(emptying, "WAIT_S", 0.02)
    monkeypatch.setattr(emptying, "AWAY_AGE_S", 0.0)
    bodies = {f"k{number}": b"%d" % number * 1_000 for number in range(5)}
    async with opened(tmp_path, 3, policy="THREECOPIES") as store:
        for key, body in bodies.items():
            await put(store, key, body)
        names = {each.path.name: name for name, each in store.volumes.items() if isinstance(each, Volume)}
        lost = [names["2"], names["3"]]
    for number in "23":
        shutil.rmtree(tmp_path / "volumes" / number)
    async with opened(tmp_path, 4, policy="THREECOPIES", workers=True) as store:
        job = await store.submit_job(Job("rebuild-volume", {"volume": ",".join(lost)}))

        async def quiet() -> list[Job]:
            return [each for each in [await store.meta.jobs.job(job.id)] if "metachunks wait for volumes" not in each.message]

        await until_none(quiet)
        assert (await store.meta.jobs.job(job.id)).state == "running"
    async with opened(tmp_path, 5, policy="THREECOPIES", workers=True) as store:
        done = await ended(store, job)
        assert (done.state, done.message) == ("done", "")
        for volume in lost:
            assert await on(store, volume, bodies) == 0
        await check(store, bodies)


async def test_a_rebuild_waits_for_what_must_be_thawed_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(emptying, "COLD_S", 0.02)
    async with filled(tmp_path, 5) as (store, bodies):
        lost = {each.path.name: name for name, each in store.volumes.items() if isinstance(each, Volume)}["3"]
    shutil.rmtree(tmp_path / "volumes" / "3")
    asked: list[str] = []

    async def thaw(_context: object, need: Need) -> None:
        asked.append(need.holder.key)
        await trio.lowlevel.checkpoint()

    async def frozen(context: Context, need: Need) -> int:
        if need.bucket == BUCKET and need.holder.key not in asked:
            raise ContentCold("it sleeps")
        return await remake(context, need)

    monkeypatch.setattr(emptying, "thaw", thaw)
    monkeypatch.setattr(mover, "remake", frozen)
    async with opened(tmp_path, 5, workers=True) as store:
        assert await on(store, lost, bodies)
        done = await ended(store, await store.submit_job(Job("rebuild-volume", {"volume": lost})))
        assert (done.state, done.message) == ("done", "")
        assert asked
        assert await on(store, lost, bodies) == 0
        await check(store, bodies)


async def test_an_emptying_passes_over_what_is_away_and_says_so(tmp_path: Path) -> None:
    async with opened(tmp_path, 2, policy="SINGLE", workers=True) as store:
        (volume,) = Layout.parse((await put(store, "k", b"away")).layout).volumes
        store.volumes[volume] = AbsentVolume(volume, "its host has no power")
        failed = await ended(store, await store.submit_job(Job("decommission", {"volume": volume})))
        assert failed.state == "failed"
        assert "too little can be read of 1" in failed.message


@pytest.mark.parametrize("kind", ["scrub-meta", "decommission", "rebuild-volume"])
async def test_a_bucket_whose_metadata_is_damaged_holds_up_no_other_and_is_named(tmp_path: Path, kind: str, caplog: Any) -> None:
    async with opened(tmp_path, 3, policy="TWOCOPIES") as store:
        await store.meta.create_bucket(BucketSettings("a-damaged", "account", "owner", 1))
        layout = Layout.parse((await put(store, "k", b"well")).layout)
    damage_base(tmp_path, "a-damaged")
    async with opened(tmp_path, 3, policy="TWOCOPIES", workers=True) as store:
        volume = layout.volumes[0]
        ended_job = await ended(store, await store.submit_job(Job(kind, {"volume": volume})))
        assert "bucket a-damaged can't be read" in ended_job.message
        assert ended_job.state == "failed"
        assert ended_job.progress["contents"] >= 1
        if kind == "decommission":
            assert volume not in Layout.parse((await store.get_row(BUCKET, "k")).layout).volumes
    caplog.clear()
