"""Random calls on the mount and on a local folder: both answer alike and hold the same, also after a remount and through S3."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test

from tests.cluster.fs.conftest import Place
from tests.support.twin import Twin, tree

STEPS = 60
"""Calls of one example; FRAZIL_TEST_ROUNDS examples. 100,000 calls are 1,700 rounds."""
NAMES = st.sampled_from(["a", "b", "c", "a/b", "a/c", "b/a", "b/c", "a/b/c", "c/a/b", "é ü", "a.txt", "ab"])
SIZES = st.one_of(st.sampled_from([0, 1, 4095, 4096, 4097, 131_072, 1 << 20]), st.integers(0, 300_000))
MODES = st.sampled_from([0o600, 0o644, 0o755, 0o777, 0o400, 0o1777])
FLAGS = st.sampled_from(
    [
        os.O_RDONLY,
        os.O_RDWR,
        os.O_RDWR | os.O_CREAT,
        os.O_RDWR | os.O_CREAT,
        os.O_RDWR | os.O_CREAT | os.O_EXCL,
        os.O_RDWR | os.O_CREAT | os.O_TRUNC,
        os.O_WRONLY | os.O_CREAT | os.O_APPEND,
        os.O_RDONLY | os.O_DIRECTORY,
        os.O_RDONLY | os.O_NOFOLLOW,
    ]
)
HANDLES = st.integers(0, 3)
DATA = st.tuples(st.integers(0, 255), SIZES).map(
    lambda pair: bytes((pair[0] + at) % 251 for at in range(min(pair[1], 1000))) * max(pair[1] // 1000, 1)
)
KEYS = st.sampled_from(["user.a", "user.b", "user.frühling"])


class Calls(RuleBasedStateMachine):
    """`place` and `model` are set by the test."""

    place: Place
    model: Path

    @initialize()
    def begin(self) -> None:
        self.tested = Path(tempfile.mkdtemp(prefix="model-", dir=self.place.top))
        self.right = Path(tempfile.mkdtemp(prefix="model-", dir=self.model))
        for top in (self.tested, self.right):
            top.chmod(0o755)
        self.twin = Twin(self.tested, self.right)
        self.twin.probe("link", "punch")

    def handle(self, number: int) -> int | None:
        handles = self.twin.handles
        return number % len(handles) if handles else None

    @rule(name=NAMES, mode=MODES)
    def mkdir(self, name: str, mode: int) -> None:
        self.twin.mkdir(name, mode)

    @rule(name=NAMES)
    def rmdir(self, name: str) -> None:
        self.twin.rmdir(name)

    @rule(name=NAMES)
    def unlink(self, name: str) -> None:
        self.twin.unlink(name)

    @rule(target_name=NAMES, name=NAMES)
    def symlink(self, target_name: str, name: str) -> None:
        self.twin.symlink(target_name, name)

    @rule(source=NAMES, name=NAMES)
    def link(self, source: str, name: str) -> None:
        self.twin.link(source, name)

    @rule(source=NAMES, name=NAMES, flags=st.sampled_from([0, 0, 0, 1, 2]))
    def rename(self, source: str, name: str, flags: int) -> None:
        self.twin.rename(source, name, flags)

    @rule(name=NAMES, mode=MODES)
    def chmod(self, name: str, mode: int) -> None:
        self.twin.chmod(name, mode)

    @rule(name=NAMES, when_ns=st.integers(0, 1 << 60))
    def utime(self, name: str, when_ns: int) -> None:
        self.twin.utime(name, when_ns)

    @rule(name=NAMES, key=KEYS, value=st.binary(max_size=100))
    def set_attribute(self, name: str, key: str, value: bytes) -> None:
        self.twin.set_attribute(name, key, value)

    @rule(name=NAMES, key=KEYS)
    def remove_attribute(self, name: str, key: str) -> None:
        self.twin.remove_attribute(name, key)

    @rule(name=NAMES, size=SIZES)
    def truncate(self, name: str, size: int) -> None:
        self.twin.truncate(name, size)

    @rule(name=NAMES)
    def look(self, name: str) -> None:
        self.twin.look(name)

    @rule(name=NAMES, flags=FLAGS, mode=MODES)
    def open(self, name: str, flags: int, mode: int) -> None:
        self.twin.open(name, flags, mode)

    @rule(number=HANDLES)
    def close(self, number: int) -> None:
        handle = self.handle(number)
        if handle is not None:
            self.twin.close(handle)

    @rule(number=HANDLES, start=SIZES, size=SIZES)
    def read(self, number: int, start: int, size: int) -> None:
        handle = self.handle(number)
        if handle is not None:
            self.twin.read(handle, start, size)

    @rule(number=HANDLES, start=SIZES, data=DATA)
    def write(self, number: int, start: int, data: bytes) -> None:
        handle = self.handle(number)
        if handle is not None:
            self.twin.write(handle, start, data)

    @rule(number=HANDLES, start=SIZES, data=DATA)
    def map_write(self, number: int, start: int, data: bytes) -> None:
        handle = self.handle(number)
        if handle is not None:
            self.twin.map_write(handle, start, data)

    @rule(number=HANDLES, size=SIZES)
    def resize(self, number: int, size: int) -> None:
        handle = self.handle(number)
        if handle is not None:
            self.twin.resize(handle, size)

    @rule(number=HANDLES)
    def sync(self, number: int) -> None:
        handle = self.handle(number)
        if handle is not None:
            self.twin.sync(handle)

    @rule(number=HANDLES, start=SIZES, size=st.integers(1, 200_000))
    def punch(self, number: int, start: int, size: int) -> None:
        handle = self.handle(number)
        if handle is not None:
            self.twin.punch(handle, start, size)

    @rule(one=HANDLES, other=HANDLES, start=SIZES, size=SIZES)
    def copy(self, one: int, other: int, start: int, size: int) -> None:
        source, target = self.handle(one), self.handle(other)
        if source is not None and target is not None:
            self.twin.copy(source, target, start, size)

    @rule(chance=st.integers(0, 9))
    def remount(self, chance: int) -> None:
        """Seldom: it takes a second."""
        if chance != 9:
            return
        self.twin.close_all()
        self.twin.compare()
        self.place.remount()
        self.twin.compare()

    def teardown(self) -> None:
        if not hasattr(self, "twin"):
            return
        try:
            self.twin.close_all()
            self.twin.compare()
            self.same_in_s3()
        finally:
            for top in (self.tested, self.right):
                shutil.rmtree(top, ignore_errors=True)

    def same_in_s3(self) -> None:
        """Each file's bytes, as a client of S3 gets them."""
        if self.place.store is None:
            return
        with self.place.store.client() as client:
            for name, what in tree(self.tested).items():
                if isinstance(what, tuple) and what[0] == "file":
                    key = str((self.tested / name).relative_to(self.place.top))
                    assert client.get(self.place.bucket, key).body == what[4], key


@pytest.mark.timeout(7200)
def test_the_mount_answers_as_a_local_folder_does(place: Place, scratch: Path, rounds: int) -> None:
    class Here(Calls):
        pass

    Here.place, Here.model = place, scratch
    before = os.umask(0o022)
    try:
        run_state_machine_as_test(  # type: ignore[no-untyped-call]
            Here,
            settings=settings(
                max_examples=rounds,
                stateful_step_count=STEPS,
                deadline=None,
                phases=(Phase.generate,),  # shrinking by remounts takes longer than reading sixty calls
                report_multiple_bugs=False,
                suppress_health_check=list(HealthCheck),
            ),
        )
    finally:
        os.umask(before)
