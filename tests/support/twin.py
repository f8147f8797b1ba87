"""Two folders that get the same calls and must answer alike: one under test, one that is right."""

from __future__ import annotations

import errno
import mmap
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.posix.files import FALLOC_FL_KEEP_SIZE, FALLOC_FL_PUNCH_HOLE, fallocate
from tests.posix.renames import renameat2

ALIKE = {errno.EEXIST: errno.ENOTEMPTY, errno.EACCES: errno.EPERM}
"""Of these POSIX allows either."""


class Differs(AssertionError):
    """The two answered otherwise, or hold something else."""


class Twin:
    """Every method does one call on both sides. handles: pairs of open descriptors by number; None once closed."""

    def __init__(self, tested: Path, right: Path) -> None:
        self.sides = (tested, right)
        self.handles: list[tuple[int, int] | None] = []
        self.unsupported: set[str] = set()

    def both(self, name: str, call: Callable[[int], Any]) -> Any:
        """call: given the side, 0 or 1. Its result, or the negative errno. Raises: Differs."""
        if name in self.unsupported:
            return None
        tested, right = _outcome(lambda: call(0)), _outcome(lambda: call(1))
        if tested != right:
            raise Differs(f"{name}: {_told(tested)} instead of {_told(right)}")
        return right

    def path(self, side: int, name: str) -> Path:
        return self.sides[side] / name

    # Names

    def mkdir(self, name: str, mode: int) -> None:
        self.both(f"mkdir {name}", lambda side: os.mkdir(self.path(side, name), mode))

    def rmdir(self, name: str) -> None:
        self.both(f"rmdir {name}", lambda side: os.rmdir(self.path(side, name)))

    def unlink(self, name: str) -> None:
        self.both(f"unlink {name}", lambda side: os.unlink(self.path(side, name)))

    def symlink(self, target: str, name: str) -> None:
        self.both(f"symlink {name}", lambda side: os.symlink(target, self.path(side, name)))

    def link(self, source: str, target: str) -> None:
        if "link" not in self.unsupported:
            self.both(
                f"link {source} {target}",
                lambda side: os.link(self.path(side, source), self.path(side, target), follow_symlinks=False),
            )

    def rename(self, source: str, target: str, flags: int) -> None:
        self.both(f"rename {source} {target} {flags}", lambda side: renameat2(self.path(side, source), self.path(side, target), flags))

    def chmod(self, name: str, mode: int) -> None:
        self.both(f"chmod {name} {mode:o}", lambda side: os.chmod(self.path(side, name), mode))

    def utime(self, name: str, when_ns: int) -> None:
        self.both(f"utime {name}", lambda side: os.utime(self.path(side, name), ns=(when_ns, when_ns), follow_symlinks=False))

    def set_attribute(self, name: str, key: str, value: bytes) -> None:
        self.both(f"setxattr {name} {key}", lambda side: os.setxattr(self.path(side, name), key, value))

    def remove_attribute(self, name: str, key: str) -> None:
        self.both(f"removexattr {name} {key}", lambda side: os.removexattr(self.path(side, name), key))

    def truncate(self, name: str, size: int) -> None:
        self.both(f"truncate {name} {size}", lambda side: os.truncate(self.path(side, name), size))

    def look(self, name: str) -> None:
        self.both(f"look {name}", lambda side: looked_at(self.path(side, name)))

    # What is open

    def open(self, name: str, flags: int, mode: int = 0o644) -> None:
        opened: list[int] = []

        def call(side: int) -> None:
            opened.append(os.open(self.path(side, name), flags, mode))

        try:
            self.both(f"open {name} {flags:o}", call)
        except Differs:
            for descriptor in opened:
                os.close(descriptor)
            raise
        if opened:
            self.handles.append((opened[0], opened[1]))

    def close(self, number: int) -> None:
        pair, self.handles[number] = self.handles[number], None
        if pair is not None:
            self.both("close", lambda side: os.close(pair[side]))

    def close_all(self) -> None:
        for number in range(len(self.handles)):
            self.close(number)
        self.handles.clear()

    def on(self, number: int, name: str, call: Callable[[int], Any]) -> None:
        """A call on an open pair."""
        pair = self.handles[number]
        if pair is not None:
            self.both(f"{name} on {number}", lambda side: call(pair[side]))

    def read(self, number: int, start: int, size: int) -> None:
        self.on(number, f"read {start} {size}", lambda descriptor: os.pread(descriptor, size, start))

    def write(self, number: int, start: int, data: bytes) -> None:
        self.on(number, f"write {start} {len(data)}", lambda descriptor: os.pwrite(descriptor, data, start))

    def resize(self, number: int, size: int) -> None:
        self.on(number, f"ftruncate {size}", lambda descriptor: os.ftruncate(descriptor, size))

    def sync(self, number: int) -> None:
        self.on(number, "fsync", os.fsync)

    def punch(self, number: int, start: int, size: int) -> None:
        if "punch" not in self.unsupported:
            mode = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE
            self.on(number, f"punch {start} {size}", lambda descriptor: fallocate(descriptor, mode, start, size))

    def map_write(self, number: int, start: int, data: bytes) -> None:
        def call(descriptor: int) -> None:
            size = os.fstat(descriptor).st_size
            if size:
                with mmap.mmap(descriptor, size) as view:
                    piece = data[: max(size - start, 0)]
                    view[start : start + len(piece)] = piece

        self.on(number, f"map {start} {len(data)}", call)

    def copy(self, source: int, target: int, start: int, size: int) -> None:
        pair = self.handles[target]
        if pair is None or self.handles[source] is None or source == target:
            return

        def call(side: int) -> int:
            return os.copy_file_range(self.handles[source][side], pair[side], size, start, 0)  # type: ignore[index]

        self.both(f"copy_file_range {start} {size}", call)

    # All of it

    def probe(self, *names: str) -> None:
        """Finds out which calls the tested side refuses for good; they are left out then."""
        probe = self.sides[0] / ".probe"
        for name in names:
            probe.write_bytes(b"probe")
            try:
                if name == "link":
                    os.link(probe, probe.with_name(".probe2"))
                elif name == "punch":
                    with probe.open("r+b") as file:
                        fallocate(file.fileno(), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 1)
            except OSError:
                self.unsupported.add(name)
            for path in (probe, probe.with_name(".probe2")):
                path.unlink(missing_ok=True)

    def compare(self) -> None:
        """Names, kinds, modes, bytes, attributes of both trees. Raises: Differs."""
        tested, right = tree(self.sides[0]), tree(self.sides[1])
        for name in sorted(tested.keys() | right.keys()):
            if tested.get(name) != right.get(name):
                raise Differs(f"{name!r} is {_told(tested.get(name))} instead of {_told(right.get(name))}")


def tree(top: Path) -> dict[str, object]:
    found: dict[str, object] = {}
    for here, folders, files in os.walk(top):
        for name in (*folders, *files):
            path = Path(here) / name
            found[str(path.relative_to(top))] = looked_at(path)
    return found


def looked_at(path: Path) -> object:
    """All that both sides must agree on."""
    what = path.lstat()
    if stat.S_ISLNK(what.st_mode):
        return "link", os.readlink(path)
    values = {name: os.getxattr(path, name) for name in sorted(os.listxattr(path)) if name.startswith("user.")}
    if stat.S_ISDIR(what.st_mode):
        return "folder", stat.S_IMODE(what.st_mode), sorted(os.listdir(path)), values
    return "file", stat.S_IMODE(what.st_mode), what.st_nlink, what.st_size, path.read_bytes(), values


def _outcome(call: Callable[[], Any]) -> Any:
    try:
        return call()
    except OSError as error:
        return -ALIKE.get(error.errno or 0, error.errno or 0)


def _told(outcome: object) -> str:
    if isinstance(outcome, int) and outcome < 0:
        return errno.errorcode.get(-outcome, str(outcome))
    text = repr(outcome)
    return text if len(text) < 300 else f"{text[:140]} ... {text[-140:]}"
