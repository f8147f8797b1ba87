"""rename: every kind over every kind, flags, trees, what is open meanwhile."""

from __future__ import annotations

import ctypes
import errno
import os
import threading
from functools import partial
from pathlib import Path

from tests.posix.case import add, case, fails, folder, made, opened

AT_FDCWD = -100
NOREPLACE, EXCHANGE, WHITEOUT = 1, 2, 4
_libc = ctypes.CDLL(None, use_errno=True)


def renameat2(source: Path, target: Path, flags: int) -> None:
    """Raises: OSError."""
    if _libc.renameat2(AT_FDCWD, os.fsencode(source), AT_FDCWD, os.fsencode(target), flags):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def _thing(path: Path, kind: str) -> None:
    if kind == "file":
        made(path, path.name.encode())
    elif kind == "link":
        path.symlink_to(f"to {path.name}")
    elif kind in ("empty folder", "full folder"):
        folder(path)
        if kind == "full folder":
            made(path / "inside", path.name.encode())


def _look(path: Path) -> object:
    if path.is_symlink():
        return os.readlink(path)
    if path.is_dir():
        return sorted((each.name, each.read_bytes()) for each in path.iterdir())
    return path.read_bytes() if path.exists() else None


KINDS = ("file", "link", "empty folder", "full folder")


def _over(source: str, target: str, top: Path) -> None:
    _thing(top / "a", source)
    _thing(top / "b", target)
    was, there = _look(top / "a"), _look(top / "b")
    if target == "nothing" or (("folder" in source) == ("folder" in target) and target != "full folder"):
        os.rename(top / "a", top / "b")
        assert _look(top / "b") == was
        assert os.listdir(top) == ["b"]
        return
    wanted = (errno.ENOTEMPTY, errno.EEXIST) if "folder" in source and "folder" in target else (errno.ENOTDIR,)
    with fails(*(wanted if "folder" in source else (errno.EISDIR,))):
        os.rename(top / "a", top / "b")
    assert (_look(top / "a"), _look(top / "b")) == (was, there)


def _not_over(source: str, target: str, top: Path) -> None:
    _thing(top / "a", source)
    _thing(top / "b", target)
    was, there = _look(top / "a"), _look(top / "b")
    if target == "nothing":
        renameat2(top / "a", top / "b", NOREPLACE)
        assert _look(top / "b") == was
        return
    with fails(errno.EEXIST):
        renameat2(top / "a", top / "b", NOREPLACE)
    assert (_look(top / "a"), _look(top / "b")) == (was, there)


def _exchanged(source: str, target: str, top: Path) -> None:
    _thing(top / "a", source)
    _thing(top / "b", target)
    was, there = _look(top / "a"), _look(top / "b")
    if target == "nothing":
        with fails(errno.ENOENT):
            renameat2(top / "a", top / "b", EXCHANGE)
        return
    renameat2(top / "a", top / "b", EXCHANGE)
    assert (_look(top / "a"), _look(top / "b")) == (there, was)
    os.rename(top / "a", top / "c")
    assert _look(top / "c") == there


for _source in KINDS:
    for _target in (*KINDS, "nothing"):
        add("rename", f"{_source} over {_target}", partial(_over, _source, _target))
        add("renameat2", f"NOREPLACE of {_source} onto {_target}", partial(_not_over, _source, _target))
        add("renameat2", f"EXCHANGE of {_source} with {_target}", partial(_exchanged, _source, _target))


@case("rename")
def a_tree_moves_with_all_that_is_in_it(top: Path) -> None:
    for level in ("a", "a/b", "a/b/c"):
        folder(top / level)
        for number in range(5):
            made(top / level / f"f{number}", f"{level}{number}".encode())
    folder(top / "target")
    os.rename(top / "a", top / "target/z")
    assert sorted(os.listdir(top)) == ["target"]
    for level, now in (("a", "z"), ("a/b", "z/b"), ("a/b/c", "z/b/c")):
        for number in range(5):
            assert (top / "target" / now / f"f{number}").read_bytes() == f"{level}{number}".encode()
    made(top / "target/z/b/new", b"n")
    os.rename(top / "target/z", top / "a")
    assert (top / "a/b/new").read_bytes() == b"n"
    assert os.listdir(top / "target") == []


@case("rename")
def a_folder_is_not_moved_into_itself(top: Path) -> None:
    folder(folder(top / "a") / "b")
    for target in ("a/c", "a/b/c"):
        with fails(errno.EINVAL):
            os.rename(top / "a", top / target)
    with fails(errno.ENOTEMPTY, errno.EEXIST, errno.EINVAL):
        os.rename(top / "a/b", top / "a")


@case("rename")
def a_name_onto_itself_changes_nothing(top: Path) -> None:
    made(top / "a", b"x")
    folder(top / "d")
    for name in ("a", "d"):
        os.rename(top / name, top / name)
    assert sorted(os.listdir(top)) == ["a", "d"]
    assert (top / "a").read_bytes() == b"x"


@case("rename")
def names_that_begin_alike_are_no_part_of_a_tree(top: Path) -> None:
    made(folder(top / "a") / "x", b"in")
    made(folder(top / "ab") / "x", b"beside")
    made(top / "a.txt", b"file")
    os.rename(top / "a", top / "c")
    assert sorted(os.listdir(top)) == ["a.txt", "ab", "c"]
    assert (top / "ab/x").read_bytes() == b"beside"


@case("rename")
def dot_and_dot_dot_are_einval_or_ebusy(top: Path) -> None:
    folder(top / "d")
    for name in ("d/.", "d/.."):
        with fails(errno.EINVAL, errno.EBUSY):
            os.rename(f"{top}/{name}", top / "x")


@case("rename")
def another_file_system_is_exdev(top: Path) -> None:
    made(top / "a")
    with fails(errno.EXDEV):
        os.rename(top / "a", f"/dev/shm/frazil-{os.getpid()}")


@case("rename")
def who_has_it_open_goes_on_with_it(top: Path) -> None:
    made(top / "a", b"abc")
    made(top / "b", b"old")
    with opened(top / "a", os.O_RDWR) as moved, opened(top / "b") as replaced:
        os.rename(top / "a", top / "b")
        os.pwrite(moved, b"X", 0)
        assert os.pread(replaced, 10, 0) == b"old"
        assert os.fstat(replaced).st_nlink == 0
    assert (top / "b").read_bytes() == b"Xbc"
    assert os.listdir(top) == ["b"]


@case("rename")
def a_file_that_is_open_moves_with_its_folder(top: Path) -> None:
    made(folder(top / "d") / "f", b"abc")
    with opened(top / "d/f", os.O_RDWR) as descriptor:
        os.pwrite(descriptor, b"1", 0)
        os.rename(top / "d", top / "e")
        os.pwrite(descriptor, b"2", 1)
        os.fsync(descriptor)
        assert (top / "e/f").read_bytes() == b"12c"
        os.pwrite(descriptor, b"3", 2)
    assert (top / "e/f").read_bytes() == b"123"
    assert os.listdir(top) == ["e"]


@case("rename")
def a_file_is_never_absent_while_it_is_replaced(top: Path) -> None:
    made(top / "f", b"0")
    stop = threading.Event()

    def replace() -> None:
        number = 0
        while not stop.is_set():
            made(top / "new", str(number).encode())
            os.rename(top / "new", top / "f")
            number += 1

    thread = threading.Thread(target=replace)
    thread.start()
    try:
        for _ in range(200):
            assert (top / "f").read_bytes().isdigit()
    finally:
        stop.set()
        thread.join()


@case("rename")
def inode_mode_owner_and_times_go_along(top: Path) -> None:
    made(top / "a", b"x", 0o640, 5, 6)
    os.utime(top / "a", (7, 8))
    before = (top / "a").stat()
    os.rename(top / "a", top / "b")
    after = (top / "b").stat()
    for name in ("st_ino", "st_mode", "st_uid", "st_gid", "st_mtime", "st_size"):
        assert getattr(before, name) == getattr(after, name), name


@case("rename")
def both_folders_times_change(top: Path) -> None:
    one, other = folder(top / "one"), folder(top / "other")
    made(one / "f")
    os.utime(one, (1, 1))
    os.utime(other, (1, 1))
    os.rename(one / "f", other / "f")
    assert one.stat().st_mtime > 1
    assert other.stat().st_mtime > 1


@case("renameat2")
def unknown_flags_are_einval(top: Path) -> None:
    made(top / "a")
    with fails(errno.EINVAL):
        renameat2(top / "a", top / "b", NOREPLACE | EXCHANGE)
    with fails(errno.EINVAL):
        renameat2(top / "a", top / "b", 1 << 20)


@case("renameat2")
def a_folder_is_not_exchanged_with_what_it_holds(top: Path) -> None:
    made(folder(top / "d") / "f")
    with fails(errno.EINVAL):
        renameat2(top / "d", top / "d/f", EXCHANGE)
