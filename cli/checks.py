"""What `doctor` looks at: this host, and the directories of a store.

Each check is a function that yields findings and never raises for what it finds.
"""

from __future__ import annotations

import ctypes
import errno
import importlib.metadata
import itertools
import os
import platform
import resource
import stat
import sys
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC
from pathlib import Path
from typing import Literal

from cli.state import SECRET_FILE, missing_boards, read_state
from node.text import bytes_text

Level = Literal["ok", "warning", "failure"]
PYTHON_LEAST = (3, 11)
FILES_LEAST = 65_536
"""Below, a few thousand connections and their chunk files use up the descriptors."""
ATTRIBUTE_BYTES = 3_000
"""A chunk's record and unit checksums; what doesn't fit goes to a file beside the chunk, at the price of one more sync."""
FREE_SHARE_LEAST = 0.10
FREE_BYTES_LEAST = 1 << 30
INODE_SHARE_LEAST = 0.05
CERTIFICATE_DAYS_LEAST = 14
SELF_TEST_BYTES = 1 << 16
LIBRARIES = ("trio", "httptools", "msgspec", "apsw", "pyeclib", "xxhash", "awscrt", "cryptography", "click", "rich", "httpcore")
_VOLATILE = frozenset({"tmpfs", "ramfs", "overlay"})
_NETWORK = frozenset({"nfs", "nfs4", "cifs", "smb3", "9p", "fuse.sshfs", "ceph", "glusterfs", "fuse.glusterfs"})
_TIME_ERROR = 5  # adjtimex(2): the clock is not synchronized


@dataclass(frozen=True, slots=True)
class Finding:
    """subject: what was looked at; hint: the next step, "" when all is well."""

    check: str
    level: Level
    subject: str
    text: str
    hint: str = ""


def host_findings() -> Iterator[Finding]:
    """This host, whatever runs on it."""
    version = platform.python_version()
    ok = sys.version_info >= PYTHON_LEAST
    yield Finding(
        "python", "ok" if ok else "failure", sys.executable, f"Python {version}", "" if ok else "Frazil needs Python 3.11 or newer"
    )
    yield from _libraries()
    yield from _erasure_code()
    yield from _file_limit()
    yield from _clock()


def _libraries() -> Iterator[Finding]:
    found: list[str] = []
    for name in LIBRARIES:
        try:
            found.append(f"{name} {importlib.metadata.version(name)}")
        except importlib.metadata.PackageNotFoundError:
            yield Finding("library", "failure", name, f"{name} is not installed", "install Frazil again, with its dependencies")
    yield Finding("library", "ok", "libraries", ", ".join(found))


def _erasure_code() -> Iterator[Finding]:
    """Encodes and decodes 6+3 with every choice of three lost fragments out of the first data and last parity ones."""
    try:
        from pyeclib.ec_iface import ECDriver
    except ImportError as error:
        yield Finding("erasure-code", "failure", "pyeclib", f"can't be loaded: {error}", "install Frazil again, with its dependencies")
        return
    try:
        driver = ECDriver(k=6, m=3, ec_type="isa_l_rs_cauchy")
        data = os.urandom(SELF_TEST_BYTES)
        fragments = driver.encode(data)
        for lost in itertools.combinations(range(9), 3):
            if driver.decode([fragment for at, fragment in enumerate(fragments) if at not in lost]) != data:
                yield Finding(
                    "erasure-code",
                    "failure",
                    "6+3",
                    f"decodes wrongly without fragments {lost}",
                    "test this host's memory; don't store anything",
                )
                return
    except Exception as error:  # noqa: BLE001 - the library raises its own classes from C; any of them means that the code does not work
        yield Finding("erasure-code", "failure", "6+3", f"does not work: {error}", "install Frazil again, with its dependencies")
        return
    yield Finding("erasure-code", "ok", "6+3", "decodes from all 84 choices of six fragments (ISA-L)")


def _file_limit() -> Iterator[Finding]:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard == resource.RLIM_INFINITY or hard >= FILES_LEAST:
        yield Finding("files", "ok", "limit", f"up to {'any number of' if hard == resource.RLIM_INFINITY else hard} open files")
    else:
        yield Finding(
            "files",
            "warning",
            "limit",
            f"at most {hard} open files",
            f"raise it: LimitNOFILE={FILES_LEAST} in the unit, or `ulimit -n {FILES_LEAST}` as root",
        )


def _clock() -> Iterator[Finding]:
    libc = ctypes.CDLL(None, use_errno=True)
    buffer = ctypes.create_string_buffer(512)  # struct timex is 208 bytes; modes 0 only reads
    state = libc.adjtimex(buffer)
    if state < 0:
        yield Finding("clock", "warning", "clock", f"can't be asked: {os.strerror(ctypes.get_errno())}", "see that NTP runs on this host")
    elif state == _TIME_ERROR:
        yield Finding(
            "clock",
            "warning",
            "clock",
            "is not synchronized",
            "run an NTP client (chrony, systemd-timesyncd); signatures expire by the clock",
        )
    else:
        yield Finding("clock", "ok", "clock", "is synchronized")


def directory_findings(directories: Iterable[Path]) -> Iterator[Finding]:
    """Directories that are, or are to be, volumes of a store."""
    devices: dict[int, Path] = {}
    for path in directories:
        if not path.is_dir():
            yield Finding("directory", "failure", str(path), "is no directory", "mount its disk, or make it")
            continue
        yield from _file_system(path)
        yield from _space(path)
        yield from _attributes(path)
        device = path.stat().st_dev
        if device in devices:
            yield Finding(
                "disk",
                "warning",
                str(path),
                f"shares its disk with {devices[device]}",
                "copies on one disk are lost together; give each its own",
            )
        devices.setdefault(device, path)


def _file_system(path: Path) -> Iterator[Finding]:
    kind, options = file_system_of(path)
    if kind in _VOLATILE:
        yield Finding(
            "file-system",
            "warning",
            str(path),
            f"lies on {kind}, which does not outlive a reboot or container",
            "use a disk with ext4 or XFS",
        )
    elif kind in _NETWORK:
        yield Finding(
            "file-system",
            "warning",
            str(path),
            f"lies on {kind}: syncs and attributes may not be what they say",
            "use a local disk with ext4 or XFS",
        )
    elif "nobarrier" in options or "barrier=0" in options:
        yield Finding(
            "file-system",
            "failure",
            str(path),
            f"{kind} is mounted without barriers",
            "mount it without nobarrier: acknowledged writes are lost otherwise",
        )
    elif "ro" in options:
        yield Finding(
            "file-system",
            "failure",
            str(path),
            f"{kind} is mounted read-only",
            "see the kernel's log for errors of the disk, then remount it",
        )
    else:
        yield Finding("file-system", "ok", str(path), kind or "unknown file system")


def file_system_of(path: Path, mounts: str | None = None) -> tuple[str, frozenset[str]]:
    """(type, mount and superblock options) of the file system that holds `path`. Source: proc_pid_mountinfo(5)."""
    text = Path("/proc/self/mountinfo").read_text() if mounts is None else mounts
    resolved = os.path.realpath(path)
    best, found = -1, ("", frozenset[str]())
    for line in text.splitlines():
        left, _, right = line.partition(" - ")
        fields, tail = left.split(" "), right.split(" ")
        if len(fields) < 6 or len(tail) < 3:
            continue
        point = fields[4].encode().decode("unicode_escape")
        inside = resolved == point or resolved.startswith(point.rstrip("/") + "/")
        if inside and len(point) >= best:  # a later mount at the same point hides the earlier
            best, found = len(point), (tail[0], frozenset((*fields[5].split(","), *tail[2].split(","))))
    return found


def _space(path: Path) -> Iterator[Finding]:
    status = os.statvfs(path)
    free, total = status.f_bavail * status.f_frsize, status.f_blocks * status.f_frsize
    text = f"{bytes_text(free)} of {bytes_text(total)} free"
    if free < max(FREE_BYTES_LEAST, FREE_SHARE_LEAST * total):
        yield Finding("space", "warning", str(path), text, "delete something or add a disk")
    else:
        yield Finding("space", "ok", str(path), text)
    if status.f_files and status.f_favail < INODE_SHARE_LEAST * status.f_files:
        yield Finding(
            "inodes",
            "warning",
            str(path),
            f"{status.f_favail:,} of {status.f_files:,} inodes free",
            "each chunk takes one; add a disk, or use XFS",
        )


def _attributes(path: Path) -> Iterator[Finding]:
    name = path / f".doctor-{os.getpid()}"
    try:
        descriptor = os.open(name, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600)
    except OSError as error:
        yield Finding("write", "failure", str(path), f"can't be written: {error.strerror}", "check its owner and the kernel's log")
        return
    try:
        os.setxattr(descriptor, "user.frazil.doctor", b"x" * ATTRIBUTE_BYTES)
        began = time.monotonic()
        os.write(descriptor, b"x" * 4096)
        os.fsync(descriptor)
        milliseconds = (time.monotonic() - began) * 1000
        yield Finding(
            "attributes", "ok", str(path), f"takes extended attributes of {ATTRIBUTE_BYTES} bytes; a sync takes {milliseconds:.1f} ms"
        )
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.E2BIG, errno.ERANGE):
            hint = "records will lie in files of their own; XFS, or ext4 with -O ea_inode, keeps them with the chunk"
            yield Finding("attributes", "warning", str(path), f"extended attributes of {ATTRIBUTE_BYTES} bytes don't fit", hint)
        else:
            yield Finding("attributes", "failure", str(path), f"no extended attributes: {error.strerror}", "use a disk with ext4 or XFS")
    finally:
        os.close(descriptor)
        os.unlink(name)


def store_findings(directory: Path) -> Iterator[Finding]:
    """A store's own files, and whether it runs."""
    yield from secret_mode(directory / SECRET_FILE)
    state = read_state(directory)
    if state is None:
        yield Finding("process", "ok", str(directory), "does not run")
        return
    try:
        os.kill(state.pid, 0)
        yield Finding("process", "ok", str(directory), f"runs as process {state.pid} and serves {state.url}")
    except ProcessLookupError:
        yield Finding(
            "process", "warning", str(directory), f"process {state.pid} ended without notice", f"start it again: frazil up {directory}"
        )
    except PermissionError:
        yield Finding("process", "ok", str(directory), f"runs as process {state.pid} of another user")
    missing = missing_boards(directory, state)
    if missing:
        yield Finding("boards", "failure", str(directory), missing.partition("; ")[0], missing.partition("; ")[2])
    if state.tls_cert:
        yield from certificate_findings(Path(state.tls_cert), "give --tls-cert a certificate in PEM form", "renew it and restart the store")


def secret_mode(path: Path) -> Iterator[Finding]:
    try:
        status = path.stat()
    except OSError as error:
        yield Finding(
            "key", "failure", str(path), f"can't be read: {error.strerror}", "without it the store does not start; restore it from a backup"
        )
        return
    if stat.S_IMODE(status.st_mode) & 0o077:
        yield Finding(
            "key", "failure", str(path), f"has mode {stat.S_IMODE(status.st_mode):o}: others may read the store's key", f"chmod 600 {path}"
        )
    else:
        yield Finding("key", "ok", str(path), "is readable by its owner only")


def certificate_findings(path: Path, else_hint: str, renew_hint: str) -> Iterator[Finding]:
    """How long it is valid; the hints: what to do when it can't be read, and when it is to be renewed."""
    from datetime import datetime

    from cryptography import x509

    try:
        certificate = x509.load_pem_x509_certificate(path.read_bytes())
    except (OSError, ValueError) as error:
        yield Finding("certificate", "warning", str(path), f"can't be read: {error}", else_hint)
        return
    days = (certificate.not_valid_after_utc - datetime.now(UTC)).days
    level: Level = "ok" if days >= CERTIFICATE_DAYS_LEAST else "warning"
    yield Finding("certificate", level, str(path), f"is valid for {days} more days", "" if level == "ok" else renew_hint)
