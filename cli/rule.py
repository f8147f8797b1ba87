"""Lifecycle rules in words. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from xml.etree import ElementTree

from cli.answer import text
from cli.output import count_text
from node.text import bytes_text


@dataclass(frozen=True, slots=True)
class RuleText:
    name: str
    enabled: bool
    about: str
    actions: list[str]


def sentences(root: ElementTree.Element) -> list[RuleText]:
    """Of a LifecycleConfiguration, in its order."""
    return [
        RuleText(
            text(rule, "ID"), text(rule, "Status") == "Enabled", _about(rule), [*_of_current(rule), *_of_noncurrent(rule), *_others(rule)]
        )
        for rule in root.iterfind("Rule")
    ]


def _about(rule: ElementTree.Element) -> str:
    """What the rule concerns."""
    wanted = rule.find("Filter/And")
    where = wanted if wanted is not None else rule.find("Filter")
    where = where if where is not None else rule
    parts = [f"keys that begin with {text(where, 'Prefix')}"] if text(where, "Prefix") else []
    parts += [f"tag {text(tag, 'Key')}={text(tag, 'Value')}" for tag in where.iterfind("Tag")]
    for element, words in (("ObjectSizeGreaterThan", "more"), ("ObjectSizeLessThan", "less")):
        if size := text(where, element):
            parts.append(f"{words} than {bytes_text(int(size))}")
    return ", ".join(parts) or "all objects"


def _of_current(rule: ElementTree.Element) -> list[str]:
    found = [f"to {text(each, 'StorageClass')} {_when(each)}" for each in rule.iterfind("Transition")]
    for each in rule.iterfind("Expiration"):
        if text(each, "ExpiredObjectDeleteMarker"):
            found += ["delete markers that hide nothing are removed"] if text(each, "ExpiredObjectDeleteMarker") == "true" else []
        else:
            found.append(f"expire {_when(each)}")
    return found


def _when(action: ElementTree.Element) -> str:
    date = text(action, "Date")
    return f"on {date[:10]}" if date else f"{count_text(int(text(action, 'Days', '0')), 'day')} after they came"


def _of_noncurrent(rule: ElementTree.Element) -> list[str]:
    found = []
    for element, words in (
        ("NoncurrentVersionTransition", "old versions to {}"),
        ("NoncurrentVersionExpiration", "old versions are deleted"),
    ):
        for each in rule.iterfind(element):
            days = count_text(int(text(each, "NoncurrentDays", "0")), "day")
            kept = text(each, "NewerNoncurrentVersions")
            beyond = f", beyond the {kept} newest of them" if kept else ""
            found.append(f"{words.format(text(each, 'StorageClass'))} {days} after they were replaced{beyond}")
    return found


def _others(rule: ElementTree.Element) -> list[str]:
    days = text(rule, "AbortIncompleteMultipartUpload/DaysAfterInitiation")
    return [f"uploads that are not completed are given up after {count_text(int(days), 'day')}"] if days else []
