"""doctor: looks for trouble before it comes."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator
from pathlib import Path

import click
import trio

from cli.checks import Finding, directory_findings, host_findings, store_findings
from cli.exit import Exit
from cli.place import StoreDirectory, find
from cli.session import Session, with_session
from cli.state import SETTINGS_FILE
from node.errors import FrazilError
from node.text import visible

_MARKS = {"ok": ("ok", "green"), "warning": ("warning", "yellow"), "failure": ("FAILURE", "red")}


@click.command("doctor", short_help="Check this host and the store for trouble to come.")
@click.argument("directories", type=click.Path(path_type=Path), nargs=-1, metavar="[DIR...]")
@with_session
def doctor(session: Session, directories: tuple[Path, ...]) -> Exit:
    """Check this host, and each DIR or the store on it: libraries, erasure code, clock, limits, disks, attributes, keys, cold disks.

    Exit code 0 when all is well, 11 when there are warnings, 1 when something will not work.
    """
    levels = {"ok": 0, "warning": 0, "failure": 0}
    for finding in itertools.chain(host_findings(), _place_findings(session, directories)):
        levels[finding.level] += 1
        _show(session, finding)
    code = Exit.FAILED if levels["failure"] else Exit.WARNINGS if levels["warning"] else Exit.OK
    text = f"{levels['ok']} fine, {levels['warning']} warnings, {levels['failure']} failures"
    session.output.record("summary", None, **levels, exit=int(code))
    session.output.note(text)
    return code


def _show(session: Session, finding: Finding) -> None:
    output = session.output
    mark, color = _MARKS[finding.level]
    hint = f" ({finding.hint})" if finding.hint else ""
    line = f"{output.style(f'{mark:<8}', color)} {finding.check:<13} {visible(finding.subject)}: {visible(finding.text)}{hint}"
    if output.quiet and finding.level == "ok":
        return
    output.record("finding", line, check=finding.check, level=finding.level, subject=finding.subject, text=finding.text, hint=finding.hint)


def _place_findings(session: Session, directories: tuple[Path, ...]) -> Iterator[Finding]:
    if directories:
        yield from directory_findings(directories)
        return
    try:
        place = find(session.settings.store, session.settings.profile, os.environ)
    except FrazilError as error:
        if session.settings.store or session.settings.profile:
            raise
        yield Finding("store", "ok", "store", f"none to look at: {error}")
        return
    if isinstance(place, StoreDirectory) and place.is_cluster:
        from cli.cluster.checks import node_findings

        yield from node_findings(place)
        yield from _cold_findings(session)
    elif isinstance(place, StoreDirectory) and (place.path / SETTINGS_FILE).is_file():
        yield from store_findings(place.path)
        yield from directory_findings(_volume_paths(place.path))
        yield from _cold_findings(session)


def _cold_findings(session: Session) -> Iterator[Finding]:
    from cli.boards import board_findings, board_statuses

    try:
        statuses = trio.run(board_statuses, session)
    except FrazilError as error:
        yield Finding("cold disks", "warning", "boards", f"their workers can't be asked: {error}", "is the store up? its log says more")
        return
    yield from board_findings(statuses)


def _volume_paths(directory: Path) -> list[Path]:
    """The volumes that the store's settings name."""
    from store.settings import load_settings

    settings = load_settings(directory)
    return [settings.path_of(slot, directory) for slot in settings.volumes] if settings else []
