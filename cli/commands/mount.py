"""mount: buckets as a file system."""

from __future__ import annotations

import functools
import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING

import click

from cli.exit import Exit, Hinted
from cli.session import Session, with_session

if TYPE_CHECKING:
    from meta.protocol.bucket import BucketSettings
    from store.envelope import Envelope

PACKAGES = "gcc pkg-config libfuse3-dev python3-dev fuse3"


@click.command("mount", short_help="Show buckets as folders of this host.")
@click.argument("places", nargs=-1, required=True, metavar="[BUCKET[/PREFIX]] DIRECTORY")
@click.option("-o", "options", multiple=True, metavar="NAME[=VALUE],...", help="Options as mount(8) knows them.")
@click.option("--ready-fd", type=click.IntRange(3), default=None, metavar="FD", help="Write a line to this descriptor once it serves.")
@with_session
def mount(session: Session, places: tuple[str, ...], options: tuple[str, ...], ready_fd: int | None) -> Exit:
    """Show all buckets, or one, or a prefix of one, as folders and files in DIRECTORY until it is unmounted.

    Every object is a file with the same bytes. Needs to be run by the user who runs the store, on its host.
    """
    if importlib.util.find_spec("pyfuse3") is None:
        raise Hinted(
            "a mount needs the library pyfuse3, which is not there",
            f"install {PACKAGES}, then: pip install 'frazil[mount]'",
            code=Exit.FAILED,
        )
    from cli.commands.up import worded
    from cli.door import check_store
    from fs.connection import Rules
    from fs.mount import serve_mount
    from fs.option import MountOptions
    from node import log, runner
    from s3.target import is_bucket_name

    if len(places) > 2:
        raise click.UsageError("one bucket or prefix, and the directory to mount on")
    target, directory = places if len(places) == 2 else ("", places[0])
    log.set_up()
    store = check_store(session.directory())
    wanted = MountOptions(store, Path(directory).absolute(), target).told(options)
    main = functools.partial(serve_mount, wanted, Rules(_default_envelope, is_bucket_name))
    return Exit(runner.run(worded(session.output, main), ready_fd=ready_fd))


def _default_envelope(settings: BucketSettings) -> Envelope | None:
    """How the bucket encrypts what says nothing of it; an empty key stands for the namespace's default one."""
    from s3.default_encryption import rule_of
    from s3.encryption import key_of
    from store.envelope import Envelope

    default = rule_of(settings).apply_server_side_encryption_by_default
    if default is None:
        return None
    return Envelope(default.algorithm, "", key="" if default.key is None else key_of(default.key, region=settings.region, default=""))
