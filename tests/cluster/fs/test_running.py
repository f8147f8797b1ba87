"""Running a mount as people do: in the background, from fstab, looked at, checked."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.mount import MountProcess
from tests.support.need import need_fuse
from tests.support.store import COMMAND, StoreProcess, environment

HELPER = Path(__file__).parents[3] / "packaging" / "mount.frazil"
UNMOUNT = Path(__file__).parents[3] / "packaging" / "umount.frazil"
BUCKET = "running"


@pytest.fixture
def directory(shared_store: StoreProcess) -> Iterator[Path]:
    need_fuse()
    with shared_store.client() as client:
        client.make_bucket(BUCKET)
        client.put(BUCKET, "a", b"1")
    path = shared_store.scratch / "running"
    path.mkdir(exist_ok=True)
    yield path
    subprocess.run(["fusermount3", "-uz", str(path)], capture_output=True, check=False)


def run(shared_store: StoreProcess, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    variables = environment(shared_store.scratch, {"FRAZIL_COMMAND": str(COMMAND)})
    return subprocess.run([*map(str, arguments)], env=variables, capture_output=True, text=True, timeout=60, check=False)


def test_a_daemon_returns_when_it_serves_and_says_what_it_does(shared_store: StoreProcess, directory: Path) -> None:
    shared_store.command("mount", "--daemon", BUCKET, str(directory))
    assert (directory / "a").read_bytes() == b"1"
    stats = json.loads(shared_store.command("--json", "mount", "stats", str(directory)).stdout.splitlines()[0])
    assert stats["calls_read"] >= 1
    assert stats["inodes"] <= stats["inodes_max"]
    assert run(shared_store, "fusermount3", "-u", directory).returncode == 0
    deadline = time.monotonic() + 30
    while Path(f"/proc/{stats['pid']}").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not Path(f"/proc/{stats['pid']}").exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may have the kernel read further ahead")
def test_the_kernel_reads_as_far_ahead_as_it_was_told(shared_store: StoreProcess, directory: Path) -> None:
    shared_store.command("mount", "--daemon", "-o", "read_ahead=2048", BUCKET, str(directory))
    device = directory.stat().st_dev
    assert Path(f"/sys/class/bdi/{os.major(device)}:{os.minor(device)}/read_ahead_kb").read_text().strip() == "2048"


def test_a_second_mount_on_a_directory_is_refused_at_once(shared_store: StoreProcess, directory: Path) -> None:
    shared_store.command("mount", "--daemon", BUCKET, str(directory))
    done = shared_store.command("mount", BUCKET, str(directory), check=False)
    assert done.returncode == 2
    assert "already" in done.stderr


def test_statistics_of_a_folder_that_is_no_mount_are_refused_in_these_words(shared_store: StoreProcess, directory: Path) -> None:
    refused = shared_store.command("mount", "stats", str(directory), check=False)
    assert (refused.returncode, f"{directory} is no mount" in refused.stderr, "findmnt" in refused.stderr) == (3, True, True)


def test_a_daemon_that_cannot_serve_says_why(shared_store: StoreProcess, directory: Path) -> None:
    done = shared_store.command("mount", "--daemon", "nowhere", str(directory), check=False)
    assert done.returncode != 0
    assert "no such bucket" in done.stderr
    assert not os.path.ismount(directory)


def test_the_helpers_take_what_mount_and_umount_give_them(shared_store: StoreProcess, directory: Path) -> None:
    source = f"{shared_store.directories[0]}:{BUCKET}"
    done = run(shared_store, HELPER, source, directory, "-s", "-o", "rw,_netdev,nofail,profile=fast,umask=027")
    assert done.returncode == 0, done.stderr
    assert (directory / "a").stat().st_mode & 0o777 == 0o640
    (directory / "new").write_bytes(b"written behind")
    done = run(shared_store, UNMOUNT, directory)
    assert done.returncode == 0, done.stderr
    with shared_store.client() as client:
        assert client.get(BUCKET, "new").body == b"written behind"
    assert run(shared_store, HELPER, source, directory, "-o", "remount,ro").returncode == 1


def test_programs_dont_run_from_a_mount_that_is_to_run_none(shared_store: StoreProcess, directory: Path) -> None:
    shared_store.command("mount", "--daemon", "-o", "noexec,noatime", BUCKET, str(directory))
    (directory / "program").write_bytes(b"#!/bin/sh\n")
    (directory / "program").chmod(0o755)
    with pytest.raises(PermissionError):
        subprocess.run([str(directory / "program")], check=False)


def test_a_check_lists_the_keys_that_are_not_their_own_paths(shared_store: StoreProcess, directory: Path) -> None:
    assert shared_store.command("mount", "--check", BUCKET).returncode == 0
    with shared_store.client() as client:
        for key in ("a/b", "w//x", "dots/.."):
            client.put(BUCKET, key, b"")
    done = shared_store.command("--json", "mount", "--check", BUCKET, check=False)
    assert done.returncode == 11
    found = {record["key"]: record["path"] for line in done.stdout.splitlines() if "key" in (record := json.loads(line))}
    assert found["a"] == "a‛f"
    assert found["w//"] == "w/‛e"
    assert found["dots/.."] == "dots/‛.."


def test_an_option_that_is_none_is_refused_in_words(shared_store: StoreProcess, directory: Path) -> None:
    done = shared_store.command("mount", "-o", "alow_other", str(directory), check=False)
    assert done.returncode == 2
    assert "meant 'allow_other'" in done.stderr


STRANGER = 4_711
"""A user who runs a store, and is not who mounts it."""


def readable_by_all(path: Path) -> bool:
    return all(each.stat().st_mode & 0o005 == 0o005 for each in path.resolve().parents)


@pytest.mark.root
@pytest.mark.skipif(not readable_by_all(Path(os.__file__)), reason="Python lies where only some may read it")
def test_root_mounts_another_users_store_and_makes_nothing_there_that_is_roots(scratch: Path) -> None:
    need_fuse()
    scratch.chmod(0o755)
    home = scratch / "home"
    home.mkdir()
    os.chown(home, STRANGER, STRANGER)
    setpriv = ["setpriv", f"--reuid={STRANGER}", f"--regid={STRANGER}", "--clear-groups"]
    with StoreProcess([home / "store"], home, wrapper=setpriv) as store:
        store.start()
        with store.client() as client, MountProcess(store, scratch / "mnt", options=["allow_other", "uid=5", "gid=6"]) as mount:
            (mount.directory / "made").mkdir()
            (mount.directory / "made" / "small").write_bytes(b"1")
            (mount.directory / "made" / "large").write_bytes(bytes(range(256)) * 20_000)
            assert client.get("made", "small").body == b"1"
            assert client.get("made", "large").body == bytes(range(256)) * 20_000
            client.put("made", "s3", b"2")
            assert (mount.directory / "made" / "s3").stat().st_uid == 5
            assert mount.stop() == 0
            assert not os.path.ismount(mount.directory)
        strangers = [path for path in home.rglob("*") if path.lstat().st_uid != STRANGER and "log" not in path.suffix + path.name]
        assert strangers == []
