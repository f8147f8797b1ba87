"""frazil encryption: keys, rotation, and bringing objects to a new version."""

from __future__ import annotations

import base64
import os
from pathlib import Path

import pytest

from cli.main import main
from tests.component.cli.conftest import Frazil
from tests.support.store import StoreProcess


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


def test_ones_own_key_is_needed_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    for number, text in enumerate((b"k" * 32, b"6b" * 31 + b"6c\n", base64.b64encode(b"z" * 32) + b"\n")):
        (tmp_path / f"key{number}").touch(mode=0o600)
        (tmp_path / f"key{number}").write_bytes(text)
    key, other = str(tmp_path / "key0"), str(tmp_path / "key1")
    source, back = tmp_path / "data", tmp_path / "back"
    source.write_bytes(os.urandom(40 << 20))  # more than one PUT
    for name in ("XDG_CONFIG_HOME", "XDG_STATE_HOME"):
        monkeypatch.setenv(name, str(tmp_path / name))
    monkeypatch.setenv("FRAZIL_STORE", str(tmp_path / "store"))
    with StoreProcess([tmp_path / "store"], tmp_path, options=["--allow-ssec-http"]) as store:
        store.start()
        assert main(["mb", "bucket"]) == 0
        assert main(["put", str(source), "s3://bucket/k", "--sse-c-key-file", key]) == 0
        assert main(["get", "s3://bucket/k", str(back), "--sse-c-key-file", key]) == 0
        assert back.read_bytes() == source.read_bytes()
        assert main(["get", "s3://bucket/k", str(back)]) != 0
        assert main(["get", "s3://bucket/k", str(back), "--sse-c-key-file", other]) == 4
        copy = ["cp", "s3://bucket/k", "s3://bucket/copy", "--sse-c-key-file", other]
        assert main(copy) != 0
        assert main([*copy, "--source-sse-c-key-file", key]) == 0
        capfdbinary.readouterr()
        assert main(["cat", "s3://bucket/copy", "--sse-c-key-file", other]) == 0
        assert capfdbinary.readouterr().out == source.read_bytes()
        assert main(["stat", "s3://bucket/copy", "--sse-c-key-file", other, "--json"]) == 0
        assert b'"encryption": "SSE-C"' in capfdbinary.readouterr().out.replace(b'":"', b'": "')
        (tmp_path / "key2").chmod(0o644)
        assert main(["cat", "s3://bucket/copy", "--sse-c-key-file", str(tmp_path / "key2")]) != 0
        assert b"others may read it" in capfdbinary.readouterr().err
        (tmp_path / "key2").chmod(0o600)
        (tmp_path / "key2").write_bytes(b"short")
        assert main(["cat", "s3://bucket/copy", "--sse-c-key-file", str(tmp_path / "key2")]) != 0
        assert b"holds no key" in capfdbinary.readouterr().err
