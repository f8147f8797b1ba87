"""What a cluster costs: three hosts' services on this machine's loopback, beside one peer and beside a store in one process.
`python -m benchmarks.cluster` (`make bench-cluster`)

Both sides of a ratio run in the same minutes, a round of one after a round of the other; the figure is the median of the rounds' ratios.
Six to twelve processes share the processors with their client: on few cores the figures say what the calls cost, not what hosts can do.
"""

from __future__ import annotations

import argparse
import signal
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
import trio

from benchmarks import figure, report
from benchmarks.__main__ import OUT, workplace
from benchmarks.figure import Record
from benchmarks.load import LoadFailed
from benchmarks.memory import cpu_seconds
from benchmarks.presign import Credentials
from benchmarks.serving import Server, ServerFailed, frazil
from benchmarks.suite import Measurement, Suite
from meta.protocol.bucket import BucketSettings
from meta.protocol.container import Container
from meta.protocol.object import ObjectRow
from tests.support.cluster import ClusterProcesses, Service
from tests.support.metas import MetaPeer, meta_peers, routed
from tests.support.zookeeper import hosts, zookeeper

WRITERS = 32
SESSION_S = 6.0
PUTS = 1_500
"""Of one round."""
WARMING_PUTS = 200
VOLUMES = 9
"""Of either store; of the cluster three on each host."""
CONNECTIONS = (1, 8)
LAYOUT_BYTES = 120
FIGURES = (
    "cluster-meta-put-32",
    *(f"cluster-put-4k-{connections}-p99" for connections in CONNECTIONS),
    "cluster-put-64m",
    "cluster-get-64m",
    "cluster-get-64m-stopped",
)


@dataclass(slots=True)
class Side:
    """What was measured of one of the two, round by round."""

    rates: list[float] = field(default_factory=list)
    times_us: list[int] = field(default_factory=list)
    cpu_us: list[float] = field(default_factory=list)

    def percentile(self, share: float) -> int:
        return sorted(self.times_us)[int(len(self.times_us) * share)]


def middle(values: Sequence[float]) -> float:
    return statistics.median(values)


# Metadata


@dataclass(slots=True)
class Puts:
    """Rows of fresh keys into one container, by WRITERS side by side."""

    container: Container
    peers: Sequence[MetaPeer]
    side: Side = field(default_factory=Side)
    _serial: int = 0
    _left: int = 0

    async def round(self, count: int) -> None:
        self._left = count
        pids = [peer.process.pid for peer in self.peers if peer.process is not None]
        spent, began = sum(map(cpu_seconds, pids)), time.perf_counter()
        async with trio.open_nursery() as nursery:
            for _ in range(WRITERS):
                nursery.start_soon(self._write)
        self.side.rates.append(count / (time.perf_counter() - began))
        self.side.cpu_us.append((sum(map(cpu_seconds, pids)) - spent) / count * 1e6)

    async def _write(self) -> None:
        while self._left > 0:
            self._left -= 1
            self._serial += 1
            row = ObjectRow(
                f"{self._serial:09}", version=time.time_ns() // 1000, size=4096, content=f"{self._serial:032x}", layout=bytes(LAYOUT_BYTES)
            )
            began = time.perf_counter()
            await self.container.put(row)
            self.side.times_us.append(int((time.perf_counter() - began) * 1e6))


async def metadata(folder: Path, rounds: int, zookeepers: int) -> Record:
    """Puts at WRITERS writers on one bucket: three peers beside one."""
    with zookeeper(folder, zookeepers) as servers:
        where = hosts(servers)
        async with (
            meta_peers(folder / "one", where, peers=1, replicas=1, session_s=SESSION_S, namespace="one") as one,
            meta_peers(folder / "three", where, peers=3, session_s=SESSION_S, namespace="three") as three,
            routed(where, namespace="one") as (alone, _),
            routed(where, namespace="three") as (together, _),
        ):
            sides = []
            for meta, peers in ((alone, one), (together, three)):
                await meta.create_bucket(BucketSettings("bench", "account", "owner", 1))
                warming = Puts(meta.container("bench"), peers)
                await warming.round(WARMING_PUTS)
                sides.append(Puts(warming.container, peers, _serial=warming._serial))
            for _ in range(rounds):
                for each in sides:
                    await each.round(PUTS)
    return judged("cluster-meta-put-32", "per s", sides[1].side, sides[0].side, "one-peer")


def judged(name: str, unit: str, found: Side, beside: Side, reference: str) -> Record:
    """The median of the rounds' ratios, as one value beside one reference."""
    ratio = middle([one / other for one, other in zip(found.rates, beside.rates, strict=True)])
    value = middle(found.rates)
    return figure.record(
        name, value, unit, reference=reference, references={reference: value / ratio},
        p50_us=found.percentile(0.5) if found.times_us else None, p99_us=found.percentile(0.99) if found.times_us else None,
        server_cpu_us=middle(found.cpu_us) if found.cpu_us else None,
    )  # fmt: skip


# Objects


def objects(folder: Path, options: argparse.Namespace) -> Iterator[Record]:
    """Small PUTs' slowest hundredth, and large PUTs and GETs: through a gateway beside a store in one process."""
    place = folder / "cluster"
    place.mkdir()
    with (
        ClusterProcesses(place, zookeepers=options.zookeepers) as cluster,
        frazil(folder / "embedded", volumes=VOLUMES) as alone,
    ):
        credentials = Credentials(cluster.credentials.access_key, cluster.credentials.secret_key)
        gateway = Server("cluster", f"{cluster.hosts[0].address}:3200", credentials, 0, place)
        pair = Suite(gateway, options.seconds), Suite(alone, options.seconds)
        for suite in pair:
            suite.open()
        for connections in CONNECTIONS:
            yield slowest(pair, connections, options.rounds)
        yield large("cluster-put-64m", pair, lambda suite: suite.large_put(1), options.rounds)
        yield large("cluster-get-64m", pair, lambda suite: suite.large_get(1), options.rounds)
        with stopped(cluster.hosts[-1].service("rawx")):
            yield figure.record("cluster-get-64m-stopped", pair[0].large_get(1).value, "MiB/s")


@contextmanager
def stopped(service: Service) -> Iterator[None]:
    """While it answers nothing, and nobody has noticed but who asks it."""
    service.send(signal.SIGSTOP)
    try:
        yield
    finally:
        service.send(signal.SIGCONT)


def slowest(pair: tuple[Suite, Suite], connections: int, rounds: int) -> Record:
    """The 99th percentile of 4 KiB PUTs."""
    sides = Side(), Side()
    halves: list[int] = []
    for _ in range(rounds):
        for suite, side in zip(pair, sides, strict=True):
            measured = suite.small_put("4k", connections)
            side.rates.append((measured.p99_us or 0) / 1000)
            if side is sides[0]:
                halves.append(measured.p50_us or 0)
    record = judged(f"cluster-put-4k-{connections}-p99", "ms", *sides, "embedded")
    return msgspec.structs.replace(record, p50_us=int(middle(halves)), p99_us=int(record.value * 1000))


def large(name: str, pair: tuple[Suite, Suite], run: Callable[[Suite], Measurement], rounds: int) -> Record:
    sides = Side(), Side()
    for _ in range(rounds):
        for suite, side in zip(pair, sides, strict=True):
            side.rates.append(run(suite).value)
    return judged(name, "MiB/s", *sides, "embedded")


def arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.cluster", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--zookeepers", type=int, choices=(1, 3), default=1)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=2, help="of a round of small PUTs")
    parser.add_argument("--only", choices=("metadata", "objects"), help="one half")
    parser.add_argument("--dir", type=Path, default=OUT, help="where the stores are made: the disk to measure")
    parser.add_argument("--json", type=Path, default=OUT / "cluster.json")
    return parser


def main() -> int:
    options = arguments().parse_args()
    records: list[Record] = []
    with workplace(options.dir) as directory:
        try:
            if options.only != "objects":
                records.append(trio.run(metadata, directory, options.rounds, options.zookeepers))
            if options.only != "metadata":
                for each in objects(directory, options):
                    records.append(each)
                    print("  ".join(cell for cell in report.row(each) if cell), file=sys.stderr, flush=True)
        except (LoadFailed, ServerFailed) as error:
            print(f"bench: {error}", file=sys.stderr)
            return 1
        finally:
            report.write_json(options.json, records)
            print(report.table(records), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
