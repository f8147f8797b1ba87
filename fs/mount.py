"""A mount from its begin to its end: the store is joined, the kernel told, requests are served until it is unmounted or a signal comes."""

from __future__ import annotations

import ctypes
import errno
import os
from collections.abc import Callable, Iterable
from contextlib import AbstractAsyncContextManager, AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path

import pyfuse3
import trio

from fs import inlet
from fs.change import Changes
from fs.connection import Rules, StoreConnection
from fs.follower import PERIOD_DISTANT_S, PERIOD_S, Follower
from fs.option import MountOptions
from fs.patience import patient, patient_uploads
from fs.recovery import recover
from fs.shared import Shared
from fs.shell import Operations
from fs.spool import SpoolFolder
from fs.tree import Tree
from fs.upload import StoreUploads
from meta.protocol.identities import Account
from node.errors import ConfigError, FrazilError
from node.log import get_logger
from node.runner import Ready
from node.threads import run_blocking
from store.store import Store

REQUESTS_AT_ONCE = 64
"""Requests of the kernel that are worked on side by side; the rest wait in the kernel."""
DRAIN_S = 60.0
"""How long the end waits for what is not stored yet."""
log = get_logger("fs")


@dataclass(frozen=True, slots=True)
class Host:
    """The program that a mount runs in. open_store: as a gateway opens it; settled: called once all is loaded and open.

    as_root   for mounting and unmounting, where root mounts another user's store
    distant   metadata is asked for over the network, not read from this host's disks
    """

    open_store: Callable[[], AbstractAsyncContextManager[Store]]
    rules: Rules
    settled: Callable[[], None]
    as_root: Callable[[], AbstractContextManager[None]] = nullcontext
    distant: bool = False


async def serve_mount(options: MountOptions, host: Host, drain: trio.Event, ready: Ready) -> None:
    """Serves until it is unmounted, or `drain` is set, which unmounts it. Raises: ConfigError, FrazilError, OSError at the start."""
    async with host.open_store() as store, trio.open_nursery() as background:
        await background.start(_workers, store)
        bucket, prefix = options.place
        own = StoreConnection(store, host.rules, await _account(store, options.account))
        connection = patient(own, options.patience, reads_tell=host.distant, probe=None if host.distant else own.ask)
        if bucket:
            await connection.settings(bucket)
        spools = SpoolFolder(options.spool_path, bytes_max=options.spool_size << 20)
        if not await spools.open():
            raise ConfigError(f"another mount uses the spool {spools.path}; end it, or give this one its own with -o spool=DIR")
        uploads = patient_uploads(StoreUploads(store, host.rules), options.patience)
        shared = Shared(connection, spools, background, cold=options.cold, uploads=uploads, debts=store.debts)
        await recover(shared, options.defaults)
        tree = Tree(shared, options.defaults, bucket=bucket, prefix=prefix, attr_timeout=options.attr_timeout)
        late = options.behind and store.debts.shared
        changes = Changes(tree, buckets=options.buckets, exclusive=options.exclusive, late=late)
        await background.start(changes.behind.run)
        if late:
            await background.start(store.debts.serve, changes.behind.pay)
        operations = Operations(tree, changes, options)
        follower = Follower(tree, _invalidate, PERIOD_DISTANT_S if host.distant else PERIOD_S)
        if bucket:  # else what changes before the first look would be seen late
            await follower.follow(tree.table.root)
        with host.as_root():
            _mount(operations, options)
        host.settled()
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(_end_with, drain, options.directory)
                nursery.start_soon(inlet.watch)
                nursery.start_soon(follower.run)
                nursery.start_soon(_begin, operations, options, host, ready)
                await pyfuse3.main(max_tasks=REQUESTS_AT_ONCE)
                nursery.cancel_scope.cancel()
        finally:
            with host.as_root():
                pyfuse3.close(unmount=True)
        await _drain(tree, changes)
        spools.close()
        background.cancel_scope.cancel()


async def _account(store: Store, name: str) -> Account:
    """Raises: ConfigError."""
    for account in await store.meta.identities.accounts():
        if account.account == name:
            return account
    raise ConfigError(f"the store has no account {name}, whose buckets are that are made here; name one with -o account=NAME")


async def _drain(tree: Tree, changes: Changes) -> None:
    """What waits to be stored and what is still open, in bounded time; what is left then is told."""
    with trio.move_on_after(DRAIN_S):
        await _save_open(tree, changes)
        while True:
            try:
                await changes.behind.drain()
            except OSError:  # it is tried again
                continue
            return
    log.error("not all that was written was stored within %g s of the end: %d changes wait", DRAIN_S, changes.behind.pending)


async def _save_open(tree: Tree, changes: Changes) -> None:
    """Files that were open when the mount was told to end: nobody will close them here."""
    for inode in list(tree.table.oldest()):
        try:
            await changes.saving.save(inode)
        except (FrazilError, OSError) as error:
            log.error("%s was open at the end and could not be stored: %s", "/".join(inode.place), error)


def _invalidate(number: int, name: bytes) -> None:
    if name:
        pyfuse3.invalidate_entry(pyfuse3.InodeT(number), pyfuse3.FileNameT(name))
    else:
        pyfuse3.invalidate_inode(pyfuse3.InodeT(number), attr_only=True)


async def _begin(operations: Operations, options: MountOptions, host: Host, ready: Ready) -> None:
    """Once the kernel was answered what it asks first: with that answer it would take back what it was tuned to."""
    await operations.begun.wait()
    with host.as_root():
        _tune(options)
    ready.ready(str(options.directory))


def _tune(options: MountOptions) -> None:
    """Has the kernel read further ahead than its 128 KiB, and ask for more at once. Only root may; without it large reads are slower."""
    try:
        Path(f"/sys/class/bdi/{_device(options.directory)}/read_ahead_kb").write_text(str(options.read_ahead))
    except OSError as error:
        log.info("the kernel reads ahead as it does by default: %s", error.strerror)


def _device(directory: Path) -> str:
    """Of what was mounted there last, "MAJOR:MINOR", without a question to it, which nobody answers yet. Raises: OSError.

    Source: proc(5), mountinfo; spaces and the like in a path are octal there.
    """
    for line in reversed(Path("/proc/self/mountinfo").read_text().splitlines()):
        words = line.split()
        if words[4].encode().decode("unicode_escape").encode("latin-1") == os.fsencode(directory):
            return words[2]
    raise FileNotFoundError(errno.ENOENT, "it is not among the mounts")


def _mount(operations: Operations, options: MountOptions) -> None:
    """Raises: ConfigError."""
    try:
        pyfuse3.init(operations, str(options.directory), set(_kernel_options(options)))
    except RuntimeError as error:
        raise ConfigError(
            f"{options.directory} can't be mounted; look at the line above, and whether something is mounted there"
        ) from error
    inlet.install()


def _kernel_options(options: MountOptions) -> Iterable[str]:
    yield from ("default_permissions", f"fsname=frazil:{options.target or options.store}", "subtype=frazil")
    yield from options.kernel
    if options.ro:
        yield "ro"
    if options.allow_other:
        yield "allow_other"


async def _end_with(drain: trio.Event, directory: Path) -> None:
    await drain.wait()
    try:
        with trio.fail_after(DRAIN_S):
            await run_blocking(_write_back, directory, abandon=True)
    except (OSError, trio.TooSlowError) as error:
        log.error("what programs wrote lately to files that are open yet may be lost: the kernel did not write it back: %s", error)
    pyfuse3.terminate()


def _write_back(directory: Path) -> None:
    """Has the kernel send what it holds of files that were written and not closed yet. In a thread: it is this process that takes it, so
    the interpreter must go on (pyfuse3.syncfs stops it). Raises: OSError.

    Source: syncfs(2).
    """
    libc = ctypes.CDLL(None, use_errno=True)
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        if libc.syncfs(descriptor):
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    finally:
        os.close(descriptor)


async def _workers(store: Store, *, task_status: trio.TaskStatus[None]) -> None:
    await store.run_workers(task_status=task_status)
