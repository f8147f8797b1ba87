"""restore, thaw, lifecycle and what ls and stat say of cold objects, against a store with short days and no boards."""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config

from cli.exit import Exit
from tests.component.cli.conftest import Frazil
from tests.support.store import StoreProcess

pytestmark = pytest.mark.slow
DAY_S = 3600.0
"""Longer than the tests; so nothing but what they ask for happens."""
LARGE = 200_000


@pytest.fixture(scope="module")
def store() -> Iterator[StoreProcess]:
    scratch = Path(tempfile.mkdtemp(prefix="frazil-cold-"))
    try:
        with StoreProcess([scratch / "store"], scratch, options=["--lifecycle-day", str(DAY_S)]) as process:
            process.start()
            yield process
            process.assert_log_clean()
            process.stop()
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


@pytest.fixture(scope="module")
def s3(store: StoreProcess) -> Any:
    return boto3.client(
        "s3",
        endpoint_url=store.url,
        region_name="us-east-1",
        aws_access_key_id=store.credentials.access_key,
        aws_secret_access_key=store.credentials.secret_key,
        config=Config(s3={"addressing_style": "path"}),
    )


@pytest.fixture
def bucket(frazil: Frazil, request: pytest.FixtureRequest) -> str:
    name = f"cold-{abs(hash(request.node.name)) % 10**9}"
    assert frazil("mb", name).code == 0
    return name


def put(frazil: Frazil, place: str, size: int = LARGE, storage_class: str = "GLACIER") -> None:
    Path("in").write_bytes(b"x" * size)
    options = ["--storage-class", storage_class] if storage_class else []
    assert frazil("put", "in", place, *options).code == 0


def test_a_cold_object_is_restored_and_read(frazil: Frazil, bucket: str) -> None:
    put(frazil, f"{bucket}/k")
    refused = frazil("get", f"{bucket}/k", "out")
    assert refused.code == Exit.NEEDS_RESTORE
    assert "frazil restore --wait" in refused.err
    done = frazil("restore", f"s3://{bucket}/k", "--days", "3", "--tier", "expedited", "--wait", "--json")
    (restored,) = done.of("restore")
    assert (done.code, restored["ongoing"]) == (0, False)
    assert frazil("get", f"{bucket}/k", "out").code == 0
    assert Path("out").stat().st_size == LARGE
    (shown,) = frazil("stat", f"{bucket}/k", "--json").of("object")
    assert (shown["storage_class"], shown["restore"]["until"]) == ("GLACIER", restored["until"])
    assert "restored until" in frazil("ls", "-l", bucket).out
    assert "GLACIER" not in frazil("ls", bucket).out
    again = frazil("restore", f"s3://{bucket}/k", "--days", "30", "--json")
    assert again.of("restore")[0]["until"] > restored["until"]


def test_what_needs_no_restore_is_told(frazil: Frazil, bucket: str) -> None:
    put(frazil, f"{bucket}/warm", storage_class="")
    refused = frazil("restore", f"{bucket}/warm")
    assert (refused.code, "is not cold" in refused.err) == (Exit.CONFLICT, True)
    assert frazil("restore", f"{bucket}/none").code == Exit.NOT_FOUND
    assert frazil("restore", bucket).code == Exit.USAGE


def test_all_below_a_prefix_is_thawed(frazil: Frazil, bucket: str) -> None:
    for number in range(5):
        put(frazil, f"{bucket}/a/{number}", storage_class="DEEP_ARCHIVE" if number % 2 else "GLACIER")
    put(frazil, f"{bucket}/a/warm", storage_class="STANDARD_IA")
    put(frazil, f"{bucket}/b")
    trial = frazil("thaw", f"{bucket}/a/", "--dry-run", "--json")
    assert (trial.code, trial.summary["done"]) == (0, 5)
    assert "restored" not in frazil("ls", "-lr", bucket).out
    done = frazil("thaw", f"{bucket}/a/", "--exclude", "4", "--json")
    assert (done.code, done.summary["done"], done.summary["failed"]) == (0, 4, 0)
    assert sorted(each["key"] for each in done.of("thawed")) == [f"a/{number}" for number in range(4)]
    restored = {each["key"]: "restore" in each for each in frazil("ls", "-lr", bucket, "--json").of("object")}
    assert restored == {**{f"a/{number}": number < 4 for number in range(5)}, "a/warm": False, "b": False}
    again = frazil("thaw", f"{bucket}/a/", "--days", "2", "--json")
    assert (again.code, again.summary["done"]) == (0, 5)
    assert frazil("cat", f"{bucket}/a/4").code == 0


RULES = [
    {"ID": "old logs", "Status": "Enabled", "Filter": {"Prefix": "logs/"}, "Transitions": [{"Days": 0, "StorageClass": "GLACIER"}]},
    {
        "ID": "versions",
        "Status": "Disabled",
        "Filter": {"And": {"Prefix": "v/", "Tags": [{"Key": "k", "Value": "v"}], "ObjectSizeGreaterThan": 2048}},
        "NoncurrentVersionExpiration": {"NoncurrentDays": 3, "NewerNoncurrentVersions": 2},
    },
    {"ID": "uploads", "Status": "Enabled", "Filter": {}, "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": 1}},
]


def test_rules_are_shown_in_words(frazil: Frazil, bucket: str, s3: Any) -> None:
    none = frazil("lifecycle", "show", bucket)
    assert (none.code, "has no lifecycle rules" in none.err) == (Exit.NOT_FOUND, True)
    s3.put_bucket_lifecycle_configuration(Bucket=bucket, LifecycleConfiguration={"Rules": RULES})
    assert frazil("lifecycle", "show", bucket).out.splitlines() == [
        "old logs: keys that begin with logs/",
        "  to GLACIER 0 days after they came",
        "versions (disabled): keys that begin with v/, tag k=v, more than 2.0 KiB",
        "  old versions are deleted 3 days after they were replaced, beyond the 2 newest of them",
        "uploads: all objects",
        "  uploads that are not completed are given up after 1 day",
    ]
    rules = frazil("lifecycle", "show", bucket, "--json").of("rule")
    assert [(each["id"], each["enabled"]) for each in rules] == [("old logs", True), ("versions", False), ("uploads", True)]


def test_a_dry_run_names_what_a_run_then_does(frazil: Frazil, bucket: str, s3: Any) -> None:
    for key in ("logs/1", "logs/2", "other"):
        put(frazil, f"{bucket}/{key}", storage_class="")
    s3.put_bucket_lifecycle_configuration(Bucket=bucket, LifecycleConfiguration={"Rules": RULES})
    for _ in range(2):
        trial = frazil("lifecycle", "run", bucket, "--dry-run")
        assert trial.out.splitlines() == [
            f"(dry-run) move s3://{bucket}/logs/1 to GLACIER by rule old logs",
            f"(dry-run) move s3://{bucket}/logs/2 to GLACIER by rule old logs",
            "(dry-run) 2 to move",
        ]
    done = frazil("lifecycle", "run", bucket)
    assert (done.code, "3 versions; 2 moved" in done.out) == (0, True)
    classes = {each["key"]: each["storage_class"] for each in frazil("ls", "-r", bucket, "--json").of("object")}
    assert classes == {"logs/1": "GLACIER", "logs/2": "GLACIER", "other": "STANDARD"}
    assert "nothing is due" in frazil("lifecycle", "run", bucket, "--dry-run").out
    assert frazil("lifecycle", "run", "no-such-bucket", "--dry-run").code == Exit.NOT_FOUND


def test_status_tells_of_passes_and_runs(frazil: Frazil, bucket: str) -> None:
    assert frazil("lifecycle", "run", bucket, "--json").code == 0
    deadline = time.monotonic() + 10
    while not any(each["progress"].get("passes") for each in frazil("lifecycle", "status", "--json").of("lifecycle")):
        assert time.monotonic() < deadline
    told = frazil("lifecycle", "status").out
    assert "the next at" in told
    assert f"of {bucket}: done" in told
