"""A kind of base: which tables it has and what its write functions work with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Generic, TypeVar

import apsw

from meta.connection import APPLICATION_ID, PAGE_BYTES
from meta.script import Script, Values

_VERSIONS = slice(18, 20)
"""Which formats a program must know to write and to read it. Source: https://www.sqlite.org/fileformat2.html ("The Database Header")"""
_WAL = b"\x02\x02"
_SCHEMA_FOLDER = Path(__file__).parent / "schema"


class Transaction:
    """What the write functions of one SQLite transaction share; one object serves all transactions of a connection, one after the other.

    Each request ends with accept or reject; then finish comes once. db: for reading; changes go through `write`; unmade: whether the
    request is a client's second call, and the first was surely not carried out (meta/attempt.py).
    """

    __slots__ = ("db", "now_us", "script", "unmade")

    def __init__(self, db: apsw.Connection) -> None:
        self.db = db
        self.now_us = 0
        self.unmade = False
        self.script = Script(db)

    def begin(self, now_us: int, *, afresh: bool) -> None:
        """afresh: the base may not be as the last transaction left it, so nothing that was remembered of it counts."""
        self.now_us = now_us
        self.script.begin()

    def write(self, sql: str, values: Values = ()) -> int:
        """Executes an INSERT, UPDATE or DELETE; the number of rows it changed. Raises: apsw.Error."""
        return self.script.write(sql, values)

    def accept(self) -> None:
        """The request's changes stay."""

    def reject(self) -> None:
        """The request changed nothing, or its changes were rolled back; forget what was remembered of them."""

    def finish(self) -> None:
        """Writes what was gathered for the whole batch."""


T = TypeVar("T", bound=Transaction)


@dataclass(frozen=True, slots=True)
class Kind(Generic[T]):
    """name: also the name of its schema file; format: version of the schema and of base.sql; tables: those that replicate;
    transaction(db): makes the Transaction."""

    name: str
    format: int
    tables: tuple[str, ...]
    transaction: Callable[[apsw.Connection], T]


@cache
def schema(name: str) -> str:
    """SQL that makes an empty base of that kind, without the tables every base has (`base.sql`)."""
    return (_SCHEMA_FOLDER / f"{name}.sql").read_text(encoding="utf-8")


@cache
def blank(name: str, version: int) -> bytes:
    """The file of an empty base of that kind and format, ready for a write-ahead log. A copy of it costs a tenth of running the schema."""
    db = apsw.Connection(":memory:")
    db.execute(f"PRAGMA page_size={PAGE_BYTES}")
    db.execute(schema("base"))
    db.execute(schema(name))
    db.execute(f"PRAGMA application_id={APPLICATION_ID}; PRAGMA user_version={version}")
    file = bytearray(db.serialize("main"))
    db.close()
    file[_VERSIONS] = _WAL
    return bytes(file)
