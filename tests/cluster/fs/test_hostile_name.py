"""Keys and names from hell: whatever S3 stores is one file or folder below its bucket, and whatever the mount makes is a key in it."""

from __future__ import annotations

import errno
import os
import secrets
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tests.cluster.fs.conftest import Place

KEY_BYTES_MAX = 900
"""S3's 1,024 less the folder that each example has for itself."""
PIECES = st.sampled_from(
    ["a", "b", ".", "..", "...", "/", "//", "", " ", "\\", "\n", "\t", "\x01", "\x7f", "‛", "‛e", "‛f", "‛.", "‛..", "é", "\U0001f9ca",
     "%2e%2e", "%00", "~", "-rf", "*", "nul", "con", "$HOME", "`id`", "x" * 255, "x" * 256, "ä" * 128, "\u202e", "\ufeff", "\u0000"]
)  # fmt: skip
KEYS = st.lists(st.one_of(PIECES, st.text(max_size=8)), min_size=1, max_size=8).map("".join)
BYTES = st.binary(min_size=1, max_size=80).map(lambda raw: raw.decode("utf-8", "surrogateescape"))
NAMES = st.one_of(PIECES, st.text(min_size=1, max_size=40), BYTES)
SLOW = settings(deadline=None, suppress_health_check=list(HealthCheck))


def is_key(text: str) -> bool:
    try:
        return 0 < len(text.encode()) <= KEY_BYTES_MAX
    except UnicodeEncodeError:
        return False


@pytest.fixture
def hell(place: Place) -> str:
    """A prefix of its own."""
    if place.store is None:
        pytest.skip("a local folder has no keys")
    return f"hell-{secrets.token_hex(4)}"


def walked(top: Path) -> dict[str, bytes]:
    """Every file below, read through its listed name; each is below `top` in fact."""
    found = {}
    for here, folders, files in os.walk(top):
        for name in (*folders, *files):
            assert name not in (".", "..", "")
            assert "/" not in name
            assert os.path.realpath(os.path.join(here, name)).startswith(f"{top}/")
        for name in files:
            path = Path(here) / name
            found[str(path.relative_to(top))] = path.read_bytes()
    return found


@pytest.mark.timeout(3600)
def test_every_set_of_keys_shows_as_as_many_files_with_their_bytes(place: Place, hell: str, rounds: int) -> None:
    assert place.store is not None
    number = 0
    with place.store.client() as client:

        @settings(SLOW, max_examples=5 * rounds)
        @given(st.lists(KEYS.filter(is_key), min_size=1, max_size=6, unique=True))
        @example(["a", "a/", "a/b", "a//b", "a/./b", "a/../b", "../../etc/passwd", "/etc/passwd"])
        @example(["..", ".", "...", "../", "./", "/", "//", "a/..", "a/."])
        def check(keys: list[str]) -> None:
            nonlocal number
            number += 1
            prefix = f"{hell}-{number}"
            stored = {}
            for at, key in enumerate(keys):
                answer = client.put(place.bucket, f"{prefix}/{key}", f"{at}:{key}".encode(errors="replace"))
                if answer.status == 200:
                    stored[key] = f"{at}:{key}".encode(errors="replace")
            found = walked(place.top / prefix) if stored else {}
            assert sorted(found.values()) == sorted(stored.values())
            outside = {name for name in os.listdir(place.top) if not name.startswith(("hell-", "test-", "model-", "posix-"))}
            assert not outside, outside

        check()


@pytest.mark.timeout(3600)
def test_every_name_is_made_as_one_key_in_its_folder_or_refused(place: Place, hell: str, rounds: int) -> None:
    assert place.store is not None
    top = place.top / hell
    top.mkdir()
    with place.store.client() as client:

        @settings(SLOW, max_examples=10 * rounds)
        @given(NAMES.filter(lambda name: name not in (".", "..", "") and "/" not in name and "\0" not in name))
        def check(name: str) -> None:
            before = set(client.keys(place.bucket))
            try:
                (top / name).write_bytes(b"hell")
            except OSError as error:
                assert error.errno in (errno.EILSEQ, errno.ENAMETOOLONG, errno.EINVAL), error
                assert set(client.keys(place.bucket)) == before
                return
            assert name in os.listdir(top)
            (new,) = set(client.keys(place.bucket)) - before
            assert new.startswith(f"{hell}/")
            assert client.get(place.bucket, new).body == b"hell"
            os.rename(top / name, top / "moved")
            assert (top / "moved").read_bytes() == b"hell"
            os.unlink(top / "moved")
            assert set(client.keys(place.bucket)) == before

        check()


def test_a_link_out_of_the_mount_is_a_link_for_the_reader_and_bytes_for_s3(place: Place, ground: Path) -> None:
    """Only the kernel of who reads follows it, as their user; nothing of the store does."""
    (ground / "link").symlink_to("/etc/passwd")
    assert os.readlink(ground / "link") == "/etc/passwd"
    if place.store is None:
        return
    with place.store.client() as client:
        body = client.get(place.bucket, str((ground / "link").relative_to(place.top))).body
    assert b"root:" not in body
