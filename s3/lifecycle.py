"""Lifecycle rules: which objects a rule is about, and when what is due. Pure; what S3 refuses in a rule is in lifecycle_document.py.

Times are microseconds since 1970, UTC. Days end at midnight: an action of `days` is due at the first midnight after that many days.
Source: https://docs.aws.amazon.com/AmazonS3/latest/userguide/intro-lifecycle-rules.html
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Annotated, Literal

import msgspec

from s3.shape import Shape
from s3.tags import Tag

RULES_MAX = 1_000
DAY_US = 86_400_000_000

StorageClass = Literal["STANDARD_IA", "INTELLIGENT_TIERING", "ONEZONE_IA", "GLACIER_IR", "GLACIER", "DEEP_ARCHIVE"]
Days = Annotated[int, msgspec.Meta(le=2**31 - 1)]


class Expiration(Shape, frozen=True):
    """Of current versions; exactly one of the three is there. date: ISO 8601, a midnight."""

    date: str | None = None
    days: Days | None = None
    expired_object_delete_marker: bool | None = None


class Transition(Shape, frozen=True):
    storage_class: StorageClass
    date: str | None = None
    days: Days | None = None


class NoncurrentTransition(Shape, frozen=True):
    noncurrent_days: Days
    storage_class: StorageClass
    newer_noncurrent_versions: int | None = None


class NoncurrentExpiration(Shape, frozen=True):
    noncurrent_days: Days
    newer_noncurrent_versions: int | None = None


class AbortUpload(Shape, frozen=True):
    days_after_initiation: Days


class And(Shape, frozen=True):
    prefix: str | None = None
    tags: tuple[Tag, ...] = msgspec.field(default=(), name="Tag")
    object_size_greater_than: int | None = None
    object_size_less_than: int | None = None


class Filter(Shape, frozen=True):
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


class Rule(Shape, frozen=True, kw_only=True):
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


class Lifecycle(Shape, frozen=True):
    rules: Annotated[tuple[Rule, ...], msgspec.Meta(min_length=1, max_length=RULES_MAX)] = msgspec.field(name="Rule")


class Due(msgspec.Struct, frozen=True):
    """When an action is due, and by which rule."""

    at_us: int
    rule: str


def expiration_of(lifecycle: Lifecycle, key: str, tags: Mapping[str, str], size: int, mtime_us: int) -> Due | None:
    """When the current version of a key expires: the earliest of all rules; of equal ones the first."""
    return _earliest(
        Due(_due(rule.expiration, mtime_us), rule.id)
        for rule in lifecycle.rules
        if rule.expiration is not None and rule.expiration.expired_object_delete_marker is None and rule.holds(key, tags, size)
    )


def abortion_of(lifecycle: Lifecycle, key: str, started_us: int) -> Due | None:
    """When an upload in parts that is still not complete is given up. Such rules have no tags and no sizes."""
    return _earliest(
        Due(after_days(started_us, rule.abort_upload.days_after_initiation), rule.id)
        for rule in lifecycle.rules
        if rule.abort_upload is not None and rule.holds(key, {}, 0)
    )


def after_days(from_us: int, days: int) -> int:
    """The first midnight after `days` whole days."""
    return (from_us // DAY_US + days + 1) * DAY_US


def parse_date(text: str) -> int:
    """A date of a rule as microseconds. Raises: ValueError."""
    moment = datetime.fromisoformat(text)
    return int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()) * 1_000_000 + moment.microsecond


def _earliest(found: Iterable[Due]) -> Due | None:
    return min(found, key=lambda due: due.at_us, default=None)


def _due(expiration: Expiration, mtime_us: int) -> int:
    if expiration.date is not None:
        return parse_date(expiration.date)
    assert expiration.days is not None
    return after_days(mtime_us, expiration.days)
