"""What a bucket is by S3's rules, in memory and by definition: versions, markers, locks, uploads, and what listings of them show."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

GOVERNANCE, COMPLIANCE = "GOVERNANCE", "COMPLIANCE"
NULL = "null"


@dataclass
class Version:
    """One version or delete marker.

    name    its version id as S3 shows it; "" while only the store knows it
    etag    "" while only the store knows it
    hold    None when never set
    """

    name: str
    marker: bool = False
    body: bytes = b""
    etag: str = ""
    metadata: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    mode: str = ""
    until: str = ""
    hold: bool | None = None
    parts: int = 0

    @property
    def null(self) -> bool:
        return self.name == NULL

    def locked(self, *, bypass: bool) -> bool:
        """Every retention of these tests lasts longer than the tests."""
        return bool(self.hold) or self.mode == COMPLIANCE or (self.mode == GOVERNANCE and not bypass)


@dataclass
class Upload:
    key: str
    metadata: dict[str, str]
    parts: dict[int, tuple[bytes, str]] = field(default_factory=dict)


def md5(data: bytes) -> str:
    return hashlib.md5(data).hexdigest()


def etag_of_parts(parts: list[bytes]) -> str:
    return f"{md5(b''.join(hashlib.md5(part).digest() for part in parts))}-{len(parts)}"


Item = tuple[str, Version] | str
"""What a listing shows: a key with one of its versions, or a common prefix."""


@dataclass
class Bucket:
    """versioning: "", "Enabled", "Suspended"; keys: versions, newest first; uploads by id."""

    locked: bool = False
    versioning: str = ""
    keys: dict[str, list[Version]] = field(default_factory=dict)
    uploads: dict[str, Upload] = field(default_factory=dict)

    @property
    def makes_null(self) -> bool:
        return self.versioning != "Enabled"

    def newest(self, key: str) -> Version | None:
        versions = self.keys.get(key)
        return versions[0] if versions else None

    def current(self, key: str) -> Version | None:
        newest = self.newest(key)
        return None if newest is None or newest.marker else newest

    def add(self, key: str, new: Version) -> Version:
        """As the newest; a null version takes the place of the other."""
        versions = self.keys.setdefault(key, [])
        if new.null:
            versions[:] = [version for version in versions if not version.null]
        versions.insert(0, new)
        return new

    def new_name(self) -> str:
        """Of the next version, "" when the store draws it."""
        return NULL if self.makes_null else ""

    def remove(self, key: str, gone: Version) -> None:
        self.keys[key].remove(gone)
        if not self.keys[key]:
            del self.keys[key]

    def rename(self, source: str, target: str) -> None:
        """Where older versions stay behind, a marker hides them."""
        if source == target:
            return
        found = self.keys[source][0]
        self.remove(source, found)
        if source in self.keys:
            self.add(source, Version(NULL if self.versioning == "Suspended" and found.null else "", marker=True))
        self.add(target, replace(found, name=self.new_name()))

    def versions(self) -> Iterator[tuple[str, Version]]:
        for key in sorted(self.keys, key=str.encode):
            for version in self.keys[key]:
                yield key, version

    def objects(self) -> Iterator[tuple[str, Version]]:
        for key, version in self.versions():
            if version is self.keys[key][0] and not version.marker:
                yield key, version

    def listing(self, prefix: str, delimiter: str, after: str, *, versions: bool) -> list[Item]:
        """Everything a listing shows, without pages."""
        shown: list[Item] = []
        for key, version in self.versions() if versions else self.objects():
            common = common_prefix(key, prefix, delimiter)
            if not key.startswith(prefix) or (common or key).encode() <= after.encode():
                continue
            if common is None:
                shown.append((key, version))
            elif common not in shown:
                shown.append(common)
        return shown

    def list_uploads(self, prefix: str, delimiter: str) -> list[tuple[str, str] | str]:
        shown: list[tuple[str, str] | str] = []
        for key, name in sorted(
            ((upload.key, name) for name, upload in self.uploads.items()), key=lambda pair: (pair[0].encode(), pair[1])
        ):
            common = common_prefix(key, prefix, delimiter)
            if not key.startswith(prefix):
                continue
            if common is None:
                shown.append((key, name))
            elif common not in shown:
                shown.append(common)
        return shown


def common_prefix(key: str, prefix: str, delimiter: str) -> str | None:
    """What stands for the key in a listing, if it is not itself."""
    at = key.find(delimiter, len(prefix)) if delimiter else -1
    return None if at < 0 else key[: at + len(delimiter)]
