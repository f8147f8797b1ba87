"""What every Coordinator does; and what only ZooKeeper can do to one."""

from __future__ import annotations

import signal
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager, aclosing, asynccontextmanager
from functools import partial
from pathlib import Path

import pytest
import trio
from kazoo.client import KazooClient

from meta.coordinator import DOCUMENT_BYTES_MAX, Candidate, Coordinator, Document, LocalCoordinator, Mandate
from meta.zookeeper import ZooKeeper, open_zookeeper
from node.auth import NamespaceKey
from node.clock import SystemClock
from node.errors import ConfigError, DeadlineExceeded, InvalidArgument, PeerUnreachable, StillInUse, Superseded
from tests.component.meta.conftest import KEY
from tests.conftest import SCALE
from tests.support.zookeeper import ZooKeeperServer, hosts, zookeeper

SESSION_S = 1.5
pytestmark = pytest.mark.slow

Open = Callable[[], AbstractAsyncContextManager[Coordinator]]


@pytest.fixture(scope="module")
def server() -> Iterator[ZooKeeperServer]:
    with tempfile.TemporaryDirectory(prefix="frazil-test-") as folder, zookeeper(Path(folder)) as servers:
        yield servers[0]


def connect(
    servers: list[ZooKeeperServer], namespace: str, key: NamespaceKey = KEY, session_s: float = SESSION_S
) -> AbstractAsyncContextManager[ZooKeeper]:
    return open_zookeeper(hosts(servers), namespace, key=key, clock=SystemClock(), session_s=session_s)


@pytest.fixture(params=["local", "zookeeper"])
def open_coordinator(request: pytest.FixtureRequest, server: ZooKeeperServer, seed: str) -> Open:
    """Each opened one is a process of its own, in the same namespace."""
    if request.param == "local":
        shared = LocalCoordinator()

        @asynccontextmanager
        async def local() -> AsyncIterator[Coordinator]:
            yield shared

        return local
    namespace = request.node.name.replace("[", "-").replace("]", "")
    return lambda: connect([server], namespace)


async def until(reached: Callable[[], Awaitable[bool]]) -> None:
    while not await reached():  # noqa: ASYNC110 - what another server says, with no event here
        await trio.sleep(0.02)


def someone(name: str) -> Candidate:
    return Candidate(name, f"{name}.example:6000")


async def two_stand(one: Coordinator) -> bool:
    return len(await one.candidates("shard-1")) == 2


async def trusted(mandate: Mandate) -> bool:
    return mandate.trusted or mandate.lost


async def test_the_next_candidate_leads_in_a_greater_epoch_when_the_first_resigns(open_coordinator: Open) -> None:
    async with open_coordinator() as one, open_coordinator() as other:
        first = await one.campaign("shard-1", someone("a"))
        won: list[Mandate] = []

        async def run() -> None:
            won.append(await other.campaign("shard-1", someone("b")))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(run)
            await until(partial(two_stand, one))
            assert await other.candidates("shard-1") == [someone("a"), someone("b")]
            assert first.trusted
            assert not first.lost
            assert not won
            await first.resign()
            assert first.lost
            assert not first.trusted
        assert won[0].epoch > first.epoch
        assert await one.newest_epoch() >= won[0].epoch
        assert won[0].trusted
        assert await one.candidates("shard-1") == [someone("b")]
        assert await one.elections() == ["shard-1"]


async def test_who_gives_up_waiting_leaves_the_queue(open_coordinator: Open) -> None:
    async with open_coordinator() as one:
        first = await one.campaign("shard-1", someone("a"))
        with trio.move_on_after(0.3):
            await one.campaign("shard-1", someone("b"))
        assert await one.candidates("shard-1") == [someone("a")]
        await first.resign()
        again = await one.campaign("shard-1", someone("a"))
        assert again.epoch > first.epoch


async def test_elections_are_independent(open_coordinator: Open) -> None:
    async with open_coordinator() as one:
        mandates = [await one.campaign(name, someone("a")) for name in ("x", "y")]
        await mandates[0].resign()
        assert mandates[1].trusted
        assert not mandates[1].lost


async def test_a_document_is_written_only_in_place_of_the_version_that_was_read(open_coordinator: Open) -> None:
    async with open_coordinator() as one, open_coordinator() as other:
        assert await one.read("settings") == Document(0)
        made = await one.write("settings", b"1", version=0)
        assert await other.read("settings") == made
        with pytest.raises(Superseded):
            await other.write("settings", b"2", version=0)
        changed = await other.write("settings", b"2", version=made.version)
        assert changed.version > made.version
        for version in (0, made.version):
            with pytest.raises(Superseded):
                await one.write("settings", b"3", version=version)
            with pytest.raises(Superseded):
                await one.remove("settings", version=version)
        await one.remove("settings", version=changed.version)
        again = await one.write("settings", b"4", version=0)
        assert again.version > changed.version
        with pytest.raises(InvalidArgument):
            await one.write("settings", bytes(DOCUMENT_BYTES_MAX + 1), version=again.version)


async def test_who_watches_sees_the_last_change_of_a_document_and_of_a_folder(open_coordinator: Open) -> None:
    async with open_coordinator() as one, open_coordinator() as other:
        async with aclosing(one.watch("lock/rawx-1")) as documents, aclosing(one.watch_names("lock")) as folders:
            assert await anext(documents) == Document(0)
            assert await anext(folders) == []
            made = await other.write("lock/rawx-1", b"1", version=0)
            assert await anext(documents) == made
            assert await anext(folders) == ["rawx-1"]
            changed = await other.write("lock/rawx-1", b"2", version=made.version)
            assert await anext(documents) == changed
            await other.remove("lock/rawx-1", version=changed.version)
            assert await anext(documents) == Document(0)
            assert await anext(folders) == []


async def test_an_announcement_replaces_the_one_before(open_coordinator: Open) -> None:
    async with open_coordinator() as one, open_coordinator() as other:
        await one.announce("service/a", b"1")
        await one.announce("service/a", b"2")
        assert (await other.read("service/a")).data == b"2"
        assert await other.names("service") == ["a"]


async def test_what_one_process_occupies_no_other_does_beside_it(open_coordinator: Open) -> None:
    async with open_coordinator() as one, open_coordinator() as two, trio.open_nursery() as nursery:
        await nursery.start(one.occupy, "holder/a", b"here")
        with trio.fail_after(10), pytest.raises(StillInUse, match="here"):
            await two.occupy("holder/a", b"there")
        assert (await two.read("holder/a")).data == b"here"
        nursery.cancel_scope.cancel()


async def test_what_was_occupied_is_free_when_its_process_is_gone(server: ZooKeeperServer) -> None:
    async with connect([server], "occupied") as two, trio.open_nursery() as nursery:
        async with connect([server], "occupied") as one, trio.open_nursery() as first:
            await first.start(one.occupy, "holder/a", b"here")
            waiting = partial(nursery.start, two.occupy, "holder/a", b"there")
            nursery.start_soon(waiting)
            await trio.sleep(0.3)
            first.cancel_scope.cancel()
        with trio.fail_after(10):
            await until(lambda: _has(two, "holder/a", b"there"))
        nursery.cancel_scope.cancel()


async def test_what_an_earlier_process_in_the_same_place_left_is_taken_over_at_once(server: ZooKeeperServer) -> None:
    async with connect([server], "again", session_s=30) as killed, connect([server], "again") as two:
        async with trio.open_nursery() as nursery:
            await nursery.start(killed.occupy, "holder/a", b"here")
            nursery.cancel_scope.cancel()
        async with trio.open_nursery() as nursery:
            with trio.fail_after(2):
                await nursery.start(two.occupy, "holder/a", b"here")
            nursery.cancel_scope.cancel()


async def _has(coordinator: Coordinator, name: str, data: bytes) -> bool:
    return (await coordinator.read(name)).data == data


async def test_what_a_process_led_and_announced_ends_with_it(server: ZooKeeperServer) -> None:
    async with connect([server], "ending") as stays:
        async with connect([server], "ending") as leaves:
            first = await leaves.campaign("shard-1", someone("a"))
            await leaves.announce("service/a", b"1")
        assert first.lost
        assert (await stays.campaign("shard-1", someone("b"))).epoch > first.epoch
        assert await stays.names("service") == []


async def test_another_key_is_refused_and_sees_nothing(server: ZooKeeperServer) -> None:
    async with connect([server], "guarded") as owner:
        await owner.write("settings", b"secret", version=0)
        with pytest.raises(ConfigError):
            async with connect([server], "guarded", NamespaceKey(bytes(32))):
                pass


async def test_names_cannot_leave_the_namespace(server: ZooKeeperServer) -> None:
    async with connect([server], "names") as one:
        for name in ("", "..", "a/../..", "a/b/c", "/a", "a b"):
            with pytest.raises(InvalidArgument):
                await one.read(name)


async def test_the_session_is_as_long_as_the_servers_allow(server: ZooKeeperServer) -> None:
    async with connect([server], "long", session_s=1000) as one:
        assert one.session_s == 60


async def test_a_leader_that_cannot_reach_zookeeper_is_not_trusted_after_its_lease_and_leads_on_when_it_came_back_in_time(
    scratch: Path,
) -> None:
    with zookeeper(scratch) as servers:
        async with connect(servers, "lease", session_s=4) as one:
            mandate = await one.campaign("shard-1", someone("a"))
            servers[0].send(signal.SIGSTOP)
            await trio.sleep(0.5)
            assert mandate.trusted
            await trio.sleep(2.8)
            assert not mandate.trusted
            assert not mandate.lost
            servers[0].send(signal.SIGCONT)
            with trio.fail_after(3):
                await until(partial(trusted, mandate))
            assert not mandate.lost


def end_session(one: ZooKeeper) -> None:
    """As ZooKeeper does when it heard nothing for the time-out: by a second connection that takes the session over and closes it."""
    client = one._client
    thief = KazooClient(hosts=one._hosts, client_id=client.client_id)
    thief.start()
    thief.stop()
    thief.close()


async def test_a_session_that_ended_takes_its_mandates_and_gives_its_announcements_again(server: ZooKeeperServer) -> None:
    async with connect([server], "expiry") as one, connect([server], "expiry") as other:
        mandate = await one.campaign("shard-1", someone("a"))
        await one.announce("service/a", b"1")
        made = await other.read("service/a")
        await trio.to_thread.run_sync(end_session, one)
        with trio.fail_after(5):
            await mandate.wait_lost()
            assert not mandate.trusted
            async with aclosing(other.watch("service/a")) as seen:
                async for document in seen:
                    if document.data == b"1" and document.version > made.version:
                        break
            again = await one.campaign("shard-1", someone("a"))
        assert again.epoch > mandate.epoch
        assert again.trusted


async def test_calls_fail_in_bounded_time_while_no_server_answers(scratch: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("meta.zookeeper.CALL_S", 1.0)
    with zookeeper(scratch) as servers:
        async with connect(servers, "away", session_s=1) as one:
            await one.write("settings", b"1", version=0)
            servers[0].stop()
            with pytest.raises((PeerUnreachable, DeadlineExceeded)), trio.fail_after(4):
                while True:
                    await one.read("settings")
            servers[0].start()
            await trio.to_thread.run_sync(servers[0].wait_ready)
            with trio.fail_after(10):
                while True:
                    try:
                        assert (await one.read("settings")).data == b"1"
                        break
                    except PeerUnreachable:
                        await trio.sleep(0.05)


@pytest.mark.skipif(SCALE <= 1, reason="tests/cluster/meta has it as well: FRAZIL_TEST_SCALE above 1")
async def test_three_servers_go_on_without_one(scratch: Path) -> None:
    with zookeeper(scratch, 3) as servers:
        async with connect(servers, "ensemble", session_s=4) as one:
            mandate = await one.campaign("shard-1", someone("a"))
            next(server for server in servers if server.mode() == "leader").stop()
            with trio.fail_after(20):
                while True:
                    try:
                        found = await one.read("settings")
                        await one.write("settings", b"1", version=found.version)
                        break
                    except (PeerUnreachable, Superseded):
                        await trio.sleep(0.05)
                await until(partial(trusted, mandate))


async def test_servers_that_lost_everything_are_used_as_new_ones(scratch: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They know neither session nor folders, and refuse at first whoever saw later transactions than they have."""
    monkeypatch.setattr("meta.zookeeper.REFUSED_SESSIONS", 0.2)
    with zookeeper(scratch) as servers:
        async with connect(servers, "wiped", session_s=0.5) as one:
            await one.announce("peer/a", b"here")
            first = await one.campaign("shard-1", someone("a"))
            for _ in range(20):  # so that the new servers are behind
                await one.write("settings", b"old", version=(await one.read("settings")).version)
            servers[0].stop()
            servers[0].wipe()
            servers[0].start()
            servers[0].wait_ready()
            with trio.fail_after(60):
                await first.wait_lost()
                second = await one.campaign("shard-1", someone("a"))
                await until(lambda: trusted(second))
                assert second.trusted
                assert (await one.read("settings")).version == 0
                async with connect(servers, "wiped") as other:
                    await until(lambda: announced(other))
                await one.write("epochs", b'{"floor": 1000000}', version=0)
                await second.resign()
                assert (await one.campaign("shard-1", someone("a"))).epoch > 1_000_000


async def test_servers_that_went_back_to_an_old_copy_give_lower_epochs_and_keep_no_candidacy_of_then(
    scratch: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("meta.zookeeper.REFUSED_SESSIONS", 0.2)
    with zookeeper(scratch) as servers:
        async with connect(servers, "copied", session_s=8.0) as one:
            first = await one.campaign("shard-1", someone("a"))
            servers[0].stop()
            copy = servers[0].copied()
            servers[0].start()
            servers[0].wait_ready()
            with trio.fail_after(60):
                await until(lambda: trusted(first))
                await first.resign()
                later = await one.campaign("shard-1", someone("a"))
                newest = await one.newest_epoch()
                servers[0].stop()
                servers[0].wipe(copy)
                servers[0].start()
                servers[0].wait_ready()
                await later.wait_lost()
                last = await one.campaign("shard-1", someone("a"))  # the session of then may live on, with its candidate
                assert [each.name for each in await one.candidates("shard-1")] == ["a"]
                assert last.epoch <= await one.newest_epoch() < newest + 10


async def announced(coordinator: Coordinator) -> bool:
    return (await coordinator.read("peer/a")).data == b"here"
