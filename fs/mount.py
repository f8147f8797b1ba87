"""A mount from its begin to its end: the store is joined, the kernel told, requests are served until it is unmounted or a signal comes."""

from __future__ import annotations

from collections.abc import Iterable

import pyfuse3
import trio

from fs.change import Changes
from fs.connection import Rules, StoreConnection
from fs.file import Shared
from fs.option import MountOptions
from fs.shell import Operations
from fs.spool import SpoolFolder
from fs.tree import Tree
from meta.protocol.identities import Account
from node.errors import ConfigError
from node.log import get_logger
from node.runner import Ready
from store.embedded import StoreOptions, open_store
from store.store import Store

REQUESTS_AT_ONCE = 64
"""Requests of the kernel that are worked on side by side; the rest wait in the kernel."""
log = get_logger("fs")


async def serve_mount(options: MountOptions, rules: Rules, drain: trio.Event, ready: Ready) -> None:
    """Serves until it is unmounted, or `drain` is set, which unmounts it. Raises: ConfigError, FrazilError, OSError at the start."""
    async with open_store(StoreOptions(directories=(options.store,)), role="gateway") as store, trio.open_nursery() as background:
        await background.start(_workers, store)
        bucket, prefix = options.place
        connection = StoreConnection(store, rules, await _account(store, options.account))
        if bucket:
            await connection.settings(bucket)
        spools = SpoolFolder(options.spool_path)
        if not spools.open():
            raise ConfigError(f"another mount uses the spool {spools.path}; end it, or give this one its own with -o spool=DIR")
        tree = Tree(Shared(connection, spools, background), options.defaults, bucket=bucket, prefix=prefix)
        operations = Operations(tree, Changes(tree, buckets=options.buckets), options)
        _mount(operations, options)
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(_end_with, drain)
                ready.ready(str(options.directory))
                await pyfuse3.main(max_tasks=REQUESTS_AT_ONCE)
                nursery.cancel_scope.cancel()
        finally:
            pyfuse3.close(unmount=True)
        spools.close()
        background.cancel_scope.cancel()


async def _account(store: Store, name: str) -> Account:
    """Raises: ConfigError."""
    for account in await store.meta.identities.accounts():
        if account.account == name:
            return account
    raise ConfigError(f"the store has no account {name}, whose buckets are that are made here; name one with -o account=NAME")


def _mount(operations: Operations, options: MountOptions) -> None:
    """Raises: ConfigError."""
    try:
        pyfuse3.init(operations, str(options.directory), set(_kernel_options(options)))
    except RuntimeError as error:
        raise ConfigError(
            f"{options.directory} can't be mounted; look at the line above, and whether something is mounted there"
        ) from error


def _kernel_options(options: MountOptions) -> Iterable[str]:
    yield from ("default_permissions", f"fsname=frazil:{options.target or options.store}", "subtype=frazil")
    if options.ro:
        yield "ro"
    if options.allow_other:
        yield "allow_other"


async def _end_with(drain: trio.Event) -> None:
    await drain.wait()
    pyfuse3.terminate()


async def _workers(store: Store, *, task_status: trio.TaskStatus[None]) -> None:
    await store.run_workers(task_status=task_status)
