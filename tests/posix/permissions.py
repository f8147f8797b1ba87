"""Who may do what: modes, owners, sticky folders, as another user."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable
from functools import partial
from pathlib import Path

from tests.posix.case import GROUP, OTHER_USER, USER, add, as_user, case, fails, folder, made, mode_of


def _denied(action: Callable[[Path], object], number: int, top: Path) -> None:
    made(folder(top / "d", 0o755) / "f", b"x", 0o600)
    with fails(number):
        as_user(lambda: action(top / "d"))


DENIED: dict[str, tuple[str, Callable[[Path], object], int]] = {
    "open": ("a file that another may not read is EACCES", lambda d: (d / "f").read_bytes(), errno.EACCES),
    "write": ("a file that another may not write is EACCES", lambda d: (d / "f").write_bytes(b"y"), errno.EACCES),
    "creat": ("a folder that another may not write takes no file", lambda d: (d / "new").write_bytes(b""), errno.EACCES),
    "mkdir": ("a folder that another may not write takes no folder", lambda d: (d / "new").mkdir(), errno.EACCES),
    "symlink": ("a folder that another may not write takes no link", lambda d: (d / "new").symlink_to("x"), errno.EACCES),
    "unlink": ("a folder that another may not write loses no file", lambda d: os.unlink(d / "f"), errno.EACCES),
    "rename": ("a folder that another may not write renames nothing", lambda d: os.rename(d / "f", d / "g"), errno.EACCES),
    "chmod": ("who does not own a file may not change its mode", lambda d: os.chmod(d / "f", 0o777), errno.EPERM),
    "chown": ("who does not own a file may not give it away", lambda d: os.chown(d / "f", USER, GROUP), errno.EPERM),
    "truncate": ("a file that another may not write is not cut", lambda d: os.truncate(d / "f", 0), errno.EACCES),
    "utimensat": ("who does not own a file may not set its times", lambda d: os.utime(d / "f", (1, 1)), errno.EPERM),
    "setxattr": ("a file that another may not write takes no attribute", lambda d: os.setxattr(d / "f", "user.a", b"1"), errno.EACCES),
    "getxattr": ("a file that another may not read tells no attribute", lambda d: os.getxattr(d / "f", "user.a"), errno.EACCES),
}
for _call, (_words, _action, _number) in DENIED.items():
    add(_call, _words, partial(_denied, _action, _number))


@case("stat")
def a_folder_without_search_hides_what_is_in_it(top: Path) -> None:
    made(folder(top / "d", 0o600) / "f", b"x", 0o666)
    for action in (lambda: os.stat(top / "d/f"), lambda: (top / "d/f").read_bytes(), lambda: os.listdir(top / "d")):
        with fails(errno.EACCES):
            as_user(action)


@case("readdir")
def a_folder_with_search_but_not_read_is_not_listed(top: Path) -> None:
    made(folder(top / "d", 0o711) / "f", b"x", 0o644)
    with fails(errno.EACCES):
        as_user(lambda: os.listdir(top / "d"))
    as_user(lambda: (top / "d/f").read_bytes())


@case("open")
def owner_group_and_others_have_their_own_bits(top: Path) -> None:
    for mode, uid, gid, groups, allowed in (
        (0o400, USER, GROUP, (), True),
        (0o040, OTHER_USER, GROUP, (), True),
        (0o040, OTHER_USER, 1, (GROUP,), True),
        (0o004, OTHER_USER, 1, (), True),
        (0o044, USER, GROUP, (), False),
        (0o404, OTHER_USER, GROUP, (), False),
        (0o440, OTHER_USER, 1, (), False),
    ):
        made(top / "f", b"x", mode, USER, GROUP)
        action = partial(as_user, lambda: (top / "f").read_bytes(), uid, gid, groups)
        if allowed:
            action()
        else:
            with fails(errno.EACCES):
                action()


@case("open")
def what_another_makes_is_theirs(top: Path) -> None:
    os.chmod(top, 0o777)
    as_user(lambda: (made_by(top / "f"), (top / "d").mkdir(), (top / "l").symlink_to("x")))
    for name in ("f", "d", "l"):
        found = (top / name).lstat()
        assert (found.st_uid, found.st_gid) == (USER, GROUP), name


def made_by(path: Path) -> None:
    path.write_bytes(b"theirs")


@case("open")
def a_file_in_a_set_group_id_folder_has_its_group(top: Path) -> None:
    folder(top / "d", 0o2777, gid=123)
    as_user(lambda: made_by(top / "d/f"))
    assert ((top / "d/f").stat().st_uid, (top / "d/f").stat().st_gid) == (USER, 123)


@case("unlink")
def a_sticky_folder_lets_only_owners_remove(top: Path) -> None:
    sticky = folder(top / "s", 0o1777)
    made(sticky / "mine", uid=USER)
    made(sticky / "others", uid=OTHER_USER)
    folder(sticky / "folder", uid=OTHER_USER)
    as_user(lambda: os.unlink(sticky / "mine"))
    for action in (
        lambda: os.unlink(sticky / "others"),
        lambda: os.rmdir(sticky / "folder"),
        lambda: os.rename(sticky / "others", sticky / "x"),
    ):
        with fails(errno.EPERM, errno.EACCES):
            as_user(action)


@case("rename")
def a_sticky_folder_lets_nobody_replace_what_is_anothers(top: Path) -> None:
    sticky = folder(top / "s", 0o1777)
    made(sticky / "mine", uid=USER)
    made(sticky / "others", uid=OTHER_USER)
    with fails(errno.EPERM, errno.EACCES):
        as_user(lambda: os.rename(sticky / "mine", sticky / "others"))


@case("chmod")
def every_bit_is_kept(top: Path) -> None:
    made(top / "f")
    folder(top / "d")
    for mode in (0o000, 0o644, 0o777, 0o4755, 0o2755, 0o1777, 0o7777):
        for name in ("f", "d"):
            os.chmod(top / name, mode)
            assert mode_of(top / name) == mode, oct(mode)


@case("chmod")
def an_owner_may_and_the_kind_stays(top: Path) -> None:
    made(top / "f", uid=USER, gid=GROUP)
    as_user(lambda: os.chmod(top / "f", 0o640))
    assert stat.S_ISREG((top / "f").stat().st_mode)
    assert mode_of(top / "f") == 0o640


@case("chmod")
def set_group_id_goes_when_the_owner_is_not_in_the_group(top: Path) -> None:
    made(top / "f", uid=USER, gid=123)
    as_user(lambda: os.chmod(top / "f", 0o2755))
    assert not mode_of(top / "f") & stat.S_ISGID


@case("chmod")
def ctime_changes_and_mtime_does_not(top: Path) -> None:
    os.utime(made(top / "f"), (1, 1))
    before = (top / "f").stat()
    os.chmod(top / "f", 0o600)
    after = (top / "f").stat()
    assert after.st_mtime == 1
    assert after.st_ctime_ns >= before.st_ctime_ns


@case("chmod")
def through_a_link_it_is_the_target(top: Path) -> None:
    made(top / "f")
    (top / "l").symlink_to("f")
    os.chmod(top / "l", 0o601)
    assert mode_of(top / "f") == 0o601


@case("chown")
def owner_and_group_are_kept(top: Path) -> None:
    made(top / "f")
    folder(top / "d")
    for name in ("f", "d"):
        os.chown(top / name, 5, 6)
        os.chown(top / name, -1, 7)
        os.chown(top / name, 8, -1)
        assert ((top / name).stat().st_uid, (top / name).stat().st_gid) == (8, 7)


@case("chown")
def an_owner_may_give_it_to_a_group_of_theirs_only(top: Path) -> None:
    made(top / "f", uid=USER, gid=GROUP)
    as_user(lambda: os.chown(top / "f", -1, 77), groups=(77,))
    assert (top / "f").stat().st_gid == 77
    for uid, gid in ((-1, 78), (0, -1), (OTHER_USER, -1)):
        with fails(errno.EPERM):
            as_user(lambda uid=uid, gid=gid: os.chown(top / "f", uid, gid))  # type: ignore[misc]


@case("chown")
def set_user_id_goes(top: Path) -> None:
    made(top / "f", mode=0o6755, uid=USER, gid=GROUP)
    as_user(lambda: os.chown(top / "f", -1, 77), groups=(77,))
    assert not mode_of(top / "f") & (stat.S_ISUID | stat.S_ISGID)


@case("access")
def it_answers_as_the_real_user(top: Path) -> None:
    made(top / "f", mode=0o640)

    def look() -> None:
        os.seteuid(0)
        os.setresgid(GROUP, GROUP, 0)
        os.setresuid(USER, USER, 0)
        assert not os.access(top / "f", os.R_OK)
        assert os.access(top / "f", os.F_OK)

    as_user(look, 0, 0)
    assert os.access(top / "f", os.R_OK | os.W_OK)
    assert not os.access(top / "f", os.X_OK)


@case("execve")
def a_program_runs_where_it_may(top: Path) -> None:
    made(top / "p", b"#!/bin/sh\nexit 7\n", 0o755)
    assert os.waitstatus_to_exitcode(os.waitpid(os.posix_spawn(top / "p", ["p"], {}), 0)[1]) == 7
    os.chmod(top / "p", 0o644)
    with fails(errno.EACCES):
        os.posix_spawn(top / "p", ["p"], {})
