"""How far a transfer is: a bar on a terminal, a line now and then elsewhere, or nothing."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from cli.output import Output
from node.text import bytes_text

LINE_EVERY_S = 30.0


class Meter(Protocol):
    def expect(self, size: int) -> None:
        """More bytes are to come."""

    def advance(self, size: int) -> None:
        """Bytes went over; negative when some have to go again."""


class SilentMeter:
    def expect(self, size: int) -> None:
        return

    def advance(self, size: int) -> None:
        return


class LineMeter:
    """One line every LINE_EVERY_S, for logs."""

    def __init__(self, output: Output) -> None:
        self._output = output
        self._expected = self._done = 0
        self._next = time.monotonic() + LINE_EVERY_S

    def expect(self, size: int) -> None:
        self._expected += size

    def advance(self, size: int) -> None:
        self._done += size
        if time.monotonic() >= self._next:
            self._next = time.monotonic() + LINE_EVERY_S
            self._output.note(f"{bytes_text(self._done)} of {bytes_text(max(self._expected, self._done))} so far")


@contextmanager
def metered(output: Output) -> Iterator[Meter]:
    """The meter that fits where the output goes; a bar only ever appears on standard error."""
    if output.quiet or output.json or output.dry_run:
        yield SilentMeter()
        return
    if not sys.stderr.isatty():
        yield LineMeter(output)
        return
    from cli.bar import bar

    with bar(output) as meter:
        yield meter
