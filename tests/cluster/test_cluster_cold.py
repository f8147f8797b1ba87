"""The cold tier in a cluster: boards on every host, gateways that all say the same, kills of all parts of it."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import os
import random
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import trio

from cli.cluster.door import open_door
from cli.cluster.settings import read_settings, write_settings
from cli.commands.top import cluster_opening
from cli.place import StoreDirectory
from glacier.strays import PERIOD_S
from glacier.worker.protocol import Verb
from node.errors import PowerBudgetSpent
from store.namespace import edited
from tests.support.client import Client
from tests.support.cluster import BoardPlan, ClusterProcesses
from tests.support.need import need_programs, need_root
from tui.snapshot import Snapshot

pytestmark = [pytest.mark.root]
BUCKET = "archive"
BYTES = 400_000
EMPTY_BYTES = 8192
"""The most that an emptied file takes."""
SETTLE_S = 90.0
SHORT_ROUNDS = 3
RULES = (
    b"<LifecycleConfiguration><Rule><ID>freeze</ID><Status>Enabled</Status><Filter><Prefix>old/</Prefix></Filter>"
    b"<Transition><Days>1</Days><StorageClass>GLACIER</StorageClass></Transition></Rule></LifecycleConfiguration>"
)
MD5 = base64.b64encode(hashlib.md5(RULES).digest()).decode()
RESTORE = b"<RestoreRequest><Days>%d</Days><GlacierJobParameters><Tier>Expedited</Tier></GlacierJobParameters></RestoreRequest>"
GLACIER = [("x-amz-storage-class", "GLACIER")]


@pytest.fixture(scope="module")
def cluster() -> Iterator[ClusterProcesses]:
    need_root()
    need_programs("losetup", "mount", "mkfs.ext4", "e2fsck")
    folder = Path(tempfile.mkdtemp(prefix="frazil-test-"))
    try:
        with ClusterProcesses(folder, board=BoardPlan(sites=("north", "north", "south"), name="icebox")) as cluster:
            with cluster.client() as client:
                client.make_bucket(BUCKET)
            yield cluster
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def gateways(cluster: ClusterProcesses) -> Iterator[list[Client]]:
    """A client of each."""
    with contextlib.ExitStack() as stack:
        urls = [f"http://{host.address}:3200" for host in cluster.hosts[:2]]
        yield [stack.enter_context(Client(url, cluster.credentials, 60.0)) for url in urls]


def until(condition: Callable[[], bool], what: str, cluster: ClusterProcesses, patience_s: float = SETTLE_S) -> None:
    ends = time.monotonic() + patience_s
    while not condition():
        assert time.monotonic() < ends, f"this did not come about: {what}\n{left(cluster)}\n{cluster.errors()}"
        time.sleep(0.2)


def header(client: Client, key: str, name: str) -> str:
    return dict(client.call("HEAD", BUCKET, key).headers).get(name, "")


def files(cluster: ClusterProcesses) -> dict[Path, os.stat_result]:
    """The chunks of all but the smallest objects."""
    found = {}
    for path in [path for host in cluster.hosts for path in host.folder.glob("disk*/[0-9a-f][0-9a-f][0-9a-f]/*")]:
        with contextlib.suppress(FileNotFoundError):
            found[path] = path.stat()
    return {path: each for path, each in found.items() if each.st_size > EMPTY_BYTES}


def chunks(cluster: ClusterProcesses) -> list[os.stat_result]:
    return list(files(cluster).values())


def left(cluster: ClusterProcesses) -> str:
    """What waits, and whose each chunk is that is there yet."""
    lines = [f"waiting: {waiting(cluster)}"]
    for path, status in sorted(files(cluster).items()):
        record = {name: os.getxattr(path, name) for name in os.listxattr(path)}
        lines.append(f"{path}: {status.st_size} bytes, {status.st_blocks} blocks, of {status.st_mtime:.0f}, {record}")
    return "\n".join(lines)


def hot(cluster: ClusterProcesses) -> int:
    """Chunks whose bytes are on their volumes."""
    return sum(each.st_blocks * 512 > EMPTY_BYTES for each in chunks(cluster))


def told(cluster: ClusterProcesses, *arguments: str) -> list[dict[str, object]]:
    return [json.loads(line) for line in cluster.command("--json", *arguments, check=False).stdout.splitlines()]


def waiting(cluster: ClusterProcesses) -> dict[str, int]:
    """Jobs by kind, and strays, of all buses."""
    buses = [record for record in told(cluster, "glacier", "queue") if record["type"] == "bus"]
    if len(buses) != 6:
        return {"unknown": 1}
    found: Counter[str] = Counter({"strays": sum(int(str(bus["strays"])) for bus in buses)})
    for bus in buses:
        found.update(bus["waiting"])  # type: ignore[call-overload]
    return {kind: number for kind, number in found.items() if number}


def restore(client: Client, key: str, days: int) -> int:
    return client.call("POST", BUCKET, key, query=[("restore", "")], body=RESTORE % days).status


def is_back(client: Client, key: str) -> bool:
    return 'ongoing-request="false"' in header(client, key, "x-amz-restore")


@pytest.mark.timeout(600)
def test_objects_are_frozen_by_rules_and_puts_restored_read_and_cold_again_through_any_gateway(
    cluster: ClusterProcesses, seed: str
) -> None:
    rng = random.Random(seed)
    bodies = {f"{kind}/{number}": rng.randbytes(BYTES) for number in range(4) for kind in ("old", "put")}
    with gateways(cluster) as (one, other):
        assert one.put(BUCKET, "new", b"stays").status == 200
        for number, (key, body) in enumerate(bodies.items()):
            assert (one, other)[number % 2].put(BUCKET, key, body, GLACIER if key.startswith("put") else []).status == 200
        answer = other.call("PUT", BUCKET, query=[("lifecycle", "")], headers=[("content-md5", MD5)], body=RULES)
        assert answer.status == 200, answer
        until(lambda: all(header(one, key, "x-amz-storage-class") == "GLACIER" for key in bodies), "the rule moves them", cluster)
        until(lambda: hot(cluster) == 0, "their files are emptied", cluster)
        assert {client.get(BUCKET, key).status for key in bodies for client in (one, other)} == {403}
        assert one.get(BUCKET, "new").body == b"stays"

        scrubs = [cluster.command("scrub", "meta", "--deep", check=False), cluster.command("scrub", "chunks", check=False)]
        assert [scrub.returncode for scrub in scrubs] == [0, 0], [scrub.stdout + scrub.stderr for scrub in scrubs]
        assert cluster.command("verify", f"s3://{BUCKET}", check=False).returncode == 0
        assert hot(cluster) == 0

        for number, key in enumerate(bodies):
            assert restore((one, other)[number % 2], key, 2) == 202
        until(lambda: all(is_back(other, key) for key in bodies), "they are back", cluster)
        for key, body in bodies.items():
            assert one.get(BUCKET, key).body == body, key
        until(lambda: not any(header(one, key, "x-amz-restore") for key in bodies), "the copies' days are over", cluster)
        assert {client.get(BUCKET, key).status for key in bodies for client in (one, other)} == {403}
        until(lambda: hot(cluster) == 0, "their files are emptied again", cluster)
        for key in bodies:
            assert one.delete(BUCKET, key).status == 204
    until(lambda: not chunks(cluster) and waiting(cluster) == {}, "all that was deleted is gone", cluster)


def victims(cluster: ClusterProcesses) -> dict[str, tuple[int, str]]:
    """What may be killed: name to (host, role); "master" is the gateway that carries out the rules."""
    found = {f"{role}{number}": (number, role) for number in range(3) for role in ("freezer", "worker", "rawx")}
    leaders = [record for record in told(cluster, "cluster", "status") if record.get("election") == "caretaker"]
    for number in range(2):
        node = (cluster.hosts[number].folder / "state" / "node.id").read_text().strip()
        if leaders and leaders[0]["leader"] == f"gateway-{node}":
            found["master"] = (number, "gateway")
    return found


@pytest.mark.timeout(7200)
def test_objects_survive_kills_of_freezers_workers_volumes_and_the_master(cluster: ClusterProcesses, seed: str, rounds: int) -> None:
    rng = random.Random(seed)
    bodies: dict[str, bytes] = {}
    unsure: set[str] = set()
    killed: Counter[str] = Counter()
    with cluster.client() as client:
        for number in range(rounds if "FRAZIL_TEST_ROUNDS" in os.environ else SHORT_ROUNDS):
            ends = time.monotonic() + 1 + rng.random() * 2
            while time.monotonic() < ends:
                use(client, rng, bodies, unsure)
            there = victims(cluster)
            name = "master" if number == 0 and "master" in there else rng.choice(sorted(there))
            host, role = there[name]
            service = cluster.hosts[host].service(role)
            service.kill()
            use(client, rng, bodies, unsure)
            service.start()
            killed[role if name != "master" else name] += 1
        for key in sorted(unsure):
            client.delete(BUCKET, key)
        for key in bodies:  # all at once: their disks get power once for many
            restored(client, key)
        for key, body in sorted(bodies.items()):
            until(lambda key=key: restored(client, key), f"{key} is restored", cluster)  # type: ignore[misc]
            assert client.get(BUCKET, key).body == body, key
            assert client.delete(BUCKET, key).status == 204
    print(f"killed {dict(killed)}, {len(bodies)} objects", file=sys.stderr)
    for each in cluster.hosts:  # a worker that begins takes stock of each disk it powers
        each.service("worker").stop()
        each.service("worker").start()
    until(lambda: not chunks(cluster) and waiting(cluster) == {}, "all that was deleted is gone", cluster, PERIOD_S + SETTLE_S)
    lost = [bus["lost"] for bus in told(cluster, "glacier", "queue") if bus["type"] == "bus"]
    assert lost == [0] * 6


def use(client: Client, rng: random.Random, bodies: dict[str, bytes], unsure: set[str]) -> None:
    """One request; what has no answer may be there or not."""
    what = rng.choice(["put", "put", "restore", "delete"]) if len(bodies) > 3 else "put"
    try:
        if what == "put" and len(bodies) < 30:
            key, body = f"k{rng.randrange(10**9)}", rng.randbytes(rng.choice([20_000, 300_000]))
            unsure.add(key)
            if client.put(BUCKET, key, body, GLACIER).status == 200:
                bodies[key] = body
                unsure.discard(key)
        elif what == "restore":
            restore(client, rng.choice(sorted(bodies)), 1)
        else:
            key = rng.choice(sorted(bodies))
            del bodies[key]
            unsure.add(key)
            if client.delete(BUCKET, key).status == 204:
                unsure.discard(key)
    except OSError:
        return


def restored(client: Client, key: str) -> bool:
    said = header(client, key, "x-amz-restore")
    if not said:
        restore(client, key, 15)
    return 'ongoing-request="false"' in said


@pytest.mark.timeout(600)
def test_a_class_goes_to_the_boards_of_its_site_and_no_faster_than_that_allows(cluster: ClusterProcesses) -> None:
    """host1 and host2 have theirs in "north", host3 in "south"."""
    refused = cluster.command("config", "set", "pools.far.sites", '["east"]', check=False)
    assert refused.returncode != 0
    assert "no volume has boards in 'east'; there are some in north, south" in refused.stderr
    settings = {
        "pools.far.sites": '["south"]',
        "classes.DEEP_ARCHIVE": "TWOCOPIES",
        "draws.DEEP_ARCHIVE": "far",
        "sites.south.rate_bytes": "20000000",
    }
    configure(cluster, settings)
    deep = [("x-amz-storage-class", "DEEP_ARCHIVE")]
    try:
        south = [bus for bus in told(cluster, "glacier", "queue") if bus["type"] == "bus" and bus["site"] == "south"]
        assert len(south) == 2
        until(lambda: paces(cluster) == {"south": {10e6}, "north": {0.0}}, "each worker has its share", cluster)
        with cluster.client() as client:
            for number in range(4):
                for size in (30_000, BYTES):
                    assert client.put(BUCKET, f"deep/{number}-{size}", os.urandom(size), deep).status == 200
            held = {path.parent.parent.parent.name for path in chunk_paths(cluster) if is_deep(path)}
            assert held == {"host3"}
            until(lambda: hot(cluster) == 0, "their files are emptied", cluster)
            for number in range(4):
                for size in (30_000, BYTES):
                    assert client.delete(BUCKET, f"deep/{number}-{size}").status == 204
    finally:
        configure(cluster, dict.fromkeys(["draws.DEEP_ARCHIVE", "classes.DEEP_ARCHIVE", "pools.far", "sites.south"], ""))


@pytest.mark.timeout(600)
def test_an_operator_switches_disks_and_reads_logs_from_any_host_where_all_boards_have_one_name(cluster: ClusterProcesses) -> None:
    refused = cluster.command("glacier", "power", "on", "2", check=False)
    assert refused.returncode != 0
    place = cluster.hosts[2].address
    assert f"--bus icebox@{cluster.hosts[0].address}/1 or " in refused.stderr
    until(lambda: not any(disk["powered"] for disk in told(cluster, "glacier", "queue") if disk["type"] == "disk"), "nothing runs", cluster)

    async def steer() -> tuple[Snapshot, list[str], list[str]]:
        async with cluster_opening(StoreDirectory(cluster.hosts[0].file, "the test"))() as reader:
            seen = await reader.read()
            bus, words = f"icebox@{place}/1", []

            async def check() -> None:
                words.append(await reader.order(bus, 2, Verb.FSCK))

            words.append(await reader.order(bus, 2, Verb.ON))
            async with trio.open_nursery() as nursery:
                nursery.start_soon(check)
                await trio.sleep(0.1)
                with pytest.raises(PowerBudgetSpent, match="switch that one off first"):
                    await reader.order(bus, 3, Verb.ON)  # while the check runs, or a moment after
            words.append(await reader.order(bus, 2, Verb.OFF))
            kinds = {service.kind: service.name for service in seen.services}
            return seen, words, [kind for kind, name in sorted(kinds.items()) if await reader.log(name)]

    seen, words, logs = trio.run(steer)
    assert [board.name for board in seen.boards] == [f"icebox@{host.address}" for host in cluster.hosts]
    assert words[:2] == ["disk 2 is on", "disk 2: its file system is whole"]
    assert words[2].startswith("disk 2 is off")
    assert logs == ["conscience", "freezer", "gateway", "meta", "rawx", "worker"]
    assert all(each.epoch > 0 for each in seen.elections if each.shard.startswith("set-"))


def configure(cluster: ClusterProcesses, values: dict[str, str]) -> None:
    """As so many `frazil config set`, at once."""

    async def write() -> None:
        async with open_door(StoreDirectory(cluster.hosts[0].file, "the test")) as node:
            settings, version = await read_settings(node)
            for path, value in values.items():
                settings = edited(settings, path, value)
            await write_settings(node, settings, version, force=False)

    trio.run(write)


def paces(cluster: ClusterProcesses) -> dict[str, set[float]]:
    """Bytes per second of the workers, by site."""
    found: dict[str, set[float]] = {}
    for bus in told(cluster, "glacier", "queue"):
        if bus["type"] == "bus":
            found.setdefault(str(bus["site"]), set()).add(float(str(bus["rate_bytes"])))
    return found


def chunk_paths(cluster: ClusterProcesses) -> list[Path]:
    return [path for host in cluster.hosts for path in host.folder.glob("disk*/[0-9a-f][0-9a-f][0-9a-f]/*")]


def is_deep(path: Path) -> bool:
    try:
        return b'"key":"deep/' in os.getxattr(path, "user.frazil.chunk")
    except OSError:  # deleted meanwhile, or its record is beside it
        return False
