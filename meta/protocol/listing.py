"""Listings of a bucket."""

from __future__ import annotations

import msgspec

from meta.protocol.restore import Restore

LIST_LIMIT_MAX = 1_000


class Listed(msgspec.Struct, frozen=True, array_like=True):
    """A row of a listing; only what S3's listings show."""

    key: str
    version: int
    null: bool
    marker: bool
    latest: bool
    size: int
    etag: str
    mtime_us: int
    storage_class: str
    owner: str
    checksum_algorithm: str = ""
    checksum_type: str = ""
    restore: Restore | None = None


class ListRequest(msgspec.Struct, frozen=True, omit_defaults=True):
    """after: only keys (or common prefixes) behind this one, exclusive. versions: all versions and markers, else only visible objects.
    after_version: with versions, only versions of key `after` older than this one are still to come (None: none of them).
    restores: with the restores of cold versions, which cost a look at each of them."""

    prefix: str = ""
    delimiter: str = ""
    after: str = ""
    after_version: int | None = None
    limit: int = LIST_LIMIT_MAX
    versions: bool = False
    restores: bool = False


class ListPage(msgspec.Struct, frozen=True):
    """rows and prefixes, both in order, together at most `limit`. next_after/next_version continue the listing when truncated."""

    rows: list[Listed]
    prefixes: list[str]
    truncated: bool
    next_after: str = ""
    next_version: int | None = None
