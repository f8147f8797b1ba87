"""The way into a store on this host: whoever may read its secret.key acts as its administrator.

No further secret lies on the disk for it. A command that speaks S3 reads an admin key from the accounts' base (a WAL reader beside
the running process) and opens it with the namespace's key.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import trio

from cli.exit import Exit, Hinted
from cli.place import Endpoint, StoreDirectory
from cli.state import LOCK_FILE, SECRET_FILE, SETTINGS_FILE, State, read_state

if TYPE_CHECKING:
    from store.store import Store

START_WAIT_S = 10.0
START_POLL_S = 0.1


def check_store(place: StoreDirectory) -> Path:
    """The directory, when there is a store this user may enter. Raises: Hinted."""
    path = place.path
    if place.is_cluster:
        raise Hinted(f"{path} is the file of a cluster's node; this command is for a store on one host", code=Exit.USAGE)
    if not (path / SETTINGS_FILE).is_file():
        if not os.access(path, os.X_OK) and path.exists():
            raise Hinted(f"{path}: permission denied", "run this as the user who runs the store, or use --profile", code=Exit.DENIED)
        raise Hinted(
            f"there is no store in {path} ({place.reason})",
            f"start one with `frazil up {path}`, or name another with --store",
            code=Exit.NOT_FOUND,
        )
    if not os.access(path / SECRET_FILE, os.R_OK):
        raise Hinted(f"{path / SECRET_FILE} is not readable", "run this as the user who runs the store, or use --profile", code=Exit.DENIED)
    return path


def running(path: Path) -> State | None:
    """How to reach the store if it runs."""
    state = read_state(path)
    if state is None:
        return None
    try:
        os.kill(state.pid, 0)
    except ProcessLookupError:
        return None  # it was killed; the file is what it left
    except PermissionError:
        pass  # another user's process is there all the same
    return state


async def local_endpoint(place: StoreDirectory) -> Endpoint:
    """Where a running local store speaks S3, with an admin key of it. Raises: Hinted, FrazilError."""
    from meta.local import open_meta
    from node.auth import NamespaceKey
    from node.clock import SystemClock

    if place.is_cluster:
        from cli.cluster.door import cluster_endpoint

        return await cluster_endpoint(place)
    path = check_store(place)
    state = running(path)
    if state is None:
        raise Hinted(f"the store in {path} ({place.reason}) does not run", f"start it with `frazil up {path}`", code=Exit.TEMPORARY)
    key = NamespaceKey.load(path / SECRET_FILE)
    async with open_meta(path / "meta", key=key, clock=SystemClock(), read_only=True) as meta:
        for pair in await meta.accounts.keys():
            if pair.admin and not pair.suspended:
                opened = await meta.accounts.key(pair.access_key)
                if opened.boundaries:  # an administrator's, yet narrowed
                    continue
                return Endpoint(state.url, opened.access_key, opened.secret, state.region, state.tls_cert)
    raise Hinted(f"the store in {path} has no admin key", "make one: frazil key create NAME --admin", code=Exit.DENIED)


@asynccontextmanager
async def local_store(place: StoreDirectory, *, write: bool = False) -> AsyncIterator[Store]:
    """The object layer of a local store. To write, while no process runs it, this one becomes the store's one process for as long.

    A store that is named outright is made when it isn't there yet and `write` is set: keys may be brought along before its first start.
    Raises: Hinted, FrazilError.
    """
    if place.is_cluster:
        from cli.cluster.door import cluster_store

        async with cluster_store(place) as store:
            yield store
        return
    from store.embedded import StoreOptions, open_store

    options = StoreOptions(directories=(place.path,))
    if write and not (place.path / SETTINGS_FILE).exists() and place.named:
        async with open_store(options, role="main") as store:
            yield store
        return
    path = check_store(place)
    there = await _settled(path)
    async with open_store(options, role="main" if write and there is None else "gateway") as store:
        yield store


async def _settled(path: Path) -> State | None:
    """As `running`, but waits while a process holds the store and doesn't serve yet (it starts, or is another command)."""
    with trio.move_on_after(START_WAIT_S):
        while running(path) is None and _holder_lives(path):  # noqa: ASYNC110 - another process's doing
            await trio.sleep(START_POLL_S)
    return running(path)


def _holder_lives(path: Path) -> bool:
    try:
        holder = int((path / LOCK_FILE).read_text())
        os.kill(holder, 0)
    except (FileNotFoundError, ValueError, ProcessLookupError):
        return False
    except PermissionError:
        return True
    return holder != os.getpid()
