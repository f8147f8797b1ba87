"""Many small requests by `wrk`: a C client, so that the processor is left to the server."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

SCRIPT = Path(__file__).with_name("request.lua")
ANSWER_TIMEOUT_S = 60
COUNTED_TIME_MAX_S = 900
GRACE_S = 60


class LoadFailed(Exception):
    """A figure that must not be printed: an answer was an error, missing or late."""


class LoadResult(msgspec.Struct, frozen=True):
    """What wrk counted in one run; times of single requests in microseconds."""

    requests: int
    seconds: float
    bad_status: int = 0
    connect: int = 0
    read: int = 0
    write: int = 0
    timeout: int = 0
    p50_us: int = 0
    p99_us: int = 0

    @property
    def rate(self) -> float:
        return self.requests / self.seconds if self.seconds else 0.0

    @property
    def failures(self) -> int:
        return self.bad_status + self.connect + self.read + self.write + self.timeout


@dataclass(frozen=True, slots=True)
class Load:
    """One run: `targets` go round for `seconds`, or, with `count`, exactly that many requests are sent and timed to the last answer."""

    method: str
    host: str
    targets: Sequence[str]
    connections: int
    seconds: int
    body_bytes: int | None = None
    count: int = 0

    def run(self) -> LoadResult:
        """Blocks until the run is over. Raises LoadFailed when any answer was not a 2xx or never came."""
        if not self.targets:
            raise LoadFailed("no targets")
        with tempfile.TemporaryDirectory(prefix="frazil-bench-") as scratch:
            targets = Path(scratch, "targets")
            targets.write_text("\n".join(self.targets) + "\n")
            result_path = Path(scratch, "result.json")
            duration_s = COUNTED_TIME_MAX_S if self.count else self.seconds
            command = [
                wrk_path(), "--threads", "1", "--connections", str(self.connections), "--duration", f"{duration_s}s",
                "--timeout", f"{ANSWER_TIMEOUT_S}s", "--script", str(SCRIPT), f"http://{self.host}/", "--",
                self.method, self.host, str(targets), str(-1 if self.body_bytes is None else self.body_bytes),
                str(self.count), str(result_path),
            ]  # fmt: skip
            done = subprocess.run(command, capture_output=True, text=True, timeout=duration_s + GRACE_S, check=False)
            if done.returncode or not result_path.exists():
                raise LoadFailed(f"wrk: exit {done.returncode}: {(done.stderr or done.stdout).strip()[-300:]}")
            result = msgspec.json.decode(result_path.read_bytes(), type=LoadResult)
        return checked(result, self.count)


def checked(result: LoadResult, count: int = 0) -> LoadResult:
    """`result` itself when every answer was good; LoadFailed otherwise."""
    if result.failures:
        raise LoadFailed(f"{result.failures} of {result.requests} requests failed: {result}")
    if not result.requests or result.requests < count:
        raise LoadFailed(f"{result.requests} answers, {max(count, 1)} expected")
    return result


def wrk_path() -> str:
    path = shutil.which("wrk")
    if path is None:
        raise LoadFailed("wrk is not installed (Debian: apt-get install wrk)")
    return path
