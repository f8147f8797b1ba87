"""mount: buckets as a file system."""

from __future__ import annotations

import errno
import functools
import importlib.util
import json
import os
import subprocess
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cli.exit import Exit, Hinted, leaves
from cli.session import Session, with_session
from node.errors import BucketNotFound

if TYPE_CHECKING:
    import trio

    from fs.mount import Host
    from fs.option import MountOptions
    from meta.protocol.bucket import BucketSettings
    from node.runner import Ready
    from store.envelope import Envelope
    from store.store import Store

PACKAGES = "gcc pkg-config libfuse3-dev python3-dev fuse3"
STATS = "user.frazil.stats"
"""Attribute of a mount's root."""


@click.command("mount", short_help="Show buckets as folders of this host.")
@click.argument("places", nargs=-1, required=True, metavar="[BUCKET[/PREFIX]] DIRECTORY")
@click.option("-o", "options", multiple=True, metavar="NAME[=VALUE],...", help="Options as mount(8) knows them; see above.")
@click.option("-d", "--daemon", is_flag=True, help="Return once it serves, and go on in the background.")
@click.option("--check", is_flag=True, help="Mount nothing; list what of [BUCKET[/PREFIX]] shows under another name than its key.")
@click.option("--log", "log_file", metavar="FILE", default="", help="Of a daemon; else mount.log in its spool.")
@click.option("--ready-fd", type=click.IntRange(3), default=None, metavar="FD", help="Write a line to this descriptor once it serves.")
@with_session
def mount(session: Session, places: tuple[str, ...], **given: Any) -> Exit:
    """Show all buckets, or one, or a prefix of one, as folders and files in DIRECTORY until it is unmounted (umount, fusermount3 -u).

    Every object is a file with the same bytes. Needs to be run by the user who runs the store, or root, on its host; or, with the node's
    file of a cluster as the store, anywhere that reaches its hosts. `frazil mount stats DIRECTORY` shows what a mount does.

    Options: ro, allow_other, uid=, gid=, umask=; profile=safe|fast|media, or one by one entry_timeout=, attr_timeout= (seconds), writeback,
    behind, exclusive, read_ahead= (KiB); spool=DIR, spool_size= (MiB); buckets (nobuckets: none are made or removed), account=;
    cold=error|wait|restore; patience= (seconds that a store may be away before calls fail). Words of fstab are understood.
    """
    if len(places) > 2:
        raise click.UsageError("one bucket or prefix, and the directory to mount on")
    if given["check"]:
        return _check(session, places)
    if len(places) == 2 and places[0] == "stats" and os.path.ismount(places[1]):
        return _stats(session, places[1])
    if importlib.util.find_spec("pyfuse3") is None:
        raise Hinted("a mount needs the library pyfuse3, which is not there", f"install {PACKAGES}, then: pip install 'frazil[mount]'")
    wanted = _options(session, places, given["options"])
    if given["daemon"]:
        from cli.daemon import start_daemon
        from cli.owner import make_file_as_owner_of

        log_path = Path(given["log_file"]) if given["log_file"] else wanted.spool_path / "mount.log"
        make_file_as_owner_of(_secret_of(wanted), log_path)
        words = ["mount", *([wanted.target] if wanted.target else []), str(wanted.directory), "--store", str(wanted.store)]
        spool = [f"spool={wanted.spool}"] if wanted.spool else []  # its path from here: the daemon works elsewhere
        start_daemon([*words, *(word for option in (*given["options"], *spool) for word in ("-o", option))], log_path)
        return Exit.OK
    return _serve(session, wanted, given["ready_fd"])


def _options(session: Session, places: tuple[str, ...], words: tuple[str, ...]) -> MountOptions:
    from cli.cluster.config import load_node
    from cli.door import check_store
    from fs.option import MountOptions

    directory = Path(places[-1]).absolute()
    _clear_dead(directory)
    directory = directory.resolve()
    if not directory.is_dir():
        raise Hinted(f"{directory} is no directory", "make it first: it stays empty, and shows what it hides again after umount")
    if _is_ours(directory):
        raise Hinted(f"{directory} is a mount of Frazil's already", f"umount {directory} first, or mount elsewhere", code=Exit.USAGE)
    place = session.directory()
    target = places[0] if len(places) == 2 else ""
    if place.is_cluster:
        return MountOptions(place.path, directory, target, load_node(place.path).state).told(words)
    return MountOptions(check_store(place), directory, target).told(words)


def _is_ours(directory: Path) -> bool:
    try:
        return os.path.ismount(directory) and bool(os.getxattr(directory, STATS))
    except OSError:
        return False


def _clear_dead(directory: Path) -> None:
    """Takes away what a mount left that was killed: each look at it fails."""
    try:
        os.close(os.open(directory, os.O_RDONLY))
    except OSError as error:
        if error.errno == errno.ENOTCONN:
            subprocess.run(["fusermount3", "-uz", str(directory)], check=False)


def _serve(session: Session, wanted: MountOptions, ready_fd: int | None) -> Exit:
    from cli.commands.up import worded
    from cli.owner import as_root, work_as_owner_of
    from cli.process import prepare, settle
    from fs.connection import Rules
    from fs.mount import Host
    from node import log, runner
    from s3.target import is_bucket_name

    prepare()
    log.set_up()
    work_as_owner_of(_secret_of(wanted))
    host = Host(_store_of(wanted), Rules(_default_envelope, is_bucket_name), settle, as_root, distant=wanted.home is not None)
    main = functools.partial(_mounted, wanted, host)
    return Exit(runner.run(worded(session.output, main), ready_fd=ready_fd))


async def _mounted(wanted: MountOptions, host: Host, drain: trio.Event, ready: Ready) -> None:
    """Raises: Hinted when it was the statistics that were asked for, of a folder that is no mount; as serve_mount."""
    from fs.mount import serve_mount

    try:
        await serve_mount(wanted, host, drain, ready)
    except BaseException as error:
        if wanted.target == "stats" and all(isinstance(leaf, BucketNotFound) for leaf in leaves(error)):
            message = f"{wanted.directory} is no mount, and there is no bucket named stats to mount there"
            raise Hinted(message, "see `findmnt -t fuse.frazil`", code=Exit.NOT_FOUND) from error
        raise


def _secret_of(wanted: MountOptions) -> Path:
    """The namespace's key, which is its user's."""
    from cli.cluster.config import load_node
    from cli.state import SECRET_FILE

    return load_node(wanted.store).key if wanted.home is not None else wanted.store / SECRET_FILE


def _store_of(wanted: MountOptions) -> Callable[[], AbstractAsyncContextManager[Store]]:
    """How a mount opens the store: a cluster as one of its nodes does, else the disks of this host beside the store's process."""
    if wanted.home is not None:
        from cli.cluster.config import load_node
        from cli.cluster.door import lasting_store

        return functools.partial(lasting_store, load_node(wanted.store), f"mount-{wanted.spool_path.name}")
    from store.embedded import StoreOptions, open_store

    return functools.partial(open_store, StoreOptions(directories=(wanted.store,)), role="gateway")


def _check(session: Session, places: tuple[str, ...]) -> Exit:
    """Lists what shows under another name; the exit code says whether there is any."""
    from cli.door import local_store
    from fs.survey import oddities

    if len(places) != 1:
        raise click.UsageError("--check is of one bucket or prefix")
    bucket, _, prefix = places[0].partition("/")

    async def main() -> int:
        found = 0
        async with local_store(session.directory()) as store:
            async for oddity in oddities(_Listing(store), bucket, prefix and prefix.rstrip("/") + "/"):
                found += 1
                line = f"{json.dumps(oddity.key, ensure_ascii=False)} shows as {oddity.path}: {oddity.reason}"
                session.output.record("oddity", line, key=oddity.key, path=oddity.path, reason=oddity.reason)
        return found

    found = session.run(main)
    session.output.note(f"{found} of the keys show under another name" if found else "every key is its own path")
    return Exit.WARNINGS if found else Exit.OK


class _Listing:
    """fs.connection.Browse on a store that is only looked at."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def browse(self, bucket: str, prefix: str, begin: str = "") -> Any:
        return await self._store.meta.container(bucket).browse(prefix, begin)


def _stats(session: Session, directory: str) -> Exit:
    try:
        stats: dict[str, Any] = json.loads(os.getxattr(directory, STATS))
    except OSError as error:
        raise Hinted(f"{directory} is no mount of Frazil's", "see `findmnt -t fuse.frazil`", code=Exit.NOT_FOUND) from error
    lines = "\n".join(f"{name:<24} {value}" for name, value in stats.items())
    session.output.record("stats", lines, **stats)
    return Exit.OK


def _default_envelope(settings: BucketSettings) -> Envelope | None:
    """How the bucket encrypts what says nothing of it; an empty key stands for the namespace's default one."""
    from s3.default_encryption import rule_of
    from s3.encryption import key_of
    from store.envelope import Envelope

    default = rule_of(settings).apply_server_side_encryption_by_default
    if default is None:
        return None
    return Envelope(default.algorithm, "", key="" if default.key is None else key_of(default.key, region=settings.region, default=""))
