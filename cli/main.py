"""The root of the command line: finds a command's module when it is asked for, and turns how it ended into an exit code."""

from __future__ import annotations

import importlib
import os
import signal
import sys
from collections.abc import Mapping
from typing import Any

import click

from cli.exit import Exit, main_cause
from frazil import __version__

SECTIONS: Mapping[str, Mapping[str, tuple[str, str]]] = {
    "A store": {
        "up": ("cli.commands.up:up", "Run a store on the given directories."),
        "status": ("cli.commands.status:status", "Show the store, its volumes and what they hold."),
        "top": ("cli.commands.top:top", "Watch the store on a dashboard."),
        "doctor": ("cli.commands.doctor:doctor", "Check this host and the store for trouble to come."),
        "mount": ("cli.commands.mount:mount", "Show buckets as folders of this host."),
    },
    "Buckets and objects": {
        "mb": ("cli.commands.bucket:make_bucket", "Make buckets."),
        "rb": ("cli.commands.bucket:remove_bucket", "Remove buckets."),
        "ls": ("cli.commands.list:ls", "List buckets and objects."),
        "tree": ("cli.commands.list:tree", "Show what is below a prefix as a tree."),
        "du": ("cli.commands.list:du", "Sum up objects and bytes."),
        "stat": ("cli.commands.stat:stat", "Show all about buckets and objects."),
        "cat": ("cli.commands.stream:cat", "Write objects to standard output."),
        "put": ("cli.commands.copy:put", "Store a file or standard input as an object."),
        "get": ("cli.commands.copy:get", "Fetch an object into a file or to standard output."),
        "cp": ("cli.commands.copy:cp", "Copy files and objects."),
        "mv": ("cli.commands.copy:mv", "Move files and objects."),
        "sync": ("cli.commands.sync:sync", "Make a target like its source, copying what differs."),
        "rm": ("cli.commands.remove:rm", "Delete objects."),
        "presign": ("cli.commands.presign:presign", "Print a URL that grants access for a while."),
        "restore": ("cli.commands.restore:restore", "Make cold objects readable for a while."),
        "thaw": ("cli.commands.restore:thaw", "Make all cold objects below a prefix readable."),
    },
    "Access, and rules of buckets": {
        "account": ("cli.commands.account:account", "Make, list, suspend and resume accounts."),
        "user": ("cli.commands.user:user", "Make, list, suspend and remove users of accounts."),
        "key": ("cli.commands.key:key", "Make, list, suspend and revoke access keys."),
        "policy": ("cli.commands.policy:policy", "Make, list, attach and detach policies of users and keys."),
        "encryption": ("cli.commands.encryption:encryption", "Make, rotate and switch encryption keys."),
        "bucket": ("cli.commands.bucket:bucket", "Show and change how much a bucket may hold."),
        "storage-policy": ("cli.commands.storage_policy:storage_policy", "Show and change how a bucket's objects are stored."),
        "webhook": ("cli.commands.webhook:webhook", "Register the URLs that events of buckets go to."),
        "lifecycle": ("cli.commands.lifecycle:lifecycle", "Show buckets' lifecycle rules, and what they do."),
    },
    "Care for what is stored": {
        "verify": ("cli.commands.verify:verify", "Read and check every chunk of a bucket or object."),
        "scrub": ("cli.commands.scrub:scrub", "Check all that is stored and repair it."),
        "rebuild": ("cli.commands.rebuild:rebuild", "Make anew what a disk has lost."),
        "quarantine": ("cli.commands.quarantine:quarantine", "List and purge damaged chunks that were moved aside."),
        "rebalance": ("cli.commands.scrub:rebalance", "Move chunks from full volumes to empty ones."),
        "decommission": ("cli.commands.scrub:decommission", "Move everything off a volume."),
        "job": ("cli.commands.work:job", "Show, pause, resume and abort long work."),
    },
    "Cold disks": {
        "freezer": ("cli.commands.freezer:freezer", "Drive a board of cold disks, and look at it."),
        "glacier": ("cli.commands.glacier:glacier", "Look at the cold tier and try out its schedule."),
    },
    "Clusters": {
        "node": ("cli.commands.node:node", "Run and take out the hosts of a cluster."),
        "cluster": ("cli.commands.cluster:cluster", "Show the services of all hosts, and lock their scores."),
        "election": ("cli.commands.election:election", "Show who leads which metadata, and have another lead."),
        "base": ("cli.commands.base:base", "Show, check and move replicas of metadata."),
        "config": ("cli.commands.config:config", "Show and change the settings of a cluster."),
    },
    "Shells": {
        "completion": ("cli.commands.completion:completion", "Print the completion script of a shell."),
        "man": ("cli.commands.man:man", "Print the manual page."),
    },
}
"""title: name: (module:attribute, short help). The help stands here too so that `frazil --help` imports no command; a test compares."""
COMMANDS: Mapping[str, tuple[str, str]] = {
    **{name: found for section in SECTIONS.values() for name, found in section.items()},
    "_gateway": ("cli.commands.up:gateway", "A further gateway process; `up` starts it."),
}
"""All, also those that only Frazil itself runs."""

_EPILOG = (
    "Places are written s3://BUCKET/KEY or PROFILE:BUCKET/KEY; `-` is standard input or output. "
    "Exit codes: 0 done, 1 failed, 2 usage, 3 not found, 4 denied, 5 try again, 6 some items failed, 7 damaged, 8 conflict, "
    "10 needs restore, 11 warnings, 130 interrupted, 141 pipe closed."
)


class LazyGroup(click.Group):
    """Imports a command's module only when that command runs or shows its help."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [name for name in COMMANDS if not name.startswith("_")]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        found = COMMANDS.get(cmd_name)
        if found is None:
            return None
        module, _, attribute = found[0].partition(":")
        command = getattr(importlib.import_module(module), attribute)
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        spacing = max(map(len, COMMANDS))
        for title, commands in SECTIONS.items():
            with formatter.section(title):
                formatter.write_dl([(f"{name:<{spacing}}", words) for name, (_, words) in commands.items()])

    def resolve_command(self, ctx: click.Context, args: list[str]) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0]
        if name not in COMMANDS and not name.startswith("-"):
            from difflib import get_close_matches

            close = get_close_matches(name, self.list_commands(ctx), 1)
            ctx.fail(f"no command {name!r}" + (f"; meant {close[0]!r}?" if close else "; `frazil --help` lists them"))
        return super().resolve_command(ctx, args)


@click.group(cls=LazyGroup, epilog=_EPILOG, context_settings={"help_option_names": ["--help"], "max_content_width": 120})
@click.version_option(__version__, prog_name="frazil", message="%(prog)s %(version)s")
@click.option("--store", metavar="DIR", default="", help="The store on this host, by its first directory [env: FRAZIL_STORE].")
@click.option("--profile", metavar="NAME", default="", help="A store elsewhere, by its name in config.toml [env: FRAZIL_PROFILE].")
@click.option("--json", is_flag=True, help="JSON Lines on standard output.")
@click.option("-q", "--quiet", is_flag=True, help="Only results and errors.")
@click.option(
    "--color", type=click.Choice(["auto", "always", "never"]), default="auto", help="Colour [default: auto; env: NO_COLOR, CLICOLOR_FORCE]."
)
def root(**_options: Any) -> None:
    """Frazil: an S3 object store on disks of your own.

    Start one with `frazil up DIR`; every other command finds the store this user started last.
    """


def main(arguments: list[str] | None = None) -> int:
    """Runs one command line; the exit code. Never lets a traceback out unless FRAZIL_DEBUG is set."""
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        code = root.main(args=arguments, prog_name="frazil", standalone_mode=False)
        sys.stdout.flush()
    except click.ClickException as refused:
        refused.show()
        return Exit.USAGE
    except BaseException as error:  # noqa: BLE001 - the outermost edge: every end becomes a line and a code
        return _failed(error)
    return code if isinstance(code, int) else Exit.OK


def _failed(error: BaseException) -> int:
    cause = main_cause(error)
    if isinstance(cause, KeyboardInterrupt | click.Abort):
        return _interrupted()
    if isinstance(cause, SystemExit):
        return cause.code if isinstance(cause.code, int) else Exit.FAILED
    if os.environ.get("FRAZIL_DEBUG"):
        import traceback

        traceback.print_exception(error)
    from cli.output import Output

    return Output().error(error)


def _interrupted() -> int:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    print("frazil: interrupted", file=sys.stderr)
    return Exit.INTERRUPTED
