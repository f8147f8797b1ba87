"""Files: open flags, reading and writing, sizes, holes, maps, what is unlinked while it is open."""

from __future__ import annotations

import ctypes
import errno
import fcntl
import mmap
import os
import stat
from pathlib import Path

from tests.posix.case import as_user, case, fails, folder, made, mode_of, opened, umask

RDWR = os.O_RDWR | os.O_CREAT
FALLOC_FL_KEEP_SIZE, FALLOC_FL_PUNCH_HOLE, FALLOC_FL_ZERO_RANGE = 1, 2, 16
_libc = ctypes.CDLL(None, use_errno=True)


def fallocate(descriptor: int, mode: int, offset: int, length: int) -> None:
    """Linux's, which Python lacks. Raises: OSError."""
    if _libc.fallocate(descriptor, mode, ctypes.c_long(offset), ctypes.c_long(length)):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


@case("open")
def a_new_file_has_the_mode_less_the_umask(top: Path) -> None:
    for mask, mode in ((0o022, 0o644), (0o077, 0o600), (0, 0o666)):
        with umask(mask), opened(top / oct(mask), RDWR, 0o666):
            assert mode_of(top / oct(mask)) == mode
    found = (top / "0o22").stat()
    assert stat.S_ISREG(found.st_mode)
    assert (found.st_uid, found.st_gid, found.st_nlink, found.st_size) == (0, 0, 1, 0)


@case("open")
def a_file_made_read_only_is_written_by_who_made_it(top: Path) -> None:
    with opened(top / "f", RDWR, 0o400) as descriptor:
        os.write(descriptor, b"x")
    assert (top / "f").read_bytes() == b"x"
    assert mode_of(top / "f") == 0o400


@case("open")
def o_excl_refuses_what_is_there_links_too(top: Path) -> None:
    made(top / "f")
    (top / "l").symlink_to("nowhere")
    for name in ("f", "l"):
        with fails(errno.EEXIST):
            os.open(top / name, RDWR | os.O_EXCL)
    with opened(top / "new", RDWR | os.O_EXCL):
        pass


@case("open")
def o_trunc_empties(top: Path) -> None:
    made(top / "f", b"abc")
    with opened(top / "f", os.O_WRONLY | os.O_TRUNC):
        assert (top / "f").stat().st_size == 0
    assert (top / "f").read_bytes() == b""


@case("open")
def o_append_writes_at_the_end_always(top: Path) -> None:
    made(top / "f", b"abc")
    with opened(top / "f", os.O_WRONLY | os.O_APPEND) as one, opened(top / "f", os.O_WRONLY | os.O_APPEND) as other:
        os.write(one, b"1")
        os.write(other, b"2")
        os.lseek(one, 0, os.SEEK_SET)
        os.write(one, b"3")
    assert (top / "f").read_bytes() == b"abc123"


@case("open")
def o_nofollow_refuses_a_link(top: Path) -> None:
    made(top / "f")
    (top / "l").symlink_to("f")
    with fails(errno.ELOOP):
        os.open(top / "l", os.O_RDONLY | os.O_NOFOLLOW)


@case("open")
def o_directory_refuses_a_file(top: Path) -> None:
    made(top / "f")
    with fails(errno.ENOTDIR):
        os.open(top / "f", os.O_RDONLY | os.O_DIRECTORY)


@case("open")
def o_creat_through_a_dangling_link_makes_its_target(top: Path) -> None:
    (top / "l").symlink_to("target")
    with opened(top / "l", RDWR) as descriptor:
        os.write(descriptor, b"x")
    assert (top / "target").read_bytes() == b"x"
    assert (top / "l").is_symlink()


@case("open")
def what_is_opened_to_read_is_not_written_and_the_other_way_round(top: Path) -> None:
    made(top / "f", b"abc")
    with opened(top / "f", os.O_RDONLY) as descriptor:
        with fails(errno.EBADF):
            os.write(descriptor, b"x")
        with fails(errno.EINVAL, errno.EBADF):
            os.ftruncate(descriptor, 0)
    with opened(top / "f", os.O_WRONLY) as descriptor, fails(errno.EBADF):
        os.read(descriptor, 1)


@case("open")
def what_one_writes_another_reads_at_once(top: Path) -> None:
    with opened(top / "f", RDWR) as writer, opened(top / "f") as reader:
        for number in range(50):
            os.write(writer, bytes([number]) * 1_000)
            assert os.pread(reader, 1_000, number * 1_000) == bytes([number]) * 1_000


@case("open")
def o_tmpfile_is_made_without_a_name_or_refused(top: Path) -> None:
    try:
        descriptor = os.open(top, os.O_TMPFILE | os.O_RDWR)
    except OSError as error:
        assert error.errno in (errno.EOPNOTSUPP, errno.EISDIR)
        return
    os.write(descriptor, b"x")
    os.close(descriptor)
    assert os.listdir(top) == []


@case("open")
def o_sync_and_o_dsync_write(top: Path) -> None:
    for number, flag in enumerate((os.O_SYNC, os.O_DSYNC)):
        with opened(top / str(number), RDWR | flag) as descriptor:
            os.write(descriptor, b"synced")
            assert (top / str(number)).stat().st_size == 6


@case("write")
def bytes_stand_where_they_were_written(top: Path) -> None:
    with opened(top / "f", RDWR) as descriptor:
        assert os.pwrite(descriptor, b"end", 100_000) == 3
        assert os.pwrite(descriptor, b"mid", 50_000) == 3
    data = (top / "f").read_bytes()
    assert len(data) == 100_003
    assert data == bytes(50_000) + b"mid" + bytes(49_997) + b"end"


@case("write")
def one_byte_in_a_large_file_changes_one_byte(top: Path) -> None:
    data = os.urandom(5_000_000)
    made(top / "f", data)
    with opened(top / "f", os.O_RDWR) as descriptor:
        os.pwrite(descriptor, b"!", 2_500_000)
    assert (top / "f").read_bytes() == data[:2_500_000] + b"!" + data[2_500_001:]


@case("write")
def what_is_written_sets_the_times(top: Path) -> None:
    os.utime(made(top / "f"), (1, 1))
    with opened(top / "f", os.O_WRONLY) as descriptor:
        os.write(descriptor, b"x")
    found = (top / "f").stat()
    assert found.st_mtime > 1
    assert found.st_ctime > 1


@case("write")
def set_user_id_goes_when_the_file_is_written_by_another(top: Path) -> None:
    made(top / "f", b"x", 0o6777)
    os.chmod(top, 0o777)
    as_user(lambda: (top / "f").write_bytes(b"y"))
    assert not mode_of(top / "f") & (stat.S_ISUID | stat.S_ISGID)


@case("read")
def reading_behind_the_end_gives_nothing(top: Path) -> None:
    with opened(made(top / "f", b"abc")) as descriptor:
        assert os.pread(descriptor, 10, 3) == b""
        assert os.pread(descriptor, 10, 1_000_000) == b""
        assert os.pread(descriptor, 10, 2) == b"c"


@case("lseek")
def positions_are_relative_to_begin_here_and_end(top: Path) -> None:
    with opened(made(top / "f", b"abcdef")) as descriptor:
        assert os.lseek(descriptor, 2, os.SEEK_SET) == 2
        assert os.lseek(descriptor, 1, os.SEEK_CUR) == 3
        assert os.lseek(descriptor, -1, os.SEEK_END) == 5
        assert os.lseek(descriptor, 10, os.SEEK_END) == 16
        with fails(errno.EINVAL):
            os.lseek(descriptor, -1, os.SEEK_SET)


@case("lseek")
def data_and_holes_are_told_or_all_is_data(top: Path) -> None:
    with opened(made(top / "f", b"x" * 10_000)) as descriptor:
        assert os.lseek(descriptor, 0, os.SEEK_DATA) == 0
        assert os.lseek(descriptor, 0, os.SEEK_HOLE) == 10_000
        with fails(errno.ENXIO):
            os.lseek(descriptor, 10_000, os.SEEK_DATA)


@case("truncate")
def shorter_and_longer_with_zeros(top: Path) -> None:
    made(top / "f", b"abcdef")
    os.truncate(top / "f", 3)
    assert (top / "f").read_bytes() == b"abc"
    os.truncate(top / "f", 8)
    assert (top / "f").read_bytes() == b"abc" + bytes(5)
    with opened(top / "f", os.O_RDWR) as descriptor:
        os.ftruncate(descriptor, 1)
        os.ftruncate(descriptor, 4)
        assert os.pread(descriptor, 10, 0) == b"a" + bytes(3)


@case("truncate")
def a_large_file_cut_and_grown_keeps_no_old_bytes(top: Path) -> None:
    made(top / "f", b"x" * 3_000_000)
    os.truncate(top / "f", 1_000_001)
    os.truncate(top / "f", 2_000_000)
    assert (top / "f").read_bytes() == b"x" * 1_000_001 + bytes(999_999)


@case("truncate")
def a_folder_is_eisdir_and_a_negative_size_einval(top: Path) -> None:
    folder(top / "d")
    with fails(errno.EISDIR):
        os.truncate(top / "d", 0)
    made(top / "f")
    with fails(errno.EINVAL):
        os.truncate(top / "f", -1)


@case("truncate")
def the_times_change(top: Path) -> None:
    os.utime(made(top / "f", b"abc"), (1, 1))
    os.truncate(top / "f", 1)
    assert (top / "f").stat().st_mtime > 1


@case("truncate")
def who_has_it_open_sees_the_new_size(top: Path) -> None:
    with opened(made(top / "f", b"abcdef"), os.O_RDWR) as descriptor:
        os.truncate(top / "f", 2)
        assert os.fstat(descriptor).st_size == 2
        assert os.pread(descriptor, 10, 0) == b"ab"
        os.write(descriptor, b"XYZ")
    assert (top / "f").read_bytes() == b"XYZ"


@case("unlink")
def a_file_that_is_open_lives_on_without_a_name(top: Path) -> None:
    with opened(made(top / "f", b"abc"), os.O_RDWR) as descriptor:
        os.unlink(top / "f")
        assert os.listdir(top) == []
        assert os.pread(descriptor, 10, 0) == b"abc"
        os.pwrite(descriptor, b"more", 3)
        assert os.pread(descriptor, 10, 0) == b"abcmore"
        assert os.fstat(descriptor).st_nlink == 0
        os.ftruncate(descriptor, 2)
        os.fsync(descriptor)
        made(top / "f", b"another")
        assert os.pread(descriptor, 10, 0) == b"ab"
    assert (top / "f").read_bytes() == b"another"


@case("unlink")
def a_folder_is_eisdir(top: Path) -> None:
    folder(top / "d")
    with fails(errno.EISDIR, errno.EPERM):
        os.unlink(top / "d")


@case("unlink")
def a_link_goes_and_its_target_stays(top: Path) -> None:
    made(top / "f")
    (top / "l").symlink_to("f")
    os.unlink(top / "l")
    assert os.listdir(top) == ["f"]


@case("mmap")
def a_shared_map_is_written_to_the_file(top: Path) -> None:
    made(top / "f", bytes(20_000))
    with opened(top / "f", os.O_RDWR) as descriptor, mmap.mmap(descriptor, 20_000) as view:
        view[5_000:5_005] = b"hello"
        view.flush()
        assert os.pread(descriptor, 5, 5_000) == b"hello"
    assert (top / "f").read_bytes() == bytes(5_000) + b"hello" + bytes(14_995)


@case("mmap")
def a_map_that_outlives_its_descriptor_is_written_too(top: Path) -> None:
    made(top / "f", bytes(8_192))
    descriptor = os.open(top / "f", os.O_RDWR)
    view = mmap.mmap(descriptor, 8_192)
    os.close(descriptor)
    view[0:3] = b"abc"
    view.flush()
    view.close()
    assert (top / "f").read_bytes()[:4] == b"abc\0"


@case("mmap")
def a_private_map_changes_no_file(top: Path) -> None:
    made(top / "f", b"x" * 8_192)
    with opened(top / "f", os.O_RDWR) as descriptor, mmap.mmap(descriptor, 8_192, mmap.MAP_PRIVATE) as view:
        view[0:3] = b"abc"
    assert (top / "f").read_bytes() == b"x" * 8_192


@case("mmap")
def a_map_sees_what_is_written(top: Path) -> None:
    made(top / "f", bytes(8_192))
    with opened(top / "f", os.O_RDWR) as descriptor, mmap.mmap(descriptor, 8_192, prot=mmap.PROT_READ) as view:
        assert view[0:3] == bytes(3)
        os.pwrite(descriptor, b"abc", 0)
        assert view[0:3] == b"abc"


@case("fallocate")
def room_is_made_with_zeros_or_refused(top: Path) -> None:
    with opened(top / "f", RDWR) as descriptor:
        os.write(descriptor, b"abc")
        try:
            fallocate(descriptor, 0, 0, 10_000)
        except OSError as error:
            assert error.errno == errno.EOPNOTSUPP
            return
        assert os.fstat(descriptor).st_size == 10_000
        assert os.pread(descriptor, 10, 0) == b"abc" + bytes(7)


@case("fallocate")
def posix_fallocate_makes_room_in_any_case(top: Path) -> None:
    with opened(top / "f", RDWR) as descriptor:
        os.posix_fallocate(descriptor, 0, 10_000)
        assert os.fstat(descriptor).st_size == 10_000


@case("fallocate")
def a_punched_hole_reads_as_zeros_or_is_refused(top: Path) -> None:
    with opened(made(top / "f", b"x" * 20_000), os.O_RDWR) as descriptor:
        try:
            fallocate(descriptor, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 5_000, 6_000)
        except OSError as error:
            assert error.errno == errno.EOPNOTSUPP
            return
    assert (top / "f").read_bytes() == b"x" * 5_000 + bytes(6_000) + b"x" * 9_000


@case("copy_file_range")
def bytes_are_copied_from_file_to_file(top: Path) -> None:
    data = os.urandom(300_000)
    made(top / "a", data)
    with opened(top / "a") as source, opened(top / "b", RDWR) as target:
        left, at = 200_000, 50_000
        while left:
            count = os.copy_file_range(source, target, left, at, at - 50_000)
            assert count > 0
            left, at = left - count, at + count
    assert (top / "b").read_bytes() == data[50_000:250_000]


@case("sendfile")
def bytes_are_sent_from_file_to_file(top: Path) -> None:
    data = os.urandom(100_000)
    made(top / "a", data)
    with opened(top / "a") as source, opened(top / "b", RDWR) as target:
        at = 0
        while count := os.sendfile(target, source, at, 1 << 20):
            at += count
    assert (top / "b").read_bytes() == data


@case("fsync")
def fsync_fdatasync_and_sync_succeed(top: Path) -> None:
    with opened(top / "f", RDWR) as descriptor:
        os.write(descriptor, b"x")
        os.fsync(descriptor)
        os.write(descriptor, b"y")
        os.fdatasync(descriptor)
    os.sync()
    assert (top / "f").read_bytes() == b"xy"


@case("fcntl")
def a_lock_keeps_another_process_out(top: Path) -> None:
    with opened(top / "f", RDWR) as descriptor:
        fcntl.lockf(descriptor, fcntl.LOCK_EX, 10, 0)
        assert not _can_lock(top / "f", 5)
        assert _can_lock(top / "f", 20)
        fcntl.lockf(descriptor, fcntl.LOCK_UN, 10, 0)
        assert _can_lock(top / "f", 5)


@case("flock")
def a_lock_keeps_another_descriptor_out(top: Path) -> None:
    with opened(top / "f", RDWR) as one, opened(top / "f", RDWR) as other:
        fcntl.flock(one, fcntl.LOCK_SH)
        fcntl.flock(other, fcntl.LOCK_SH | fcntl.LOCK_NB)
        fcntl.flock(other, fcntl.LOCK_UN)
        fcntl.flock(one, fcntl.LOCK_EX)
        with fails(errno.EAGAIN):
            fcntl.flock(other, fcntl.LOCK_SH | fcntl.LOCK_NB)


def _can_lock(path: Path, at: int) -> bool:
    """Whether another process gets the byte's lock."""

    def attempt() -> None:
        with opened(path, os.O_RDWR) as descriptor:
            fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, at)

    try:
        as_user(attempt, 0, 0)
    except OSError as error:
        assert error.errno in (errno.EAGAIN, errno.EACCES)
        return False
    return True


@case("mknod")
def a_fifo_is_a_fifo(top: Path) -> None:
    os.mkfifo(top / "p", 0o640)
    found = (top / "p").lstat()
    assert stat.S_ISFIFO(found.st_mode)
    assert stat.S_IMODE(found.st_mode) == 0o640
    os.unlink(top / "p")


@case("mknod")
def a_file_is_a_file(top: Path) -> None:
    os.mknod(top / "f", 0o640 | stat.S_IFREG)
    assert stat.S_ISREG((top / "f").stat().st_mode)
    assert (top / "f").read_bytes() == b""


@case("statvfs")
def sizes_make_sense(top: Path) -> None:
    found = os.statvfs(top)
    assert found.f_namemax == 255
    assert 0 < found.f_bavail <= found.f_bfree <= found.f_blocks
    assert found.f_frsize > 0
