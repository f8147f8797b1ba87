"""mount: buckets as a file system."""

from __future__ import annotations

import functools
import importlib.util
from pathlib import Path

import click

from cli.exit import Exit, Hinted
from cli.session import Session, with_session

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
    from fs.mount import serve_mount
    from fs.option import MountOptions
    from node import log, runner

    if len(places) > 2:
        raise click.UsageError("one bucket or prefix, and the directory to mount on")
    target, directory = places if len(places) == 2 else ("", places[0])
    log.set_up()
    store = check_store(session.directory())
    wanted = MountOptions(store, Path(directory).absolute(), target).told(options)
    return Exit(runner.run(worded(session.output, functools.partial(serve_mount, wanted)), ready_fd=ready_fd))
