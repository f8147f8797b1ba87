"""The commands against a running store."""

from __future__ import annotations

import os
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from cli.exit import Exit
from cli.upload import SINGLE_BYTES_MAX
from tests.component.cli.conftest import Frazil
from tests.support.store import COMMAND, StoreProcess, chunk_paths

pytestmark = pytest.mark.slow
LARGE_BYTES = SINGLE_BYTES_MAX + 5_000_001
"""Three parts, the last one short."""


def write(name: str, content: bytes | str) -> Path:
    path = Path(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def tree(folder: str) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(Path(folder).rglob("*")) if path.is_file()}


@pytest.mark.parametrize("size", [0, 1, 131_073, LARGE_BYTES])
def test_a_file_goes_in_and_comes_out(frazil: Frazil, bucket: str, size: int) -> None:
    content = os.urandom(size)
    write("in", content)
    assert frazil("put", "in", f"{bucket}/k").code == 0
    assert frazil("get", f"{bucket}/k", "out").code == 0
    assert Path("out").read_bytes() == content
    assert sorted(os.listdir()) == ["in", "out"]
    cat = frazil("cat", f"{bucket}/k")
    assert cat.out.encode("utf-8", "surrogateescape") == content
    (found,) = frazil("stat", f"{bucket}/k", "--json").of("object")
    assert found["size"] == size
    assert found["checksums"]["crc64nvme"]


@pytest.mark.parametrize(
    "key", ["a b+c", "ä/ö/日本", "a//b", "a/../b", "./x", "q?x=1&y#z", "100%25", "tab\there", "~-._", "plus+%2B", "<&>\"'"]
)
def test_any_key(frazil: Frazil, bucket: str, key: str) -> None:
    write("in", "x")
    assert frazil("cp", "in", f"s3://{bucket}/{key}").code == 0
    assert frazil("cat", f"s3://{bucket}/{key}").out == "x"
    assert [entry["key"] for entry in frazil("ls", "-r", bucket, "--json").of("object")] == [key]
    assert frazil("cp", f"s3://{bucket}/{key}", f"s3://{bucket}/copy").code == 0
    assert frazil("rm", f"s3://{bucket}/{key}").code == 0
    assert frazil("cat", f"s3://{bucket}/copy").out == "x"


def test_a_stream_of_unknown_length(store: StoreProcess, frazil: Frazil, bucket: str) -> None:
    content = os.urandom(LARGE_BYTES)
    command = [str(COMMAND), "cp", "-", f"s3://{bucket}/k", "--store", str(store.directories[0])]
    assert subprocess.run(command, input=content, capture_output=True, check=True, timeout=60)
    assert frazil("get", f"{bucket}/k", "out").code == 0
    assert Path("out").read_bytes() == content


def test_a_reader_that_leaves_is_no_error(store: StoreProcess, frazil: Frazil, bucket: str) -> None:
    write("in", os.urandom(3_000_000))
    frazil("put", "in", f"{bucket}/k")
    command = f"{COMMAND} cat s3://{bucket}/k --store {store.directories[0]}; echo $? >&2"
    with subprocess.Popen(["sh", "-c", command], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.read(10)
        process.stdout.close()
        assert process.stderr.read() == b"141\n"


def test_a_folder_goes_in_and_comes_out(frazil: Frazil, bucket: str) -> None:
    for number in range(30):
        write(f"tree/{number % 3}/{number}.txt", f"content {number}")
    write("tree/skip.tmp", "x")
    run = frazil("cp", "-r", "tree", f"s3://{bucket}/p", "--exclude", "*.tmp", "--json")
    assert run.summary["done"] == 30
    assert frazil("cp", "-r", f"s3://{bucket}/p", "down").code == 0
    os.unlink("tree/skip.tmp")
    assert tree("down") == tree("tree")
    listed = frazil("ls", bucket, "--json")
    assert [entry["prefix"] for entry in listed.of("prefix")] == ["p/"]
    assert frazil("du", bucket, "--json", "-d", "3").of("usage")[-1]["objects"] == 30
    shown = frazil("tree", f"{bucket}/p/").out
    assert "29.txt" in shown
    assert "3 folders, 30 objects" in shown


def test_several_sources_keep_their_names(frazil: Frazil, bucket: str) -> None:
    write("one", "1")
    write("two", "2")
    write("folder/three", "3")
    assert frazil("cp", "-r", "one", "two", "folder", f"s3://{bucket}/to").code == 0
    assert [entry["key"] for entry in frazil("ls", "-r", bucket, "--json").of("object")] == ["to/folder/three", "to/one", "to/two"]


def test_a_move_removes_its_source(frazil: Frazil, bucket: str) -> None:
    write("file", "x")
    assert frazil("mv", "file", f"s3://{bucket}/a").code == 0
    assert not Path("file").exists()
    assert frazil("mv", f"s3://{bucket}/a", f"s3://{bucket}/b").code == 0
    assert frazil("cat", f"{bucket}/a").code == Exit.NOT_FOUND
    assert frazil("mv", f"s3://{bucket}/b", "back").code == 0
    assert Path("back").read_text() == "x"
    assert frazil("ls", bucket).out == ""


def test_a_copy_keeps_type_and_metadata_unless_told_otherwise(frazil: Frazil, bucket: str) -> None:
    write("page.html", "x")
    frazil("cp", "page.html", f"s3://{bucket}/a", "--metadata", "Colour=blue", "--cache-control", "no-store")
    frazil("cp", f"s3://{bucket}/a", f"s3://{bucket}/b")
    frazil("cp", f"s3://{bucket}/a", f"s3://{bucket}/c", "--content-type", "text/plain")
    (b,), (c,) = (frazil("stat", f"{bucket}/{key}", "--json").of("object") for key in "bc")
    assert (b["content_type"], b["metadata"], b["cache_control"]) == ("text/html", {"colour": "blue"}, "no-store")
    assert (c["content_type"], c["metadata"], c["cache_control"]) == ("text/plain", {"colour": "blue"}, "no-store")


def test_sync_copies_what_differs_and_says_when_nothing_does(frazil: Frazil, bucket: str) -> None:
    for name in ("a", "b/c", "b-d", "e"):
        write(f"tree/{name}", name)
    assert frazil("sync", "tree", f"s3://{bucket}/t", "--json").summary["done"] == 4
    again = frazil("sync", "tree", f"s3://{bucket}/t")
    assert again.err == "0 files, 4 unchanged\n"
    write("tree/a", "other size")
    os.unlink("tree/e")
    dry = frazil("sync", "tree", f"s3://{bucket}/t", "--delete", "-n")
    assert dry.out.splitlines() == [f"(dry-run) upload tree/a -> s3://{bucket}/t/a", f"(dry-run) delete s3://{bucket}/t/e"]
    assert len(frazil("ls", "-r", bucket, "--json").of("object")) == 4
    assert frazil("sync", "tree", f"s3://{bucket}/t", "--delete").code == 0
    assert frazil("sync", f"s3://{bucket}/t", "down").code == 0
    assert tree("down") == tree("tree")
    assert frazil("sync", f"s3://{bucket}/t", "down", "--json").summary["skipped"] == 3
    write("down/extra/file", "x")
    assert frazil("sync", f"s3://{bucket}/t", "down", "--delete").code == 0
    assert tree("down") == tree("tree")
    assert not Path("down/extra").exists()


def test_sync_deletes_nothing_when_the_source_was_not_read_whole(frazil: Frazil, bucket: str) -> None:
    Path("source").mkdir()
    Path("source/gone").write_text("x")
    assert frazil("sync", "source", f"s3://{bucket}", "-q").code == 0
    Path("source/gone").unlink()
    Path("source/loop").symlink_to("loop")
    assert frazil("sync", "source", f"s3://{bucket}", "--delete").code == 1
    assert frazil("stat", f"s3://{bucket}/gone").code == 0


def test_an_empty_object_is_written_out(frazil: Frazil, bucket: str) -> None:
    Path("empty").touch()
    assert frazil("put", "empty", f"s3://{bucket}/empty", "-q").code == 0
    shown = frazil("cat", f"s3://{bucket}/empty")
    assert (shown.code, shown.out) == (0, "")


def test_a_pipe_a_device_and_a_link_stay_what_they_are(frazil: Frazil, bucket: str) -> None:
    Path("file").write_text("x")
    assert frazil("put", "file", f"s3://{bucket}/file", "-q").code == 0
    os.mkfifo("pipe")
    reader = os.open("pipe", os.O_RDONLY | os.O_NONBLOCK)
    assert frazil("get", f"s3://{bucket}/file", "pipe", "-q").code == 0
    assert os.read(reader, 10) == b"x"
    os.close(reader)
    Path("link").symlink_to("real")
    assert frazil("get", f"s3://{bucket}/file", "link", "-q").code == 0
    assert Path("pipe").is_fifo()
    assert Path("link").is_symlink()
    assert Path("real").read_text() == "x"


def test_a_name_that_is_no_text_fails_alone(frazil: Frazil, bucket: str) -> None:
    Path("source").mkdir()
    Path("source/good").write_text("x")
    Path(os.fsdecode(b"source/bad\xff")).write_text("x")
    for command in (("cp", "-r"), ("sync",)):
        found = frazil(*command, "source", f"s3://{bucket}/{command[0]}", "--json")
        assert (found.code, found.summary["done"], len(found.of("error"))) == (6, 1, 1)
    assert len(frazil("ls", "-r", f"s3://{bucket}", "--json").of("object")) == 2


def test_keys_that_xml_can_not_carry_are_deleted_too(frazil: Frazil, bucket: str) -> None:
    Path("file").write_text("x")
    for key in ("d/a\rb", "d/a\x01b", "d/plain", "a\nb"):
        assert frazil("put", "file", f"s3://{bucket}/{key}", "-q").code == 0
    assert frazil("rm", "-r", "--yes", f"s3://{bucket}/d/").code == 0
    assert [each["key"] for each in frazil("ls", "-r", f"s3://{bucket}", "--json").of("object")] == ["a\nb"]


def test_the_longest_name_of_a_file_is_downloaded(frazil: Frazil, bucket: str) -> None:
    name = "\u6f22" * 85
    Path("file").write_text("x")
    assert frazil("put", "file", f"s3://{bucket}/{name}", "-q").code == 0
    assert frazil("cp", "-r", f"s3://{bucket}", "out", "-q").code == 0
    assert Path("out", name).read_text() == "x"


def test_sync_deletes_nothing_beyond_the_limit(frazil: Frazil, bucket: str) -> None:
    for name in "abc":
        write(f"tree/{name}", name)
    frazil("sync", "tree", f"s3://{bucket}")
    os.unlink("tree/a")
    os.unlink("tree/b")
    run = frazil("sync", "tree", f"s3://{bucket}", "--delete", "--max-delete", "1")
    assert run.code == Exit.CONFLICT
    assert "2 files would be deleted" in run.err
    assert len(frazil("ls", bucket, "--json").of("object")) == 3


def test_sync_by_checksum_sees_what_times_hide(frazil: Frazil, bucket: str) -> None:
    write("tree/a", "aaaa")
    write("tree/large", os.urandom(LARGE_BYTES))
    frazil("sync", "tree", f"s3://{bucket}")
    write("tree/a", "bbbb")
    os.utime("tree/a", (0, 0))
    os.utime("tree/large", (0, 0))
    assert frazil("sync", "tree", f"s3://{bucket}", "--json").summary["done"] == 0
    run = frazil("sync", "tree", f"s3://{bucket}", "--checksum", "--json")
    assert (run.summary["done"], run.summary["skipped"]) == (1, 1)
    assert frazil("cat", f"{bucket}/a").out == "bbbb"


def test_an_interrupted_upload_goes_on(frazil: Frazil, bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from cli.client import S3Client
    from node.errors import PeerUnreachable

    content = os.urandom(LARGE_BYTES)
    write("large", content)
    real = S3Client.put_part
    sent: list[int] = []

    async def failing(self: S3Client, bucket: str, key: str, upload: str, number: int, body: object) -> object:
        if number == 3 and not sent.count(3):
            sent.append(number)
            raise PeerUnreachable("the line is cut")
        sent.append(number)
        return await real(self, bucket, key, upload, number, body)  # type: ignore[arg-type]

    monkeypatch.setattr(S3Client, "put_part", failing)
    assert frazil("cp", "large", f"s3://{bucket}/k", "-j", "1").code == Exit.TEMPORARY
    assert sent == [1, 2, 3]
    sent.clear()
    sent.append(3)
    assert frazil("cp", "large", f"s3://{bucket}/k", "-j", "1").code == 0
    assert sent == [3, 3], "parts that were there went again"
    assert frazil("get", f"{bucket}/k", "out").code == 0
    assert Path("out").read_bytes() == content


def test_a_dry_run_changes_nothing(frazil: Frazil, bucket: str) -> None:
    write("file", "x")
    for arguments in (
        ("cp", "file", f"s3://{bucket}/k"),
        ("mv", "file", f"s3://{bucket}/k"),
        ("rm", "-r", bucket),
        ("rb", bucket, "--force"),
    ):
        run = frazil(*arguments, "-n")
        assert run.code == 0, run
        assert all(line.startswith("(dry-run) ") for line in (run.out + run.err).splitlines()), run
    assert frazil("ls", bucket).out == ""
    assert Path("file").exists()


def test_exit_codes(frazil: Frazil, bucket: str) -> None:
    write("file", "x")
    assert frazil("cat", f"{bucket}/none").code == Exit.NOT_FOUND
    assert frazil("ls", "no-such-bucket").code == Exit.NOT_FOUND
    assert frazil("ls", f"{bucket}/none").code == Exit.NOT_FOUND
    assert frazil("cp", "none", f"s3://{bucket}/k").code == Exit.NOT_FOUND
    assert frazil("cp", "file", "s3://no-such-bucket/k").code == Exit.NOT_FOUND
    partial = frazil("cp", "file", "none", f"s3://{bucket}/", "--json")
    assert partial.code == Exit.PARTIAL
    assert (partial.summary["done"], partial.summary["failed"], partial.summary["exit"]) == (1, 1, 6)
    assert partial.of("error")[0]["where"] == "none"
    assert frazil("rb", bucket).code == Exit.CONFLICT
    assert frazil("rm", f"{bucket}/none").code == Exit.NOT_FOUND
    assert frazil("rm", f"{bucket}/none", "-f").code == 0
    assert frazil("rm", "-r", bucket).code == Exit.USAGE, "without a terminal it needs --yes"
    assert frazil("cp", "-r", f"s3://{bucket}/none", "x").code == Exit.NOT_FOUND


def test_a_download_never_leaves_its_folder(frazil: Frazil, bucket: str) -> None:
    write("file", "x")
    frazil("cp", "file", f"s3://{bucket}/p/../../escaped")
    frazil("cp", "file", f"s3://{bucket}/p/link/inside")
    os.makedirs("down")
    os.symlink("..", "down/link")
    run = frazil("cp", "-r", f"s3://{bucket}/p", "down")
    assert run.code == Exit.FAILED or run.code == Exit.CONFLICT
    assert sorted(os.listdir("..")) == sorted({"work", *os.listdir("..")} - {"escaped"})
    assert not Path("inside").exists()


def test_a_presigned_url_needs_no_key(frazil: Frazil, bucket: str) -> None:
    write("file", "hello")
    frazil("put", "file", f"{bucket}/a b")
    url = frazil("presign", f"{bucket}/a b", "--expires", "5m").out.strip()
    with urllib.request.urlopen(url, timeout=10) as answer:
        assert answer.read() == b"hello"


def test_removing_a_prefix_and_uploads(frazil: Frazil, bucket: str) -> None:
    for name in ("a/1", "a/2", "ab", "b"):
        write("f", "x")
        frazil("cp", "f", f"s3://{bucket}/{name}")
    assert frazil("rm", "-r", f"{bucket}/a/", "--yes").code == 0
    assert [entry["key"] for entry in frazil("ls", "-r", bucket, "--json").of("object")] == ["ab", "b"]
    assert frazil("rm", "--uploads", bucket, "--json").summary["done"] == 0


def test_more_objects_than_a_page(frazil: Frazil, bucket: str) -> None:
    for number in range(1_100):
        write(f"many/{number:04}", "")
    assert frazil("cp", "-r", "many", f"s3://{bucket}", "-q", "-j", "16").code == 0
    assert frazil("ls", bucket, "--json").summary["objects"] == 1_100
    again = frazil("sync", "many", f"s3://{bucket}", "--json").summary
    assert (again["done"], again["skipped"], again["failed"], again["exit"]) == (0, 1_100, 0, 0)
    assert frazil("rm", "-r", bucket, "--yes", "--json").summary["done"] == 1_100


def test_status_verify_and_doctor(frazil: Frazil, bucket: str, store: StoreProcess) -> None:
    write("file", os.urandom(300_000))
    frazil("put", "file", f"{bucket}/k")
    status = frazil("status", "--json")
    assert len(status.of("volume")) == 3
    assert {each["kind"]: each["whole_pass"] for each in status.of("scrub")} == {"scrub-meta": False, "scrub-chunks": False}
    assert frazil("quarantine", "list", "--json").of("summary")[0]["chunks"] == 0
    assert frazil("quarantine", "purge", "--dry-run", "--json").of("summary")[0]["purged"] == 0
    assert status.of("store")[0]["url"] == store.url
    assert frazil("verify", "--json").summary["exit"] == 0
    assert frazil("verify", f"{bucket}/k", "--json").summary["versions"] == 1
    assert frazil("verify", f"{bucket}/none").code == Exit.NOT_FOUND
    assert frazil("scrub", "meta", "--bucket", "none").code == Exit.NOT_FOUND
    doctor = frazil("doctor", "--json")
    assert doctor.code in (Exit.OK, Exit.WARNINGS)
    assert {"erasure-code", "attributes", "key", "process", "space", "file-system"} <= {each["check"] for each in doctor.of("finding")}


def record_of(chunk: Path) -> bytes:
    try:
        return os.getxattr(chunk, "user.frazil.chunk")
    except FileNotFoundError:  # one of another test's, which is just being deleted
        return b""


def test_verify_names_the_chunk_that_is_gone(frazil: Frazil, bucket: str, store: StoreProcess) -> None:
    write("file", os.urandom(500_000))
    frazil("put", "file", f"{bucket}/k")
    assert frazil("verify", bucket, "--json").code == 0
    chunk = next(path for path in chunk_paths(store) if f'"{bucket}"'.encode() in record_of(path))
    chunk.unlink()
    run = frazil("verify", bucket, "--json")
    assert run.code == Exit.DAMAGED
    assert [(each["chunk"], each["problem"]) for each in run.of("finding")] == [(chunk.name, "missing")]
    store.allowed.append("chunk")
    assert len(frazil("cat", f"{bucket}/k").out.encode("utf-8", "surrogateescape")) == 500_000


def test_keys(frazil: Frazil, tmp_path: Path) -> None:
    made = frazil("key", "create", "carol", "--user-id", "ab" * 32, "--display-name", "Carol", "--email", "c@x", "--json")
    (record,) = made.records
    assert (record["name"], record["account"], record["user_id"], record["display_name"]) == ("carol", "carol", "ab" * 32, "Carol")
    secret = tmp_path / "secret"
    secret.touch(0o600)
    secret.write_text("a-long-secret-of-hers\n")
    assert frazil("key", "create", "carol", "--access-key", "CAROLSKEY2", "--secret-file", str(secret)).code == 0
    assert frazil("key", "create", "carol", "--access-key", "CAROLSKEY2", "--secret-file", str(secret)).code == Exit.CONFLICT
    listed = frazil("key", "list", "--json").of("key")
    carols = [each for each in listed if each["account"] == "carol"]
    assert {each["user_id"] for each in carols} == {"ab" * 32}
    assert not any("secret" in name for each in listed for name in each)
    assert frazil("key", "revoke", "CAROLSKEY2", record["access_key"]).code == 0
    assert frazil("key", "revoke", "CAROLSKEY2").code == Exit.NOT_FOUND


def test_a_profile_reaches_the_store_without_its_directory(
    frazil: Frazil, bucket: str, store: StoreProcess, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (record,) = frazil("key", "create", "guest", "--admin", "--json").records
    monkeypatch.delenv("FRAZIL_STORE")
    config = tmp_path / "XDG_CONFIG_HOME" / "frazil"
    config.mkdir(parents=True)
    secret = config / "secret"
    secret.touch(0o600)
    secret.write_text(record["secret_key"])
    text = f'[profile.guest]\nendpoint = "{store.url}"\naccess_key = "{record["access_key"]}"\nsecret_file = "{secret}"\n'
    (config / "config.toml").write_text(text)
    write("file", os.urandom(LARGE_BYTES))
    assert frazil("cp", "file", f"guest:{bucket}/k").code == 0
    assert frazil("ls", "--profile", "guest").code == 0
    assert frazil("status", "--profile", "guest").code == 0
    monkeypatch.setenv("FRAZIL_STORE", str(store.directories[0]))
    assert frazil("cp", f"guest:{bucket}/k", f"s3://{bucket}/through").code == 0
    assert frazil("get", f"{bucket}/through", "out").code == 0
    assert Path("out").read_bytes() == Path("file").read_bytes()
    secret.write_text("wrong-secret")
    assert frazil("ls", "--profile", "guest").code == Exit.DENIED


def test_the_bar_is_on_the_terminals_standard_error_only(store: StoreProcess, tmp_path: Path) -> None:
    """With standard error a terminal, results on standard output stay clean lines."""
    import pty

    (tmp_path / "file").write_bytes(b"x" * 100_000)
    leader, follower = pty.openpty()
    home = {**os.environ, "HOME": str(tmp_path), "TERM": "xterm"}
    command = [sys.executable, str(COMMAND)]
    subprocess.run([*command, "mb", "bar", "--store", str(store.directories[0])], env=home, check=True, capture_output=True)
    done = subprocess.run(
        [*command, "cp", str(tmp_path / "file"), "s3://bar/k", "--store", str(store.directories[0])],
        stdout=subprocess.PIPE, stderr=follower, env=home, check=True, timeout=30,
    )  # fmt: skip
    os.close(follower)
    shown = os.read(leader, 100_000)
    os.close(leader)
    assert done.stdout.decode() == f"upload {tmp_path / 'file'} -> s3://bar/k\n"
    assert b"\x1b[" in shown
    assert b"1 object" in shown
