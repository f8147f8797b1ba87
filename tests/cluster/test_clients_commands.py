"""awscli, rclone, s3cmd, restic and s3fs, as Debian ships them: a day's work of a person."""

from __future__ import annotations

import filecmp
import json
import os
import random
import shutil
import subprocess
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from tests.cluster.conftest import StoreMaker
from tests.conftest import SCALE
from tests.support.need import need_fuse, need_programs
from tests.support.store import StoreProcess, environment

pytestmark = pytest.mark.clients

MIB = 1 << 20
TREE_FILES = 2_000 if SCALE > 1 else 500
LARGE_BYTES = int(os.environ.get("FRAZIL_TEST_LARGE_MIB", "2048" if SCALE > 1 else "320")) * MIB
RUN_S = 300
Command = Callable[..., str]


def run(command: list[str], variables: Mapping[str, str], home: Path, *, code: int = 0, text: str | None = None) -> str:
    done = subprocess.run(
        command, env=environment(home, variables), capture_output=True, input=text, text=True, timeout=RUN_S, cwd=home, check=False
    )
    assert done.returncode == code, f"{' '.join(command)}: {done.returncode}\n{done.stdout[-2000:]}\n{done.stderr[-3000:]}"
    return done.stdout


@pytest.fixture
def home(scratch: Path) -> Path:
    path = scratch / "home"
    path.mkdir()
    return path


@pytest.fixture
def tree(scratch: Path, seed: str) -> Path:
    """Small files in folders, names with spaces and signs."""
    rng = random.Random(seed)
    root = scratch / "tree"
    for number in range(300):
        path = root / f"d{number % 11}" / ("deep er" if number % 3 else "ü+%&") / f"file {number}.bin"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(rng.randbytes(rng.randrange(0, 9_000)))
    return root


def same(left: Path, right: Path) -> bool:
    """Whether two trees hold the same files with the same bytes."""
    names = [sorted(str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()) for root in (left, right)]
    return names[0] == names[1] and filecmp.cmpfiles(left, right, names[0], shallow=False)[1:] == ([], [])


def write_large(path: Path, seed: str) -> None:
    """A file that does not compress and repeats nowhere, made quickly."""
    rng = random.Random(seed)
    block = rng.randbytes(4 * MIB)
    with path.open("wb") as file:
        for number in range(LARGE_BYTES // len(block)):
            file.write(number.to_bytes(8, "little"))
            file.write(block[8:])


class TestAwscli:
    """Version 2, as Debian has it. refused: exit code for what the service refuses."""

    refused = 254

    @pytest.fixture
    def aws(self, shared_store: StoreProcess, home: Path) -> Command:
        need_programs("aws")
        program = "/usr/bin/aws" if Path("/usr/bin/aws").exists() else shutil.which("aws") or "aws"
        variables = {
            "AWS_ACCESS_KEY_ID": shared_store.credentials.access_key,
            "AWS_SECRET_ACCESS_KEY": shared_store.credentials.secret_key,
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
        }
        return lambda *words, **more: run([program, "--endpoint-url", shared_store.url, *map(str, words)], variables, home, **more)

    def test_day(self, aws: Command, tree: Path, scratch: Path, seed: str) -> None:
        aws("s3", "mb", "s3://awscli")
        aws("s3", "sync", tree, "s3://awscli/tree", "--no-progress")
        assert aws("s3", "sync", tree, "s3://awscli/tree", "--no-progress") == ""
        assert len(aws("s3", "ls", "--recursive", "s3://awscli/tree/").splitlines()) == 300
        aws("s3", "sync", "s3://awscli/tree", scratch / "back", "--no-progress")
        assert same(tree, scratch / "back")

    def test_large_files_streams_and_api(self, aws: Command, scratch: Path, seed: str) -> None:
        large = scratch / "large"
        large.write_bytes(random.Random(seed).randbytes(40 * MIB + 1))
        aws("s3", "mb", "s3://awscli2")
        aws("s3", "cp", large, "s3://awscli2/large", "--no-progress")
        aws("s3", "cp", "s3://awscli2/large", "s3://awscli2/copied", "--no-progress")
        aws("s3", "mv", "s3://awscli2/copied", scratch / "moved", "--no-progress")
        assert filecmp.cmp(large, scratch / "moved", shallow=False)
        aws("s3", "cp", "-", "s3://awscli2/stream", text="from a pipe")
        assert aws("s3", "cp", "s3://awscli2/stream", "-") == "from a pipe"
        head = json.loads(aws("s3api", "head-object", "--bucket", "awscli2", "--key", "large"))
        assert head["ContentLength"] == 40 * MIB + 1
        aws("s3api", "put-object-tagging", "--bucket", "awscli2", "--key", "large", "--tagging", "TagSet=[{Key=a,Value=b}]")
        assert json.loads(aws("s3api", "get-object-tagging", "--bucket", "awscli2", "--key", "large"))["TagSet"] == [
            {"Key": "a", "Value": "b"}
        ]
        assert "NoSuchKey" not in aws("s3", "ls", "s3://awscli2")
        aws("s3api", "get-object", "--bucket", "awscli2", "--key", "none", scratch / "none", code=self.refused)
        aws("s3", "rb", "s3://awscli2", "--force")
        aws("s3", "ls", "s3://awscli2", code=self.refused)


class TestRclone:
    @pytest.fixture
    def rclone(self, shared_store: StoreProcess, home: Path) -> Command:
        need_programs("rclone")
        variables = {
            "RCLONE_CONFIG_F_TYPE": "s3",
            "RCLONE_CONFIG_F_PROVIDER": "Other",
            "RCLONE_CONFIG_F_ENDPOINT": shared_store.url,
            "RCLONE_CONFIG_F_ACCESS_KEY_ID": shared_store.credentials.access_key,
            "RCLONE_CONFIG_F_SECRET_ACCESS_KEY": shared_store.credentials.secret_key,
            "RCLONE_CONFIG": str(home / "rclone.conf"),
        }
        (home / "rclone.conf").touch()
        return lambda *words, **more: run(["rclone", "--retries", "1", *map(str, words)], variables, home, **more)

    def test_tree_of_many_files(self, rclone: Command, scratch: Path, seed: str) -> None:
        rng = random.Random(seed)
        tree = scratch / "many"
        for number in range(TREE_FILES):
            path = tree / f"{number % 17}" / f"{number % 5} x" / f"f{number}"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(rng.randbytes(rng.randrange(0, 3_000)))
        rclone("mkdir", "f:rclone")
        rclone("copy", "--transfers", "16", tree, "f:rclone/many")
        rclone("check", "--checkers", "16", tree, "f:rclone/many")
        assert json.loads(rclone("size", "--json", "f:rclone/many"))["count"] == TREE_FILES
        (tree / "0" / "0 x" / "f0").write_bytes(b"changed")
        (tree / "1" / "1 x" / "f1").unlink()
        rclone("sync", "--checkers", "16", tree, "f:rclone/many")
        rclone("check", "--checkers", "16", "--download", tree / "0", "f:rclone/many/0")
        rclone("sync", "--transfers", "16", "f:rclone/many", scratch / "back")
        assert same(tree, scratch / "back")
        rclone("purge", "f:rclone/many")
        assert rclone("ls", "f:rclone") == ""

    def test_large_file(self, rclone: Command, scratch: Path, seed: str) -> None:
        folder = scratch / "large"
        folder.mkdir()
        write_large(folder / "file", seed)
        rclone("mkdir", "f:rclone-large")
        rclone("copy", "--s3-chunk-size", "64M", folder, "f:rclone-large/x")
        rclone("check", "--download", folder, "f:rclone-large/x")
        assert json.loads(rclone("size", "--json", "f:rclone-large"))["bytes"] == LARGE_BYTES
        rclone("purge", "f:rclone-large")


class TestS3cmd:
    @pytest.fixture
    def s3cmd(self, shared_store: StoreProcess, home: Path) -> Command:
        need_programs("s3cmd")
        host = f"127.0.0.1:{shared_store.port}"
        (home / ".s3cfg").write_text(
            f"[default]\naccess_key = {shared_store.credentials.access_key}\nsecret_key = {shared_store.credentials.secret_key}\n"
            f"host_base = {host}\nhost_bucket = {host}\nuse_https = False\nbucket_location = us-east-1\n"
        )
        return lambda *words, **more: run(["s3cmd", "--no-progress", *map(str, words)], {}, home, **more)

    def test_day(self, s3cmd: Command, tree: Path, scratch: Path, seed: str) -> None:
        large = scratch / "large"
        large.write_bytes(random.Random(seed).randbytes(31 * MIB + 1))
        s3cmd("mb", "s3://s3cmd")
        s3cmd("put", "--recursive", tree / "d1", "s3://s3cmd/")
        s3cmd("sync", tree / "d1", "s3://s3cmd/")
        (scratch / "back").mkdir()
        s3cmd("get", "--recursive", "s3://s3cmd/d1", f"{scratch / 'back'}/")
        assert same(tree / "d1", scratch / "back" / "d1")
        s3cmd("put", large, "s3://s3cmd/large")
        s3cmd("cp", "s3://s3cmd/large", "s3://s3cmd/copy")
        s3cmd("get", "s3://s3cmd/copy", scratch / "copy")
        assert filecmp.cmp(large, scratch / "copy", shallow=False)
        assert "s3://s3cmd/copy" in s3cmd("ls", "s3://s3cmd")
        assert "large" in s3cmd("info", "s3://s3cmd/large")
        s3cmd("mv", "s3://s3cmd/copy", "s3://s3cmd/moved")
        s3cmd("del", "s3://s3cmd/moved")
        s3cmd("get", "s3://s3cmd/moved", scratch / "none", code=64)
        s3cmd("del", "--recursive", "--force", "s3://s3cmd")
        s3cmd("rb", "s3://s3cmd")

    def test_settings_of_buckets(self, s3cmd: Command, scratch: Path) -> None:
        cors, lifecycle = scratch / "cors.xml", scratch / "lifecycle.xml"
        rule = "<AllowedOrigin>http://x</AllowedOrigin><AllowedMethod>GET</AllowedMethod>"
        cors.write_text(f"<CORSConfiguration><CORSRule>{rule}</CORSRule></CORSConfiguration>")
        rule = "<ID>x</ID><Prefix>a/</Prefix><Status>Enabled</Status><Expiration><Days>3</Days></Expiration>"
        lifecycle.write_text(f"<LifecycleConfiguration><Rule>{rule}</Rule></LifecycleConfiguration>")
        s3cmd("mb", "s3://settings", "s3://settings-logs")
        s3cmd("setcors", cors, "s3://settings")
        s3cmd("setlifecycle", lifecycle, "s3://settings")
        assert "<Days>3</Days>" in s3cmd("getlifecycle", "s3://settings")
        s3cmd("expire", "s3://settings", "--expiry-days=5")
        told = s3cmd("info", "s3://settings")
        assert "'5' day(s) after creation" in told
        assert "<AllowedOrigin>http://x</AllowedOrigin>" in told
        s3cmd("ws-create", "s3://settings", "--ws-index=start.html")
        assert "start.html" in s3cmd("ws-info", "s3://settings")
        target = "s3://settings-logs/p/"
        assert f"Target prefix: {target}" in s3cmd("accesslog", "s3://settings", f"--access-logging-target-prefix={target}")
        assert "Logging Enabled: False" in s3cmd("accesslog", "s3://settings", "--no-access-logging")
        for command in ("delcors", "dellifecycle", "ws-delete", "delnotification", "payer"):
            s3cmd(command, "s3://settings")
        s3cmd("rb", "s3://settings", "s3://settings-logs")


class TestRestic:
    @pytest.fixture
    def restic(self, shared_store: StoreProcess, home: Path) -> Command:
        need_programs("restic")
        variables = {
            "AWS_ACCESS_KEY_ID": shared_store.credentials.access_key,
            "AWS_SECRET_ACCESS_KEY": shared_store.credentials.secret_key,
            "RESTIC_REPOSITORY": f"s3:{shared_store.url}/restic/repository",
            "RESTIC_PASSWORD": "secret",
            "RESTIC_PROGRESS_FPS": "0",
        }
        return lambda *words, **more: run(["restic", "--no-cache", *map(str, words)], variables, home, **more)

    def test_backups_of_two_days(self, restic: Command, tree: Path, scratch: Path, seed: str) -> None:
        large = tree / "large"
        large.write_bytes(random.Random(seed).randbytes(20 * MIB + 1))
        restic("init")
        restic("backup", tree)
        (tree / "new").write_text("of the second day")
        large.unlink()
        restic("backup", tree)
        assert len(json.loads(restic("snapshots", "--json"))) == 2
        restic("check", "--read-data")
        restic("restore", "latest", "--target", scratch / "back")
        assert same(tree, scratch / "back" / tree.relative_to("/"))
        restic("forget", "--keep-last", "1", "--prune")
        restic("check", "--read-data")
        assert len(json.loads(restic("snapshots", "--json"))) == 1
        restic("restore", "latest", "--target", scratch / "again")
        assert same(tree, scratch / "again" / tree.relative_to("/"))
        restic("snapshots", "--password-command", "echo wrong", code=1)


class TestS3fs:
    @pytest.fixture
    def mounted(self, shared_store: StoreProcess, home: Path, scratch: Path) -> Iterator[Path]:
        """A folder that is a bucket."""
        need_programs("s3fs")
        need_fuse()
        with shared_store.client() as client:
            client.make_bucket("s3fs-day")
        secrets = home / "passwd"
        secrets.write_text(f"{shared_store.credentials.access_key}:{shared_store.credentials.secret_key}")
        secrets.chmod(0o600)
        folder = scratch / "mounted"
        folder.mkdir()
        options = f"passwd_file={secrets},url={shared_store.url},use_path_request_style,endpoint=us-east-1,multipart_size=8"
        run(["s3fs", "s3fs-day", str(folder), "-o", options], {}, home)
        try:
            yield folder
        finally:
            run(["fusermount3" if shutil.which("fusermount3") else "fusermount", "-u", str(folder)], {}, home)

    def test_day(self, mounted: Path, shared_store: StoreProcess, tree: Path, seed: str) -> None:
        shutil.copytree(tree / "d1", mounted / "d1")
        assert same(tree / "d1", mounted / "d1")
        data = random.Random(seed).randbytes(21 * MIB + 1)
        (mounted / "large").write_bytes(data)
        assert (mounted / "large").read_bytes() == data
        with shared_store.client() as client:
            assert client.get("s3fs-day", "large").body == data
            assert client.put("s3fs-day", "from-outside", b"seen").status == 200
        assert (mounted / "from-outside").read_bytes() == b"seen"
        with (mounted / "large").open("r+b") as file:
            file.seek(5 * MIB)
            file.write(b"changed")
        assert (mounted / "large").read_bytes() == data[: 5 * MIB] + b"changed" + data[5 * MIB + 7 :]
        (mounted / "large").rename(mounted / "renamed")
        assert (mounted / "renamed").stat().st_size == len(data)
        os.chmod(mounted / "renamed", 0o600)
        (mounted / "renamed").unlink()
        shutil.rmtree(mounted / "d1")
        assert sorted(path.name for path in mounted.iterdir()) == ["from-outside"]


class TestSignatureVersion2:
    """Old clients, where the store is told to take them."""

    def test_s3cmd_and_rclone(self, make_store: StoreMaker, home: Path, tree: Path, scratch: Path) -> None:
        need_programs("s3cmd", "rclone")
        store = make_store(options=["--sigv2"])
        host, credentials = f"127.0.0.1:{store.port}", store.credentials
        (home / ".s3cfg").write_text(
            f"[default]\naccess_key = {credentials.access_key}\nsecret_key = {credentials.secret_key}\nhost_base = {host}\n"
            f"host_bucket = {host}\nuse_https = False\nsignature_v2 = True\n"
        )
        variables = {
            "RCLONE_CONFIG_F_TYPE": "s3",
            "RCLONE_CONFIG_F_PROVIDER": "Other",
            "RCLONE_CONFIG_F_ENDPOINT": store.url,
            "RCLONE_CONFIG_F_ACCESS_KEY_ID": credentials.access_key,
            "RCLONE_CONFIG_F_SECRET_ACCESS_KEY": credentials.secret_key,
            "RCLONE_CONFIG_F_V2_AUTH": "true",
            "RCLONE_CONFIG": str(home / "rclone.conf"),
        }
        (home / "rclone.conf").touch()
        run(["s3cmd", "mb", "s3://old"], {}, home)
        run(["s3cmd", "--no-progress", "put", "--recursive", str(tree / "d1"), "s3://old/"], {}, home)
        run(["rclone", "copy", "f:old/d1", str(scratch / "back")], variables, home)
        assert same(tree / "d1", scratch / "back")
        run(["rclone", "copy", str(tree / "d2"), "f:old/d2"], variables, home)
        run(["s3cmd", "--no-progress", "get", "--recursive", "s3://old/d2", f"{scratch}/"], {}, home)
        assert same(tree / "d2", scratch / "d2")
        run(["s3cmd", "del", "--recursive", "--force", "s3://old"], {}, home)
        run(["s3cmd", "rb", "s3://old"], {}, home)
