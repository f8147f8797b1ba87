"""kill -9 of the freezer, the workers and the store while objects freeze and thaw: real processes, a board of loop devices."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import random
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from glacier.loopplan import LoopPlan, write_loop_config
from store.settings import load_settings
from tests.cluster.conftest import StoreMaker
from tests.support.client import Client
from tests.support.need import need_programs, need_root
from tests.support.store import COMMAND, StoreProcess, environment
from tests.support.survey import chunk_files

pytestmark = [pytest.mark.root]
BUCKET = "cold"
VOLUMES = 3
BUSES = 2
CHUNKS = 3
"""Of each object: three copies, or 2+1."""
PLAN = LoopPlan(disks=6, buses=BUSES, disk_bytes=48 << 20, spin_up_s=0.05)
RESTORE = b"<RestoreRequest><Days>1</Days><GlacierJobParameters><Tier>Expedited</Tier></GlacierJobParameters></RestoreRequest>"
SETTLE_S = 240.0
START_S = 90.0
"""Long runs go beside other work."""
LONG_ROUNDS = 50
"""From so many rounds on each is a kill; a short run has three."""
OBJECTS_MAX = 40
RESTART_S = 20.0


class Daemon:
    """A process of the cold tier, started again after each kill."""

    def __init__(self, arguments: Sequence[str], home: Path, name: str) -> None:
        self._arguments = [str(COMMAND), *arguments]
        self._home = home
        self.name = name
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        ready, told = os.pipe()
        with (self._home / f"{self.name}.log").open("ab") as log:
            command = [*self._arguments, "--ready-fd", str(told)]
            self.process = subprocess.Popen(command, stdout=log, stderr=log, pass_fds=(told,), env=environment(self._home))
        os.close(told)
        with os.fdopen(ready, "rb") as line:
            assert line.read(1), f"{self.name} did not come up: {(self._home / f'{self.name}.log').read_text()[-2000:]}"

    def end(self, number: int) -> None:
        if self.process is not None:
            self.process.send_signal(number)
            self.process.wait(RESTART_S)


class World:
    """The store, the board, the workers between them, and what was put where."""

    def __init__(self, store: StoreProcess, scratch: Path) -> None:
        self.store = store
        self.board = scratch / "board"
        first = store.directories[0].absolute()
        settings = load_settings(first)
        assert settings is not None
        config = write_loop_config(self.board, PLAN, namespace=settings.namespace, key=first / "secret.key")
        self.daemons = [Daemon(["freezer", "serve", str(config)], scratch, "freezer")]
        for bus in range(BUSES):
            volumes = [str(settings.path_of(slot, first)) for number, slot in enumerate(settings.volumes) if number % BUSES == bus]
            path = scratch / f"worker{bus}.toml"
            path.write_text(worker_config(scratch, self.board, bus, settings.namespace, first / "secret.key", volumes))
            self.daemons.append(Daemon(["glacier", "serve", str(path)], scratch, f"worker{bus}"))
            store.options += ["--cold", f"unix:{scratch}/worker{bus}.sock"]
        self.bodies: dict[str, bytes] = {}
        self.unsure: set[str] = set()

    def kill(self, rng: random.Random) -> str:
        victim = rng.choice([*self.daemons, self.store])
        if isinstance(victim, Daemon):
            victim.end(signal.SIGKILL)
            victim.start()
            return victim.name
        victim.kill()
        victim.start(START_S)
        return "store"


def worker_config(scratch: Path, board: Path, bus: int, namespace: str, key: Path, volumes: list[str]) -> str:
    waits = "".join(
        f"[waits.{kind}]\nhold_s = 0.0\npatience_s = 0.0\nbound_s = 60.0\n"
        for kind in ("expedited", "standard", "bulk", "freeze", "delete")
    )
    return f"""
listen = "unix:{scratch}/worker{bus}.sock"
ledger = "{scratch}/worker{bus}.db"
freezer = "unix:{board}/bus-{bus}.sock"
bus = {bus}
namespace = "{namespace}"
key = "{key}"
volumes = {volumes}
least_s = 0.0
idle_s = 0.2
spin_up_s = 0.1
{waits}"""


@contextlib.contextmanager
def cold_world(make_store: StoreMaker, scratch: Path) -> Iterator[World]:
    need_root()
    need_programs("mkfs.ext4", "losetup", "mount")
    store = make_store(volumes=VOLUMES)
    with store.client() as client:
        client.make_bucket(BUCKET)
    store.stop()
    store.allowed += [".*"]  # whoever is killed is missed by the others, and they say so
    world = World(store, scratch)
    try:
        for daemon in world.daemons:
            daemon.start()
        store.start()
        yield world
    finally:
        for daemon in reversed(world.daemons):
            daemon.end(signal.SIGTERM)


def until(condition: Callable[[], bool], what: str) -> None:
    ends = time.monotonic() + SETTLE_S
    while not condition():
        assert time.monotonic() < ends, f"this did not come about: {what}"
        time.sleep(0.1)


def use(world: World, client: Client, rng: random.Random) -> None:
    """One request; what has no answer may be there or not."""
    keys = sorted(world.bodies)
    what = rng.choice(["put", "put", "restore", "restore", "delete"]) if keys else "put"
    if what == "put" and len(keys) >= OBJECTS_MAX:
        what = "delete"
    try:
        if what == "put":
            key, body = f"k{rng.randrange(10**9)}", rng.randbytes(rng.choice([2000, 300_000]))
            world.unsure.add(key)
            if client.put(BUCKET, key, body, [("x-amz-storage-class", "GLACIER")]).status == 200:
                world.bodies[key] = body
                world.unsure.discard(key)
        elif what == "restore":
            client.call("POST", BUCKET, rng.choice(keys), query=[("restore", "")], body=RESTORE)
        else:
            key = rng.choice(keys)
            del world.bodies[key]
            world.unsure.add(key)
            if client.delete(BUCKET, key).status == 204:
                world.unsure.discard(key)
    except OSError:
        return


def is_restored(client: Client, key: str) -> bool:
    answer = client.call("HEAD", BUCKET, key)
    said = (
        dict(answer.headers).get("x-amz-restore", "") if not hasattr(answer.headers, "get") else answer.headers.get("x-amz-restore") or ""
    )
    if not said:
        client.call("POST", BUCKET, key, query=[("restore", "")], body=RESTORE)
    return 'ongoing-request="false"' in said


def on_cold_disks(board: Path, scratch: Path) -> Counter[str]:
    """How often each chunk lies on the board's disks, as whoever mounts them finds it."""
    found: Counter[str] = Counter()
    point = scratch / "look"
    point.mkdir(exist_ok=True)
    for image in sorted((board / "disks").iterdir()):
        subprocess.run(["mount", "-o", "loop", str(image), str(point)], check=True)
        try:
            found.update(path.name for path in point.glob("*/*") if re.fullmatch(r"[0-9a-f]{32}", path.name))
            found.update(path.name for path in point.glob("*/*/*") if re.fullmatch(r"[0-9a-f]{32}", path.name))
        finally:
            subprocess.run(["umount", str(point)], check=True)
    return found


@pytest.mark.timeout(3600)
def test_objects_survive_kills_of_all_parts_while_they_freeze_and_thaw(
    make_store: StoreMaker, scratch: Path, seed: str, rounds: int
) -> None:
    rng = random.Random(seed)
    killed: Counter[str] = Counter()
    with cold_world(make_store, scratch) as world:
        for _ in range(rounds if rounds >= LONG_ROUNDS else 3):
            ends = time.monotonic() + rng.random() * 1.5
            with contextlib.suppress(OSError), world.store.client() as client:
                while time.monotonic() < ends:
                    use(world, client, rng)
            killed[world.kill(rng)] += 1
        with world.store.client() as client:
            for key in sorted(world.unsure):
                client.delete(BUCKET, key)
            for key, body in sorted(world.bodies.items()):
                until(lambda key=key: is_restored(client, key), f"{key} is restored")  # type: ignore[misc]
                answer = client.get(BUCKET, key)
                assert answer.status == 200, (key, answer)
                assert hashlib.sha256(answer.body).digest() == hashlib.sha256(body).digest(), key
            for key in sorted(world.bodies)[1::2]:
                client.delete(BUCKET, key)
                del world.bodies[key]
        until(lambda: len(chunk_files(world.store.directories)) == CHUNKS * len(world.bodies), "deleted chunks are gone")
        for daemon in world.daemons[1:]:  # a worker that begins takes stock of each disk it powers
            daemon.end(signal.SIGTERM)
            daemon.start()
        world.store.command("glacier", "verify")
        until(lambda: "verify" not in waiting(world), "all disks were looked at")
        world.store.restart()  # which begins with a look for strays
        until(lambda: waiting(world) == {}, "nothing waits any more")
        print(f"killed {dict(killed)}, {len(world.bodies)} objects", file=sys.stderr)
        world.store.stop()
    files = {path.name for path in chunk_files(world.store.directories)}
    copies = on_cold_disks(world.board, scratch)
    assert set(copies) <= files, "copies of deleted chunks are left on cold disks"
    assert set(copies.values()) <= {1}, "a chunk lies on two cold disks"


def waiting(world: World) -> dict[str, int]:
    """Jobs by kind, and strays, of all buses together."""
    done = world.store.command("glacier", "queue", "--json", check=False)
    records = [json.loads(line) for line in done.stdout.splitlines()]
    buses = [record for record in records if record["type"] == "bus"]
    if len(buses) < BUSES:
        return {"unknown": 1}
    total = Counter({"strays": sum(bus["strays"] for bus in buses)})
    for bus in buses:
        total.update(bus["waiting"])
    return {kind: number for kind, number in total.items() if number}
