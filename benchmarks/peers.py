"""`make bench-peers`: Frazil beside MinIO and VersityGW, each alone at its time, same client, same disk, same run.

Prints a table and writes benchmarks/out/peers.json.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

import msgspec

from benchmarks import report, serving
from benchmarks.__main__ import OUT, workplace
from benchmarks.load import LoadFailed
from benchmarks.serving import Server, ServerFailed
from benchmarks.suite import Measurement, Suite

ROUNDS = 2
"""How often each server is measured; every second time in the opposite order, so that what changes meanwhile hits all alike."""
LISTED_KEYS = 10_000
PEERS = {"minio": "github.com/minio/minio", "versitygw": "github.com/versity/versitygw/cmd/versitygw"}


@dataclass(frozen=True, slots=True)
class Row:
    name: str
    run: Callable[[Suite], Measurement]
    least_wins: bool = False


ROWS: Sequence[Row] = (
    Row("put-4k-1", lambda suite: suite.small_put("4k", 1)),
    Row("put-4k-16", lambda suite: suite.small_put("4k", 16)),
    Row("get-4k-1", lambda suite: suite.small_get("4k", 1)),
    Row("get-4k-16", lambda suite: suite.small_get("4k", 16)),
    Row("put-64m-1", lambda suite: suite.large_put(1)),
    Row("put-64m-4", lambda suite: suite.large_put(4)),
    Row("get-64m-1", lambda suite: suite.large_get(1)),
    Row("get-64m-4", lambda suite: suite.large_get(4)),
    Row("list-keys-4", lambda suite: suite.list_keys_per_s(4)),
    Row("delete-16", lambda suite: suite.delete(16)),
    Row("head-16", lambda suite: suite.head(16)),
    Row("rss-after", lambda suite: suite.resident(), least_wins=True),
)


@dataclass(frozen=True, slots=True)
class Contender:
    name: str
    version: str
    start: Callable[[Path], AbstractContextManager[Server]]


class Cell(msgspec.Struct, frozen=True):
    """One figure of one server; `values` are the rounds, `value` their median."""

    row: str
    server: str
    version: str
    unit: str
    value: float | None
    values: tuple[float, ...]
    leads: bool = False
    failed: str | None = None


def contenders(workers: Sequence[int]) -> Iterator[Contender]:
    """Frazil in each number of workers, and the peers that are installed; says which are not, and how to get them."""
    for count in workers:
        name = f"frazil-w{count}" if count > 1 else "frazil"
        yield Contender(name, "this checkout", lambda path, count=count: serving.frazil(path, workers=count))  # type: ignore[misc]
    starts: Mapping[str, Callable[[str, Path], AbstractContextManager[Server]]] = {"minio": serving.minio, "versitygw": serving.versitygw}
    for name, module in PEERS.items():
        binary = serving.find_peer(name)
        if binary is None:
            print(f"{name} is not installed and is left out (with Go: go install {module}@latest)", file=sys.stderr)
            continue
        start = starts[name]
        yield Contender(name, serving.version(binary), lambda path, start=start, binary=binary: start(binary, path))  # type: ignore[misc]


class Match:
    """All values so far, by row and server."""

    def __init__(self, seconds: int, keys: int, rows: Sequence[Row]) -> None:
        self._seconds = seconds
        self._keys = keys
        self._rows = rows
        self._values: dict[tuple[str, str], list[Measurement]] = {}
        self._failures: dict[tuple[str, str], str] = {}

    def play(self, contender: Contender, directory: Path) -> None:
        """One round of one server on a directory of its own, which is removed before the next one starts."""
        try:
            with contender.start(directory) as server:
                suite = Suite(server, self._seconds, self._keys)
                suite.open()
                for row in self._rows:
                    self._measure(contender, row, suite)
        except (LoadFailed, ServerFailed) as error:
            print(f"{contender.name}: {error}", file=sys.stderr)
            for row in self._rows:
                self._failures.setdefault((row.name, contender.name), str(error))
        finally:
            shutil.rmtree(directory, ignore_errors=True)

    def _measure(self, contender: Contender, row: Row, suite: Suite) -> None:
        try:
            measured = row.run(suite)
        except (LoadFailed, OSError) as error:
            self._failures[row.name, contender.name] = str(error)
            print(f"{contender.name} {row.name}: {error}", file=sys.stderr)
            return
        self._values.setdefault((row.name, contender.name), []).append(measured)
        print(f"{contender.name} {row.name}: {report.number(measured.value)} {measured.unit}", file=sys.stderr, flush=True)

    def cells(self, servers: Sequence[Contender]) -> list[list[Cell]]:
        """A list of cells per row, one for each server; the leader is marked. A figure that failed once doesn't count."""
        return [self._lead(row, [self._cell(row, server) for server in servers]) for row in self._rows]

    def _cell(self, row: Row, server: Contender) -> Cell:
        measured = self._values.get((row.name, server.name), [])
        failed = self._failures.get((row.name, server.name))
        values = tuple(one.value for one in measured)
        value = statistics.median(values) if values and not failed else None
        return Cell(row.name, server.name, server.version, measured[0].unit if measured else "", value, values, failed=failed)

    @staticmethod
    def _lead(row: Row, cells: list[Cell]) -> list[Cell]:
        values = [cell.value for cell in cells if cell.value is not None]
        if not values:
            return cells
        best = min(values) if row.least_wins else max(values)
        return [msgspec.structs.replace(cell, leads=cell.value == best) for cell in cells]


def table(rows: Sequence[Sequence[Cell]]) -> str:
    """A line per row, a column per server, `*` at the leader's value."""
    head = ["figure", "unit", *(cell.server for cell in rows[0])]
    lines = [head]
    for cells in rows:
        unit = next((cell.unit for cell in cells if cell.unit), "")
        lines.append([cells[0].row, unit, *(text(cell) for cell in cells)])
    return report.aligned(lines, {0, 1})


def text(cell: Cell) -> str:
    if cell.value is None:
        return "failed" if cell.failed else "-"
    return report.number(cell.value) + (" *" if cell.leads else "  ")


def arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.peers", description=__doc__)
    parser.add_argument("--seconds", type=int, default=5, help="duration of a figure")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--keys", type=int, default=LISTED_KEYS, help="keys in the bucket that is listed")
    parser.add_argument("--workers", default="1,2", help="Frazil with so many processes that serve S3, comma-separated")
    parser.add_argument("--only", default="", metavar="NAMES", help="servers to measure, comma-separated")
    parser.add_argument("--rows", default="", metavar="NAMES", help="rows to measure, comma-separated")
    parser.add_argument("--quick", action="store_true", help="1 s a figure, one round")
    parser.add_argument("--dir", type=Path, default=OUT, help="where the stores are made: the disk to measure")
    parser.add_argument("--json", type=Path, default=OUT / "peers.json")
    return parser


def main() -> int:
    options = arguments().parse_args()
    if options.quick:
        options.seconds, options.rounds = 1, 1
    servers = [
        server
        for server in contenders([int(count) for count in options.workers.split(",")])
        if not options.only or server.name in options.only.split(",")
    ]
    rows = [row for row in ROWS if not options.rows or row.name in options.rows.split(",")]
    match = Match(options.seconds, options.keys, rows)
    with workplace(options.dir) as directory:
        for turn in range(options.rounds):
            for server in servers if turn % 2 == 0 else reversed(servers):
                match.play(server, directory / f"{server.name}-{turn}")
    cells = match.cells(servers)
    report.write_json(options.json, [cell for row in cells for cell in row])
    print("\n".join(f"{server.name}: {server.version}" for server in servers))
    print(table(cells))
    return 1 if any(cell.failed for row in cells for cell in row) else 0


if __name__ == "__main__":
    sys.exit(main())
