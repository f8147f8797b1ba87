"""frazil bucket quota: shown, set, lowered and removed; a running store heeds it at once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from cli.exit import Exit
from meta.protocol.bucket import QUOTA_BYTES_MAX
from tests.component.cli.conftest import Frazil

KIB = 1 << 10


def told(frazil: Frazil, *arguments: str) -> dict[str, Any]:
    run = frazil("bucket", "quota", *arguments, "--json")
    assert run.code == 0, run.err
    (record,) = run.of("quota")
    return {name: record[name] for name in ("quota", "used", "left")}


def test_a_quota_holds_from_the_moment_it_is_set_until_it_is_removed(frazil: Frazil, bucket: str) -> None:
    Path("in").write_bytes(b"x" * 6 * KIB)
    assert frazil("put", "in", f"{bucket}/one").code == 0
    assert told(frazil, bucket) == {"quota": None, "used": 6 * KIB, "left": None}
    assert frazil("bucket", "quota", bucket).out == f"s3://{bucket}: no quota, 6.0 KiB used\n"
    assert told(frazil, f"s3://{bucket}", "10KiB") == {"quota": 10 * KIB, "used": 6 * KIB, "left": 4 * KIB}
    refused = frazil("put", "in", f"{bucket}/two")
    assert (refused.code, f"the bucket's quota is {10 * KIB} bytes" in refused.err) == (Exit.CONFLICT, True)
    assert frazil("bucket", "quota", bucket).out == f"s3://{bucket}: quota 10.0 KiB, 6.0 KiB used, 4.0 KiB left\n"
    assert told(frazil, bucket, "None") == {"quota": None, "used": 6 * KIB, "left": None}
    assert frazil("put", "in", f"{bucket}/two").code == 0


def test_a_quota_below_what_is_used_is_taken_and_said(frazil: Frazil, bucket: str) -> None:
    Path("in").write_bytes(b"x" * 6 * KIB)
    assert frazil("put", "in", f"{bucket}/one").code == 0
    lowered = frazil("bucket", "quota", bucket, "5k")
    words = "quota 5.0 KiB, 6.0 KiB used, 1.0 KiB beyond it: nothing more fits until enough is deleted"
    assert (lowered.code, lowered.out) == (0, f"s3://{bucket}: {words}\n")
    assert told(frazil, bucket) == {"quota": 5 * KIB, "used": 6 * KIB, "left": 0}
    assert "120% of its quota of 5.0 KiB" in frazil("status").out
    (shown,) = [each for each in frazil("status", "--json").of("bucket") if each["bucket"] == bucket]
    assert shown["quota"] == 5 * KIB
    Path("small").write_bytes(b"x")
    assert frazil("put", "small", f"{bucket}/two").code == Exit.CONFLICT
    assert frazil("rm", f"{bucket}/one").code == 0
    assert frazil("put", "small", f"{bucket}/two").code == 0


@pytest.mark.parametrize("size", ["0", "-1", "1.5GiB", "10GiBB", "all", f"{QUOTA_BYTES_MAX + 1}", "9999999TiB"])
def test_what_is_no_quota_is_refused(frazil: Frazil, size: str) -> None:
    assert frazil("bucket", "quota", "anything", size).code == Exit.USAGE


def test_a_bucket_of_this_host_is_wanted(frazil: Frazil, bucket: str, tmp_path: Path) -> None:
    for arguments in (("nowhere-here",), ("nowhere-here", "1GiB")):
        run = frazil("bucket", "quota", *arguments)
        assert (run.code, "nowhere-here" in run.err) == (Exit.NOT_FOUND, True)
    assert frazil("bucket", "quota", f"{bucket}/key", "1GiB").code == Exit.USAGE
    assert frazil("bucket", "quota", bucket, "1GiB", "--store", str(tmp_path / "none")).code == Exit.NOT_FOUND
    assert not (tmp_path / "none").exists()
    config = tmp_path / "XDG_CONFIG_HOME" / "frazil" / "config.toml"
    config.parent.mkdir(parents=True)
    config.write_text('[profile.far]\nendpoint = "http://127.0.0.1:1"\naccess_key = "a"\nsecret_file = "s"\n')
    assert frazil("bucket", "quota", f"far:{bucket}", "1GiB").code == Exit.USAGE
    assert told(frazil, bucket)["quota"] is None
