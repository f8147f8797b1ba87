"""What a command says: lines for people or JSON Lines for programs on standard output, everything else on standard error."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import IO

import msgspec

from cli.exit import Exit, to_exit, to_words
from node.text import visible

SCHEMA = 1
"""Version of the JSON records; a field never changes its meaning within one."""
DRY_PREFIX = "(dry-run) "
_STYLES = {"bold": "1", "dim": "2", "red": "31", "green": "32", "yellow": "33", "blue": "34"}


def use_color(choice: str, stream: IO[str], environ: Mapping[str, str]) -> bool:
    """--color before NO_COLOR before CLICOLOR_FORCE before what the stream is.

    Source: https://no-color.org, https://bixense.com/clicolors
    """
    if choice in ("always", "never"):
        return choice == "always"
    if environ.get("NO_COLOR"):
        return False
    if environ.get("CLICOLOR_FORCE", "0") != "0":
        return True
    return stream.isatty() and environ.get("TERM", "dumb") != "dumb"


def time_text(moment: datetime) -> str:
    """In the user's time zone, to the second."""
    return moment.astimezone().strftime("%Y-%m-%d %H:%M:%S")


def time_json(moment: datetime) -> str:
    """RFC 3339, UTC."""
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")


def count_text(count: int, noun: str) -> str:
    """1 -> "1 object", 2 -> "2 objects"."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


class Output:
    """Where a command writes. In JSON mode each `record` is one line; else its `human` text is."""

    def __init__(self, *, json: bool = False, quiet: bool = False, color: str = "auto", dry_run: bool = False) -> None:
        self.json = json
        self.quiet = quiet
        self.dry_run = dry_run
        self._color = use_color(color, sys.stdout, os.environ) and not json
        self._color_errors = use_color(color, sys.stderr, os.environ)
        self._encoder = msgspec.json.Encoder(enc_hook=str)
        self.above_progress: IO[str] | None = None
        """Set by a progress bar on the same terminal: lines go through it, so that they land above the bar."""

    def __repr__(self) -> str:
        return f"<Output json={self.json} quiet={self.quiet} dry_run={self.dry_run}>"

    def style(self, text: str, *styles: str) -> str:
        """The text in colour when standard output shows colour."""
        return _styled(text, styles) if self._color else text

    def record(self, kind: str, human: str | None = None, /, **fields: object) -> None:
        """One result. `human` None: nothing for people; it is shown even when quiet (it is what was asked for)."""
        if self.json:
            record: dict[str, object] = {"schema": SCHEMA, "type": kind, **({"dry_run": True} if self.dry_run else {}), **fields}
            sys.stdout.write(self._encode(record) + "\n")
        elif human is not None:
            self._line(human)

    def _encode(self, record: dict[str, object]) -> str:
        """As one line of JSON; names of files that are no UTF-8 are shown with escapes."""
        try:
            return self._encoder.encode(record).decode()
        except UnicodeEncodeError:
            shown = {
                name: value.encode(errors="backslashreplace").decode() if isinstance(value, str) else value
                for name, value in record.items()
            }
            return self._encoder.encode(shown).decode()

    def progress(self, kind: str, human: str, /, **fields: object) -> None:
        """Like `record`, but people who asked for quiet don't see it."""
        self.record(kind, None if self.quiet else human, **fields)

    def note(self, text: str) -> None:
        """For people, beside the results: on standard error, not when quiet or JSON."""
        if not self.quiet and not self.json:
            print(self._prefix() + text, file=self.above_progress or sys.stderr)

    def warn(self, text: str) -> None:
        """Something to know even when quiet."""
        label = _styled("warning:", ("yellow",)) if self._color_errors else "warning:"
        print(f"frazil: {label} {text}", file=self.above_progress or sys.stderr)

    def error(self, error: BaseException, *, where: str = "") -> Exit:
        """Reports an error in one line on standard error, and as a record in JSON mode; its exit code."""
        cause, hint = to_words(error)
        code = to_exit(error)
        label = _styled("error:", ("red", "bold")) if self._color_errors else "error:"
        start = f"{visible(where)}: " if where and not cause.startswith(f"{where}: ") else ""
        tail = f"; {hint}" if hint else ""
        print(f"frazil: {label} {start}{visible(cause)}{tail}", file=self.above_progress or sys.stderr)
        if self.json:
            self.record("error", where=where, message=cause, hint=hint, exit=int(code))
        return code

    def flush(self) -> None:
        """Raises: BrokenPipeError when the reader went away."""
        sys.stdout.flush()

    def abandon(self) -> None:
        """The reader went away (`| head`): nothing more can be said, and the interpreter must not try at its end."""
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, sys.stdout.fileno())
        os.close(null)

    def _line(self, text: str) -> None:
        if self.above_progress is not None and sys.stdout.isatty():
            print(self._prefix() + text, file=self.above_progress)
        else:
            sys.stdout.write(f"{self._prefix()}{text}\n")

    def _prefix(self) -> str:
        return DRY_PREFIX if self.dry_run else ""


def _styled(text: str, styles: tuple[str, ...]) -> str:
    return f"\x1b[{';'.join(_STYLES[style] for style in styles)}m{text}\x1b[0m"
