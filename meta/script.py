"""The script of a transaction: its changes as statements with their values. Run on an equal base it makes an equal base.

Each statement names all it writes and finds rows by what they hold, never by chance, clock or order; how many rows it changed is part of
the script, so a base that was not equal is noticed. On disk and on the wire: msgpack

    [version, [SQL, ..], [[place of its SQL, rows changed, [value, ..]], ..], [[seq, kind, key, age], ..], [[number, answer], ..]]

where the last lists are the lines of the change log, and the clients' calls that it carried out, as far as they may be made again
(meta/attempt.py).
"""

from __future__ import annotations

from typing import Any

import apsw
import msgspec

from node.errors import BaseCorrupt

SCRIPT_VERSION = 1

Value = str | bytes | bool | int | None
Values = tuple[Value, ...]


class ChangeLine(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """For whoever follows a bucket. seq: grows with each change, gaps are normal; kind: put, delete, change, settings, folder (any key
    that begins with this one may have come or gone); key: "" for settings; age: of the version concerned, 0 = none."""

    seq: int
    kind: str
    key: str
    age: int


class _Step(msgspec.Struct, frozen=True, array_like=True, gc=False):
    sql: int
    rows: int
    values: tuple[Any, ...]  # Values; msgspec knows no union of text and bytes


class _Wire(msgspec.Struct, frozen=True, array_like=True, gc=False):
    version: int
    sql: list[str]
    steps: list[_Step]
    lines: list[ChangeLine]
    calls: list[tuple[bytes, msgspec.Raw]] = []


class _Skim(msgspec.Struct, frozen=True, array_like=True):
    """The same without the statements, which are most of it and which only `run` needs."""

    version: int
    sql: msgspec.Raw
    steps: msgspec.Raw
    lines: list[ChangeLine]
    calls: list[tuple[bytes, msgspec.Raw]] = []


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(_Wire)
_skimmer = msgspec.msgpack.Decoder(_Skim)


class Script:
    """Makes changes and takes them down."""

    __slots__ = ("_db", "_seen", "_sql", "_steps", "calls", "lines")

    def __init__(self, db: apsw.Connection) -> None:
        self._db = db
        self.begin()

    def __repr__(self) -> str:
        return f"<Script steps={len(self._steps)} lines={len(self.lines)}>"

    def begin(self) -> None:
        """A new transaction."""
        self._sql: dict[str, int] = {}
        self._steps: list[_Step] = []
        self.lines: list[ChangeLine] = []
        self.calls: list[tuple[bytes, msgspec.Raw]] = []
        self._seen = self._db.total_changes()

    def write(self, sql: str, values: Values = ()) -> int:
        """Executes an INSERT, UPDATE or DELETE; the number of rows it changed. Raises: apsw.Error."""
        assert self.complete, "a change went past the script"
        self._db.execute(sql, values)
        total = self._db.total_changes()
        rows, self._seen = total - self._seen, total
        if rows:
            self._steps.append(_Step(self._sql.setdefault(sql, len(self._sql)), rows, values))
        return rows

    def mark(self) -> tuple[int, int]:
        """How far it got; for `cut`."""
        return len(self._steps), len(self.lines)

    def cut(self, mark: tuple[int, int]) -> None:
        """Forgets what came after the mark, for it was rolled back."""
        steps, lines = mark
        del self._steps[steps:], self.lines[lines:]
        self._seen = self._db.total_changes()

    @property
    def empty(self) -> bool:
        return not self._steps

    @property
    def complete(self) -> bool:
        """Whether nothing was changed past it: a peer would never hear of that."""
        return self._db.total_changes() == self._seen

    def encode(self) -> bytes:
        return _encoder.encode(_Wire(SCRIPT_VERSION, list(self._sql), self._steps, self.lines, self.calls))


def run(db: apsw.Connection, script: bytes) -> None:
    """Makes the script's changes within the caller's transaction. Raises: BaseCorrupt when they don't come out the same; apsw.Error."""
    try:
        wire = _decoder.decode(script)
    except msgspec.DecodeError as error:
        raise BaseCorrupt(f"a transaction's script is not readable: {error}") from error
    if wire.version != SCRIPT_VERSION:
        raise BaseCorrupt(f"a transaction's script has version {wire.version}, this Frazil knows {SCRIPT_VERSION}")
    for step in wire.steps:
        before = db.total_changes()
        db.execute(wire.sql[step.sql], step.values)
        rows = db.total_changes() - before
        if rows != step.rows:
            raise BaseCorrupt(f"a statement of a transaction's script changed {rows} rows here, {step.rows} where it was written")


def change_lines(script: bytes) -> list[ChangeLine]:
    return _skimmer.decode(script).lines


def calls_of(script: bytes) -> list[tuple[bytes, msgspec.Raw]]:
    """The calls that the transaction carried out: number and answer."""
    return _skimmer.decode(script).calls
