"""up: run a store in the foreground."""

from __future__ import annotations

import functools
import os
import shutil
import sys
from pathlib import Path
from typing import Any

import click

from cli.exit import Exit, leaves
from cli.output import Output, count_text
from cli.parameter import HOST_PORT
from cli.place import remember_last
from cli.process import die_with, prepare
from cli.session import Session, with_session
from cli.state import missing_boards
from node.errors import FrazilError

LISTEN_DEFAULT = "127.0.0.1:3200"
VOLUMES_MAX = 128
WORKERS_MAX = 64
LIFECYCLE_DAY_S_MIN = 0.1


def _serving_options(function: Any) -> Any:
    options = (
        click.argument("directories", type=click.Path(file_okay=False, path_type=Path), nargs=-1, required=True, metavar="DIR..."),
        click.option(
            "--listen", type=HOST_PORT, default=LISTEN_DEFAULT, show_default=True, metavar="HOST:PORT", help="Where S3 is served."
        ),
        click.option(
            "--volumes", metavar="N", type=click.IntRange(1, VOLUMES_MAX), default=1, show_default=True, help="Volumes in each new DIR."
        ),
        click.option(
            "--policy",
            default="",
            metavar="NAME",
            help="Storage policy (SINGLE, TWOCOPIES, EC63 ...), instead of the one that fits the volumes.",
        ),
        click.option(
            "--tls-cert", type=click.Path(exists=True, dir_okay=False), default=None, help="Certificate chain (PEM): serve HTTPS."
        ),
        click.option("--tls-key", type=click.Path(exists=True, dir_okay=False), default=None, help="The certificate's key (PEM)."),
        click.option(
            "--allow-ssec-http",
            is_flag=True,
            help="Take SSE-C keys over plain HTTP (a proxy ends TLS).",
        ),
        click.option("--region", metavar="NAME", default="us-east-1", show_default=True, help="The region that clients sign for."),
        click.option("--domain", "domains", multiple=True, metavar="NAME", help="Serve BUCKET.NAME as a bucket; may be given again."),
        click.option("--sigv2", is_flag=True, help="Also take AWS signature version 2, for old clients; version 4 is safer."),
        click.option(
            "--lifecycle-day",
            type=click.FloatRange(LIFECYCLE_DAY_S_MIN, 86_400),
            default=None,
            metavar="SECONDS",
            help="How long a day of lifecycle rules and restores is, for tests [default: a day].",
        ),
        click.option("--cold", multiple=True, metavar="ADDRESS", help="Socket of a worker of cold disks, unix:PATH (one for each bus)."),
        click.option(
            "--ready-fd", type=click.IntRange(3), default=None, metavar="FD", help="Write the URL to this descriptor once it serves."
        ),
    )
    for option in reversed(options):
        function = option(function)
    return function


@click.command("up", short_help="Run a store on the given directories.")
@_serving_options
@click.option(
    "--workers",
    metavar="N",
    type=click.IntRange(1, WORKERS_MAX),
    default=1,
    show_default=True,
    help="Processes that serve S3, for more cores.",
)
@click.option(
    "--board",
    type=click.Path(file_okay=False, path_type=Path),
    default=None,
    metavar="DIR",
    help="Also run the board of cold disks in DIR: freezer and workers. A new one is made of loop devices (needs root).",
)
@click.option("--metrics", type=HOST_PORT, default=None, metavar="HOST:PORT", help="Serve metrics for Prometheus here.")
@with_session
def up(session: Session, **options: Any) -> Exit:
    """Run a store on the given directories, made when they are new; a directory should be a disk of its own.

    Serves in the foreground until SIGTERM or Ctrl-C, then ends what is in flight. The first start makes an admin key and prints it,
    once. With more volumes objects are kept safer: 1 keeps one copy, 2 two, 3 to 5 a code of 2+1, 6 to 8 4+2, 9 and more 6+3; small
    objects are kept as three copies beside a code, four beside 6+3.
    """
    from cli import serve
    from node import log, runner
    from node.logbook import LOGBOOK

    prepare()
    log.set_up()
    LOGBOOK.attach()
    options["directories"] = tuple(path.absolute() for path in options["directories"])
    ready_fd = options.pop("ready_fd")
    wanted = serve.ServeOptions(**_without_none(options))
    announce = functools.partial(_announce, session.output, wanted)
    return Exit(runner.run(worded(session.output, functools.partial(serve.run_main, wanted, announce)), ready_fd=ready_fd))


@click.command("_gateway", hidden=True, short_help="A further gateway process; `up` starts it.")
@_serving_options
@click.option("--parent", type=int, required=True)
@with_session
def gateway(session: Session, parent: int, **options: Any) -> Exit:
    """A further gateway process of a store that runs."""
    die_with(parent)
    from cli import serve
    from node import log, runner
    from node.logbook import LOGBOOK

    prepare()
    log.set_up()
    LOGBOOK.attach()
    ready_fd = options.pop("ready_fd")
    wanted = serve.ServeOptions(**_without_none(options))
    return Exit(runner.run(worded(session.output, functools.partial(serve.run_gateway, wanted)), ready_fd=ready_fd))


def _without_none(options: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in options.items() if value is not None}


def worded(output: Output, main: Any) -> Any:
    """`main` with deliberate errors told as every command tells them; bugs go on to the runner, which logs them."""

    async def worded(drain: object, ready: object) -> None:
        try:
            await main(drain, ready)
        except BaseException as error:
            if not all(isinstance(leaf, (FrazilError, OSError)) for leaf in leaves(error)):
                raise
            raise SystemExit(output.error(error)) from error

    return worded


def _announce(output: Output, options: Any, serving: Any) -> None:
    """The URL on standard output; after the first start also the key and what to do with it."""
    remember_last(options.directories[0], os.environ)
    state, key = serving.state, serving.first_key
    fields: dict[str, object] = {"url": state.url, "region": state.region, "store": str(options.directories[0]), "volumes": serving.volumes}
    if key is not None and not _is_journal(sys.stdout.fileno()):
        fields |= {"access_key": key.access_key, "secret_key": key.secret}
    lines = [f"Frazil serves {state.url} from {options.directories[0]} ({count_text(serving.volumes, 'volume')})"]
    if key is not None:
        lines += _first_steps(state.url, state.region, key.access_key, str(fields.get("secret_key", "")))
    missing = missing_boards(options.directories[0], state)
    if missing:
        lines.append(output.style(f"boards   {missing}", "red"))
        fields["boards_missing"] = True
    output.record("serving", "\n".join(lines), **fields)
    output.flush()


def _first_steps(url: str, region: str, access_key: str, secret: str) -> list[str]:
    command = "frazil" if shutil.which("frazil") else os.path.abspath(sys.argv[0])
    if not secret:
        return [
            f"The admin key {access_key} was made. Its secret is kept out of the journal; make a key to use with: {command} key create NAME"
        ]
    return [
        "",
        "This is the first start: the admin key was made. It is shown this once.",
        "",
        f"  export AWS_ACCESS_KEY_ID={access_key}",
        f"  export AWS_SECRET_ACCESS_KEY={secret}",
        f"  export AWS_ENDPOINT_URL={url} AWS_DEFAULT_REGION={region}",
        "",
        "Paste those three lines into another terminal, then these:",
        "",
        f"  {command} mb s3://first",
        f"  echo 'Hello, ice.' | {command} put - s3://first/hello",
        f"  {command} cat s3://first/hello",
        "  aws s3 ls s3://first",
        f'  curl --aws-sigv4 aws:amz:{region}:s3 --user "$AWS_ACCESS_KEY_ID:$AWS_SECRET_ACCESS_KEY" \\',
        f'    -H "x-amz-content-sha256: UNSIGNED-PAYLOAD" {url}/first/hello',
        "",
    ]


def _is_journal(descriptor: int) -> bool:
    """Whether what is written to the descriptor ends up in systemd's journal, where a secret must not be.

    Source: systemd.exec(5), JOURNAL_STREAM.
    """
    device, _, inode = os.environ.get("JOURNAL_STREAM", "").partition(":")
    status = os.fstat(descriptor)
    return (device, inode) == (str(status.st_dev), str(status.st_ino))
