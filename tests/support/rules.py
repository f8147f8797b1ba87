"""Lifecycle documents as boto3's users write them, and as the engine reads them."""

from __future__ import annotations

from typing import Any

from glacier.lifecycle.plan import Rules
from s3.lifecycle_document import LIFECYCLE, checked
from s3.shape import read
from s3.xml import parse

_ONE = {
    "Rules": "Rule",
    "Transitions": "Transition",
    "NoncurrentVersionTransitions": "NoncurrentVersionTransition",
    "Tags": "Tag",
}


def document(rules: list[dict[str, Any]]) -> str:
    """As it is stored."""
    value = read(parse(f"<L>{_children({'Rules': rules})}</L>".encode(), "L"), LIFECYCLE.kind)
    return LIFECYCLE.encode(checked(value))


def rules_for(rules: list[dict[str, Any]], *, varies: bool = False) -> Rules:
    return Rules(read(parse(document(rules).encode(), LIFECYCLE.root), LIFECYCLE.kind), varies)


def _children(values: dict[str, Any]) -> str:
    return "".join(_element(_ONE.get(name, name), each) for name, value in values.items() for each in _each(name, value))


def _each(name: str, value: Any) -> list[Any]:
    return value if name in _ONE else [value]


def _element(name: str, value: Any) -> str:
    if isinstance(value, dict):
        return f"<{name}>{_children(value)}</{name}>"
    return f"<{name}>{str(value).lower() if isinstance(value, bool) else value}</{name}>"
