"""System calls that Python makes slow."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from rawx import system

NOT_OPEN = 1 << 20


@pytest.mark.parametrize("size", [0, 1, 128, 129, 3000])
def test_an_attribute_is_read_whole(tmp_path: Path, size: int) -> None:
    descriptor = os.open(tmp_path / "file", os.O_RDWR | os.O_CREAT)
    try:
        os.setxattr(descriptor, "user.other", b"x" * 100)
        os.setxattr(descriptor, "user.some", os.urandom(size))
        for read in (system.attribute, system.short_attribute):
            assert read(descriptor, b"user.some") == os.getxattr(descriptor, "user.some")
            assert read(descriptor, b"user.none") is None
    finally:
        os.close(descriptor)


def test_an_attribute_larger_than_the_usual_is_read_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(system, "_ROOM_BYTES", 16)
    descriptor = os.open(tmp_path / "file", os.O_RDWR | os.O_CREAT)
    try:
        os.setxattr(descriptor, "user.some", b"y" * 17)
        assert system.attribute(descriptor, b"user.some") == b"y" * 17
    finally:
        os.close(descriptor)


@pytest.mark.parametrize("read", [system.attribute, system.short_attribute])
def test_what_forbids_to_read_an_attribute_is_raised(read: Callable[[int, bytes], bytes | None]) -> None:
    with pytest.raises(OSError, match="Bad file descriptor") as raised:
        read(NOT_OPEN, b"user.some")
    assert raised.value.errno == errno.EBADF
