"""The presets: what a key with one may do."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from s3.identity import Identity
from s3.policy import Effect, parse_policy
from s3.preset import is_preset, preset
from s3.statement import Ask

WHO = Identity("u" * 64, "ann", user="ann")


def allows(name: str, permission: str, resource: str, **values: str) -> bool:
    def lookup(key: str) -> Sequence[str]:
        return (values[key[3:]],) if key[3:] in values else ()

    return parse_policy(preset(name)).effect(Ask(WHO, permission, resource, lookup)) is Effect.ALLOW


@pytest.mark.parametrize(
    ("name", "permission", "resource", "allowed"),
    [
        ("read-only", "s3:GetObject", "any/key", True),
        ("read-only", "s3:ListBucket", "any", True),
        ("read-only", "s3:ListAllMyBuckets", "*", True),
        ("read-only", "s3:PutObject", "any/key", False),
        ("read-only", "s3:DeleteObject", "any/key", False),
        ("read-only", "s3:CreateBucket", "any", False),
        ("bucket:one", "s3:PutObject", "one/key", True),
        ("bucket:one", "s3:DeleteBucket", "one", True),
        ("bucket:one", "s3:PutObject", "one-more/key", False),
        ("bucket:one", "s3:ListBucket", "two", False),
        ("bucket:one", "s3:ListAllMyBuckets", "*", False),
        ("prefix:one/in/", "s3:PutObject", "one/in/key", True),
        ("prefix:one/in/", "s3:PutObject", "one/out/key", False),
        ("prefix:one/in/", "s3:GetBucketLocation", "one", True),
        ("prefix:one/in/", "s3:ListBucket", "one", False),
        ("prefix:one/in/", "s3:DeleteBucket", "one", False),
    ],
)
def test_what_they_allow(name: str, permission: str, resource: str, allowed: bool) -> None:
    assert allows(name, permission, resource) is allowed


def test_listings_below_the_prefix_only() -> None:
    assert allows("prefix:one/in/", "s3:ListBucket", "one", prefix="in/deep/")
    assert not allows("prefix:one/in/", "s3:ListBucket", "one", prefix="in")


@given(st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=20))
def test_a_prefix_is_taken_literally(prefix: str) -> None:
    assert allows(f"prefix:one/{prefix}", "s3:GetObject", f"one/{prefix}key")
    assert not allows(f"prefix:one/x{prefix}", "s3:GetObject", f"one/y{prefix}key")


@pytest.mark.parametrize("name", ["bucket:", "bucket:Upper", "bucket:one/in", "prefix:one", "prefix:one/", "other"])
def test_others_are_none(name: str) -> None:
    with pytest.raises(ValueError, match="is no preset"):
        preset(name)
    assert is_preset(name) == (name != "other")
