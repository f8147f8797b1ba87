"""`make bench`: a table on standard output and benchmarks/out/bench.json. See README.md."""

from __future__ import annotations

import argparse
import fnmatch
import shutil
import signal
import sys
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

from benchmarks import figure, plan, report
from benchmarks.degrade import take_away
from benchmarks.figure import Record
from benchmarks.load import LoadFailed
from benchmarks.presign import Credentials
from benchmarks.serving import Server, ServerFailed, frazil
from benchmarks.suite import BUCKET, Suite
from benchmarks.yardstick import UNITS, Yardsticks

OUT = Path(__file__).with_name("out")
LAYOUTS = {"x1": 1, "6+3": 9}
LOST_CHUNKS = 3
QUICK_SECONDS, QUICK_KEYS, QUICK_GIB = 1, 10_000, 0.5


class Bench:
    """Measures the chosen figures and collects their records."""

    def __init__(self, options: argparse.Namespace, yardsticks: Yardsticks) -> None:
        self.records: list[Record] = []
        self._options = options
        self._yardsticks = yardsticks

    def chosen(self, figures: Iterable[plan.Figure]) -> list[plan.Figure]:
        patterns = self._options.only.split(",")
        return [one for one in figures if any(fnmatch.fnmatchcase(one.name, pattern) for pattern in patterns)]

    def measure(self, suite: Suite, figures: Iterable[plan.Figure]) -> None:
        for one in self.chosen(figures):
            for name in (one.reference, *one.beside):
                if name:
                    self._yardsticks.need(name)
            try:
                got = one.run(suite)
            except (LoadFailed, OSError) as error:
                self._add(figure.failed(one.name, "", str(error)))
                continue
            record = figure.record(
                one.name, got.value, got.unit, reference=one.reference, references=self._yardsticks.measured, beside=one.beside,
                p50_us=got.p50_us, p99_us=got.p99_us, server_cpu_us=got.server_cpu_us,
            )  # fmt: skip
            self._add(record)

    def fail(self, figures: Iterable[plan.Figure], reason: str) -> None:
        """Records that these figures could not be taken; says why once."""
        self.records += [figure.failed(one.name, "", reason) for one in self.chosen(figures)]
        print(f"bench: {reason}", file=sys.stderr)

    def suite(self, server: Server, *, large_stored: bool = False) -> Suite:
        options = self._options
        return Suite(server, options.seconds, options.keys, options.large_gib, large_stored)

    def store(self, layout: str, directory: Path) -> None:
        """All figures of one layout on a store of its own."""
        suffix = "" if layout == "x1" else f"-{layout}"
        first, last = [plan.rest(suffix)], list(plan.memory(suffix))
        middle = [*plan.objects(layout), *(plan.requests() if layout == "x1" else ())]
        lost = list(plan.degraded(layout)) if layout != "x1" else []
        if not self.chosen([*first, *middle, *last, *lost]):
            return
        path = directory / layout.replace("+", "-")
        try:
            with frazil(path, volumes=LAYOUTS[layout], workers=self._options.workers) as server:
                suite = self.suite(server)
                self.measure(suite, first)
                suite.open()
                self.measure(suite, [*middle, *last])
                if self.chosen(lost):
                    suite.prepare_large()
            if self.chosen(lost):
                take_away(path, BUCKET, "large/0", LOST_CHUNKS)
                with frazil(path, volumes=LAYOUTS[layout], workers=self._options.workers) as server:
                    self.measure(self.suite(server, large_stored=True), lost)
        except (LoadFailed, ServerFailed) as error:
            done = {record.name for record in self.records}
            self.fail((one for one in (*first, *middle, *last, *lost) if one.name not in done), str(error))
        finally:
            shutil.rmtree(path, ignore_errors=True)

    def foreign(self, url: str) -> None:
        """The figures of a server that somebody else runs; its memory can't be seen from here."""
        parts = urlsplit(url)
        if parts.scheme != "http" or not parts.hostname:
            raise SystemExit(f"--s3 {url}: an http:// URL is needed (wrk and the sink speak plain HTTP)")
        credentials = Credentials(self._options.access, self._options.secret, self._options.region)
        suite = self.suite(Server(url, f"{parts.hostname}:{parts.port or 80}", credentials, 0, None))
        suite.open()
        try:
            self.measure(suite, [*plan.objects("s3"), *plan.requests()])
        finally:
            suite.close()

    def references(self) -> list[Record]:
        """The yardsticks themselves, as records."""
        return [figure.record(name, value, UNITS[name.split("-")[0]]) for name, value in self._yardsticks.measured.items()]

    def _add(self, record: Record) -> None:
        self.records.append(record)
        print("  ".join(cell for cell in report.row(record) if cell), file=sys.stderr, flush=True)


@contextmanager
def workplace(directory: Path) -> Iterator[Path]:
    """A directory for stores on the disk that is to be measured; removed at the end, however it ends."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    directory.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=directory, prefix="run-") as scratch:
        yield Path(scratch)


def arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--s3", metavar="URL", help="measure this S3 server instead of a store of our own")
    parser.add_argument("--access", metavar="KEY", default="")
    parser.add_argument("--secret", metavar="KEY", default="")
    parser.add_argument("--region", default="us-east-1")
    parser.add_argument("--only", metavar="PATTERNS", default="*", help="figures by name, e.g. 'get-4k-*,list-*'")
    parser.add_argument("--layout", choices=(*LAYOUTS, "all"), default="all")
    parser.add_argument("--seconds", type=int, default=5, help="duration of a figure")
    parser.add_argument("--keys", type=int, default=100_000, help="keys in the bucket that is listed")
    parser.add_argument("--large-gib", type=float, default=5.0, help="size of the object in the memory figure")
    parser.add_argument("--workers", type=int, default=1, help="processes of the store that serve S3")
    parser.add_argument("--quick", action="store_true", help=f"{QUICK_SECONDS} s a figure, {QUICK_KEYS} keys, {QUICK_GIB} GiB")
    parser.add_argument("--dir", type=Path, default=OUT, help="where the stores are made: the disk to measure")
    parser.add_argument("--json", type=Path, default=OUT / "bench.json")
    return parser


def main() -> int:
    options = arguments().parse_args()
    if options.quick:
        options.seconds, options.keys, options.large_gib = QUICK_SECONDS, QUICK_KEYS, QUICK_GIB
    with workplace(options.dir) as directory, Yardsticks(directory, options.seconds, options.keys) as yardsticks:
        bench = Bench(options, yardsticks)
        try:
            if options.s3:
                bench.foreign(options.s3)
            else:
                for layout in LAYOUTS if options.layout == "all" else (options.layout,):
                    bench.store(layout, directory)
        except (LoadFailed, ServerFailed) as error:
            print(f"bench: {error}", file=sys.stderr)
            return 1
        finally:  # what was measured is shown even when the rest was interrupted
            records = [*bench.records, *bench.references()]
            report.write_json(options.json, records)
            print(report.table(records), flush=True)
    return 1 if any(record.failed for record in records) else 0


if __name__ == "__main__":
    sys.exit(main())
