"""Metadata on three peers in this process, whose services come and go."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import apsw
import msgspec
import pytest
import trio

from meta import local
from meta.client import post
from meta.cluster.bases import SetBases
from meta.cluster.keepsake import Keepsake, load
from meta.cluster.member import Member
from meta.cluster.process import MetaOptions, serve_meta
from meta.cluster.replica import check_snapshot
from meta.cluster.roster import Peer, PeerSet, wanted_change
from meta.cluster.service import BIRTHS
from meta.commit import Header, LocalCommit
from meta.coordinator import Candidate, Document
from meta.directory import container_base, container_id
from meta.peer import Standing
from meta.protocol.container import Container
from meta.protocol.listing import ListRequest
from meta.protocol.object import DeleteRequest, ObjectRow
from meta.transaction import CONTAINER
from meta.wire import Method
from meta.writer import newest
from node.clock import SystemClock
from node.errors import (
    BaseCorrupt,
    Behind,
    BucketNotEmpty,
    BucketNotFound,
    BucketOwned,
    CallNotAuthenticated,
    ConfigError,
    FrazilError,
    NotFound,
    ObjectNotFound,
    PeerUnreachable,
    Unavailable,
    Undecided,
)
from node.http.client import Client
from node.metrics import registry
from tests.component.meta.cluster.conftest import Cluster
from tests.component.meta.conftest import KEY, keep, settings

pytestmark = pytest.mark.slow


def row(key: str, version: int = 0, content: str = "") -> ObjectRow:
    """With a version as gateways draw it: only then can a lost put be told from one that came to nothing."""
    return ObjectRow(key, version=version or time.time_ns() // 1000, size=1, content=content or f"content of {key}", layout=b"x" * 100)


async def until(reached: Callable[[], bool], seconds: float = 15) -> None:
    with trio.fail_after(seconds):
        while not reached():  # noqa: ASYNC110 - what services do in their own time
            await trio.sleep(0.02)


@pytest.fixture
async def container(cluster: Cluster) -> Container:
    await cluster.meta.create_bucket(settings())
    return cluster.meta.container("pictures")


async def set_of(cluster: Cluster) -> str:
    return (await cluster.meta.place("pictures")).set


async def leader_of(cluster: Cluster, of: str) -> str:
    await until(lambda: cluster.leader(of) is not None)
    found = cluster.leader(of)
    assert found is not None
    return found


def base_path(cluster: Cluster, peer: str, of: str, bucket: str = "pictures") -> Path:
    number = container_id(bucket)
    return cluster.folder / peer / of / "container" / number[:3] / f"{number}.db"


def dump(path: Path) -> tuple[Header, list[object]]:
    db = apsw.Connection(str(path), apsw.SQLITE_OPEN_READWRITE)
    db.set_busy_timeout(5_000)  # a snapshot may be being installed
    try:
        return newest(db), [db.execute(f"SELECT * FROM {table}").fetchall() for table in CONTAINER.tables]
    finally:
        db.close()


async def equal(cluster: Cluster, of: str) -> None:
    """Returns when all replicas of the bucket's base are the same."""
    paths = [base_path(cluster, peer, of) for peer in cluster.processes]

    def same() -> bool:
        try:
            return all(path.exists() for path in paths) and all(dump(path) == dump(paths[0]) for path in paths[1:])
        except apsw.Error:  # a snapshot is being installed
            return False

    await until(same)


@pytest.mark.parametrize("bad", [b"\xff", b"[]"])
async def test_documents_that_can_t_be_read_end_no_peer(
    cluster: Cluster, bad: bytes, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    await cluster.meta.create_bucket(settings("b"))
    coordinator, first, *_ = cluster.coordinator, *cluster.processes.values()
    while "set/set-1" not in load(first._options.path).documents:  # noqa: ASYNC110 - in its own time
        await trio.sleep(0.05)
    monkeypatch.setattr("meta.cluster.keepsake.LOOK_S", 0.05)
    for path in ("directory", "epochs", "renewal", "set/set-1", f"peer/{first.peer.name}", "set/set-x", "peer/x"):
        good = await coordinator.read(path)
        await coordinator.announce(path, bad)
        await trio.sleep(0.3)
        await cluster.meta.container("b").put(row(f"k {path}"))
        kept = load(first._options.path).documents
        assert kept.keys() >= {"directory", "set/set-1"}
        for each in kept.values():
            msgspec.json.decode(each.data)  # not what is no JSON
        if good.version:
            await coordinator.announce(path, good.data)
        else:
            await coordinator.withdraw(path)
    await cluster.kill(next(iter(cluster.processes)))
    await cluster.meta.container("b").put(row("after an election"))
    caplog.clear()


async def test_a_copy_of_a_peer_is_refused_beside_it_and_serves_once_that_is_gone(cluster: Cluster) -> None:
    first = next(iter(cluster.processes))
    shutil.copytree(cluster.folder / first, cluster.folder / "copy")
    with pytest.raises(ExceptionGroup) as refused:
        options = MetaOptions(cluster.folder / "copy", "127.0.0.1:9")
        await serve_meta(options, [], coordinator=cluster.coordinator, key=KEY, clock=SystemClock(), drain=trio.Event())
    assert refused.group_contains(ConfigError, match="is a copy of the other's disk", depth=1)
    await cluster.meta.create_bucket(settings("b"))
    await cluster.kill(first)
    await cluster.coordinator.withdraw(f"holder/{(cluster.folder / first / 'peer').read_text().split()[1]}")
    await cluster.start("copy")


async def test_a_disk_of_an_earlier_namespace_of_the_same_name_is_refused(cluster: Cluster) -> None:
    await cluster.meta.create_bucket(settings("b"))
    coordinator, folder = cluster.coordinator, cluster.folder / "old"
    await coordinator.write("namespace", b'{"id":"new"}', version=0)
    serve = partial(serve_meta, MetaOptions(folder, "127.0.0.1:9"), [], coordinator=coordinator, key=KEY, clock=SystemClock())
    folder.mkdir()
    (folder / "keepsake").write_bytes(msgspec.json.encode(Keepsake(0, {"namespace": Document(9, b'{"id":"old"}')})))
    with pytest.raises(ConfigError, match="the namespace old, which had this name and key before; ZooKeeper has new"):
        await serve(drain=trio.Event())
    (folder / "keepsake").write_bytes(msgspec.json.encode(Keepsake(0, {"namespace": Document(9, b'{"id":"new","v":2}')})))
    drain = trio.Event()
    drain.set()
    await serve(drain=drain)


async def test_a_probe_says_of_each_set_of_the_directory_whether_its_leader_answers(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun = trio.current_time()
    with trio.fail_after(30):
        while cluster.meta.oldest_answer(begun)[1] <= begun:
            with suppress(Unavailable):  # nothing is laid out yet
                await cluster.meta.probe(begun)
            await trio.sleep(0.02)
    later, found = trio.current_time(), cluster.coordinator.candidates

    async def cut_off(election: str) -> list[Candidate]:
        return [Candidate("gone", "127.0.0.1:9")] if election == "set-2" else await found(election)

    monkeypatch.setattr(cluster.coordinator, "candidates", cut_off)
    cluster.meta._leaders.clear()
    with trio.fail_after(30):
        while any(at < later for name, at in cluster.meta._answered.items() if name != "set-2"):
            with trio.move_on_after(1):
                await cluster.meta.probe(later)
    of, at = cluster.meta.oldest_answer(begun)
    assert (of, at < later) == ("set-2", True)


async def test_what_was_put_is_there_at_every_peer(cluster: Cluster, container: Container) -> None:
    await container.put(row("a"))
    assert (await container.get("a")).content == "content of a"
    assert [entry.bucket for entry in await cluster.meta.accounts.buckets("ann")] == ["pictures"]
    assert await cluster.meta.dirty_containers() == ["pictures"]
    await equal(cluster, await set_of(cluster))


async def test_buckets_come_and_go_and_come_again(cluster: Cluster, container: Container) -> None:
    with pytest.raises(BucketOwned):
        await cluster.meta.create_bucket(settings())
    await container.put(row("a"))
    with pytest.raises(BucketNotEmpty):
        await cluster.meta.remove_bucket("pictures")
    await container.delete(DeleteRequest("a"))
    await cluster.meta.remove_bucket("pictures")
    with pytest.raises(BucketNotFound):
        await container.settings()
    with pytest.raises(BucketNotFound):
        await cluster.meta.container("never").get("a")
    await cluster.meta.create_bucket(settings())
    assert (await container.list(ListRequest())).rows == []
    await keep(cluster.meta)


async def test_another_leads_on_when_the_leader_dies_and_the_dead_one_catches_up(cluster: Cluster, container: Container) -> None:
    of = await set_of(cluster)
    await container.put(row("before"))
    dead = await leader_of(cluster, of)
    await cluster.kill(dead)
    await container.put(row("after"))
    assert (await container.get("before")).key == "before"
    assert await leader_of(cluster, of) != dead
    await cluster.start(dead)
    await equal(cluster, of)


async def test_a_peer_that_missed_too_much_gets_a_snapshot(cluster: Cluster, container: Container, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("meta.writer.ENTRIES_MAX", 8)
    of = await set_of(cluster)
    leader = await leader_of(cluster, of)
    away = next(peer for peer in cluster.processes if peer != leader)
    await cluster.kill(away)
    for number in range(30):
        await container.put(row(f"{number}"))
    await cluster.start(away)
    await equal(cluster, of)
    await until(lambda: not list((cluster.folder / away / of / "transfer").iterdir()))


async def test_bases_that_nobody_uses_reach_a_peer_that_was_away(cluster: Cluster) -> None:
    away = "c"
    await until(lambda: len(cluster.processes["a"].members) == 3)
    await cluster.kill(away)
    names = [f"bucket-{number}" for number in range(8)]
    for name in names:
        await cluster.meta.create_bucket(settings(name))
    await cluster.start(away)
    await until(lambda: all(any((cluster.folder / away).glob(f"*/container/*/{container_id(name)}.db")) for name in names), 30)


async def test_a_minority_neither_writes_nor_stays_leader(cluster: Cluster, container: Container) -> None:
    of = await set_of(cluster)
    leader = await leader_of(cluster, of)
    for peer in [peer for peer in cluster.processes if peer != leader]:
        await cluster.kill(peer)
    cluster.meta._patience_s = 1.0
    name, labels = "frazil_meta_quorum_failures_total", {"set": of}
    failed = registry().get_sample_value(name, labels) or 0.0
    with pytest.raises(Unavailable):
        await container.put(row("lost"))
    await until(lambda: cluster.processes[leader].members[of].reign is None)
    assert (registry().get_sample_value(name, labels) or 0.0) > failed
    with pytest.raises(Unavailable):
        await container.get("a")


async def test_a_damaged_replica_is_set_aside_and_replaced(cluster: Cluster, container: Container) -> None:
    of = await set_of(cluster)
    await container.put(row("a"))
    await equal(cluster, of)
    leader = await leader_of(cluster, of)
    other = next(peer for peer in cluster.processes if peer != leader)
    db = apsw.Connection(str(base_path(cluster, other, of)))
    db.set_busy_timeout(5_000)
    db.execute("UPDATE objects SET size = 7; DELETE FROM stale_records")
    db.close()
    await container.delete(DeleteRequest("a"))
    await keep(cluster.meta)
    await container.put(row("b"))
    await equal(cluster, of)
    await until(lambda: not base_path(cluster, other, of).with_suffix(".db.damaged").exists())


async def test_a_leader_leaves_in_good_order_while_it_is_written(cluster: Cluster, container: Container) -> None:
    of = await set_of(cluster)
    before = await leader_of(cluster, of)
    written = 0

    async def write(number: int) -> None:
        nonlocal written
        for count in range(20):
            await container.put(row(f"{number}-{count}", content=f"{number}-{count}"))
            written += 1

    async with trio.open_nursery() as nursery:
        for number in range(8):
            nursery.start_soon(write, number)
        await until(lambda: written > 20)
        epoch = cluster.processes[before].members[of].promise.epoch
        assert cluster.processes[before].members[of].leave()
    assert max(process.members[of].promise.epoch for process in cluster.processes.values()) > epoch
    assert (await container.counters()).classes["STANDARD"][0] == 160
    await equal(cluster, of)


async def test_a_put_asked_again_tells_what_came_of_it(cluster: Cluster, container: Container) -> None:
    first = await container.put(row("a", content="first"))
    assert (await container.put_again(row("a", content="first"))).version == first.version
    with pytest.raises(Undecided):
        await container.put_again(row("a", version=first.version, content="another"))
    later = await container.put_again(row("a", version=first.version + 1, content="another"))
    assert later.version == first.version + 1


async def test_a_peer_takes_the_place_of_another_while_all_is_read_and_written(cluster: Cluster, container: Container) -> None:
    of = await set_of(cluster)
    await container.put(row("a"))
    await cluster.start("d")
    roster = cluster.processes["a"].roster
    await until(lambda: len(roster.peers) == 4)
    new = cluster.processes["d"].peer.name
    before = roster.sets[of]
    gone = before.peers[0]
    wanted = (*before.peers[1:], new)
    used, moved = 0, False

    async def use() -> None:
        nonlocal used
        while not moved:
            await container.put(row("used", content=str(used)))
            assert (await container.get("used")).content == str(used)
            used += 1

    async with trio.open_nursery() as nursery:
        nursery.start_soon(use)
        await roster.change_set(of, before, PeerSet(before.peers, wanted))
        await until(lambda: roster.sets[of] == PeerSet(wanted), 40)
        moved = True
    assert used > 1
    await container.put(row("b"))
    assert (await container.get("a")).key == "a"
    left = next(name for name, process in cluster.processes.items() if process.peer.name == gone)
    await until(lambda: of not in cluster.processes[left].members)
    paths = [base_path(cluster, name, of) for name in cluster.processes if name != left]
    await until(lambda: all(path.exists() for path in paths) and all(dump(path) == dump(paths[0]) for path in paths[1:]))


async def test_a_peer_stays_until_the_one_in_its_place_has_everything(
    cluster: Cluster, container: Container, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else the set stands on two replicas meanwhile, and the loss of one more host takes its bases away."""
    of = await set_of(cluster)
    await container.put(row("a"))
    await cluster.start("d")
    roster, new = cluster.processes["a"].roster, cluster.processes["d"].peer.name
    await until(lambda: len(roster.peers) == 4)
    before, held, pull = roster.sets[of], True, Member.pull

    async def slow(self: Member, base: str, epoch: int, source: str) -> Standing:
        if held and self.own.name == new:
            raise Behind("its disk is slow")
        return await pull(self, base, epoch, source)

    monkeypatch.setattr(Member, "pull", slow)
    wanted = (*before.peers[1:], new)
    await roster.change_set(of, before, PeerSet(before.peers, wanted))
    await until(lambda: roster.sets[of].peers == (*before.peers, new), 30)
    await until(lambda: cluster.leader(of) is not None)
    await trio.sleep(1.5)  # many steps' time
    assert roster.sets[of].peers == (*before.peers, new)
    held = False
    await until(lambda: roster.sets[of] == PeerSet(wanted), 40)


async def test_nobody_leaves_for_a_peer_that_is_away_and_the_change_can_be_taken_back(cluster: Cluster, container: Container) -> None:
    of = await set_of(cluster)
    await container.put(row("a"))
    roster = cluster.processes["a"].roster
    before = roster.sets[of]
    moved = wanted_change(before, before.peers[2], "lost")
    await roster.change_set(of, before, moved)
    await until(lambda: roster.sets[of] == moved)
    await trio.sleep(1.0)
    assert roster.sets[of] == moved
    await roster.change_set(of, moved, wanted_change(moved, "lost", before.peers[2]))
    await until(lambda: roster.sets[of] == before)


async def test_a_new_peer_gets_sets_of_its_own_and_new_containers(cluster: Cluster, container: Container) -> None:
    before = dict(cluster.processes["a"].roster.sets)
    await cluster.start("d")
    await until(lambda: len(cluster.processes["d"].members) > 0, 30)
    after = cluster.processes["d"].roster.sets
    assert {name: after[name] for name in before} == before
    (added,) = set(after) - set(before)
    for number in range(24):
        await cluster.meta.create_bucket(settings(f"bucket-{number}"))
    assert (await cluster.meta.place("pictures")).set in before
    places = [(await cluster.meta.place(f"bucket-{number}")).set for number in range(24)]
    assert added in places


def test_a_snapshot_is_looked_at_before_it_is_trusted(tmp_path: Path) -> None:
    (tmp_path / "torn").write_bytes(os.urandom(8192))
    with pytest.raises(BaseCorrupt):
        check_snapshot(tmp_path / "torn", CONTAINER, Header(1, 1))


async def test_a_missing_key_is_missing_at_once(container: Container) -> None:
    with pytest.raises(ObjectNotFound):
        await container.get("missing")


async def test_a_damaged_leader_lets_another_lead_and_is_replaced(cluster: Cluster, container: Container) -> None:
    of = await set_of(cluster)
    for number in range(50):
        await container.put(row(f"{number:02}", content="x" * 1000))
    await equal(cluster, of)
    leader = await leader_of(cluster, of)
    path = base_path(cluster, leader, of)
    base, _ = cluster.processes[leader].members[of].bases.replica(container_base("pictures"))
    await base.checkpoint()
    with path.open("r+b") as file:
        for page in range(1, path.stat().st_size // 4096):
            file.seek(page * 4096)
            file.write(b"\xff" * 16)
    base.forget_reader()
    assert len((await container.list(ListRequest())).rows) == 50
    await container.put(row("b"))
    await equal(cluster, of)
    await until(lambda: not path.with_suffix(".db.damaged").exists())


async def test_a_leader_whose_record_of_opened_buckets_is_damaged_leaves_once_and_leads_again(
    cluster: Cluster, container: Container, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("meta.cluster.care.SPREAD_S", 0.3)
    of = await set_of(cluster)
    await until(lambda: cluster.leader(of) is not None and cluster.leader(of) == first_of(cluster, of))
    leader = first_of(cluster, of)
    path = cluster.folder / leader / of / "meta1" / "opened.db"
    await container.put(row("a"))
    await cluster.kill(leader)
    db = apsw.Connection(str(path))
    db.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)
    root = db.execute("SELECT rootpage FROM sqlite_master WHERE name = 'opened'").get
    size = db.execute("PRAGMA page_size").get
    db.close()
    with path.open("r+b") as file:
        file.seek((root - 1) * size)
        file.write(b"\xff" * size)
    process = await cluster.start(leader)
    await until(lambda: of in process.members and process.members[of].reign is not None, 30)
    reign = process.members[of].reign
    await container.put(row("b"))
    await trio.sleep(1)
    assert process.members[of].reign is reign, "the lead goes to and fro"
    await until(lambda: not path.with_suffix(".db.damaged").exists())
    assert await cluster.meta.dirty_containers() == ["pictures"]


def first_of(cluster: Cluster, of: str) -> str:
    """The peer that is to lead the set."""
    first = next(iter(cluster.processes.values())).roster.sets[of].peers[0]
    return next(name for name, process in cluster.processes.items() if process.peer.name == first)


async def test_a_replica_that_cannot_be_opened_is_replaced_although_nobody_writes(
    cluster: Cluster, container: Container, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("meta.cluster.care.SPREAD_S", 3600.0)  # no new leader comes and asks
    of = await set_of(cluster)
    await container.put(row("a"))
    await equal(cluster, of)
    leader = await leader_of(cluster, of)
    away = next(peer for peer in cluster.processes if peer != leader)
    await cluster.kill(away)
    path = base_path(cluster, away, of)
    for suffix in ("-wal", "-shm"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)
    path.write_bytes(b"\xff" * 8192)
    await cluster.start(away)
    await until(lambda: path.exists() and path.read_bytes()[:6] == b"SQLite")
    await equal(cluster, of)


async def test_a_bucket_that_is_made_while_a_leader_looks_for_work_does_not_break_the_look(scratch: Path) -> None:
    """Bases are taken over for it, which takes a while after an election."""
    coming: list[str] = []

    async def lead(_base: str, *, create: bool = False) -> None:
        if coming:
            await bases.container(coming.pop()).create(settings("later"))

    async with local.kept(SetBases(scratch, key=KEY, clock=SystemClock(), committer=LocalCommit(), lead=lead)) as bases:
        await bases.container("sooner").create(settings("sooner"))
        coming.append("later")
        assert set(await bases.dirty_containers()) == {"sooner", "later"}


@pytest.mark.parametrize(
    "refusal",
    [CallNotAuthenticated("too many calls to remember; try again later"), NotFound("no such call: this host is still to be upgraded")],
    ids=lambda refusal: type(refusal).__name__,
)
async def test_a_refusal_after_a_lost_answer_leaves_a_write_undecided(
    cluster: Cluster, container: Container, monkeypatch: pytest.MonkeyPatch, refusal: FrazilError
) -> None:
    """The refused call says nothing of the one before, which was carried out."""
    await container.put(row("first"))
    calls = 0

    async def lossy(*call: Any, **named: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == 1:
            await post(*call, **named)
            raise PeerUnreachable("the answer was lost")
        raise refusal

    monkeypatch.setattr("meta.cluster.routing.post", lossy)
    with pytest.raises(Undecided):
        await container.put(row("a"))
    monkeypatch.setattr("meta.cluster.routing.post", post)
    assert (await container.get("a")).key == "a"


class Lossy:
    """The next write through it is lost with its leader: the call, or only the answer; others write before it is made again."""

    def __init__(self, cluster: Cluster, container: Container, monkeypatch: pytest.MonkeyPatch) -> None:
        self._cluster = cluster
        self._container = container
        self._monkeypatch = monkeypatch

    async def lose(self, *, carried_out: bool, meanwhile: Callable[[], Awaitable[object]]) -> None:
        of = await set_of(self._cluster)

        async def lossy(*call: Any, **named: Any) -> Any:
            self._monkeypatch.setattr("meta.cluster.routing.post", post)
            if carried_out:
                await post(*call, **named)
            await meanwhile()
            leader = await leader_of(self._cluster, of)
            epoch = self._cluster.processes[leader].members[of].promise.epoch
            assert self._cluster.processes[leader].members[of].leave()
            with trio.fail_after(15):
                while all(each.members[of].promise.epoch == epoch for each in self._cluster.processes.values()):  # noqa: ASYNC110
                    await trio.sleep(0.02)
            raise PeerUnreachable("the leader is lost")

        self._monkeypatch.setattr("meta.cluster.routing.post", lossy)


@pytest.fixture
def lossy(cluster: Cluster, container: Container, monkeypatch: pytest.MonkeyPatch) -> Lossy:
    return Lossy(cluster, container, monkeypatch)


@pytest.mark.parametrize("carried_out", [False, True])
async def test_a_put_lost_with_its_leader_is_made_once_although_others_wrote_since(
    container: Container, lossy: Lossy, carried_out: bool
) -> None:
    await container.put(row("a", content="before"))
    mine = row("a", content="mine")

    async def others() -> None:
        await container.put(row("b"))
        if carried_out:
            await container.put(row("a", content="theirs"))

    await lossy.lose(carried_out=carried_out, meanwhile=others)
    answer = await container.put(mine)
    assert (await container.get("a")).content == ("theirs" if carried_out else "mine")
    assert answer.version == mine.version or not carried_out


@pytest.mark.parametrize("carried_out", [False, True])
async def test_a_delete_lost_with_its_leader_is_made_once(container: Container, lossy: Lossy, carried_out: bool) -> None:
    await container.put(row("a", content="before"))

    async def others() -> None:
        await container.put(row("b"))
        if carried_out:
            await container.put(row("a", content="theirs"))

    await lossy.lose(carried_out=carried_out, meanwhile=others)
    assert (await container.delete(DeleteRequest("a"))).version
    if carried_out:
        assert (await container.get("a")).content == "theirs"
    else:
        with pytest.raises(ObjectNotFound):
            await container.get("a")


async def test_a_call_is_undecided_when_the_log_does_not_reach_back_to_it(
    cluster: Cluster, container: Container, lossy: Lossy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("meta.writer.ENTRIES_MAX", 8)
    await container.put(row("a"))

    async def others() -> None:
        for _ in range(20):
            await container.put(row("b"))

    await lossy.lose(carried_out=True, meanwhile=others)
    with pytest.raises(Undecided):
        await container.delete(DeleteRequest("a"))


@pytest.fixture
def first_answer_lost(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Of each creation and removal of a bucket; the repeat reaches a leader that knows nothing of the first call."""
    lost: list[str] = []

    async def lossy(client: Client, address: str, target: bytes, method: Method, body: bytes, **named: Any) -> Any:
        if method.name in BIRTHS and target.endswith(b"/meta/" + method.name.encode()):
            other = target.replace(target.split(b"/")[3], os.urandom(16).hex().encode())
            answer = await post(client, address, other, method, body, **named)
            if len(lost) % 2 == 0:
                lost.append(method.name)
                raise PeerUnreachable("the answer was lost")
            lost.append("answered")
            return answer
        return await post(client, address, target, method, body, **named)

    monkeypatch.setattr("meta.cluster.routing.post", lossy)
    return lost


async def test_a_creation_and_a_removal_whose_answers_were_lost_are_answered_when_asked_again(
    cluster: Cluster, first_answer_lost: list[str]
) -> None:
    cluster.meta._patience_s = 5.0
    await cluster.meta.create_bucket(settings())
    assert first_answer_lost == ["create_bucket"], "the repeat was refused, for the bucket is there"
    first_answer_lost.clear()
    await cluster.meta.remove_bucket("pictures")
    assert first_answer_lost == ["remove_bucket"]
    with pytest.raises(BucketNotFound):
        await cluster.meta.container("pictures").settings()


async def test_a_second_bucket_of_a_name_is_refused_also_after_a_lost_answer(cluster: Cluster, first_answer_lost: list[str]) -> None:
    cluster.meta._patience_s = 5.0
    await cluster.meta.create_bucket(settings())
    first_answer_lost.clear()
    with pytest.raises(BucketOwned):
        await cluster.meta.create_bucket(msgspec.structs.replace(settings(), created_us=2_000_000))


async def test_a_removal_asked_again_spares_a_bucket_that_took_the_name(cluster: Cluster, container: Container) -> None:
    made_us = (await container.settings()).created_us
    with pytest.raises(BucketNotFound):
        await cluster.meta.remove_bucket("pictures", created_us=made_us + 1)
    assert (await container.settings()).created_us == made_us
    await cluster.meta.remove_bucket("pictures", created_us=made_us)


async def test_a_peer_that_comes_back_elsewhere_is_found(cluster: Cluster, container: Container) -> None:
    """Before anybody saw that it was away."""
    name = cluster.processes["a"].peer.name
    there = cluster.processes["b"].roster
    await until(lambda: name in there.peers)
    await cluster.coordinator.announce(f"peer/{name}", msgspec.json.encode(Peer(name, "127.0.0.1:9")))
    await until(lambda: there.address(name) == "127.0.0.1:9")


async def set_up_anew(cluster: Cluster, names: str = "abc", *, copy: tuple[dict[str, Document], int] = ({}, 0)) -> None:
    """ZooKeeper lost everything, or what came since the copy; the services begin again with nothing but their disks."""
    for name in list(cluster.processes):
        await cluster.kill(name)
    cluster.coordinator.lose_all(copy)
    for name in names:
        await cluster.start(name)


async def kept(cluster: Cluster, document: str = "directory") -> None:
    """Until every peer has noted it."""
    await until(lambda: all(document in load(cluster.folder / name).documents for name in cluster.processes))


async def test_a_zookeeper_that_lost_everything_is_given_back_what_peers_kept(cluster: Cluster, container: Container) -> None:
    await container.put(row("a"))
    await cluster.coordinator.write("settings", b'"policies and pools"', version=0)
    of = await set_of(cluster)
    before = dict(cluster.processes["a"].roster.sets)
    await kept(cluster, "settings")
    epoch = max(process.members[of].promise.epoch for process in cluster.processes.values())
    await set_up_anew(cluster)
    assert (await container.get("a")).key == "a"
    await container.put(row("b"))
    assert cluster.processes["a"].roster.sets == before
    assert (await cluster.coordinator.read("settings")).data == b'"policies and pools"'
    assert cluster.processes[await leader_of(cluster, of)].members[of].promise.epoch > epoch
    await equal(cluster, of)


async def test_an_empty_zookeeper_is_not_filled_without_a_majority_of_those_that_know(cluster: Cluster, container: Container) -> None:
    """New peers would lay out a new namespace, and serve nothing of the old one."""
    await container.put(row("a"))
    await kept(cluster)
    await set_up_anew(cluster, "ade")
    cluster.meta._patience_s = 2.0
    with pytest.raises(Unavailable):
        await container.get("a")
    assert not (await cluster.coordinator.read("directory")).version
    cluster.meta._patience_s = 20.0
    await cluster.start("b")
    assert (await container.get("a")).key == "a"


async def test_a_namespace_is_given_back_over_what_a_crash_left_half_done(cluster: Cluster, container: Container) -> None:
    await container.put(row("a"))
    await kept(cluster)
    for name in list(cluster.processes):
        await cluster.kill(name)
    cluster.coordinator.lose_all()
    await cluster.coordinator.write("epochs", msgspec.json.encode({"floor": 1}), version=0)
    await cluster.coordinator.write("set/set-1", msgspec.json.encode(PeerSet(("stranger",))), version=0)
    for name in "abc":
        await cluster.start(name)
    assert (await container.get("a")).key == "a"


async def test_epochs_that_a_zookeeper_from_an_old_copy_would_give_again_are_passed_over(cluster: Cluster, container: Container) -> None:
    of = await set_of(cluster)
    await container.put(row("a"))
    await kept(cluster)
    copy = cluster.coordinator.copied()
    for _ in range(3):
        leader = await leader_of(cluster, of)
        epoch = cluster.processes[leader].members[of].promise.epoch
        assert cluster.processes[leader].members[of].leave()
        await until(lambda epoch=epoch: cluster.leader(of) is not None and promised(cluster, of) > epoch)  # type: ignore[misc]
    await container.put(row("b"))
    epoch = promised(cluster, of)
    cluster.coordinator.lose_all(copy)  # the services run on
    for process in cluster.processes.values():
        await cluster.coordinator.announce(f"peer/{process.peer.name}", msgspec.json.encode(process.peer))
    assert (await container.get("b")).key == "b"
    await container.put(row("c"))
    await until(lambda: promised(cluster, of) > epoch)
    await equal(cluster, of)


def promised(cluster: Cluster, of: str) -> int:
    return max(process.members[of].promise.epoch for process in cluster.processes.values() if of in process.members)


async def test_peers_and_settings_are_those_of_before_when_zookeeper_is_set_up_from_an_old_copy(
    cluster: Cluster, container: Container
) -> None:
    """Else those who were peers then, and missed what was written since, would lead."""
    of = await set_of(cluster)
    await container.put(row("a"))
    await cluster.coordinator.write("settings", b'"old"', version=0)
    await kept(cluster, "settings")
    copy = cluster.coordinator.copied()
    await cluster.start("d")
    roster = cluster.processes["a"].roster
    await until(lambda: len(roster.peers) == 4)
    before = roster.sets[of]
    gone = before.peers[0]
    away = next(name for name, process in cluster.processes.items() if process.peer.name == gone)
    new = cluster.processes["d"].peer.name
    await roster.change_set(of, before, PeerSet(before.peers, (*before.peers[1:], new)))
    await until(lambda: set(roster.sets[of].peers) == {*before.peers[1:], new}, 30)
    await cluster.coordinator.write("settings", b'"new"', version=(await cluster.coordinator.read("settings")).version)
    await container.put(row("b"))
    await until(lambda: all(load(cluster.folder / name).documents["settings"].data == b'"new"' for name in cluster.processes))
    stays = [name for name in cluster.processes if name not in (away, "d")]
    await set_up_anew(cluster, f"{away}{stays[0]}", copy=(copy[0], copy[1] + 1_000))  # a majority of the peers of then
    cluster.meta._patience_s = 3.0
    with pytest.raises(Unavailable):
        await container.get("b")
    cluster.meta._patience_s = 20.0
    await cluster.start("d")
    assert (await container.get("b")).key == "b"
    there = cluster.processes["d"].roster
    assert set(there.sets[of].peers) == {*before.peers[1:], new}
    assert (await cluster.coordinator.read("settings")).data == b'"new"'
