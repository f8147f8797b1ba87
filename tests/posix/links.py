"""Hard links and symbolic links."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

from tests.posix.case import case, fails, folder, made, opened


@case("symlink")
def a_link_says_what_it_was_given(top: Path) -> None:
    for number, target in enumerate(("f", "../x/./y", "/absolute", "ä\n \\", "t" * 4_000)):
        os.symlink(target, top / str(number))
        assert os.readlink(top / str(number)) == target
        found = (top / str(number)).lstat()
        assert stat.S_ISLNK(found.st_mode)
        assert found.st_size == len(target.encode())


@case("symlink")
def a_link_is_followed_to_files_and_folders(top: Path) -> None:
    made(folder(top / "d") / "f", b"x")
    (top / "l").symlink_to("d")
    (top / "m").symlink_to("l/f")
    assert (top / "m").read_bytes() == b"x"
    assert os.listdir(top / "l") == ["f"]
    (top / "m").write_bytes(b"new")
    assert (top / "d/f").read_bytes() == b"new"


@case("symlink")
def an_empty_target_is_enoent(top: Path) -> None:
    with fails(errno.ENOENT):
        os.symlink("", top / "l")


@case("symlink")
def forty_links_are_too_many(top: Path) -> None:
    made(top / "0")
    for number in range(1, 50):
        (top / str(number)).symlink_to(str(number - 1))
    (top / "30").read_bytes()
    with fails(errno.ELOOP):
        (top / "45").read_bytes()


@case("readlink")
def what_is_no_link_is_einval(top: Path) -> None:
    made(top / "f")
    for path in (top / "f", top):
        with fails(errno.EINVAL):
            os.readlink(path)


@case("symlink")
def owner_and_time_of_a_link_are_its_own(top: Path) -> None:
    made(top / "f")
    (top / "l").symlink_to("f")
    os.chown(top / "l", 5, 6, follow_symlinks=False)
    os.utime(top / "l", (7, 8), follow_symlinks=False)
    found = (top / "l").lstat()
    assert (found.st_uid, found.st_gid, found.st_mtime) == (5, 6, 8)
    assert (top / "f").stat().st_uid == 0


@case("link")
def two_names_are_one_file(top: Path) -> None:
    made(top / "a", b"x")
    os.link(top / "a", top / "b")
    one, other = (top / "a").stat(), (top / "b").stat()
    assert (one.st_ino, one.st_nlink) == (other.st_ino, 2)
    (top / "b").write_bytes(b"changed")
    assert (top / "a").read_bytes() == b"changed"
    os.chmod(top / "b", 0o600)
    assert stat.S_IMODE((top / "a").stat().st_mode) == 0o600


@case("link")
def a_name_less_leaves_the_other(top: Path) -> None:
    made(top / "a", b"x")
    os.link(top / "a", top / "b")
    os.unlink(top / "a")
    assert (top / "b").read_bytes() == b"x"
    assert (top / "b").stat().st_nlink == 1


@case("link")
def what_is_written_through_one_open_name_is_read_through_the_other(top: Path) -> None:
    made(top / "a", b"x")
    os.link(top / "a", top / "b")
    with opened(top / "a", os.O_RDWR) as one, opened(top / "b") as other:
        os.pwrite(one, b"abc", 0)
        assert os.pread(other, 10, 0) == b"abc"


@case("link")
def a_taken_name_is_eexist(top: Path) -> None:
    made(top / "a")
    made(top / "b")
    with fails(errno.EEXIST):
        os.link(top / "a", top / "b")


@case("link")
def a_folder_has_one_name(top: Path) -> None:
    folder(top / "d")
    with fails(errno.EPERM):
        os.link(top / "d", top / "e")


@case("link")
def a_missing_file_is_enoent(top: Path) -> None:
    with fails(errno.ENOENT):
        os.link(top / "a", top / "b")


@case("link")
def another_file_system_is_exdev(top: Path) -> None:
    made(top / "a")
    with fails(errno.EXDEV):
        os.link(top / "a", f"/dev/shm/frazil-{os.getpid()}")


@case("link")
def a_link_is_linked_itself(top: Path) -> None:
    made(top / "f")
    (top / "l").symlink_to("f")
    os.link(top / "l", top / "m", follow_symlinks=False)
    assert os.readlink(top / "m") == "f"
