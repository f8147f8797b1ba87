"""A real store: the installed command as a process of its own, started, killed, stopped, and looked at from outside."""

from __future__ import annotations

import json
import os
import re
import select
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import TracebackType

from .client import Client, Credentials
from .survey import is_keepsake

COMMAND = Path(sys.executable).parent / "frazil"
START_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 20.0
COMMAND_TIMEOUT_S = 60.0
_BAD_LINE = re.compile(r"Traceback \(most recent call last\)|\b(?:WARNING|ERROR|CRITICAL|warning|error|critical|Exception)\b")
_LEVEL = re.compile(r"[\"\[ ](?:level=|level\":\s*\")?(?:WARNING|ERROR|CRITICAL|warning|error|critical)\b")


class StoreError(AssertionError):
    """The store did not do what a store must: start, stop, keep a clean log."""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def readable(descriptor: int, timeout_s: float) -> bool:
    """Whether there is something to read, in time. By poll(2), as a tester may have a descriptor above 1,023."""
    waiting = select.poll()
    waiting.register(descriptor, select.POLLIN)
    return bool(waiting.poll(timeout_s * 1000))


def told_ready(descriptor: int, timeout_s: float) -> bool:
    """Whether a process told through its --ready-fd in time that it serves."""
    return readable(descriptor, timeout_s) and bool(os.read(descriptor, 64))


def environment(home: Path, more: Mapping[str, str] | None = None) -> dict[str, str]:
    """An environment in which neither the user's profiles nor a running store of theirs is found."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("FRAZIL", "AWS_", "XDG_", "PYTEST", "NOTIFY"))}
    return kept | {"HOME": str(home), "NO_COLOR": "1", **(more or {})}


class StoreProcess:
    """One `frazil up`. `directories` hold the store; `scratch` holds its log and the home of its user, outside of any fault."""

    def __init__(
        self,
        directories: Sequence[Path],
        scratch: Path,
        *,
        volumes: int = 1,
        options: Sequence[str] = (),
        wrapper: Sequence[str] = (),
        variables: Mapping[str, str] | None = None,
        scheme: str = "http",
        context: ssl.SSLContext | None = None,
    ) -> None:
        self.directories = list(directories)
        self.scratch = scratch
        self.volumes = volumes
        self.options = list(options)
        self.wrapper = list(wrapper)
        self.variables = dict(variables or {})
        self.port = free_port()
        self.url = f"{scheme}://127.0.0.1:{self.port}"
        self.context = context
        self.credentials = Credentials("", "")
        self.allowed: list[str] = []
        self.process: subprocess.Popen[bytes] | None = None
        self.log_path = scratch / "store.log"
        self.output_path = scratch / "store.out"
        self._checked = 0

    def __enter__(self) -> StoreProcess:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        if self.running:
            if kind is None:
                self.stop()
            else:
                self.kill()

    def command(self, *arguments: str, check: bool = True, timeout_s: float = COMMAND_TIMEOUT_S) -> subprocess.CompletedProcess[str]:
        """Runs `frazil ARGUMENTS --store DIR` as a user of this store would."""
        done = subprocess.run(
            [str(COMMAND), *arguments, "--store", str(self.directories[0])],
            env=environment(self.scratch, self.variables),
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )
        if check and done.returncode != 0:
            raise StoreError(f"frazil {' '.join(arguments)} ended with {done.returncode}: {done.stderr[-2000:]}{done.stdout[-500:]}")
        return done

    def start(self, timeout_s: float = START_TIMEOUT_S) -> float:
        """Starts the process; returns the seconds until it served. The first start tells the admin key, which `client` then uses.
        Raises: StoreError when it does not come up."""
        assert not self.running
        began = time.monotonic()
        ready, told = os.pipe()
        arguments = [*self.wrapper, str(COMMAND), "--json", "up", *map(str, self.directories), "--listen", f"127.0.0.1:{self.port}"]
        arguments += ["--volumes", str(self.volumes), "--ready-fd", str(told), *self.options]
        try:
            with self.log_path.open("ab") as log, self.output_path.open("ab") as output:
                self.process = subprocess.Popen(
                    arguments,
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=log,
                    pass_fds=(told,),
                    env=environment(self.scratch, self.variables),
                    start_new_session=True,
                )
            os.close(told)
            told = -1
            if not told_ready(ready, timeout_s):
                try:
                    code = self.process.wait(1.0)  # its descriptors close a moment before it can be waited for
                except subprocess.TimeoutExpired:
                    code = None
                self.kill()
                raise StoreError(f"the store did not come up within {timeout_s} s (exit code {code}):\n{self.log_tail()}")
        finally:
            os.close(ready)
            if told >= 0:
                os.close(told)
        seconds = time.monotonic() - began
        if not self.credentials.access_key:
            self._read_key()
        return seconds

    def _read_key(self) -> None:
        for line in self.output_path.read_text().splitlines():
            record = json.loads(line)
            if "secret_key" in record:
                self.credentials = Credentials(record["access_key"], record["secret_key"])

    @property
    def running(self) -> bool:
        return self.process is not None and self.process.poll() is None

    @property
    def pid(self) -> int:
        """Process id of the store itself, also when it runs under a wrapper."""
        assert self.process is not None
        if not self.wrapper:
            return self.process.pid
        children = _children(self.process.pid)
        assert children, "the wrapper has started nothing"
        return children[0]

    def kill(self) -> None:
        """kill -9 of the process and all it started (its own session)."""
        if self.process is None:
            return
        for pid in [*_descendants(self.process.pid), self.process.pid]:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        self.process.wait(timeout=STOP_TIMEOUT_S)

    def stop(self, timeout_s: float = STOP_TIMEOUT_S) -> float:
        """SIGTERM, as a service manager would; returns the seconds it took. Raises StoreError on another exit code than 0."""
        assert self.process is not None
        began = time.monotonic()
        os.kill(self.pid, signal.SIGTERM)
        try:
            code = self.process.wait(timeout=timeout_s)
        except subprocess.TimeoutExpired:
            self.kill()
            raise StoreError(f"the store did not stop within {timeout_s} s of SIGTERM:\n{self.log_tail()}") from None
        if code != 0:
            raise StoreError(f"the store ended with {code} after SIGTERM:\n{self.log_tail()}")
        return time.monotonic() - began

    def restart(self) -> float:
        """Stops or, when it is dead already, just starts; returns the seconds of the start."""
        if self.running:
            self.stop()
        return self.start()

    def client(self, timeout_s: float = 30.0, credentials: Credentials | None = None) -> Client:
        return Client(self.url, credentials or self.credentials, timeout_s, self.context)

    def log_tail(self, lines: int = 40) -> str:
        return "\n".join(self.log_path.read_text(errors="replace").splitlines()[-lines:])

    def complaints(self) -> list[str]:
        """Lines of the log since the last call that warn or worse and that `allowed` (patterns) does not name."""
        with self.log_path.open("rb") as file:
            file.seek(self._checked)
            text = file.read().decode(errors="replace")
            self._checked = file.tell()
        return [line for line in text.splitlines() if is_complaint(line) and not any(re.search(pattern, line) for pattern in self.allowed)]

    def assert_log_clean(self) -> None:
        found = self.complaints()
        if found:
            raise StoreError("the log holds what it should not:\n" + "\n".join(found[:20]))

    def processes(self) -> list[int]:
        """The store's process ids: its own, then those of its workers."""
        return [self.pid, *_descendants(self.pid)]

    def resident_bytes(self) -> int:
        """Resident memory of all its processes together."""
        return sum(_status_bytes(pid, "VmRSS") for pid in self.processes())

    def peak_bytes(self) -> int:
        """Largest resident memory each process had, added up."""
        return sum(_status_bytes(pid, "VmHWM") for pid in self.processes())

    def open_files(self) -> int:
        return sum(len(os.listdir(f"/proc/{pid}/fd")) for pid in self.processes())

    def processor_s(self) -> float:
        """Seconds of processor its processes have used."""
        ticks = sum(sum(map(int, _stat(pid)[11:13])) for pid in self.processes())
        return ticks / os.sysconf("SC_CLK_TCK")


def is_complaint(line: str) -> bool:
    """Whether a line of the log warns, reports an error or begins a traceback."""
    if "Traceback (most recent call last)" in line or "Exception Group Traceback" in line:
        return True
    return bool(_LEVEL.search(" " + line[:120]) and _BAD_LINE.search(line))


def _stat(pid: int) -> list[str]:
    """Fields of /proc/PID/stat after the command's name: [0] state, [1] parent, [11] user and [12] system ticks."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()


def _children(pid: int) -> list[int]:
    found = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        found += [int(word) for word in task.read_text().split()]
    return found


def _descendants(pid: int) -> list[int]:
    try:
        children = _children(pid)
    except OSError:
        return []
    return [each for child in children for each in (child, *_descendants(child))]


def _status_bytes(pid: int, name: str) -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(name + ":"):
            return int(line.split()[1]) * 1024
    return 0


def chunk_paths(store: StoreProcess) -> Iterable[Path]:
    """The chunk files of all volumes, without sidecars, what a write has not finished, and keepsakes."""
    for directory in store.directories:
        for path in sorted((directory / "volumes").glob("*/[0-9a-f][0-9a-f][0-9a-f]/*")):
            if re.fullmatch(r"[0-9a-f]{32,64}", path.name) and not is_keepsake(path):
                yield path
