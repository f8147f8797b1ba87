"""A file's attributes in its object's metadata, in the form that rclone and s3fs read and write; and what stat(2) shows of it.

    x-amz-meta-mtime, -atime, -ctime   seconds since 1970, with nanoseconds behind the point
    x-amz-meta-uid, -gid               decimal
    x-amz-meta-mode                    decimal, with the type's bits (s3fs); octal (rclone) is understood, too
    x-amz-meta-rdev                    of a device
    x-amz-meta-xattr                   extended attributes: JSON {name: base64}, percent-encoded (s3fs)

A symbolic link is an object whose mode says so and whose bytes are the target; a folder that was made is an empty object whose key ends
in "/". What has no metadata shows as the mount's options say.
Source: s3fs 1.90, metaheader.cpp; rclone 1.60, backend/s3/s3.go.
"""

from __future__ import annotations

import json
import stat
from base64 import b64decode, b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from urllib.parse import quote, unquote

import msgspec

from meta.protocol.object import ObjectRow

SECOND_NS = 1_000_000_000
MICROSECOND_NS = 1_000
FOLDER_TYPE = "application/x-directory"
FOLDER_BYTES = 4_096
"""Shown as every folder's size: 0 makes programs think of special files."""
METADATA_BYTES_MAX = 2_048
"""Of names and values together, as S3 has it."""
XATTR_NAMES_MAX = 64
PARSED_MAX = 512
"""Texts whose meaning is remembered: files of one folder say much the same."""
_TYPES = frozenset((stat.S_IFREG, stat.S_IFDIR, stat.S_IFLNK, stat.S_IFIFO, stat.S_IFSOCK, stat.S_IFBLK, stat.S_IFCHR))
_TIMES_S_MAX = 1 << 40


@dataclass(frozen=True, slots=True)
class Defaults:
    """What is shown of objects that say nothing themselves."""

    uid: int = 0
    gid: int = 0
    file_mode: int = 0o644
    folder_mode: int = 0o755


class Stat(msgspec.Struct, frozen=True):
    """mode: with the type's bits; size: bytes."""

    mode: int
    uid: int
    gid: int
    size: int
    atime_ns: int
    mtime_ns: int
    ctime_ns: int
    rdev: int = 0
    links: int = 1

    @property
    def kind(self) -> int:
        return stat.S_IFMT(self.mode)

    @property
    def is_folder(self) -> bool:
        return stat.S_ISDIR(self.mode)


def file_stat(row: ObjectRow, defaults: Defaults) -> Stat:
    """Of an object that shows as a file, a symbolic link, a pipe."""
    metadata = row.attributes.metadata
    if not metadata:
        time_ns = row.mtime_us * MICROSECOND_NS
        return Stat(stat.S_IFREG | defaults.file_mode, defaults.uid, defaults.gid, row.size, time_ns, time_ns, time_ns)
    mode = _mode(metadata.get("mode", ""))
    if mode is None or stat.S_ISDIR(mode):
        mode = stat.S_IFREG | defaults.file_mode
    return _stat(row, metadata, mode, defaults, row.size)


def folder_stat(marker: ObjectRow | None, defaults: Defaults, *, time_ns: int = 0) -> Stat:
    """Of a folder, whether an object stands for it or not."""
    if marker is None:
        plain = stat.S_IFDIR | defaults.folder_mode
        return Stat(plain, defaults.uid, defaults.gid, FOLDER_BYTES, time_ns, time_ns, time_ns, links=2)
    mode = _mode(marker.attributes.metadata.get("mode", ""))
    permissions = defaults.folder_mode if mode is None else stat.S_IMODE(mode)
    return _stat(marker, marker.attributes.metadata, stat.S_IFDIR | permissions, defaults, FOLDER_BYTES, links=2)


def _stat(row: ObjectRow, metadata: Mapping[str, str], mode: int, defaults: Defaults, size: int, *, links: int = 1) -> Stat:
    mtime_ns = _or(_time(metadata.get("mtime", "")), row.mtime_us * MICROSECOND_NS)
    return Stat(
        mode,
        _or(_number(metadata.get("uid", "")), defaults.uid),
        _or(_number(metadata.get("gid", "")), defaults.gid),
        size,
        _or(_time(metadata.get("atime", "")), mtime_ns),
        mtime_ns,
        _or(_time(metadata.get("ctime", "")), max(mtime_ns, row.mtime_us * MICROSECOND_NS)),
        _or(_number(metadata.get("rdev", "")), 0),
        links,
    )


def with_stat(metadata: Mapping[str, str], stat_: Stat) -> dict[str, str]:
    """The metadata of an object that is to show as this."""
    changed = {
        **metadata,
        "mode": str(stat_.mode),
        "uid": str(stat_.uid),
        "gid": str(stat_.gid),
        "mtime": time_text(stat_.mtime_ns),
        "ctime": time_text(stat_.ctime_ns),
    }
    if stat_.atime_ns != stat_.mtime_ns:
        changed["atime"] = time_text(stat_.atime_ns)
    else:
        changed.pop("atime", None)
    if stat_.rdev:
        changed["rdev"] = str(stat_.rdev)
    return changed


def time_text(time_ns: int) -> str:
    return f"{'-' if time_ns < 0 else ''}{abs(time_ns) // SECOND_NS}.{abs(time_ns) % SECOND_NS:09d}"


def xattrs_of(metadata: Mapping[str, str]) -> dict[str, bytes]:
    """The extended attributes by name, without what can't be read."""
    text = metadata.get("xattr", "")
    if not text:
        return {}
    try:
        found = json.loads(unquote(text))
        return {name: b64decode(value, validate=True) for name, value in found.items()}
    except (ValueError, AttributeError, TypeError):
        return {}


def with_xattrs(metadata: Mapping[str, str], xattrs: Mapping[str, bytes]) -> dict[str, str]:
    changed = {name: value for name, value in metadata.items() if name != "xattr"}
    if xattrs:
        values = {name: b64encode(value).decode() for name, value in sorted(xattrs.items())}
        changed["xattr"] = quote(json.dumps(values, separators=(",", ":")), safe="")
    return changed


def metadata_bytes(metadata: Mapping[str, str]) -> int:
    return sum(len(name.encode()) + len(value.encode()) for name, value in metadata.items())


def _or(found: int | None, default: int) -> int:
    return default if found is None else found


@lru_cache(PARSED_MAX)
def _mode(text: str) -> int | None:
    """None when it is no mode, or says no type that there is."""
    if not text.isascii() or not text.isdigit() or len(text) > 8:
        return None
    for base in (10, 8):
        try:
            mode = int(text, base)
        except ValueError:
            continue
        if mode < 1 << 16 and stat.S_IFMT(mode) in _TYPES:
            return mode
        if mode <= 0o7777 and base == 8:
            return stat.S_IFREG | mode
    return None


@lru_cache(PARSED_MAX)
def _number(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 10 and int(text) < 1 << 32 else None


@lru_cache(PARSED_MAX)
def _time(text: str) -> int | None:
    """Nanoseconds from decimal seconds, exactly."""
    whole, _, fraction = text.removeprefix("-").partition(".")
    if not whole.isascii() or not whole.isdigit() or not (not fraction or (fraction.isascii() and fraction.isdigit())):
        return None
    if len(whole) > 13 or int(whole) > _TIMES_S_MAX:
        return None
    time_ns = int(whole) * SECOND_NS + int((fraction + "0" * 9)[:9])
    return -time_ns if text.startswith("-") else time_ns
