"""What a user may write for a place: `s3://bucket/key`, `profile:bucket/key`, a local path, `-`."""

from __future__ import annotations

import os
import re
from collections.abc import Collection
from dataclasses import dataclass

from node.errors import InvalidArgument

KEY_BYTES_MAX = 1024
_BUCKET = re.compile(r"[a-z0-9A-Z][a-zA-Z0-9.\-_]{1,254}")
"""Wider than S3's rule for new buckets, so that buckets migrated from elsewhere can be named; the store decides about new ones."""
_SCHEME = "s3://"


@dataclass(frozen=True, slots=True)
class Remote:
    """A bucket (key ""), an object, or a prefix. profile "": the store that the options name."""

    bucket: str
    key: str = ""
    profile: str = ""

    @property
    def is_folder(self) -> bool:
        """It names a bucket or ends in a slash, so that names are put below it."""
        return not self.key or self.key.endswith("/")

    def below(self, name: str) -> Remote:
        """The object `name` under this prefix, which gets a slash when it lacks one."""
        prefix = self.key if self.is_folder else self.key + "/"
        return Remote(self.bucket, prefix + name, self.profile)

    def folder(self) -> Remote:
        """The same as a prefix that ends in a slash (or is empty)."""
        return self if self.is_folder else Remote(self.bucket, self.key + "/", self.profile)

    def __str__(self) -> str:
        start = f"{self.profile}:" if self.profile else _SCHEME
        return f"{start}{self.bucket}/{self.key}" if self.key else f"{start}{self.bucket}"


@dataclass(frozen=True, slots=True)
class Local:
    """A path on this host."""

    path: str

    @property
    def name(self) -> str:
        """The last step, also of `.` and of what ends in a slash."""
        return os.path.basename(os.path.abspath(self.path))

    def __str__(self) -> str:
        return self.path


@dataclass(frozen=True, slots=True)
class Stream:
    """Standard input or output."""

    def __str__(self) -> str:
        return "-"


Address = Remote | Local | Stream


def parse_remote(text: str, profiles: Collection[str] = ()) -> Remote:
    """A place in a store; `s3://` may be left out where nothing but a store's place can stand.

    Raises: InvalidArgument.
    """
    profile = ""
    rest = text
    if text.startswith(_SCHEME):
        rest = text[len(_SCHEME) :]
    elif ":" in text.partition("/")[0]:
        profile, _, rest = text.partition(":")
        if profile not in profiles:
            raise InvalidArgument(f"no profile is called {profile!r} (in {text!r}); an object is written s3://BUCKET/KEY")
    bucket, _, key = rest.lstrip("/").partition("/")
    if not bucket:
        raise InvalidArgument(f"{text!r} names no bucket; an object is written s3://BUCKET/KEY")
    if not _BUCKET.fullmatch(bucket):
        raise InvalidArgument(f"{bucket!r} can't be a bucket's name: those have 3 to 63 lower-case letters, digits, dots and hyphens")
    check_key(key)
    return Remote(bucket, key, profile)


def parse_address(text: str, profiles: Collection[str] = ()) -> Address:
    """What `cp` takes. A name with a colon before the first slash is a profile only when such a profile exists.

    Raises: InvalidArgument.
    """
    if text == "-":
        return Stream()
    if not text:
        raise InvalidArgument("an empty path names nothing")
    if text.startswith(_SCHEME):
        return parse_remote(text)
    head, colon, _ = text.partition("/")[0].partition(":")
    if colon and head in profiles:
        return parse_remote(text, profiles)
    return Local(text)


def check_key(key: str) -> str:
    """The key, or InvalidArgument when no store would take it."""
    try:
        encoded = key.encode()
    except UnicodeEncodeError as error:
        shown = key.encode("utf-8", "backslashreplace").decode()
        raise InvalidArgument(f"the name {shown} is not UTF-8, which keys must be; rename it first") from error
    if len(encoded) > KEY_BYTES_MAX:
        raise InvalidArgument(f"a key has at most {KEY_BYTES_MAX} bytes, {key[:60]!r}... has {len(encoded)}")
    return key


def local_name(relative_key: str) -> str:
    """The relative path for a key that is written below a local folder.

    Raises: InvalidArgument when it would leave the folder or can't be told from another key there.
    """
    parts = relative_key.split("/")
    if any(part in ("", ".", "..") or "\0" in part for part in parts):
        raise InvalidArgument(f"key {relative_key!r} can't be a path below a folder (an empty, '.' or '..' step)")
    return "/".join(parts)
