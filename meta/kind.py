"""A kind of base: which tables it has and what its write functions work with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Generic, Protocol, TypeVar

import apsw

_SCHEMA_FOLDER = Path(__file__).parent / "schema"


class Transaction(Protocol):
    """What the write functions of one SQLite transaction share. Each request ends with accept or reject;
    then finish comes once."""

    db: apsw.Connection

    def accept(self) -> None:
        """The request's changes stay."""

    def reject(self) -> None:
        """The request's changes were rolled back; forget what was remembered of them."""

    def finish(self) -> None:
        """Writes what was gathered for the whole batch (counters, trimming)."""


T = TypeVar("T", bound=Transaction)


@dataclass(frozen=True, slots=True)
class Kind(Generic[T]):
    """name: also the name of its schema file; format: version of the schema; tables: those that replicate, all with a primary key;
    begin(db, now_us): makes the Transaction."""

    name: str
    format: int
    tables: tuple[str, ...]
    begin: Callable[[apsw.Connection, int], T]


@cache
def schema(name: str) -> str:
    """SQL that makes an empty base of that kind, without the tables every base has (`base.sql`)."""
    return (_SCHEMA_FOLDER / f"{name}.sql").read_text(encoding="utf-8")


class PlainTransaction:
    """For kinds that gather nothing."""

    __slots__ = ("db", "now_us")

    def __init__(self, db: apsw.Connection, now_us: int) -> None:
        self.db = db
        self.now_us = now_us

    def accept(self) -> None:
        return

    def reject(self) -> None:
        return

    def finish(self) -> None:
        return
