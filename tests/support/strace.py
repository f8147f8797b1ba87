"""System calls of a live process, counted or made to fail at the N-th by strace."""

from __future__ import annotations

import contextlib
import re
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

ATTACH_S = 10.0
DETACH_S = 3.0
CHANGING = (
    "openat", "open", "creat", "mkdir", "mkdirat", "write", "writev", "pwrite64", "pwritev", "pwritev2", "ftruncate", "fallocate",
    "fsync", "fdatasync", "syncfs", "sync_file_range", "setxattr", "fsetxattr", "link", "linkat", "rename", "renameat", "renameat2",
    "unlink", "unlinkat", "rmdir", "sendto", "sendmsg",
)  # fmt: skip
"""System calls whose moment a crash can tell apart: those that change a disk, and those that answer."""


class Strace:
    """strace attached to a process and all its threads; a context manager. `inject` is what follows `-e inject=`, "" to count only."""

    def __init__(self, pid: int, output: Path, *, calls: Sequence[str] = CHANGING, inject: str = "") -> None:
        self._pid = pid
        self._output = output
        self._calls = calls
        self._inject = inject
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Strace:
        self._output.unlink(missing_ok=True)
        command = ["strace", "-f", "-y", "-o", str(self._output), "-e", f"trace={','.join(self._calls)}", "-p", str(self._pid)]
        if self._inject:
            command += ["-e", f"inject={self._inject}"]
        self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        assert self._process.stderr is not None
        line = self._process.stderr.readline()
        assert b"attached" in line, f"strace: {line!r} {self._process.stderr.read()!r}"
        self._wait_for_threads()
        return self

    def _wait_for_threads(self) -> None:
        """strace reports the first thread; the others follow at once, and each must be traced before the test goes on."""
        end = time.monotonic() + ATTACH_S
        while time.monotonic() < end:
            if all(not re.search(r"TracerPid:\t0\n", text) for text in self._statuses()):
                return
            time.sleep(0.005)
        raise AssertionError("strace does not attach to all threads")

    def _statuses(self) -> list[str]:
        found = []
        for path in Path(f"/proc/{self._pid}/task").glob("*/status"):
            with contextlib.suppress(OSError):  # a thread that ended just now
                found.append(path.read_text())
        return found

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        assert self._process is not None
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGINT)
        try:
            self._process.wait(timeout=DETACH_S)
        except subprocess.TimeoutExpired:
            # Told to detach while the process dies, strace 6.1 waits for ever for its first thread.
            self._process.kill()
            self._process.wait()
        assert self._process.stderr is not None
        self._process.stderr.close()

    def counts(self) -> Counter[tuple[str, str]]:
        """(thread id, system call) to how often it was called. Complete after the context is left."""
        found: Counter[tuple[str, str]] = Counter()
        for line in self._output.read_text(errors="replace").splitlines():
            match = re.match(r"(\d+)\s+(\w+)\(", line)
            if match:
                found[match.group(1), match.group(2)] += 1
        return found

    def text(self) -> str:
        return self._output.read_text(errors="replace") if self._output.exists() else ""
