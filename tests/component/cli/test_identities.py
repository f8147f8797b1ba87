"""Accounts, users, keys and policies, made and narrowed while the store runs and while it doesn't."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from cli.exit import Exit
from s3.identity import KEY_AGE_S_MAX
from tests.component.cli.conftest import Frazil
from tests.support.store import StoreProcess

Connect = Callable[[dict[str, Any]], Any]


@pytest.fixture
def connect(store: StoreProcess) -> Iterator[Connect]:
    """An S3 client with a key as the command shows it."""
    clients = []

    def make(record: dict[str, Any]) -> Any:
        settings = Config(retries={"total_max_attempts": 1}, s3={"addressing_style": "path"}, signature_version="s3v4")
        keys = {"aws_access_key_id": record["access_key"], "aws_secret_access_key": record["secret_key"]}
        clients.append(boto3.client("s3", endpoint_url=store.url, region_name="us-east-1", config=settings, **keys))
        return clients[-1]

    yield make
    for client in clients:
        client.close()


def code(call: Any, **arguments: Any) -> str:
    try:
        call(**arguments)
    except ClientError as error:
        return str(error.response["Error"]["Code"])
    return ""


def new_key(frazil: Frazil, *arguments: str) -> dict[str, Any]:
    run = frazil("key", "create", *arguments, "--json")
    assert run.code == 0, run.err
    return run.records[0]


def test_an_account_from_its_making_to_its_suspension(frazil: Frazil) -> None:
    (made,) = frazil("account", "create", "acme", "--display-name", "Acme", "--email", "acme@example.org", "--json").records
    assert frazil("account", "create", "acme").code == Exit.CONFLICT
    assert frazil("account", "create", "not a name").code != 0
    key = new_key(frazil, "robot", "--account", "acme")
    assert (key["user_id"], key["display_name"]) == (made["user_id"], "Acme")
    (shown,) = frazil("account", "show", "acme", "--json").records
    assert (shown["users"], shown["keys"], shown["buckets"]) == (["robot"], [key["access_key"]], [])
    assert "acme@example.org" in frazil("account", "show", "acme").out
    assert "acme" in [each["account"] for each in frazil("account", "list", "--json").of("account")]
    assert frazil("account", "suspend", "acme").code == 0
    assert frazil("account", "list").out.splitlines()[0].split()[0] == "acme"
    assert frazil("key", "show", key["access_key"], "--json").records[0]["suspended_by"] == "account"
    assert "by its account" in frazil("key", "show", key["access_key"]).out
    assert frazil("account", "resume", "acme").code == 0
    assert not frazil("key", "show", key["access_key"], "--json").records[0]["suspended"]
    assert frazil("account", "suspend", "nobody").code == Exit.NOT_FOUND
    assert frazil("account", "show", "nobody").code == Exit.NOT_FOUND


def test_users_and_their_policies(frazil: Frazil) -> None:
    assert frazil("account", "create", "corp").code == 0
    (made,) = frazil("user", "create", "ann", "--account", "corp", "--policy", "read-only", "--json").records
    assert (made["arn"], made["policies"]) == ("arn:aws:iam::corp:user/ann", ["read-only"])
    key = new_key(frazil, "ann", "--account", "corp")
    assert frazil("user", "create", "ann", "--account", "corp").code == Exit.CONFLICT
    assert frazil("user", "create", "ann", "--account", "nobody").code == Exit.NOT_FOUND
    assert [each["user"] for each in frazil("user", "list", "--account", "corp", "--json").of("user")] == ["ann"]
    (shown,) = frazil("user", "show", "ann", "--account", "corp", "--json").records
    assert (shown["keys"], shown["policies"]) == ([key["access_key"]], ["read-only"])
    assert "read-only" in frazil("user", "show", "ann", "--account", "corp").out
    assert frazil("key", "show", key["access_key"], "--json").records[0]["user_policies"] == ["read-only"]
    assert frazil("user", "suspend", "ann", "--account", "corp").code == 0
    assert frazil("key", "show", key["access_key"], "--json").records[0]["suspended_by"] == "user"
    assert frazil("user", "resume", "ann", "--account", "corp").code == 0
    assert frazil("user", "remove", "ann", "--account", "corp").code == Exit.CONFLICT
    assert frazil("key", "revoke", key["access_key"]).code == 0
    assert frazil("user", "remove", "ann", "--account", "corp").code == 0
    assert frazil("user", "show", "ann", "--account", "corp").code == Exit.NOT_FOUND


@pytest.mark.slow
def test_a_suspended_key_stops_and_comes_back(frazil: Frazil, connect: Connect) -> None:
    key = new_key(frazil, "sleeper")
    client = connect(key)
    assert code(client.list_buckets) == ""
    assert frazil("key", "suspend", key["access_key"]).code == 0
    assert wait_for(client, "AccessDenied")
    assert frazil("key", "resume", key["access_key"]).code == 0
    assert wait_for(client, "")


def wait_for(client: Any, wanted: str) -> bool:
    """Within the time that a gateway may remember a key."""
    import time

    end = time.monotonic() + KEY_AGE_S_MAX + 2.0
    while code(client.list_buckets) != wanted:
        if time.monotonic() > end:
            return False
        time.sleep(0.1)
    return True


def test_the_last_admin_key_stays(frazil: Frazil) -> None:
    admins = [each for each in frazil("key", "list", "--json").of("key") if each["admin"]]
    assert len(admins) == 1
    assert frazil("key", "suspend", admins[0]["access_key"]).code == Exit.CONFLICT
    assert frazil("account", "suspend", admins[0]["account"]).code == Exit.CONFLICT
    assert frazil("user", "suspend", admins[0]["name"], "--account", admins[0]["account"]).code == Exit.CONFLICT


@pytest.fixture
def filled(frazil: Frazil, bucket: str, connect: Connect) -> tuple[str, str]:
    """A bucket of its own account, with objects in/k and out/k."""
    account = f"account-{bucket}"
    client = connect(new_key(frazil, "owner", "--account", account))
    name = f"{bucket}-full"[-63:].strip("-")
    client.create_bucket(Bucket=name)
    for key in ("in/k", "out/k"):
        client.put_object(Bucket=name, Key=key, Body=b"x")
    return account, name


@pytest.mark.parametrize(
    ("policy", "allowed"),
    [
        ("read-only", {"get in", "get out", "list in", "list all", "buckets"}),
        ("bucket:{bucket}", {"get in", "get out", "put in", "put out", "list in", "list all"}),
        ("bucket:another-one", set()),
        ("prefix:{bucket}/in/", {"get in", "put in", "list in"}),
        ("document", {"put in", "put out"}),
    ],
)
def test_what_a_narrowed_key_may(
    frazil: Frazil, filled: tuple[str, str], connect: Connect, tmp_path: Path, policy: str, allowed: set[str]
) -> None:
    account, bucket = filled
    file = tmp_path / "policy.json"
    statement = {"Effect": "Allow", "Action": "s3:PutObject", "Resource": f"arn:aws:s3:::{bucket}/*"}
    file.write_text(json.dumps({"Version": "2012-10-17", "Statement": [statement]}))
    assert frazil("policy", "put", "document", str(file)).code == 0
    client = connect(new_key(frazil, "narrow", "--account", account, "--policy", policy.format(bucket=bucket)))
    acts = {
        "get in": lambda: code(client.get_object, Bucket=bucket, Key="in/k"),
        "get out": lambda: code(client.get_object, Bucket=bucket, Key="out/k"),
        "put in": lambda: code(client.put_object, Bucket=bucket, Key="in/new", Body=b"y"),
        "put out": lambda: code(client.put_object, Bucket=bucket, Key="out/new", Body=b"y"),
        "list in": lambda: code(client.list_objects_v2, Bucket=bucket, Prefix="in/"),
        "list all": lambda: code(client.list_objects_v2, Bucket=bucket),
        "buckets": lambda: code(client.list_buckets),
        "make": lambda: code(client.create_bucket, Bucket=f"{bucket}2"[-63:]),
    }
    assert {name: act() for name, act in acts.items()} == {name: "" if name in allowed else "AccessDenied" for name in acts}


def test_policies_are_put_attached_and_removed(frazil: Frazil, tmp_path: Path) -> None:
    key = new_key(frazil, "holder")
    file = tmp_path / "policy.json"
    file.write_text('{"Version": "2012-10-17", "Statement": {"Effect": "Allow", "Action": "s3:Get*", "Resource": "*"}}')
    assert frazil("policy", "put", "getter", str(file)).code == 0
    assert frazil("policy", "get", "getter").out == file.read_text() + "\n"
    assert json.loads(frazil("policy", "get", "bucket:one").out)["Version"] == "2012-10-17"
    assert frazil("policy", "get", "none").code == Exit.NOT_FOUND
    assert frazil("policy", "attach", "getter", "read-only", "--key", key["access_key"]).code == 0
    assert frazil("policy", "attach", "getter", "--user", "holder", "--account", "holder").code == 0
    (listed,) = [each for each in frazil("policy", "list", "--json").of("policy") if each["policy"] == "getter"]
    assert listed["attached"] == ["holder/holder", key["access_key"]]
    assert "getter" in frazil("key", "list").out
    assert frazil("policy", "delete", "getter").code == Exit.CONFLICT
    assert frazil("policy", "detach", "getter", "--key", key["access_key"]).code == 0
    assert frazil("policy", "detach", "getter", "--key", key["access_key"]).code == Exit.NOT_FOUND
    assert frazil("policy", "detach", "getter", "--user", "holder", "--account", "holder").code == 0
    assert frazil("policy", "delete", "getter").code == 0
    assert frazil("key", "show", key["access_key"], "--json").records[0]["policies"] == ["read-only"]


def test_policies_that_are_none_are_refused(frazil: Frazil, tmp_path: Path) -> None:
    file = tmp_path / "policy.json"
    file.write_text('{"Statement": {"Effect": "Allow", "Principal": "*", "Action": "s3:*", "Resource": "*"}}')
    run = frazil("policy", "put", "mine", str(file))
    assert run.code == Exit.USAGE
    assert "has no Principal" in run.err
    file.write_bytes(b"\xff")
    assert frazil("policy", "put", "mine", str(file)).code == Exit.USAGE
    assert frazil("policy", "put", "read-only", str(file)).code == Exit.USAGE
    assert frazil("policy", "put", "mine", str(tmp_path / "none")).code == Exit.NOT_FOUND
    key = new_key(frazil, "plain")
    assert frazil("policy", "attach", "bucket:Upper", "--key", key["access_key"]).code != 0
    assert frazil("policy", "attach", "none", "--key", key["access_key"]).code == Exit.NOT_FOUND
    assert frazil("policy", "attach", "read-only", "--key", "NONE").code == Exit.NOT_FOUND
    assert frazil("policy", "attach", "read-only").code == Exit.USAGE
    assert frazil("policy", "attach", "read-only", "--user", "plain").code == Exit.USAGE
    assert frazil("key", "create", "x", "--policy", "none").code == Exit.NOT_FOUND
    assert "x" not in [each["name"] for each in frazil("key", "list", "--json").of("key")]


def test_all_of_it_works_while_the_store_does_not_run(frazil: Frazil, tmp_path: Path) -> None:
    store = str(tmp_path / "quiet")
    key = frazil("key", "create", "ann", "--policy", "read-only", "--store", store, "--json").records[0]
    assert frazil("account", "create", "bob", "--store", store).code == 0
    assert frazil("user", "create", "carl", "--account", "bob", "--store", store).code == 0
    assert frazil("key", "suspend", key["access_key"], "--store", store).code == 0
    (shown,) = frazil("key", "show", key["access_key"], "--store", store, "--json").records
    assert (shown["suspended_by"], shown["policies"]) == ("key", ["read-only"])
    assert frazil("policy", "list", "--store", store).out.split()[0] == "read-only"
