"""A mounted bucket for the tests of the mount; or any folder, FRAZIL_TEST_FOLDER, by which these tests are themselves tested."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.mount import MountProcess
from tests.support.need import need_fuse
from tests.support.store import StoreProcess

FOLDER = os.environ.get("FRAZIL_TEST_FOLDER", "")
GROUND = "ground"


@dataclass
class Place:
    """A folder to try things in. mount, store: None when it is a folder of this host."""

    top: Path
    mount: MountProcess | None = None
    store: StoreProcess | None = None

    @property
    def bucket(self) -> str:
        return GROUND

    def remount(self) -> None:
        """What was written must be there afterwards."""
        if self.mount is not None:
            self.mount.unmount()
            self.mount.start()


@pytest.fixture(scope="session")
def place() -> Iterator[Place]:
    """Its top is a bucket of a store on one disk, with one mount, for all tests."""
    if FOLDER:
        yield Place(Path(FOLDER))
        return
    need_fuse()
    root = Path(tempfile.mkdtemp(prefix="frazil-test-"))
    root.chmod(0o755)
    try:
        with StoreProcess([root / "store"], root, volumes=1) as store:
            store.start()
            with store.client() as client:
                client.make_bucket(GROUND)
            with MountProcess(store, root / "mnt", options=["allow_other"]) as mount:
                yield Place(mount.directory / GROUND, mount, store)
    finally:
        shutil.rmtree(root, ignore_errors=True)


@pytest.fixture
def ground(place: Place) -> Iterator[Path]:
    """An empty folder in it."""
    folder = Path(tempfile.mkdtemp(prefix="test-", dir=place.top))
    folder.chmod(0o755)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
