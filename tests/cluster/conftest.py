"""Stores for the tests of this tier."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from tests.support.disk import reap
from tests.support.store import StoreProcess


@pytest.fixture(scope="session", autouse=True)
def _leftovers() -> None:
    """Loop devices and mounts that an earlier, killed run left behind go first."""
    reap()


MakeStore = Callable[..., StoreProcess]


@pytest.fixture
def make_store(scratch: Path) -> Iterator[MakeStore]:
    """Makes stores that are started and have the test's key; at the end they are stopped and their logs must be clean."""
    with contextlib.ExitStack() as stack:
        made: list[StoreProcess] = []

        def make(directories: Sequence[Path] | None = None, *, volumes: int = 1, start: bool = True, **more: object) -> StoreProcess:
            home = scratch / f"home{len(made)}"
            home.mkdir()
            store = StoreProcess(directories or [scratch / f"store{len(made)}"], home, volumes=volumes, **more)  # type: ignore[arg-type]
            made.append(stack.enter_context(store))
            store.create()
            if start:
                store.start()
            return store

        yield make
    for store in made:
        store.assert_log_clean()


@pytest.fixture(scope="module")
def shared_store() -> Iterator[StoreProcess]:
    """One store on three volumes for all tests of a module that only use it as clients do."""
    root = Path(tempfile.mkdtemp(prefix="frazil-test-"))
    try:
        with StoreProcess([root / "store"], root, volumes=3) as store:
            store.create().start()
            yield store
        store.assert_log_clean()
    finally:
        shutil.rmtree(root, ignore_errors=True)
