"""A real mount: the installed command as a process of its own on a running store, unmounted, killed, stopped."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from .cluster import Host
from .store import COMMAND, StoreError, StoreProcess, environment, told_ready

START_TIMEOUT_S = 90.0
STOP_TIMEOUT_S = 90.0
"""Long enough for a mount that gets little of a busy machine."""


@dataclass
class Ground:
    """What is mounted: `place` as --store names it; scratch: for logs; before: what stands in front of a command that runs there."""

    place: Path
    scratch: Path
    before: list[str] = field(default_factory=list)

    @classmethod
    def of(cls, store: StoreProcess | Host) -> Ground:
        if isinstance(store, Host):
            return cls(store.file, store.folder, store.before)
        return cls(store.directories[0], store.scratch)


class MountProcess:
    """One `frazil mount` in the foreground. As a context it is mounted inside; at the end it is unmounted, or killed after a failure."""

    def __init__(self, store: StoreProcess | Host, directory: Path, *, target: str = "", options: Sequence[str] = ()) -> None:
        self.ground, self.directory, self.target, self.options = Ground.of(store), directory, target, list(options)
        self.process: subprocess.Popen[bytes] | None = None
        self.log_path = self.ground.scratch / f"mount-{directory.name}.log"

    def __enter__(self) -> MountProcess:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if self.process is None or self.process.poll() is not None:
            self.force()
        elif kind is None:
            self.unmount()
        else:
            self.kill()

    def start(self, timeout_s: float = START_TIMEOUT_S) -> None:
        """Raises: StoreError when it does not serve in time."""
        with suppress(FileExistsError):  # whatever is mounted there, a dead one can't even be looked at
            self.directory.mkdir()
        ready, told = os.pipe()
        arguments = [*self.ground.before, str(COMMAND), "mount", *([self.target] if self.target else []), str(self.directory)]
        arguments += ["--store", str(self.ground.place), "--ready-fd", str(told)]
        for option in self.options:
            arguments += ["-o", option]
        try:
            with self.log_path.open("ab") as log:
                self.process = subprocess.Popen(
                    arguments,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    pass_fds=(told,),
                    env=environment(self.ground.scratch, {"PYTHONFAULTHANDLER": "1"}),
                    start_new_session=True,
                )
            os.close(told)
            told = -1
            if not told_ready(ready, timeout_s):
                self.kill()
                raise StoreError(f"the mount did not come up within {timeout_s} s:\n{self.log_tail()}")
        finally:
            os.close(ready)
            if told >= 0:
                os.close(told)

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    def unmount(self, timeout_s: float = STOP_TIMEOUT_S) -> None:
        """umount(8), tried again while somebody uses it; waits for the process. Raises: StoreError."""
        assert self.process is not None
        deadline = time.monotonic() + timeout_s
        while (done := subprocess.run(["fusermount3", "-u", str(self.directory)], capture_output=True, text=True, check=False)).returncode:
            if time.monotonic() > deadline:
                self.kill()
                raise StoreError(f"{self.directory} can't be unmounted: {done.stderr}")
            time.sleep(0.1)
        try:
            code = self.process.wait(timeout=max(deadline - time.monotonic(), 1))
        except subprocess.TimeoutExpired:
            self.process.send_signal(signal.SIGABRT)  # Python tells in the log where its threads are
            self.process.wait(timeout=STOP_TIMEOUT_S)
            raise StoreError(f"the mount did not end within {timeout_s} s of umount:\n{self.log_tail()}") from None
        if code != 0:
            raise StoreError(f"the mount ended with {code}:\n{self.log_tail()}")

    def stop(self, timeout_s: float = STOP_TIMEOUT_S) -> int:
        """SIGTERM; its exit code."""
        assert self.process is not None
        self.process.terminate()
        return self.process.wait(timeout=timeout_s)

    def kill(self) -> None:
        """kill -9, and the dead mount point is taken away."""
        if self.process is not None and self.process.poll() is None:
            os.kill(self.process.pid, signal.SIGKILL)
            self.process.wait(timeout=STOP_TIMEOUT_S)
        self.force()

    def force(self) -> None:
        """Takes away what a dead process left."""
        subprocess.run(["fusermount3", "-uz", str(self.directory)], capture_output=True, check=False)

    def log_tail(self, lines: int = 40) -> str:
        return "\n".join(self.log_path.read_text(errors="replace").splitlines()[-lines:])


def sync(path: Path) -> None:
    """Of a file, or of a folder: what was closed and removed before is durable then. Raises: OSError of fsync."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
