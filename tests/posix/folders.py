"""Folders: mkdir, rmdir, reading them, and what changes in them."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

from tests.posix.case import case, fails, folder, made, mode_of, opened, umask


@case("mkdir")
def a_new_folder_has_the_mode_less_the_umask_and_two_links(top: Path) -> None:
    for mask, mode in ((0o022, 0o755), (0o077, 0o700), (0, 0o777)):
        with umask(mask):
            os.mkdir(top / oct(mask), 0o777)
        assert mode_of(top / oct(mask)) == mode
    found = (top / "0o22").stat()
    assert stat.S_ISDIR(found.st_mode)
    assert (found.st_uid, found.st_gid) == (0, 0)


@case("mkdir")
def a_new_folder_is_empty_and_changes_its_parents_times(top: Path) -> None:
    os.utime(top, (1, 1))
    folder(top / "d")
    assert os.listdir(top / "d") == []
    assert top.stat().st_mtime > 1


@case("mkdir")
def set_group_id_is_inherited(top: Path) -> None:
    parent = folder(top / "p", 0o2755, gid=123)
    os.mkdir(parent / "d", 0o755)
    assert (parent / "d").stat().st_gid == 123
    assert mode_of(parent / "d") & stat.S_ISGID


@case("rmdir")
def an_empty_folder_goes(top: Path) -> None:
    folder(top / "d")
    os.utime(top, (1, 1))
    os.rmdir(top / "d")
    assert os.listdir(top) == []
    assert top.stat().st_mtime > 1


@case("rmdir")
def a_folder_that_holds_something_is_enotempty(top: Path) -> None:
    for name, fill in (("file", made), ("folder", folder)):
        parent = folder(top / name)
        fill(parent / "x")  # type: ignore[operator]
        with fails(errno.ENOTEMPTY, errno.EEXIST):
            os.rmdir(parent)
    parent = folder(top / "link")
    (parent / "x").symlink_to("nowhere")
    with fails(errno.ENOTEMPTY, errno.EEXIST):
        os.rmdir(parent)


@case("rmdir")
def what_is_no_folder_is_enotdir(top: Path) -> None:
    made(top / "file")
    folder(top / "d")
    (top / "link").symlink_to("d")
    for name in ("file", "link"):
        with fails(errno.ENOTDIR):
            os.rmdir(top / name)


@case("rmdir")
def dot_is_einval_and_dot_dot_enotempty(top: Path) -> None:
    folder(top / "d")
    with fails(errno.EINVAL):
        os.rmdir(f"{top}/d/.")
    with fails(errno.ENOTEMPTY, errno.EINVAL):
        os.rmdir(f"{top}/d/..")


@case("rmdir")
def a_folder_is_empty_again_once_all_is_gone(top: Path) -> None:
    parent = folder(top / "p")
    for number in range(20):
        made(parent / str(number))
    for number in range(20):
        os.unlink(parent / str(number))
    os.rmdir(parent)


@case("rmdir")
def a_folder_with_a_file_that_was_moved_in_and_out_goes(top: Path) -> None:
    parent = folder(top / "p")
    made(top / "f")
    os.rename(top / "f", parent / "f")
    with fails(errno.ENOTEMPTY, errno.EEXIST):
        os.rmdir(parent)
    os.rename(parent / "f", top / "f")
    os.rmdir(parent)
    assert os.listdir(top) == ["f"]


@case("readdir")
def every_entry_is_told_once(top: Path) -> None:
    names = {f"entry{number:05}" for number in range(600)}
    for name in names:
        made(top / name)
    found = os.listdir(top)
    assert len(found) == len(names)
    assert set(found) == names


@case("readdir")
def kinds_are_told_as_stat_tells_them(top: Path) -> None:
    made(top / "file")
    folder(top / "folder")
    (top / "link").symlink_to("file")
    with os.scandir(top) as entries:
        found = {
            entry.name: (entry.is_file(follow_symlinks=False), entry.is_dir(follow_symlinks=False), entry.is_symlink()) for entry in entries
        }
    assert found == {"file": (True, False, False), "folder": (False, True, False), "link": (False, False, True)}
    with os.scandir(top) as entries:
        assert {entry.inode() for entry in entries} == {(top / name).lstat().st_ino for name in found}


@case("readdir")
def entries_that_are_removed_while_it_reads_confuse_nobody(top: Path) -> None:
    for number in range(300):
        made(top / f"{number:03}")
    seen = set()
    with os.scandir(top) as entries:
        for entry in entries:
            assert entry.name not in seen
            seen.add(entry.name)
            os.unlink(entry.path)
    assert seen == {f"{number:03}" for number in range(300)}
    assert os.listdir(top) == []


@case("readdir")
def a_folder_read_again_from_its_begin_shows_what_is_new(top: Path) -> None:
    made(top / "a")
    with opened(top, os.O_RDONLY | os.O_DIRECTORY) as descriptor:
        assert os.listdir(descriptor) == ["a"]
        made(top / "b")
        assert sorted(os.listdir(descriptor)) == ["a", "b"]


@case("open")
def a_folder_is_not_opened_to_write(top: Path) -> None:
    folder(top / "d")
    for flags in (os.O_WRONLY, os.O_RDWR):
        with fails(errno.EISDIR):
            os.open(top / "d", flags)
    with fails(errno.EISDIR):
        os.open(top / "d", os.O_RDONLY | os.O_CREAT)


@case("read")
def a_folder_has_no_bytes(top: Path) -> None:
    with opened(top) as descriptor, fails(errno.EISDIR):
        os.read(descriptor, 1)


@case("fsync")
def a_folder_is_synced(top: Path) -> None:
    with opened(top) as descriptor:
        os.fsync(descriptor)


@case("rmdir")
def a_folder_that_somebody_has_open_is_gone_and_stays_open(top: Path) -> None:
    with opened(folder(top / "d"), os.O_RDONLY | os.O_DIRECTORY) as descriptor:
        os.rmdir(top / "d")
        assert os.listdir(top) == []
        assert stat.S_ISDIR(os.fstat(descriptor).st_mode)
        with fails(errno.ENOENT):
            os.open("x", os.O_CREAT | os.O_WRONLY, dir_fd=descriptor)
