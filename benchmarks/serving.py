"""Starts and stops the servers that are measured, each in a session of its own: nothing outlives its figure, nothing else is touched."""

from __future__ import annotations

import json
import os
import re
import secrets
import select
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.presign import Credentials

START_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 30.0
POLL_S = 0.05
LOG_TAIL_CHARS = 2000
CHECKOUT = Path(__file__).resolve().parent.parent


class ServerFailed(Exception):
    """A server that did not start, or died."""


@dataclass(frozen=True, slots=True)
class Server:
    """A running server under measurement; `pid` is 0 when it isn't ours (a foreign S3)."""

    name: str
    host: str
    credentials: Credentials
    pid: int
    directory: Path | None


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def new_credentials() -> Credentials:
    return Credentials(f"bench{secrets.token_hex(6)}", secrets.token_hex(20))


@contextmanager
def process(
    command: Sequence[str], log: Path, ready: Callable[[], bool], *, environment: Mapping[str, str] | None = None, keep: Sequence[int] = ()
) -> Iterator[int]:
    """Runs `command`, yields its pid when it is `ready`, and ends it and all it started. Raises ServerFailed with the end of its log.

    `keep` are descriptors that the child inherits.
    """
    with log.open("wb") as output:
        child = subprocess.Popen(
            command, cwd=CHECKOUT, stdin=subprocess.DEVNULL, stdout=output, stderr=output,
            start_new_session=True, env={**os.environ, **(environment or {})}, pass_fds=keep,
        )  # fmt: skip
    try:
        limit = time.monotonic() + START_TIMEOUT_S
        while not ready():
            if child.poll() is not None or time.monotonic() > limit:
                tail = log.read_text(errors="replace")[-LOG_TAIL_CHARS:]
                raise ServerFailed(f"{' '.join(command)} does not serve (exit {child.returncode}): {tail}")
            time.sleep(POLL_S)
        yield child.pid
    finally:
        _stop(child)


def listening(port: int) -> Callable[[], bool]:
    """Whether the port answers by now; for servers that have no better way to say so."""

    def ready() -> bool:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            return False
        return True

    return ready


def _stop(child: subprocess.Popen[bytes]) -> None:
    """SIGTERM, then SIGKILL to the session this module made for the child."""
    for sent, wait_s in ((signal.SIGTERM, STOP_TIMEOUT_S), (signal.SIGKILL, STOP_TIMEOUT_S)):
        try:
            os.killpg(child.pid, sent)
        except ProcessLookupError:
            break
        try:
            child.wait(wait_s)
        except subprocess.TimeoutExpired:
            continue
    child.wait()


def frazil_command(*arguments: str) -> list[str]:
    """The launcher of this checkout: beside the interpreter that runs us, else the package."""
    launcher = Path(sys.executable).with_name("frazil")
    return [str(launcher), *arguments] if launcher.exists() else [sys.executable, "-m", "frazil", *arguments]


@contextmanager
def frazil(directory: Path, *, volumes: int = 1, workers: int = 1) -> Iterator[Server]:
    """`frazil up` on `directory`; the key is made at the first start and kept beside the store, for the next."""
    port = free_port()
    command = frazil_command("up", str(directory), "--volumes", str(volumes), "--listen", f"127.0.0.1:{port}")
    if workers > 1:
        command += ["--workers", str(workers)]
    with (
        ready_pipe() as (told, teller),
        process([*command, "--ready-fd", str(teller)], directory.with_suffix(".log"), told, keep=[teller]) as pid,
    ):
        credentials = _frazil_key(directory)
        name = f"frazil, {workers} workers" if workers > 1 else "frazil"
        yield Server(name, f"127.0.0.1:{port}", credentials, pid, directory)


@contextmanager
def ready_pipe() -> Iterator[tuple[Callable[[], bool], int]]:
    """Whether something was written, and the descriptor to write to."""
    reader, writer = os.pipe()
    try:
        yield lambda: bool(select.select([reader], [], [], 0)[0]), writer
    finally:
        os.close(reader)
        os.close(writer)


def _frazil_key(directory: Path) -> Credentials:
    kept = directory.with_suffix(".key")
    if kept.exists():
        access_key, secret_key = json.loads(kept.read_text())
        return Credentials(access_key, secret_key)
    credentials = new_credentials()
    command = frazil_command(
        "key", "create", "bench", "--store", str(directory), "--json",
        "--access-key", credentials.access_key, "--secret-key", credentials.secret_key,
    )  # fmt: skip
    done = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, timeout=START_TIMEOUT_S, check=False)
    if done.returncode:
        raise ServerFailed(f"frazil key create: exit {done.returncode}: {(done.stderr or done.stdout).strip()[-LOG_TAIL_CHARS:]}")
    kept.touch(mode=0o600)
    kept.write_text(json.dumps([credentials.access_key, credentials.secret_key]))
    return credentials


def find_peer(name: str) -> str | None:
    """The binary of a peer: on PATH or where `go install` leaves it."""
    found = shutil.which(name)
    if found:
        return found
    for folder in (os.environ.get("GOBIN"), Path(os.environ.get("GOPATH", Path.home() / "go"), "bin")):
        if folder and Path(folder, name).exists():
            return str(Path(folder, name))
    return None


def version(binary: str) -> str:
    """The module version that Go stored in the binary, else what `--version` says first."""
    go = shutil.which("go") or "/usr/local/go/bin/go"
    if Path(go).exists():
        done = subprocess.run([go, "version", "-m", binary], capture_output=True, text=True, timeout=START_TIMEOUT_S, check=False)
        found = re.search(r"^\s*mod\s+\S+\s+(\S+)", done.stdout, re.MULTILINE)
        if found:
            return found.group(1)
    done = subprocess.run([binary, "--version"], capture_output=True, text=True, timeout=START_TIMEOUT_S, check=False)
    return done.stdout.strip().splitlines()[0] if done.stdout.strip() else "unknown"


@contextmanager
def minio(binary: str, directory: Path) -> Iterator[Server]:
    credentials, port = new_credentials(), free_port()
    directory.mkdir(parents=True)
    environment = {
        "MINIO_ROOT_USER": credentials.access_key, "MINIO_ROOT_PASSWORD": credentials.secret_key,
        "MINIO_BROWSER": "off", "MINIO_UPDATE": "off", "MINIO_CALLHOME_ENABLE": "off",
    }  # fmt: skip
    command = [binary, "server", "--quiet", "--address", f"127.0.0.1:{port}", str(directory)]
    with process(command, directory.with_suffix(".log"), listening(port), environment=environment) as pid:
        yield Server("minio", f"127.0.0.1:{port}", credentials, pid, directory)


@contextmanager
def versitygw(binary: str, directory: Path) -> Iterator[Server]:
    """With keep-alive, which it leaves off unless told: without it every figure would measure connecting."""
    credentials, port = new_credentials(), free_port()
    directory.mkdir(parents=True)
    environment = {"ROOT_ACCESS_KEY_ID": credentials.access_key, "ROOT_SECRET_ACCESS_KEY": credentials.secret_key}
    command = [binary, "--port", f"127.0.0.1:{port}", "--quiet", "--keep-alive", "posix", str(directory)]
    with process(command, directory.with_suffix(".log"), listening(port), environment=environment) as pid:
        yield Server("versitygw", f"127.0.0.1:{port}", credentials, pid, directory)
