"""The question before something that can't be undone."""

from __future__ import annotations

import sys

import click

from cli.exit import Exit, Hinted


def confirm(what: str, name: str, *, yes: bool) -> None:
    """Goes on when `yes`, or when the user at the terminal types `name`.

    Raises: Hinted without a terminal, click.Abort when something else is typed.
    """
    if yes:
        return
    if not sys.stdin.isatty() or not sys.stderr.isatty():
        raise Hinted(f"{what[0].lower()}{what[1:]}, and needs a confirmation", "give --yes (try --dry-run first)", code=Exit.USAGE)
    typed = click.prompt(f"{what}. Type {name} to go on", default="", show_default=False, err=True)
    if typed.strip() != name:
        raise Hinted("that is not the name; nothing was deleted", code=Exit.FAILED)
