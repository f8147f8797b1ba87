"""frazil encryption: keys, rotation, and bringing objects to a new version."""

from __future__ import annotations

from pathlib import Path

from tests.component.cli.conftest import Frazil


def keys(frazil: Frazil) -> dict[str, tuple[str, int]]:
    run = frazil("encryption", "status", "--json")
    assert run.code == 0
    return {record["alias"] or record["id"]: (record["state"], record["version"]) for record in run.of("encryption_key")}


def test_keys_are_made_switched_and_rotated(frazil: Frazil) -> None:
    assert keys(frazil)["sse-s3"][0] == keys(frazil)["aws/s3"][0] == "enabled"
    made = frazil("encryption", "key", "create", "tax", "--description", "of the tax office")
    assert made.code == 0
    assert "tax" in made.out
    assert frazil("encryption", "key", "create", "tax").code == 8
    assert len(frazil("encryption", "key", "create", "--json").of("encryption_key")[0]["id"]) == 36
    assert frazil("encryption", "rotate", "tax", "aws/s3").code == 0
    assert keys(frazil)["tax"] == ("enabled", 2)
    assert frazil("encryption", "key", "disable", "tax").code == 0
    assert keys(frazil)["tax"] == ("disabled", 2)
    assert frazil("encryption", "key", "enable", "tax").code == 0
    assert {record["id"] for record in frazil("encryption", "key", "list", "--json").of("encryption_key")} >= {"tax"}
    assert "sse-s3" not in frazil("encryption", "key", "list").out


def test_what_is_not_there_or_always_there_is_refused(frazil: Frazil) -> None:
    assert frazil("encryption", "rotate", "nobody").code == 3
    assert frazil("encryption", "key", "disable", "nobody").code == 3
    for name in ("aws/s3", "sse-s3"):
        assert frazil("encryption", "key", "disable", name).code == 1
        assert keys(frazil)[name][0] == "enabled"
    assert frazil("encryption", "key", "create", "with space").code == 1


def test_objects_are_brought_to_the_newest_version(frazil: Frazil, bucket: str, tmp_path: Path) -> None:
    assert frazil("encryption", "key", "create", "yearly").code == 0
    source = tmp_path / "data"
    source.write_bytes(b"ice " * 100_000)
    assert frazil("put", str(source), f"s3://{bucket}/managed", "--sse", "aes256").code == 0
    assert frazil("put", str(source), f"s3://{bucket}/named", "--sse", "kms:yearly").code == 0
    assert frazil("put", str(source), f"s3://{bucket}/plain").code == 0
    assert frazil("encryption", "rewrap", bucket, "--json").summary["done"] == 0
    assert frazil("encryption", "rotate").code == 0
    assert frazil("encryption", "rotate", "yearly").code == 0
    assert frazil("encryption", "rewrap", bucket, "--dry-run", "--json").summary["done"] == 2
    assert frazil("encryption", "key", "disable", "yearly").code == 0
    assert frazil("encryption", "rewrap", bucket, "--json").summary["done"] == 1
    assert frazil("encryption", "key", "enable", "yearly").code == 0
    assert frazil("encryption", "rewrap", f"s3://{bucket}/na", "--json").summary["done"] == 1
    assert frazil("encryption", "rewrap", bucket, "--json").summary["done"] == 0
    for name in ("managed", "named", "plain"):
        assert frazil("cat", f"s3://{bucket}/{name}").out.encode() == source.read_bytes()
    assert frazil("verify", bucket).code == 0


def test_copies_can_be_encrypted(frazil: Frazil, bucket: str, tmp_path: Path) -> None:
    source = tmp_path / "data"
    source.write_bytes(b"ice")
    assert frazil("put", str(source), f"s3://{bucket}/plain", "--metadata", "a=b").code == 0
    assert frazil("cp", f"s3://{bucket}/plain", f"s3://{bucket}/sealed", "--sse", "kms").code == 0
    (record,) = frazil("stat", f"s3://{bucket}/sealed", "--json").of("object")
    assert (record["encryption"], record["metadata"]) == ("aws:kms", {"a": "b"})
    assert record["encryption_key"].startswith("arn:aws:kms:")
    for wrong in ("aes", "aes256:key", "sse-c"):
        assert frazil("cp", f"s3://{bucket}/plain", f"s3://{bucket}/other", "--sse", wrong).code == 2
