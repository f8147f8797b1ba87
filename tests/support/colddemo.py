"""The cold tier from end to end on one machine: `make demo-cold` runs it at its own pace, a test runs it fast.

A store with a board of eight loop devices on two buses. Objects are frozen by a lifecycle rule: their files on the volumes keep size and
record and lose their bytes. Some are restored and read, and go cold again. The board's own record says which disks had power together.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import msgspec
from botocore.config import Config
from botocore.exceptions import ClientError

from glacier.config import FreezerConfig
from glacier.power import Meter, read_record
from node.config import load

from .store import StoreProcess, chunk_paths

BUCKET = "archive"
VOLUMES = 3
DISK_SIZE = "128MiB"
THREADS = 8
POLL_S = 0.5


@dataclass(frozen=True, slots=True)
class Plan:
    """objects: to be frozen; a few more stay hot. day_s: the length of a lifecycle rule's day."""

    objects: int = 300
    restored: int = 10
    spin_up_s: float = 15.0
    day_s: float = 60.0
    patience_s: float = 900.0
    seed: int = 1


class Demo:
    """One run in a scratch folder. say: told what happens."""

    def __init__(self, scratch: Path, plan: Plan, say: Callable[[str], None]) -> None:
        self.plan = plan
        self.say = say
        self.board = scratch / "board"
        self.store = StoreProcess([scratch / "store"], scratch, volumes=VOLUMES)
        chance = random.Random(plan.seed)
        self.bodies = {f"cold/{number:04}": chance.randbytes(chance.randint(1, 200_000)) for number in range(plan.objects)}
        self.hot = {f"hot/{number:02}": chance.randbytes(chance.randint(1, 200_000)) for number in range(10)}
        self.chosen = chance.sample(sorted(self.bodies), plan.restored)
        self.s3: Any = None

    def run(self) -> None:
        """Raises: AssertionError when something is not as promised."""
        with self.store:
            self._make_board()
            self._fill()
            self._wait_until_cold()
            self._restore()
            self._wait_until_cold_again()
            self._look_at_the_board()
        self.say("done: the store and the board are off")

    def _make_board(self) -> None:
        self.store.start()
        plan = self.plan
        self.store.command("freezer", "init", str(self.board), "--disk-size", DISK_SIZE, "--spin-up", f"{plan.spin_up_s:g}")
        self.store.stop()
        self.store.options += ["--board", str(self.board), "--lifecycle-day", f"{plan.day_s:g}"]
        seconds = self.store.start(timeout_s=60)
        self.say(
            f"a store with {VOLUMES} volumes and a board of 8 disks on 2 buses serves after {seconds:.1f} s; a day has {plan.day_s:g} s"
        )
        self.s3 = boto3.client(
            "s3",
            endpoint_url=self.store.url,
            aws_access_key_id=self.store.credentials.access_key,
            aws_secret_access_key=self.store.credentials.secret_key,
            region_name="us-east-1",
            config=Config(retries={"mode": "standard"}, max_pool_connections=THREADS),
        )

    def _fill(self) -> None:
        self.s3.create_bucket(Bucket=BUCKET)
        rule = {
            "ID": "freeze",
            "Status": "Enabled",
            "Filter": {"And": {"Prefix": "cold/", "ObjectSizeGreaterThan": 0}},  # else none below 128 KiB is moved
            "Transitions": [{"Days": 1, "StorageClass": "GLACIER"}],
        }
        self.s3.put_bucket_lifecycle_configuration(Bucket=BUCKET, LifecycleConfiguration={"Rules": [rule]})
        with ThreadPoolExecutor(THREADS) as pool:
            list(pool.map(lambda item: self.s3.put_object(Bucket=BUCKET, Key=item[0], Body=item[1]), (self.bodies | self.hot).items()))
        self.say(f"{len(self.bodies)} objects below cold/, {len(self.hot)} below hot/; a lifecycle rule freezes cold/ after a day")

    def _wait_until_cold(self) -> None:
        began = time.monotonic()
        self._until(lambda: not (left := self._files_with_bytes("cold/")) or f"{len(left)} files have their bytes still", "all is cold")
        files = list(self._files("cold/"))
        assert len(files) >= len(self.bodies) * VOLUMES, "every copy keeps its file"
        assert sum(path.stat().st_size for path in files) >= sum(map(len, self.bodies.values()))
        taken = sum(path.stat().st_blocks * 512 for path in files)
        self.say(
            f"cold after {time.monotonic() - began:.0f} s: {len(files)} files keep size and record; their attributes take {taken:,} bytes"
        )
        classes = {each["Key"]: each["StorageClass"] for each in self._listing()}
        assert all(classes[key] == "GLACIER" for key in self.bodies)
        assert all(classes[key] == "STANDARD" for key in self.hot)
        for key in self.chosen:
            assert self._refused(key), f"{key} was read without its bytes"
        for key, body in self.hot.items():
            assert self._get(key) == body

    def _disks(self) -> list[dict[str, Any]]:
        return [msgspec.json.decode(line) for line in self.store.command("freezer", "list", "--json").stdout.splitlines()]

    def _restore(self) -> None:
        self._until(lambda: all(disk["state"] == "off" for disk in self._disks()) or "disks are on", "the board sleeps")
        began = time.monotonic()
        for key in self.chosen:
            self.s3.restore_object(Bucket=BUCKET, Key=key, RestoreRequest={"Days": 2, "GlacierJobParameters": {"Tier": "Expedited"}})
        waiting = set(self.chosen)

        def read() -> bool | str:
            for key in sorted(waiting):
                if 'ongoing-request="false"' in self.s3.head_object(Bucket=BUCKET, Key=key).get("Restore", ""):
                    assert self._get(key) == self.bodies[key], f"{key} came back as something else"
                    waiting.remove(key)
            return not waiting or f"{len(waiting)} objects are still cold"

        self._until(read, "what was restored can be read")
        self.say(f"{len(self.chosen)} objects restored by RestoreObject and read, byte for byte, after {time.monotonic() - began:.0f} s")

    def _wait_until_cold_again(self) -> None:
        began = time.monotonic()

        def cold() -> bool | str:
            back = [key for key in self.chosen if not self._refused(key)]
            left = self._files_with_bytes("cold/")
            return not (back or left) or f"{len(back)} objects can be read, {len(left)} files have their bytes"

        self._until(cold, "what was restored is cold again")
        self.say(f"cold again after {time.monotonic() - began:.0f} s")

    def _look_at_the_board(self) -> None:
        config = load(FreezerConfig, self.board / "freezer.toml")
        meter = Meter(config.layout)
        record = read_record(config.state / "power.log")
        for switching in record:
            meter._count(switching)
        assert record, "no disk ever had power"
        assert set(meter.together_max) == {0, 1}, "both buses were used"
        assert max(meter.together_max.values()) == 1, f"more than one disk of a bus had power: {meter!r}"
        disks = self._disks()
        assert [disk["disk"] for disk in disks] == list(config.layout.disks)
        assert sum(disk["power_cycles"] for disk in disks) == sum(meter.cycles.values())
        self.say("the disks:\n" + self.store.command("freezer", "list").stdout.rstrip())
        self.say(
            f"{sum(meter.cycles.values())} power cycles; at most 1 disk per bus and {meter.board_max} on the board ever had power together"
        )

    def _until(self, reached: Callable[[], bool | str], what: str) -> None:
        """reached: True, or what is still in the way."""
        end = time.monotonic() + self.plan.patience_s
        while (answer := reached()) is not True:
            assert time.monotonic() < end, f"{what}: not within {self.plan.patience_s:g} s: {answer}\n{self.store.log_tail()}"
            time.sleep(POLL_S)

    def _files(self, prefix: str) -> Iterator[Path]:
        for path in chunk_paths(self.store):
            if _key(path).startswith(prefix):
                yield path

    def _files_with_bytes(self, prefix: str) -> list[Path]:
        return [path for path in self._files(prefix) if path.stat().st_size and _has_data(path)]

    def _listing(self) -> list[dict[str, Any]]:
        pages = self.s3.get_paginator("list_objects_v2").paginate(Bucket=BUCKET)
        return [each for page in pages for each in page["Contents"]]

    def _get(self, key: str) -> bytes:
        body: bytes = self.s3.get_object(Bucket=BUCKET, Key=key)["Body"].read()
        return body

    def _refused(self, key: str) -> bool:
        """Whether a GET says that the object must be restored first."""
        try:
            self._get(key)
        except ClientError as error:
            if error.response["Error"]["Code"] == "InvalidObjectState":
                return True
            raise
        return False


def _key(path: Path) -> str:
    record = msgspec.json.decode(os.getxattr(path, "user.frazil.chunk"))
    if "sidecar" in record:
        record = msgspec.json.decode(path.with_name(path.name + ".record").read_bytes())["record"]
    return str(record["key"])


def _has_data(path: Path) -> bool:
    """Whether any byte of the file is stored: an emptied one is one hole."""
    with path.open("rb") as file:
        try:
            return os.lseek(file.fileno(), 0, os.SEEK_DATA) >= 0
        except OSError:  # ENXIO: nothing but a hole
            return False


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    usual = Plan()
    parser.add_argument("--objects", type=int, default=usual.objects)
    parser.add_argument("--spin-up", type=float, default=usual.spin_up_s)
    parser.add_argument("--day", type=float, default=usual.day_s)
    options = parser.parse_args()
    scratch = Path(tempfile.mkdtemp(prefix="frazil-demo-"))
    began = time.monotonic()
    try:
        plan = Plan(objects=options.objects, spin_up_s=options.spin_up, day_s=options.day)
        Demo(scratch, plan, lambda text: print(f"[{time.monotonic() - began:6.1f} s] {text}", flush=True)).run()
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


if __name__ == "__main__":
    main()
