"""Buckets made, and listed page by page."""

from __future__ import annotations

from typing import Any

import pytest

from meta.protocol.accounts import KeyPair
from tests.component.s3.conftest import Served, client_for
from tests.component.s3.test_configuration import refusal

LISTER = KeyPair(access_key="AKIALISTER0000000000", account="lists", name="lister", user_id="c" * 64, secret="l" * 40)
NAMES = [f"lists-{at:02}" for at in range(7)]


@pytest.fixture(scope="module")
def lister(served: Served) -> Any:
    served.run(served.store.meta.accounts.create_key, LISTER)
    s3 = client_for(served, LISTER, parameter_validation=False)
    for name in reversed(NAMES):
        s3.create_bucket(Bucket=name)
    yield s3
    s3.close()


def names(answer: dict[str, Any]) -> list[str]:
    return [entry["Name"] for entry in answer["Buckets"]]


def test_an_account_lists_its_own_buckets(lister: Any) -> None:
    answer = lister.list_buckets()
    assert names(answer) == NAMES
    assert "ContinuationToken" not in answer
    assert answer["Owner"]["ID"] == LISTER.user_id
    assert {entry["BucketRegion"] for entry in answer["Buckets"]} == {"us-east-1"}


@pytest.mark.parametrize("size", [1, 3, 7, 10_000])
def test_pages_are_the_whole(lister: Any, size: int) -> None:
    pages = list(lister.get_paginator("list_buckets").paginate(PaginationConfig={"PageSize": size}))
    assert [name for page in pages for name in names(page)] == NAMES
    assert all(len(page["Buckets"]) == size for page in pages[:-1])


def test_prefix_and_region_narrow_the_list(lister: Any) -> None:
    answer = lister.list_buckets(Prefix="lists-03")
    assert (names(answer), answer["Prefix"]) == (["lists-03"], "lists-03")
    assert names(lister.list_buckets(BucketRegion="us-east-1", MaxBuckets=2)) == NAMES[:2]
    assert names(lister.list_buckets(BucketRegion="eu-west-1")) == []


def test_wrong_pages_are_refused(lister: Any) -> None:
    for wrong in (0, 10_001, -1):
        assert refusal(lister.list_buckets, MaxBuckets=wrong) == ("InvalidArgument", 400)
    token = lister.list_buckets(MaxBuckets=1)["ContinuationToken"]
    assert refusal(lister.list_buckets, Prefix="lists-0", ContinuationToken=token) == ("InvalidArgument", 400)


def test_a_bucket_begins_with_its_tags_and_its_region(lister: Any) -> None:
    tags = [{"Key": "team", "Value": "ä"}]
    lister.create_bucket(Bucket="made-tagged", CreateBucketConfiguration={"Tags": tags, "LocationConstraint": "us-east-1"})
    assert lister.get_bucket_tagging(Bucket="made-tagged")["TagSet"] == tags
    assert lister.get_bucket_location(Bucket="made-tagged")["LocationConstraint"] is None
    assert lister.head_bucket(Bucket="made-tagged")["BucketRegion"] == "us-east-1"
    lister.delete_bucket(Bucket="made-tagged")
    lister.create_bucket(Bucket="made-tagged")
    assert refusal(lister.get_bucket_tagging, Bucket="made-tagged") == ("NoSuchTagSet", 404)
    lister.delete_bucket(Bucket="made-tagged")
