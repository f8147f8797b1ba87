"""Stores for the tests of this tier."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import Generator, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.support.cluster import ClusterProcesses
from tests.support.disk import reap
from tests.support.forge import BUCKET
from tests.support.oracle import ClientLog
from tests.support.store import StoreProcess
from tests.support.survey import empty

LOG_LINES = 20


class StoreMaker:
    """Makes stores that, unless told otherwise, run."""

    def __init__(self, scratch: Path, stack: contextlib.ExitStack) -> None:
        self._scratch = scratch
        self._stack = stack
        self.made: list[StoreProcess] = []

    def __call__(self, directories: Sequence[Path] | None = None, *, volumes: int = 1, start: bool = True, **more: Any) -> StoreProcess:
        home = self._scratch / f"home{len(self.made)}"
        home.mkdir()
        store = StoreProcess(directories or [self._scratch / f"store{len(self.made)}"], home, volumes=volumes, **more)
        self.made.append(self._stack.enter_context(store))
        if start:
            store.start()
        return store


@pytest.fixture(scope="session", autouse=True)
def _leftovers() -> None:
    """Loop devices and mounts that an earlier, killed run left behind go first."""
    reap()


@pytest.fixture
def make_store(scratch: Path) -> Iterator[StoreMaker]:
    """At the end the stores are stopped, must end with 0, and must not have complained in their logs."""
    with contextlib.ExitStack() as stack:
        maker = StoreMaker(scratch, stack)
        yield maker
    for store in maker.made:
        store.assert_log_clean()


@pytest.fixture
def log(scratch: Path) -> Iterator[ClientLog]:
    """What the clients of this test saw; in the scratch folder, outside of every fault."""
    log = ClientLog(scratch / "client.log")
    yield log
    log.close()


@pytest.fixture(scope="module")
def shared_store() -> Iterator[StoreProcess]:
    """One store on three volumes for all tests of a module that only use it as clients do."""
    root = Path(tempfile.mkdtemp(prefix="frazil-test-"))
    try:
        with StoreProcess([root / "store"], root, volumes=3) as store:
            store.start()
            yield store
        store.assert_log_clean()
    finally:
        shutil.rmtree(root, ignore_errors=True)


@pytest.fixture(scope="session")
def shared_cluster() -> Iterator[ClusterProcesses]:
    """One cluster of three hosts for all tests that leave it as they found it."""
    folder = Path(tempfile.mkdtemp(prefix="frazil-test-"))
    try:
        with ClusterProcesses(folder) as cluster:
            yield cluster
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def unharmed(shared_store: StoreProcess) -> Iterator[None]:
    """The bucket with one good object that hostile requests are aimed at; afterwards the store serves it and holds nothing else."""
    with shared_store.client() as client:
        client.make_bucket(BUCKET)
        empty(client, BUCKET)
        assert client.put(BUCKET, "good", b"good").status == 200
    yield
    assert shared_store.running
    with shared_store.client() as client:
        assert client.get(BUCKET, "good").body == b"good"
        assert client.keys(BUCKET) == ["good"]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A failed test shows the end of its stores' logs."""
    report = yield
    if report.failed:
        values = list(getattr(item, "funcargs", {}).values())
        stores = [value for value in values if isinstance(value, StoreProcess)]
        stores += [store for value in values if isinstance(value, StoreMaker) for store in value.made]
        for store in stores:
            if store.log_path.exists():
                report.sections.append((f"log of {store.directories[0]}", store.log_tail(LOG_LINES)))
    return report
