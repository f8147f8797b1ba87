"""Times and extended attributes."""

from __future__ import annotations

import errno
import os
import time
from pathlib import Path

from tests.posix.case import case, fails, folder, made, opened

SLACK_S = 5.0


@case("utimensat")
def nanoseconds_are_kept(top: Path) -> None:
    made(top / "f")
    folder(top / "d")
    for name in ("f", "d"):
        for when in (0, 1, 1_234_567_890_123_456_789, 4_102_444_800_000_000_001):
            os.utime(top / name, ns=(when, when + 5))
            assert (top / name).stat().st_mtime_ns == when + 5


@case("utimensat")
def what_was_set_of_a_folder_stays_when_what_it_holds_is_older(top: Path) -> None:
    made(folder(top / "d") / "f")
    os.utime(top / "d", (1_000, 1_000))
    time.sleep(1.2)  # until nobody answers from memory
    assert (top / "d").stat().st_mtime == 1_000


@case("utimensat")
def times_before_1970_are_kept(top: Path) -> None:
    made(top / "f")
    os.utime(top / "f", (-1_000, -1_000))
    assert (top / "f").stat().st_mtime == -1_000


@case("utimensat")
def access_time_is_kept_too(top: Path) -> None:
    made(top / "f")
    os.utime(top / "f", ns=(5_000_000_007, 9))
    assert (top / "f").stat().st_atime_ns == 5_000_000_007


@case("utimensat")
def now_is_now(top: Path) -> None:
    os.utime(made(top / "f"), (1, 1))
    os.utime(top / "f")
    assert abs((top / "f").stat().st_mtime - time.time()) < SLACK_S


@case("utimensat")
def it_works_on_what_is_open_and_survives_the_close(top: Path) -> None:
    with opened(top / "f", os.O_RDWR | os.O_CREAT) as descriptor:
        os.write(descriptor, b"x")
        os.utime(descriptor, (5, 5))
        assert os.fstat(descriptor).st_mtime == 5
    assert (top / "f").stat().st_mtime == 5


@case("stat")
def a_new_file_has_times_of_now(top: Path) -> None:
    found = made(top / "f").stat()
    for when in (found.st_atime, found.st_mtime, found.st_ctime):
        assert abs(when - time.time()) < SLACK_S


@case("stat")
def reading_changes_no_modification_time(top: Path) -> None:
    os.utime(made(top / "f", b"x"), (1, 1))
    (top / "f").read_bytes()
    assert (top / "f").stat().st_mtime == 1


@case("stat")
def size_and_blocks_fit_together(top: Path) -> None:
    found = made(top / "f", b"x" * 100_000).stat()
    assert found.st_size == 100_000
    assert found.st_blocks * 512 >= 100_000
    assert found.st_blksize >= 512


@case("stat")
def inodes_are_stable_and_different(top: Path) -> None:
    for number in range(20):
        made(top / str(number))
    one = {name: (top / name).stat().st_ino for name in os.listdir(top)}
    assert len(set(one.values())) == 20
    assert {name: (top / name).stat().st_ino for name in os.listdir(top)} == one
    (top / "3").write_bytes(b"changed")
    assert (top / "3").stat().st_ino == one["3"]


@case("setxattr")
def values_come_back(top: Path) -> None:
    made(top / "f")
    folder(top / "d")
    for name in ("f", "d"):
        for key, value in (("user.a", b"1"), ("user.empty", b""), ("user.bytes", bytes(range(256))), ("user.Ä.b", "ü".encode())):
            os.setxattr(top / name, key, value)
            assert os.getxattr(top / name, key) == value
        assert sorted(os.listxattr(top / name)) == ["user.a", "user.bytes", "user.empty", "user.Ä.b"]


@case("setxattr")
def a_value_is_replaced(top: Path) -> None:
    made(top / "f")
    os.setxattr(top / "f", "user.a", b"long value")
    os.setxattr(top / "f", "user.a", b"new")
    assert os.getxattr(top / "f", "user.a") == b"new"


@case("setxattr")
def create_and_replace_are_heeded(top: Path) -> None:
    made(top / "f")
    with fails(errno.ENODATA):
        os.setxattr(top / "f", "user.a", b"1", os.XATTR_REPLACE)
    os.setxattr(top / "f", "user.a", b"1", os.XATTR_CREATE)
    with fails(errno.EEXIST):
        os.setxattr(top / "f", "user.a", b"2", os.XATTR_CREATE)
    os.setxattr(top / "f", "user.a", b"3", os.XATTR_REPLACE)
    assert os.getxattr(top / "f", "user.a") == b"3"


@case("setxattr")
def an_unknown_family_is_refused(top: Path) -> None:
    made(top / "f")
    with fails(errno.EOPNOTSUPP, errno.EPERM):
        os.setxattr(top / "f", "nonsense.a", b"1")


@case("setxattr")
def a_value_too_large_is_refused(top: Path) -> None:
    made(top / "f")
    with fails(errno.E2BIG, errno.ENOSPC, errno.ERANGE):
        os.setxattr(top / "f", "user.a", bytes(65_537))


@case("removexattr")
def a_value_goes(top: Path) -> None:
    made(top / "f")
    os.setxattr(top / "f", "user.a", b"1")
    os.removexattr(top / "f", "user.a")
    assert os.listxattr(top / "f") == []
    for action in (os.removexattr, os.getxattr):
        with fails(errno.ENODATA):
            action(top / "f", "user.a")


@case("setxattr")
def attributes_survive_writing_and_renaming(top: Path) -> None:
    made(top / "f", b"x")
    os.setxattr(top / "f", "user.a", b"1")
    (top / "f").write_bytes(b"other")
    os.rename(top / "f", top / "g")
    assert os.getxattr(top / "g", "user.a") == b"1"
