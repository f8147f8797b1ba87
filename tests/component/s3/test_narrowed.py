"""Keys that policies narrow, through a client: never wider than their account, and asked for all that a request does."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import pytest

from meta.protocol.accounts import KeyPair
from meta.protocol.identities import Subject, User
from tests.component.s3.conftest import OWNER, STRANGER, Served, client_for
from tests.component.s3.test_acl import DENIED, refused
from tests.component.s3.test_policy import put, statement

_numbers = itertools.count()
Narrow = Callable[..., Any]


@pytest.fixture
def narrow(served: Served) -> Iterator[Narrow]:
    """A client whose key, of the owner's account, may do what these statements allow."""
    clients = []

    def make(*statements: dict[str, Any], account: str = "one", user: str = "narrow", admin: bool = False) -> Any:
        number = next(_numbers)
        text = json.dumps({"Version": "2012-10-17", "Statement": list(statements)})
        served.run(served.store.meta.identities.put_policy, f"policy-{number}", text)
        pair = KeyPair(f"AKIANARROW{number:010}", account, user, "", secret="n" * 40, policies=(f"policy-{number}",), admin=admin)
        served.run(served.store.meta.accounts.create_key, pair)
        clients.append(client_for(served, pair))
        return clients[-1]

    yield make
    for client in clients:
        client.close()


def allow(actions: str | list[str], resource: str | list[str] = "*", effect: str = "Allow", **condition: Any) -> dict[str, Any]:
    return {"Effect": effect, "Action": actions, "Resource": resource, "Condition": condition}


def test_a_narrowed_key_does_what_it_may(s3: Any, bucket: str, narrow: Narrow) -> None:
    s3.put_object(Bucket=bucket, Key="in/k", Body=b"x")
    s3.put_object(Bucket=bucket, Key="out/k", Body=b"x")
    key = narrow(
        allow("s3:GetObject", f"arn:aws:s3:::{bucket}/in/*"),
        allow("s3:ListBucket", f"arn:aws:s3:::{bucket}", StringLike={"s3:prefix": "in/*"}),
    )
    assert key.get_object(Bucket=bucket, Key="in/k")["Body"].read() == b"x"
    assert refused(key.get_object, Bucket=bucket, Key="out/k") == DENIED
    assert refused(key.get_object, Bucket=bucket, Key="in/none") == DENIED
    assert refused(key.put_object, Bucket=bucket, Key="in/k", Body=b"y") == DENIED
    assert key.list_objects_v2(Bucket=bucket, Prefix="in/")["KeyCount"] == 1
    assert refused(key.list_objects_v2, Bucket=bucket) == DENIED
    assert refused(key.list_buckets) == DENIED
    assert refused(key.delete_bucket_policy, Bucket=bucket) == DENIED
    assert refused(key.create_bucket, Bucket=f"{bucket}-new") == DENIED


def test_nothing_makes_it_wider_than_its_account(s3: Any, bucket: str, served: Served, narrow: Narrow) -> None:
    stranger = client_for(served, STRANGER)
    stranger.create_bucket(Bucket=f"{bucket}-theirs")
    key = narrow(allow("s3:*"))
    assert refused(key.list_objects, Bucket=f"{bucket}-theirs") == DENIED
    put(stranger, f"{bucket}-theirs", statement(f"{bucket}-theirs", "s3:ListBucket", Principal={"AWS": "arn:aws:iam::one:root"}))
    key.list_objects(Bucket=f"{bucket}-theirs")
    reader = narrow(allow("s3:GetObject"))
    assert refused(reader.list_objects, Bucket=f"{bucket}-theirs") == DENIED, (
        "what a bucket's policy gives does not reach over the key's own"
    )
    stranger.close()


def test_an_administrators_key_can_be_narrowed(s3: Any, bucket: str, narrow: Narrow) -> None:
    s3.put_object(Bucket=bucket, Key="k", Body=b"x")
    auditor = narrow(allow(["s3:Get*", "s3:List*"]), account="ops", admin=True)
    assert auditor.get_object(Bucket=bucket, Key="k")["Body"].read() == b"x"
    assert refused(auditor.put_object, Bucket=bucket, Key="k", Body=b"y") == DENIED


def test_policies_of_user_and_key_both_count(s3: Any, bucket: str, served: Served, narrow: Narrow) -> None:
    identities = served.store.meta.identities
    served.run(identities.create_user, User("one", f"user-{bucket}"))
    served.run(identities.put_policy, f"user-{bucket}", json.dumps({"Statement": allow(["s3:GetObject", "s3:PutObject"])}))
    subject = Subject("one", f"user-{bucket}")
    served.run(partial(identities.attach, attached=True), subject, f"user-{bucket}")
    key = narrow(allow(["s3:PutObject", "s3:DeleteObject"]), user=f"user-{bucket}")
    key.put_object(Bucket=bucket, Key="k", Body=b"x")
    assert refused(key.get_object, Bucket=bucket, Key="k") == DENIED
    assert refused(key.delete_object, Bucket=bucket, Key="k") == DENIED


def test_a_denial_of_its_own_wins(s3: Any, bucket: str, narrow: Narrow) -> None:
    key = narrow(allow("s3:*"), allow("s3:PutObject", f"arn:aws:s3:::{bucket}/shut*", "Deny"))
    key.put_object(Bucket=bucket, Key="open", Body=b"x")
    assert refused(key.put_object, Bucket=bucket, Key="shut", Body=b"x") == DENIED
    answer = key.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": "open"}]})
    assert [row["Key"] for row in answer["Deleted"]] == ["open"]


def test_each_key_of_a_deletion_for_itself(s3: Any, bucket: str, narrow: Narrow) -> None:
    for key in ("in/a", "out/a"):
        s3.put_object(Bucket=bucket, Key=key, Body=b"x")
    client = narrow(allow("s3:DeleteObject", f"arn:aws:s3:::{bucket}/in/*"))
    answer = client.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": "in/a"}, {"Key": "out/a"}]})
    assert [row["Key"] for row in answer["Deleted"]] == ["in/a"]
    assert [(row["Key"], row["Code"]) for row in answer["Errors"]] == [("out/a", "AccessDenied")]
    assert [row["Key"] for row in s3.list_objects_v2(Bucket=bucket)["Contents"]] == ["out/a"]


def test_governance_is_passed_over_by_who_may_for_that_key(s3: Any, bucket: str, narrow: Narrow) -> None:
    locked = f"{bucket}-locked"
    s3.create_bucket(Bucket=locked, ObjectLockEnabledForBucket=True)
    held = {"ObjectLockMode": "GOVERNANCE", "ObjectLockRetainUntilDate": datetime.now(UTC) + timedelta(days=1)}
    versions = {key: s3.put_object(Bucket=locked, Key=key, Body=b"x", **held)["VersionId"] for key in ("in/a", "in/b", "out/a")}
    client = narrow(allow("s3:DeleteObject*", "*"), allow("s3:BypassGovernanceRetention", f"arn:aws:s3:::{locked}/in/*"))
    bypass = {"Bucket": locked, "BypassGovernanceRetention": True}
    client.delete_object(Key="in/a", VersionId=versions["in/a"], **bypass)
    assert refused(client.delete_object, Key="out/a", VersionId=versions["out/a"], **bypass) == DENIED
    wanted = {"Objects": [{"Key": key, "VersionId": versions[key]} for key in ("in/b", "out/a")]}
    answer = client.delete_objects(Delete=wanted, **bypass)
    assert [row["Key"] for row in answer["Deleted"]] == ["in/b"]
    assert [(row["Key"], row["Code"]) for row in answer["Errors"]] == [("out/a", "AccessDenied")]


def test_new_buckets_and_what_they_are_made_with(bucket: str, narrow: Narrow) -> None:
    made = itertools.count()

    def create(client: Any, **arguments: Any) -> None:
        client.create_bucket(Bucket=f"{bucket}-{next(made)}", **arguments)

    plain = narrow(allow("s3:CreateBucket"))
    create(plain)
    tagged = {"CreateBucketConfiguration": {"Tags": [{"Key": "a", "Value": "b"}]}}
    asks: dict[str, dict[str, Any]] = {
        "s3:PutBucketAcl": {"ACL": "public-read"},
        "s3:PutBucketOwnershipControls": {"ObjectOwnership": "ObjectWriter"},
        "s3:PutBucketTagging": tagged,
    }
    for permission, ask in asks.items():
        assert refused(create, plain, **ask) == DENIED, permission
        create(narrow(allow(["s3:CreateBucket", permission])), **ask)
    assert refused(create, plain, ObjectLockEnabledForBucket=True) == DENIED
    create(
        narrow(allow(["s3:CreateBucket", "s3:PutBucketVersioning", "s3:PutBucketObjectLockConfiguration"])), ObjectLockEnabledForBucket=True
    )
    here = narrow(allow("s3:CreateBucket", StringEquals={"s3:LocationConstraint": "eu-west-1"}))
    assert refused(create, here) == DENIED
    wanted = {"CreateBucketConfiguration": {"LocationConstraint": "eu-west-1"}}
    assert refused(create, here, **wanted) == ("IllegalLocationConstraintException", 400), "let through, to be refused for another reason"


def test_conditions_on_what_a_body_asks(s3: Any, bucket: str, narrow: Narrow) -> None:
    locked = f"{bucket}-locked"
    s3.create_bucket(Bucket=locked, ObjectLockEnabledForBucket=True)
    s3.put_object(Bucket=locked, Key="k", Body=b"x")
    few = {
        "NumericLessThanEquals": {"s3:object-lock-remaining-retention-days": "10"},
        "StringEquals": {"s3:object-lock-mode": "GOVERNANCE"},
    }
    key = narrow(allow("s3:PutObjectRetention", **few), allow("s3:PutObjectLegalHold", StringEquals={"s3:object-lock-legal-hold": "ON"}))

    def retain(days: int, mode: str) -> None:
        until = datetime.now(UTC) + timedelta(days=days)
        key.put_object_retention(Bucket=locked, Key="k", Retention={"Mode": mode, "RetainUntilDate": until})

    retain(9, "GOVERNANCE")
    assert refused(retain, 11, "GOVERNANCE") == DENIED
    assert refused(retain, 9, "COMPLIANCE") == DENIED
    key.put_object_legal_hold(Bucket=locked, Key="k", LegalHold={"Status": "ON"})
    assert refused(key.put_object_legal_hold, Bucket=locked, Key="k", LegalHold={"Status": "OFF"}) == DENIED
    s3.put_object_legal_hold(Bucket=locked, Key="k", LegalHold={"Status": "OFF"})


def test_a_key_whose_policy_can_not_be_read_may_do_nothing(served: Served, bucket: str) -> None:
    served.run(served.store.meta.identities.put_policy, f"broken-{bucket}", "{")
    pair = KeyPair(f"AKIABROKEN{next(_numbers):010}", "one", "broken", "", secret="n" * 40, policies=(f"broken-{bucket}",))
    served.run(served.store.meta.accounts.create_key, pair)
    client = client_for(served, pair)
    assert refused(client.list_buckets) == DENIED
    assert refused(client.list_objects, Bucket=bucket) == DENIED
    assert refused(client.create_bucket, Bucket=f"{bucket}-new") == DENIED
    client.close()


def test_a_policy_can_speak_of_one_user_of_an_account(s3: Any, bucket: str, served: Served) -> None:
    s3.put_object(Bucket=bucket, Key="k", Body=b"x")
    put(s3, bucket, statement(bucket, "s3:GetObject", Principal={"AWS": "arn:aws:iam::two:user/guest"}))
    pair = KeyPair(f"AKIAGUEST{next(_numbers):011}", "two", "guest", "", secret="g" * 40)
    served.run(served.store.meta.accounts.create_key, pair)
    guest, other = client_for(served, pair), client_for(served, STRANGER)
    assert guest.get_object(Bucket=bucket, Key="k")["Body"].read() == b"x"
    assert refused(other.get_object, Bucket=bucket, Key="k") == DENIED
    put(s3, bucket, statement(bucket, "s3:GetObject", Effect="Deny", Principal={"AWS": "arn:aws:iam::one:user/guest"}))
    assert s3.get_object(Bucket=bucket, Key="k")["Body"].read() == b"x", OWNER.name
    guest.close()
    other.close()


def test_what_strangers_share_of_their_own_again_and_again(s3: Any, bucket: str, served: Served) -> None:
    stranger, anybody = client_for(served, STRANGER), client_for(served, None)
    put(s3, bucket, statement(bucket, "s3:PutObject"))
    assert refused(stranger.put_object, Bucket=bucket, Key="k", Body=b"x", ACL="public-read") == DENIED
    put(s3, bucket, statement(bucket, ["s3:PutObject", "s3:PutObjectAcl"]))
    for at in range(2):
        stranger.put_object(Bucket=bucket, Key=f"k{at}", Body=b"x", ACL="public-read")
        assert anybody.get_object(Bucket=bucket, Key=f"k{at}")["Body"].read() == b"x"
    stranger.close()
    anybody.close()
