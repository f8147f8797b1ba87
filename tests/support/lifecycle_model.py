"""Lifecycle by definition: what AWS's pages say, applied to a dictionary of lists, one version after another. Knows nothing of the engine:
rules are as boto3's users write them, times are datetimes.

Source: https://docs.aws.amazon.com/AmazonS3/latest/userguide/intro-lifecycle-rules.html
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

CLASSES = ["STANDARD", "STANDARD_IA", "INTELLIGENT_TIERING", "ONEZONE_IA", "GLACIER_IR", "GLACIER", "DEEP_ARCHIVE"]
"""From warm to cold."""


@dataclass
class Version:
    """name: whatever tells it apart; made: when it came; retained: object lock keeps it until then."""

    name: str
    made: datetime
    size: int = 0
    marker: bool = False
    storage_class: str = "STANDARD"
    tags: dict[str, str] = field(default_factory=dict)
    retained: datetime | None = None


@dataclass
class Bucket:
    """keys: versions, newest first; uploads: (key, begin) by id; did: (what, key, name), in order."""

    rules: list[dict[str, Any]]
    versioned: bool = False
    minimum: str = "all_storage_classes_128K"
    keys: dict[str, list[Version]] = field(default_factory=dict)
    uploads: dict[str, tuple[str, datetime]] = field(default_factory=dict)
    did: list[tuple[str, str, str]] = field(default_factory=list)

    def put(self, key: str, version: Version) -> None:
        self.keys[key] = [version, *(self.keys.get(key, []) if self.versioned else [])]

    def delete(self, key: str, name: str, now: datetime) -> None:
        """As a client's DELETE without a version."""
        if self.versioned:
            self.keys[key] = [Version(name, now, marker=True), *self.keys.get(key, [])]
        else:
            self.keys.pop(key, None)

    def sweep(self, now: datetime) -> None:
        """One pass of lifecycle over all there is, decided before any of it is done."""
        for key in list(self.keys):
            before = list(self.keys[key])
            for place, version in enumerate(before):
                self._one(key, before, place, version, now)
            if not self.keys[key]:
                del self.keys[key]
        for upload, (key, begin) in list(self.uploads.items()):
            for rule in self.rules:
                days = rule.get("AbortIncompleteMultipartUpload", {}).get("DaysAfterInitiation")
                if rule["Status"] == "Enabled" and days is not None and _concerns(rule, key, {}, 0) and _over(begin, days) <= now:
                    self.uploads.pop(upload, None)

    def _one(self, key: str, all_: list[Version], place: int, version: Version, now: datetime) -> None:
        rules = [
            rule for rule in self.rules if rule["Status"] == "Enabled" and _concerns(rule, key, version.tags, version.size, version.marker)
        ]
        if place == 0 and version.marker:
            if len(all_) == 1 and any(_cleans(rule, version, now) for rule in rules):
                self._gone("unmark", key, version, now)
        elif place == 0:
            if any(_when(rule.get("Expiration", {}), version.made) <= now for rule in rules):
                self.did.append(("expire", key, version.name))
                self.delete(key, f"marker of {version.name}", now)
                self.keys.setdefault(key, [])
            else:
                steps = [(rule, each) for rule in rules for each in rule.get("Transitions", []) if _when(each, version.made) <= now]
                self._move(key, version, steps)
        else:
            since, older = all_[place - 1].made, place - 1
            ends = [rule["NoncurrentVersionExpiration"] for rule in rules if "NoncurrentVersionExpiration" in rule]
            if any(_past(each, since, older, now) for each in ends):
                self._gone("delete", key, version, now)
            elif not version.marker:
                moves = [(rule, each) for rule in rules for each in rule.get("NoncurrentVersionTransitions", [])]
                self._move(key, version, [(rule, each) for rule, each in moves if _past(each, since, older, now)])

    def _gone(self, what: str, key: str, version: Version, now: datetime) -> None:
        if version.retained is None or version.retained <= now:
            self.did.append((what, key, version.name))
            self.keys[key].remove(version)

    def _move(self, key: str, version: Version, steps: list[tuple[dict[str, Any], dict[str, Any]]]) -> None:
        before = version.storage_class
        for rule, step in steps:
            target = step["StorageClass"]
            small = version.size < 128 * 1024 and not _speaks_of_size(rule)
            if small and not (self.minimum == "varies_by_storage_class" and target in ("GLACIER", "DEEP_ARCHIVE")):
                continue
            if CLASSES.index(target) > CLASSES.index(version.storage_class):
                version.storage_class = target
        if version.storage_class != before:
            self.did.append(("move", key, version.name))


def _parts(rule: dict[str, Any]) -> dict[str, Any]:
    wanted = rule.get("Filter", {"Prefix": rule.get("Prefix", "")})
    return wanted.get("And", wanted)  # type: ignore[no-any-return]


def _speaks_of_size(rule: dict[str, Any]) -> bool:
    return "ObjectSizeGreaterThan" in _parts(rule) or "ObjectSizeLessThan" in _parts(rule)


def _concerns(rule: dict[str, Any], key: str, tags: dict[str, str], size: int, marker: bool = False) -> bool:
    parts = _parts(rule)
    wanted = parts.get("Tags", []) + ([parts["Tag"]] if "Tag" in parts else [])
    if not key.startswith(parts.get("Prefix", "")) or (marker and wanted):
        return False
    if not parts.get("ObjectSizeGreaterThan", -1) < size < parts.get("ObjectSizeLessThan", 1 << 60):
        return False
    return all(tags.get(tag["Key"]) == tag["Value"] for tag in wanted)


def _over(begin: datetime, days: int) -> datetime:
    """The midnight that ends the day in which so many days are over."""
    end = begin + timedelta(days=days)
    return datetime(end.year, end.month, end.day, tzinfo=UTC) + timedelta(days=1)


def _when(action: dict[str, Any], made: datetime) -> datetime:
    if "Date" in action:
        return datetime.fromisoformat(action["Date"]).replace(tzinfo=UTC)
    return _over(made, action["Days"]) if "Days" in action else datetime.max.replace(tzinfo=UTC)


def _past(action: dict[str, Any], since: datetime, newer: int, now: datetime) -> bool:
    return _over(since, action["NoncurrentDays"]) <= now and newer >= action.get("NewerNoncurrentVersions", 0)


def _cleans(rule: dict[str, Any], marker: Version, now: datetime) -> bool:
    wish = rule.get("Expiration", {})
    return wish.get("ExpiredObjectDeleteMarker", False) or _when(wish, marker.made) <= now
