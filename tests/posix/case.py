"""What a conformance case is: a function that tries one behaviour in an empty folder and raises AssertionError where it is not POSIX's."""

from __future__ import annotations

import errno
import os
import stat
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

USER, GROUP = 65534, 65534
"""Somebody who owns nothing."""
OTHER_USER, OTHER_GROUP = 65533, 65533


@dataclass(frozen=True, slots=True)
class Case:
    """call: as POSIX names it; name: the behaviour in words."""

    call: str
    name: str
    run: Callable[[Path], None]

    def __str__(self) -> str:
        return f"{self.call}: {self.name}"


CASES: list[Case] = []


def case(call: str) -> Callable[[Callable[[Path], None]], Callable[[Path], None]]:
    """Registers a function; its name says the behaviour."""

    def register(function: Callable[[Path], None]) -> Callable[[Path], None]:
        add(call, function.__name__.replace("_", " "), function)
        return function

    return register


def add(call: str, name: str, function: Callable[[Path], None]) -> None:
    CASES.append(Case(call, name, function))


@contextmanager
def fails(*numbers: int) -> Iterator[None]:
    """The block must raise OSError with one of these."""
    wanted = "/".join(errno.errorcode[number] for number in numbers)
    try:
        yield
    except OSError as error:
        if error.errno not in numbers:
            raise AssertionError(f"{errno.errorcode.get(error.errno or 0, error.errno)} instead of {wanted}") from error
    else:
        raise AssertionError(f"it succeeded instead of {wanted}")


def as_user(function: Callable[[], object], uid: int = USER, gid: int = GROUP, groups: tuple[int, ...] = ()) -> None:
    """Runs it in a child that is somebody else; its OSError or AssertionError comes back."""
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        _in_child(writer, function, uid, gid, groups)
    os.close(writer)
    with open(reader, "rb") as pipe:
        answer = pipe.read()
    os.waitpid(child, 0)
    assert len(answer) >= 4, "the child died"
    (number,) = struct.unpack("i", answer[:4])
    if number > 0:
        raise OSError(number, os.strerror(number))
    if number < 0:
        raise AssertionError(answer[4:].decode(errors="replace"))


def _in_child(writer: int, function: Callable[[], object], uid: int, gid: int, groups: tuple[int, ...]) -> NoReturn:
    answer = struct.pack("i", 0)
    try:
        os.setgroups(groups)
        os.setegid(gid)
        os.seteuid(uid)
        function()
    except OSError as error:
        answer = struct.pack("i", error.errno or errno.EIO)
    except BaseException as error:
        answer = struct.pack("i", -1) + f"{type(error).__name__}: {error}".encode()
    finally:
        os.write(writer, answer)
        os._exit(0)


def made(path: Path, data: bytes = b"", mode: int = 0o644, uid: int = 0, gid: int = 0) -> Path:
    """A file."""
    path.write_bytes(data)
    os.chown(path, uid, gid)
    os.chmod(path, mode)
    return path


def folder(path: Path, mode: int = 0o755, uid: int = 0, gid: int = 0) -> Path:
    path.mkdir()
    os.chown(path, uid, gid)
    os.chmod(path, mode)
    return path


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


@contextmanager
def opened(path: Path, flags: int = os.O_RDONLY, mode: int = 0o644) -> Iterator[int]:
    descriptor = os.open(path, flags, mode)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


@contextmanager
def umask(bits: int) -> Iterator[None]:
    before = os.umask(bits)
    try:
        yield
    finally:
        os.umask(before)
