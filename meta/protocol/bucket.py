"""A bucket's settings and sums."""

from __future__ import annotations

import msgspec

SYSTEM_BUCKET = ".frazil"
"""No bucket of S3's (the name is none there) and in no list: its objects repeat what else no chunk would know, see store/keepsake.py."""
QUOTA_BYTES_MAX = (1 << 63) - 1
"""The largest size that SQLite has a number for."""


class DefaultRetention(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a new version gets that brings no retention: a mode, and a period in days or else in years."""

    mode: str
    days: int = 0
    years: int = 0


class LockSettings(msgspec.Struct, frozen=True, omit_defaults=True):
    """A bucket's object lock configuration; once there, it can be changed but not be removed."""

    default: DefaultRetention | None = None


class BucketSettings(msgspec.Struct, frozen=True, omit_defaults=True):
    """versioning: "", "Enabled", "Suspended"; acl as in Attributes; quota_bytes 0 = none; object_lock: only with versioning "Enabled";
    documents: what S3 keeps per bucket (policy, cors, lifecycle, tagging ...), by name, as the gateway wrote them."""

    bucket: str
    account: str
    owner: str
    created_us: int
    region: str = ""
    versioning: str = ""
    acl: str = "private"
    object_lock: bool = False
    default_retention: DefaultRetention | None = None
    quota_bytes: int = 0
    documents: dict[str, str] = {}


class Counters(msgspec.Struct, frozen=True):
    """Per storage class: (versions with content, their bytes); markers; uploads in progress and their parts' bytes."""

    classes: dict[str, tuple[int, int]]
    markers: int = 0
    uploads: int = 0
    upload_bytes: int = 0

    @property
    def used_bytes(self) -> int:
        """What a quota counts: all versions, and the parts of uploads in progress."""
        return self.upload_bytes + sum(size for _, size in self.classes.values())
