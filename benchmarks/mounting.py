"""Mounts that are measured, each a process of its own in the foreground, unmounted at the end."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.serving import Server, frazil_command, process, ready_pipe

SHUT_TIMEOUT_S = 120


@dataclass(frozen=True, slots=True)
class Mount:
    """A mounted bucket. pid: of the process that serves it."""

    name: str
    path: Path
    pid: int


@contextmanager
def frazil_mount(server: Server, bucket: str, path: Path) -> Iterator[Mount]:
    path.mkdir()
    with ready_pipe() as (told, teller):
        command = frazil_command("mount", bucket, str(path), "--store", str(server.directory), "--ready-fd", str(teller))
        with process(command, path.with_suffix(".log"), told, keep=[teller]) as pid, _unmounting(path):
            yield Mount("mount", path, pid)


@contextmanager
def zeros_mount(server: Server, bucket: str, path: Path) -> Iterator[Mount]:
    """pyfuse3's own limit: no store behind it."""
    path.mkdir()
    command = [sys.executable, "-m", "benchmarks.zeros", str(path)]
    with process(command, path.with_suffix(".log"), lambda: os.path.ismount(path)) as pid, _unmounting(path):
        yield Mount("zeros", path, pid)


@contextmanager
def s3fs_mount(server: Server, bucket: str, path: Path) -> Iterator[Mount]:
    path.mkdir()
    secret = path.with_suffix(".password")
    secret.touch(mode=0o600)
    secret.write_text(f"{server.credentials.access_key}:{server.credentials.secret_key}\n")
    options = f"url=http://{server.host},use_path_request_style,passwd_file={secret}"
    command = ["s3fs", bucket, str(path), "-f", "-o", options]
    with process(command, path.with_suffix(".log"), lambda: os.path.ismount(path)) as pid, _unmounting(path):
        yield Mount("s3fs", path, pid)


@contextmanager
def rclone_mount(server: Server, bucket: str, path: Path) -> Iterator[Mount]:
    """With its full cache, without which it knows no random writes."""
    path.mkdir()
    settings = {"type": "s3", "provider": "Other", "access_key_id": server.credentials.access_key}
    settings |= {"secret_access_key": server.credentials.secret_key, "endpoint": f"http://{server.host}"}
    environment = {f"RCLONE_CONFIG_STORE_{name.upper()}": value for name, value in settings.items()}
    environment |= {"AWS_CA_BUNDLE": ""}  # Debian's rclone can't use one, and fails
    cache = path.with_suffix(".cache")
    command = ["rclone", "mount", f"store:{bucket}", str(path), "--config", os.devnull]
    command += ["--vfs-cache-mode", "full", "--cache-dir", str(cache)]
    try:
        ready = lambda: os.path.ismount(path)  # noqa: E731 - as for the others
        with process(command, path.with_suffix(".log"), ready, environment=environment) as pid, _unmounting(path):
            yield Mount("rclone", path, pid)
    finally:
        shutil.rmtree(cache, ignore_errors=True)


@contextmanager
def _unmounting(path: Path) -> Iterator[None]:
    """umount waits until what was written is in the store, by all of them; a dead mount is taken away."""
    try:
        yield
    finally:
        subprocess.run(["fusermount3", "-u", str(path)], capture_output=True, timeout=SHUT_TIMEOUT_S, check=False)
        if os.path.ismount(path):
            subprocess.run(["fusermount3", "-uz", str(path)], capture_output=True, timeout=SHUT_TIMEOUT_S, check=False)


def installed(names: Sequence[str]) -> list[str]:
    """Those whose program is on the path; says which are not, and how to get them."""
    there = [name for name in names if shutil.which(name)]
    for name in names:
        if name not in there:
            print(f"{name} is not installed and is left out (apt-get install {name})", file=sys.stderr)
    return there
