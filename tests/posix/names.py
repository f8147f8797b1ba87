"""Paths: lengths, kinds, loops, what a name may be. The same rules for every call that takes a path."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path

from tests.posix.case import add, case, fails, folder, made

NAME_MAX = 255
PATH_MAX = 4096


def _create(path: Path) -> None:
    os.close(os.open(path, os.O_CREAT | os.O_WRONLY, 0o644))


MAKERS: dict[str, Callable[[Path], object]] = {
    "open": _create,
    "mkdir": lambda path: path.mkdir(),
    "symlink": lambda path: path.symlink_to("x"),
    "mkfifo": lambda path: os.mkfifo(path),
}
"""Calls that make a name."""
SEEKERS: dict[str, Callable[[Path], object]] = {
    "open": lambda path: os.close(os.open(path, os.O_RDONLY)),
    "stat": lambda path: os.stat(path),
    "lstat": lambda path: os.lstat(path),
    "unlink": lambda path: os.unlink(path),
    "rmdir": lambda path: os.rmdir(path),
    "readlink": lambda path: os.readlink(path),
    "chmod": lambda path: os.chmod(path, 0o600),
    "chown": lambda path: os.chown(path, 1, 1),
    "truncate": lambda path: os.truncate(path, 0),
    "utimensat": lambda path: os.utime(path, (1, 1)),
    "rename": lambda path: os.rename(path, path.parent / "other"),
    "opendir": lambda path: os.listdir(path),
    "access": lambda path: _access(path),
    "getxattr": lambda path: os.getxattr(path, "user.a"),
    "setxattr": lambda path: os.setxattr(path, "user.a", b"1"),
    "listxattr": lambda path: os.listxattr(path),
    "statvfs": lambda path: os.statvfs(path),
}
"""Calls that want a name to be there."""
FOLLOWS = set(SEEKERS) - {"lstat", "unlink", "rmdir", "readlink", "rename"}


def _access(path: Path) -> None:
    if not os.access(path, os.F_OK):
        os.stat(path)  # access() tells no errno through os


def _too_long(call: Callable[[Path], object], top: Path) -> None:
    with fails(errno.ENAMETOOLONG):
        call(top / ("n" * (NAME_MAX + 1)))


def _path_too_long(call: Callable[[Path], object], top: Path) -> None:
    with fails(errno.ENAMETOOLONG):
        call(Path(f"{top}/{'d/' * (PATH_MAX // 2)}x"))


def _longest(call: Callable[[Path], object], top: Path) -> None:
    for name in ("n" * NAME_MAX, "ä" * 127, "\U0001f9ca" * 63):
        call(top / name)
        assert name in os.listdir(top)


def _missing(call: Callable[[Path], object], top: Path) -> None:
    with fails(errno.ENOENT):
        call(top / "missing")


def _missing_parent(call: Callable[[Path], object], top: Path) -> None:
    with fails(errno.ENOENT):
        call(top / "missing" / "x")


def _below_a_file(call: Callable[[Path], object], top: Path) -> None:
    made(top / "file")
    with fails(errno.ENOTDIR):
        call(top / "file" / "x")


def _looping(call: Callable[[Path], object], top: Path) -> None:
    (top / "a").symlink_to("b")
    (top / "b").symlink_to("a")
    with fails(errno.ELOOP):
        call(top / "a" / "x")


def _looping_last(call: Callable[[Path], object], top: Path) -> None:
    (top / "a").symlink_to("a")
    with fails(errno.ELOOP):
        call(top / "a")


def _taken(call: Callable[[Path], object], top: Path) -> None:
    made(top / "file")
    folder(top / "folder")
    (top / "dangling").symlink_to("nowhere")
    for name in ("file", "folder", "dangling"):
        with fails(errno.EEXIST):
            call(top / name)


for _name, _call in MAKERS.items():
    add(_name, "a name of more than 255 bytes is too long", partial(_too_long, _call))
    add(_name, "a path of more than 4096 bytes is too long", partial(_path_too_long, _call))
    add(_name, "a name of 255 bytes is made and listed", partial(_longest, _call))
    add(_name, "a missing folder is ENOENT", partial(_missing_parent, _call))
    add(_name, "a file is no folder", partial(_below_a_file, _call))
    add(_name, "links in a circle are ELOOP", partial(_looping, _call))
    if _name != "open":
        add(_name, "a name that is taken is EEXIST, a dangling link too", partial(_taken, _call))
for _name, _call in SEEKERS.items():
    add(_name, "a name of more than 255 bytes is too long", partial(_too_long, _call))
    add(_name, "a path of more than 4096 bytes is too long", partial(_path_too_long, _call))
    add(_name, "a missing name is ENOENT", partial(_missing, _call))
    add(_name, "a missing folder is ENOENT", partial(_missing_parent, _call))
    add(_name, "a file is no folder", partial(_below_a_file, _call))
    add(_name, "links in a circle are ELOOP", partial(_looping, _call))
    if _name in FOLLOWS:
        add(_name, "a link to itself is ELOOP", partial(_looping_last, _call))


@case("stat")
def dot_and_dot_dot_lead_where_they_should(top: Path) -> None:
    folder(top / "d")
    assert os.path.samefile(f"{top}/d/.", top / "d")
    assert os.path.samefile(f"{top}/d/..", top)


@case("stat")
def a_slash_behind_a_file_is_enotdir(top: Path) -> None:
    made(top / "file")
    with fails(errno.ENOTDIR):
        os.stat(f"{top}/file/")
    folder(top / "d")
    os.stat(f"{top}/d/")


@case("open")
def names_differ_by_case_and_by_composition(top: Path) -> None:
    names = [
        "a",
        "A",
        "\u00e9",
        "e\u0301",
        "ß",
        "ss",
        " ",
        "a ",
        "a.",
        "-",
        "~",
        "\\",
        "*",
        "?",
        ":",
        '"',
        "\n",
        "\t",
        "\x7f",
        "%2f",
        "a%20b",
    ]
    for number, name in enumerate(names):
        made(top / name, str(number).encode())
    assert sorted(os.listdir(top)) == sorted(names)
    for number, name in enumerate(names):
        assert (top / name).read_bytes() == str(number).encode()


@case("open")
def a_name_that_begins_or_ends_with_dots_is_a_name(top: Path) -> None:
    for name in ("...", "..a", "a..", ".a", "a...b"):
        made(top / name, name.encode())
    assert {name: (top / name).read_bytes().decode() for name in os.listdir(top)} == {name: name for name in os.listdir(top)}


@case("mkdir")
def a_tree_of_a_hundred_levels_is_walked(top: Path) -> None:
    here = top
    for level in range(100):
        here = folder(here / str(level % 10))
    made(here / "deep", b"x")
    assert sum(len(files) for _, _, files in os.walk(top)) == 1
