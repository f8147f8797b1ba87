"""System calls that the os module lacks, or makes slow: non-blocking open, attributes, syncfs, early write-back, reflink, the file
system's type."""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import struct
import threading

_libc = ctypes.CDLL(None, use_errno=True)
_libc_holding_gil = ctypes.PyDLL(None, use_errno=True)
"""For calls that never sleep: giving the GIL up and taking it back costs more than they do."""

_RESOLVE_CACHED = 0x20
_SYNC_FILE_RANGE_WAIT_BEFORE = 1
_SYNC_FILE_RANGE_WRITE = 2
_SYNC_FILE_RANGE_WAIT_AFTER = 4
_FALLOC_KEEP_SIZE = 1
_FALLOC_PUNCH_HOLE = 2
_BEYOND_LAST_BLOCK = 1 << 16
"""A hole that ends within the last block only clears it: 4 KiB would stay of each file."""
_FICLONE = 0x40049409
SHORT_ATTRIBUTE_BYTES = 128
"""What os.getxattr has room for when it asks first."""
_ATTRIBUTE_BYTES = 4096
"""Most attributes are smaller; os.getxattr reads the larger ones."""

EXT4 = 0xEF53
XFS = 0x58465342
BTRFS = 0x9123683E
TMPFS = 0x01021994

NOT_SUPPORTED = errno.EOPNOTSUPP

_openat2 = (
    _libc_holding_gil.syscall
)  # without argtypes: converting five arguments to them costs 1 us, so what is constant has its C type here
_openat2.restype = ctypes.c_long
_SYS_OPENAT2 = ctypes.c_long(437)
_HOW = struct.pack("QQQ", os.O_RDONLY | os.O_CLOEXEC | os.O_NOATIME | os.O_NONBLOCK, 0, _RESOLVE_CACHED)
_HOW_BYTES = ctypes.c_size_t(len(_HOW))

_libc.sync_file_range.argtypes = [ctypes.c_int, ctypes.c_int64, ctypes.c_int64, ctypes.c_uint]
_libc.fallocate.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64]
_libc.syncfs.argtypes = [ctypes.c_int]
_libc.fstatfs.argtypes = [ctypes.c_int, ctypes.c_char_p]


def open_cached(folder: int, path: str) -> int | None:
    """Opens `path` below the open `folder` for reading if that needs no disk: a descriptor, or None when it would block.

    O_NOATIME matters as much as RESOLVE_CACHED (Linux 5.12): an update of the access time joins the journal's transaction and may
    wait for it. Costs 1.2 us more than a plain open and close (3.5 us), measured. Raises: OSError, as open.
    """
    descriptor: int = _openat2(_SYS_OPENAT2, folder, path.encode(), _HOW, _HOW_BYTES)
    if descriptor >= 0:
        return descriptor
    number = ctypes.get_errno()
    if number in (errno.EAGAIN, errno.EPERM, errno.ENOSYS, errno.EINVAL):  # not cached; another's file; a kernel without it
        return None
    raise OSError(number, os.strerror(number), path)


def open_plain(folder: int, path: str) -> int:
    """Opens `path` for reading, from a thread. Raises: OSError."""
    # O_NONBLOCK: what has a chunk's name may be a pipe, which would be waited for
    try:
        return os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOATIME, dir_fd=folder)
    except PermissionError:  # O_NOATIME is the owner's privilege
        return os.open(path, os.O_RDONLY | os.O_NONBLOCK, dir_fd=folder)


class _Room(threading.local):
    """Memory of the thread's own that an attribute is read into."""

    def __init__(self) -> None:
        memory = ctypes.create_string_buffer(_ATTRIBUTE_BYTES)
        self.view = memoryview(memory).cast("B")
        self.address = ctypes.c_void_p(ctypes.addressof(memory))


_room = _Room()
_fgetxattr = ctypes.CDLL(None, use_errno=True).fgetxattr  # without argtypes, as openat2
_fgetxattr.restype = ctypes.c_ssize_t
_ROOM_BYTES = ctypes.c_size_t(_ATTRIBUTE_BYTES)


def attribute(descriptor: int, name: bytes) -> bytes | None:
    """An extended attribute; None when there is none of that name. os.getxattr asks twice for more than 128 bytes, and clears 64 KiB
    of memory first: 4 us against 1.5. Raises: OSError."""
    room = _room
    count: int = _fgetxattr(descriptor, name, room.address, _ROOM_BYTES)
    if count >= 0:
        return bytes(room.view[:count])
    number = ctypes.get_errno()
    if number == errno.ENODATA:
        return None
    if number == errno.ERANGE:
        return os.getxattr(descriptor, name)
    raise OSError(number, os.strerror(number))


def short_attribute(descriptor: int, name: bytes) -> bytes | None:
    """The same for one that is there and has up to SHORT_ATTRIBUTE_BYTES, as a rule: 1.1 us against 2.9. Raises: OSError."""
    try:
        return os.getxattr(descriptor, name)
    except OSError as error:
        if error.errno == errno.ENODATA:
            return None
        raise


def syncfs(descriptor: int) -> None:
    """Writes out the whole file system; reports any write-back error since the descriptor was opened or last asked (Linux 5.8).

    Raises: OSError.
    """
    if _libc.syncfs(descriptor) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def reserve(descriptor: int, offset: int, count: int) -> None:
    """Takes blocks for bytes to come, beyond the file's end. Where it can't be done, or the disk is full: no error, the writes tell."""
    _libc.fallocate(descriptor, _FALLOC_KEEP_SIZE, offset, count)


def punch(descriptor: int, count: int) -> None:
    """Gives the blocks of a file of `count` bytes back; it keeps its size. Raises: OSError."""
    if count == 0 or _libc.fallocate(descriptor, _FALLOC_KEEP_SIZE | _FALLOC_PUNCH_HOLE, 0, count + _BEYOND_LAST_BLOCK) == 0:
        return
    number = ctypes.get_errno()
    if number not in (errno.EOPNOTSUPP, errno.ENOSYS):
        raise OSError(number, os.strerror(number))
    os.ftruncate(descriptor, 0)  # a file system without holes may still have sparse ends
    os.ftruncate(descriptor, count)


def punch_range(descriptor: int, start: int, stop: int) -> None:
    """Gives the blocks within a file back, where its file system knows holes. Raises: OSError."""
    if _libc.fallocate(descriptor, _FALLOC_KEEP_SIZE | _FALLOC_PUNCH_HOLE, start, stop - start) != 0:
        number = ctypes.get_errno()
        if number not in (errno.EOPNOTSUPP, errno.ENOSYS):
            raise OSError(number, os.strerror(number))


def start_write_back(descriptor: int, offset: int, count: int) -> None:
    """Begins to write dirty pages of the range, without waiting. Where it can't be done the final sync does it: no error."""
    _libc.sync_file_range(descriptor, offset, count, _SYNC_FILE_RANGE_WRITE)


def finish_write_back(descriptor: int, offset: int = 0, count: int = 0) -> None:
    """Writes out all dirty pages of the range (count 0: to the end) and waits for them; not durable without a sync after it.

    Raises: OSError.
    """
    flags = _SYNC_FILE_RANGE_WAIT_BEFORE | _SYNC_FILE_RANGE_WRITE | _SYNC_FILE_RANGE_WAIT_AFTER
    if _libc.sync_file_range(descriptor, offset, count, flags) != 0:
        number = ctypes.get_errno()
        if number not in (errno.ENOSYS, errno.ESPIPE, errno.EINVAL):  # a file system without it syncs later
            raise OSError(number, os.strerror(number))


def reflink(source: int, target: int) -> bool:
    """Makes `target` share the blocks of `source`; False where the file system can't. Raises: OSError."""
    try:
        fcntl.ioctl(target, _FICLONE, source)
    except OSError as error:
        if error.errno in (errno.EOPNOTSUPP, errno.ENOTTY, errno.EINVAL, errno.EXDEV, errno.ENOSYS):
            return False
        raise
    return True


def file_system_type(descriptor: int) -> int:
    """The magic number of the file system. Source: statfs(2). Raises: OSError."""
    answer = ctypes.create_string_buffer(256)
    if _libc.fstatfs(descriptor, answer) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return int.from_bytes(answer.raw[: ctypes.sizeof(ctypes.c_long)], "little") & 0xFFFFFFFF
