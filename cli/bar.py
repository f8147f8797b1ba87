"""The progress bar. Apart from meter.py because rich takes 50 ms to import."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING, cast

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn, TransferSpeedColumn

from cli.estimate import counted, left_s, share_of
from cli.output import Output
from node.text import span_text

if TYPE_CHECKING:
    from meta.protocol.jobs import Job


class Bar:
    """A Meter, see there."""

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
def bar(output: Output) -> Iterator[Bar]:
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
            yield Bar(progress)
        finally:
            output.above_progress = None


class ShareBar:
    """A Teller, see cli/follow.py."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._task = progress.add_task("", total=1.0, left="")

    def tell(self, job: Job) -> None:
        left = left_s(job)
        words = counted(job) + (f"; {job.message}" if job.message else "") + ("; paused" if job.state == "paused" else "")
        about = f"about {span_text(left)} left" if left is not None else ""
        self._progress.update(self._task, completed=share_of(job) or 0.0, description=words, left=about)


@contextmanager
def share_bar(output: Output) -> Iterator[ShareBar]:
    """A bar on standard error for a job, whose parts are no bytes; lines of `output` go above it."""
    console = Console(file=sys.stderr)
    columns = (BarColumn(), TaskProgressColumn(), TextColumn("{task.fields[left]}"), TextColumn("{task.description}", markup=False))
    with Progress(
        *columns, console=console, transient=True, refresh_per_second=4, redirect_stdout=False, redirect_stderr=False
    ) as progress:
        output.above_progress = cast("IO[str]", _Above(console))
        try:
            yield ShareBar(progress)
        finally:
            output.above_progress = None
