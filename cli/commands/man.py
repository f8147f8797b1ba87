"""man: the manual page, made from the same commands and options that run."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Set

import click

from cli.exit import Exit
from frazil import __version__

_EXIT_STATUS = (
    ("0", "done"),
    ("1", "the operation failed"),
    ("2", "the command line or configuration is wrong"),
    ("3", "not found"),
    ("4", "access denied"),
    ("5", "temporary: trying again may help"),
    ("6", "some of several items failed; each is named on standard error"),
    ("7", "stored bytes are damaged, or arrived damaged"),
    ("8", "a conflict or a condition that does not hold"),
    ("10", "the object lies in the cold tier and must be restored first"),
    ("11", "there are warnings (doctor, status)"),
    ("130", "interrupted"),
    ("141", "the reader of the output went away"),
)
_ENVIRONMENT = (
    ("FRAZIL_STORE", "directory of the store on this host, as --store"),
    ("FRAZIL_PROFILE", "name of a profile, as --profile"),
    ("FRAZIL_DEBUG", "when set, errors come with a traceback"),
    ("NO_COLOR, CLICOLOR_FORCE", "no colour; colour even without a terminal"),
    ("XDG_CONFIG_HOME, XDG_STATE_HOME", "where configuration and state are, instead of ~/.config and ~/.local/state"),
)
_FILES = (
    (
        "~/.config/frazil/config.toml",
        "profiles: [profile.NAME] with endpoint, access_key, secret_file and region; default = NAME picks one",
    ),
    ("~/.local/state/frazil/last-store", "the store that this user started last"),
    ("~/.local/state/frazil/uploads/", "uploads in parts that were interrupted"),
)


@click.command("man", short_help="Print the manual page.")
def man() -> Exit:
    """Print the manual page as troff; read it with `frazil man | man -l -`."""
    click.echo(page(), nl=False)
    return Exit.OK


def page() -> str:
    """The whole page, frazil(1)."""
    from cli.main import root

    context = click.Context(root, info_name="frazil")
    lines = [
        f'.TH FRAZIL 1 "" "frazil {__version__}" "User Commands"',
        ".SH NAME",
        r"frazil \- an S3 object store on disks of your own",
        ".SH SYNOPSIS",
        ".B frazil",
        r"[\fIOPTIONS\fR] \fICOMMAND\fR [\fIARGUMENTS\fR]",
        ".SH DESCRIPTION",
        *_paragraphs(root.help or ""),
        _escape(root.epilog or ""),
        ".SH OPTIONS",
        "Every command understands these too, behind its name.",
        *_options(root, context),
        ".SH COMMANDS",
    ]
    for command, inner in _commands(root, context):
        lines += _command(command, inner)
    for title, rows in (("EXIT STATUS", _EXIT_STATUS), ("ENVIRONMENT", _ENVIRONMENT), ("FILES", _FILES)):
        lines.append(f".SH {title}")
        for name, words in rows:
            lines += [".TP", f".B {_escape(name)}", _escape(words)]
    return "\n".join(lines) + "\n"


def _commands(group: click.Group, context: click.Context) -> Iterator[tuple[click.Command, click.Context]]:
    """A group before its commands."""
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        if command.hidden:
            continue
        inner = click.Context(command, info_name=name, parent=context)
        yield command, inner
        if isinstance(command, click.Group):
            yield from _commands(command, inner)


def _command(command: click.Command, context: click.Context) -> list[str]:
    arguments = " ".join(command.collect_usage_pieces(context))
    path = context.command_path.removeprefix("frazil ")
    common = {name for parameter in context.find_root().command.params for name in parameter.opts} | set(context.help_option_names)
    return [f".SS {_escape(path)} {_escape(arguments)}", *_paragraphs(command.help or ""), *_options(command, context, common)]


def _options(command: click.Command, context: click.Context, told: Set[str] = frozenset()) -> list[str]:
    """told: names of those that need no second word."""
    lines: list[str] = []
    for parameter in command.get_params(context):
        record = parameter.get_help_record(context)
        if isinstance(parameter, click.Option) and record is not None and told.isdisjoint(parameter.opts):
            lines += [".TP", rf"\fB{_escape(record[0])}\fR", _escape(record[1])]
    return lines


def _paragraphs(text: str) -> list[str]:
    paragraphs = inspect.cleandoc(text).split("\n\n")
    return [line for paragraph in paragraphs for line in (".PP", _escape(" ".join(paragraph.split())))]


def _escape(text: str) -> str:
    escaped = text.replace("\\", r"\e").replace("-", r"\-").replace("`", r"\(ga")
    return r"\&" + escaped if escaped.startswith((".", "'")) else escaped
