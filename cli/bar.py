"""The progress bar. Apart from meter.py because rich takes 50 ms to import."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, cast

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn, TransferSpeedColumn

from cli.meter import Meter
from cli.output import Output


class _Bar:
    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._task = progress.add_task("", total=None)
        self._expected = 0

    def expect(self, size: int) -> None:
        self._expected += size
        self._progress.update(self._task, total=self._expected)

    def advance(self, size: int) -> None:
        self._progress.advance(self._task, size)


class _Above:
    """A text stream whose lines appear above the bar, as they are (no markup, no wrapping)."""

    def __init__(self, console: Console) -> None:
        self._console = console

    def write(self, text: str) -> int:
        self._console.out(text, end="", highlight=False)
        return len(text)

    def flush(self) -> None:
        return


@contextmanager
def bar(output: Output) -> Iterator[Meter]:
    """A bar on standard error for as long as the block runs; lines of `output` go above it."""
    console = Console(file=sys.stderr)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        DownloadColumn(binary_units=True),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(
        *columns, console=console, transient=True, refresh_per_second=8, redirect_stdout=False, redirect_stderr=False
    ) as progress:
        output.above_progress = cast("IO[str]", _Above(console))
        try:
            yield _Bar(progress)
        finally:
            output.above_progress = None
