"""Lifecycle rules: which objects a rule is about, and when what is due. Pure. Their structs are S3's document, element by element:
s3/lifecycle_document.py reads it into them, and says what S3 refuses.

Times are microseconds since 1970, UTC.
Source: https://docs.aws.amazon.com/AmazonS3/latest/userguide/intro-lifecycle-rules.html
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Annotated, Literal

import msgspec

from glacier.lifecycle.calendar import REAL, Calendar

RULES_MAX = 1_000

StorageClass = Literal["STANDARD_IA", "INTELLIGENT_TIERING", "ONEZONE_IA", "GLACIER_IR", "GLACIER", "DEEP_ARCHIVE"]
Days = Annotated[int, msgspec.Meta(le=2**31 - 1)]


class Part(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="pascal"):
    """Base of what is an element of the document."""


class Tag(Part, frozen=True):
    key: str
    value: str


class Expiration(Part, frozen=True):
    """Of current versions; exactly one of the three is there. date: ISO 8601, a midnight."""

    date: str | None = None
    days: Days | None = None
    expired_object_delete_marker: bool | None = None


class Transition(Part, frozen=True):
    storage_class: StorageClass
    date: str | None = None
    days: Days | None = None


class NoncurrentTransition(Part, frozen=True):
    noncurrent_days: Days
    storage_class: StorageClass
    newer_noncurrent_versions: int | None = None


class NoncurrentExpiration(Part, frozen=True):
    noncurrent_days: Days
    newer_noncurrent_versions: int | None = None


class AbortUpload(Part, frozen=True):
    days_after_initiation: Days


class And(Part, frozen=True):
    prefix: str | None = None
    tags: tuple[Tag, ...] = msgspec.field(default=(), name="Tag")
    object_size_greater_than: int | None = None
    object_size_less_than: int | None = None


class Filter(Part, frozen=True):
    """At most one of these is there."""

    prefix: str | None = None
    tag: Tag | None = None
    object_size_greater_than: int | None = None
    object_size_less_than: int | None = None
    all: And | None = msgspec.field(default=None, name="And")


class Scope(msgspec.Struct, frozen=True):
    """What a rule is about, however it was written: all of these must hold; sizes in bytes, exclusive."""

    prefix: str = ""
    tags: tuple[Tag, ...] = ()
    larger_than: int | None = None
    smaller_than: int | None = None

    def holds(self, key: str, tags: Mapping[str, str], size: int) -> bool:
        return (
            key.startswith(self.prefix)
            and (self.larger_than is None or size > self.larger_than)
            and (self.smaller_than is None or size < self.smaller_than)
            and all(tags.get(tag.key) == tag.value for tag in self.tags)
        )


class Rule(Part, frozen=True, kw_only=True):
    """prefix: as rules were written before there were filters; either it or the filter is there."""

    id: str = msgspec.field(default="", name="ID")
    prefix: str | None = None
    filter: Filter | None = None
    status: Literal["Enabled", "Disabled"]
    transitions: tuple[Transition, ...] = msgspec.field(default=(), name="Transition")
    noncurrent_transitions: tuple[NoncurrentTransition, ...] = msgspec.field(default=(), name="NoncurrentVersionTransition")
    expiration: Expiration | None = None
    noncurrent_expiration: NoncurrentExpiration | None = msgspec.field(default=None, name="NoncurrentVersionExpiration")
    abort_upload: AbortUpload | None = msgspec.field(default=None, name="AbortIncompleteMultipartUpload")

    @property
    def scope(self) -> Scope:
        wanted = self.filter
        if wanted is None:
            return Scope(self.prefix or "")
        both = wanted.all
        if both is not None:
            return Scope(both.prefix or "", both.tags, both.object_size_greater_than, both.object_size_less_than)
        tags = () if wanted.tag is None else (wanted.tag,)
        return Scope(wanted.prefix or "", tags, wanted.object_size_greater_than, wanted.object_size_less_than)

    def holds(self, key: str, tags: Mapping[str, str], size: int) -> bool:
        """Whether the rule is in force and about such an object."""
        return self.status == "Enabled" and self.scope.holds(key, tags, size)


class Lifecycle(Part, frozen=True):
    rules: Annotated[tuple[Rule, ...], msgspec.Meta(min_length=1, max_length=RULES_MAX)] = msgspec.field(name="Rule")


class Due(msgspec.Struct, frozen=True):
    """When an action is due, and by which rule."""

    at_us: int
    rule: str


def expiration_of(
    lifecycle: Lifecycle, key: str, tags: Mapping[str, str], size: int, mtime_us: int, calendar: Calendar = REAL
) -> Due | None:
    """When the current version of a key expires: the earliest of all rules; of equal ones the first."""
    return _earliest(
        Due(due_us(rule.expiration, mtime_us, calendar), rule.id)
        for rule in lifecycle.rules
        if rule.expiration is not None and rule.expiration.expired_object_delete_marker is None and rule.holds(key, tags, size)
    )


def abortion_of(lifecycle: Lifecycle, key: str, started_us: int, calendar: Calendar = REAL) -> Due | None:
    """When an upload in parts that is still not complete is given up. Such rules have no tags and no sizes."""
    return _earliest(
        Due(calendar.after(started_us, rule.abort_upload.days_after_initiation), rule.id)
        for rule in lifecycle.rules
        if rule.abort_upload is not None and rule.holds(key, {}, 0)
    )


def parse_date(text: str) -> int:
    """A date of a rule as microseconds. Raises: ValueError."""
    year, rest = text.split("-", 1)
    moment = datetime.fromisoformat(f"{year:0>4}-{rest}")  # years before 1000 were once stored without their zeros
    return int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()) * 1_000_000 + moment.microsecond


def _earliest(found: Iterable[Due]) -> Due | None:
    return min(found, key=lambda due: due.at_us, default=None)


def due_us(action: Expiration | Transition, from_us: int, calendar: Calendar) -> int:
    """When an action with a date or days is due for what was made then."""
    if action.date is not None:
        return parse_date(action.date)
    assert action.days is not None
    return calendar.after(from_us, action.days)
