"""What the write functions of a container share within one SQLite transaction: settings, numbers, sums, the change log."""

from __future__ import annotations

import apsw
import msgspec

from meta.kind import Kind
from meta.protocol import BucketSettings, Dropped
from node.errors import BucketNotFound

CHANGES_MAX = 10_000
"""Rows kept in the change log of a container."""
COMPLETED_KEPT_US = 24 * 3600 * 1_000_000
"""How long a completion, or a rename with a token, may be repeated."""

_settings_decoder = msgspec.msgpack.Decoder(BucketSettings)
_settings_encoder = msgspec.msgpack.Encoder()

Sums = dict[tuple[str, str], list[int]]


class ContainerTransaction:
    """See meta/kind.py. Sums are gathered in memory and written once per transaction."""

    __slots__ = ("_batch_sums", "_changes", "_numbers", "_settings", "_sums", "_totals", "db", "now_us")

    def __init__(self, db: apsw.Connection, now_us: int) -> None:
        self.db = db
        self.now_us = now_us
        self._settings: BucketSettings | None = None
        self._numbers: list[int] | None = None
        self._sums: Sums = {}
        self._batch_sums: Sums = {}
        self._totals: dict[tuple[str, str], tuple[int, int]] | None = None
        self._changes = False

    # What the transaction knows

    @property
    def settings(self) -> BucketSettings:
        """Raises: BucketNotFound when the bucket was never made or is removed."""
        if self._settings is None:
            self._settings = read_settings(self.db)
        return self._settings

    def write_settings(self, settings: BucketSettings, *, removed: bool = False) -> None:
        self.db.execute("INSERT OR REPLACE INTO settings VALUES (1, ?, ?)", (int(removed), _settings_encoder.encode(settings)))
        self._settings = None if removed else settings

    def number(self) -> int:
        """The next of the container's numbers."""
        numbers = self._numbers or self._load_numbers()
        numbers[0] += 1
        return numbers[0]

    def version(self, wish: int, newest: int) -> int:
        """A version larger than `newest` of its key: the wish if it is, else the time, moved beyond every version given before."""
        numbers = self._numbers or self._load_numbers()
        version = wish if wish > newest else max(self.now_us, numbers[1] + 1, newest + 1)
        numbers[1] = max(numbers[1], version)
        return version

    # What requests leave behind

    def count(self, kind: str, name: str, number: int, size: int) -> None:
        """Adds to a sum of `counters`."""
        sums = self._sums.get((kind, name))
        if sums is None:
            self._sums[kind, name] = [number, size]
        else:
            sums[0] += number
            sums[1] += size

    def total(self) -> int:
        """Bytes of all versions and parts, this request's included."""
        if self._totals is None:
            self._totals = {(kind, name): (number, size) for kind, name, number, size in self.db.execute("SELECT * FROM counters")}
        stored = sum(size for _, size in self._totals.values())
        return stored + sum(size for sums in (self._batch_sums, self._sums) for _, size in sums.values())

    def changed(self, kind: str, key: str, age: int) -> int:
        """A line in the change log; returns its seq."""
        seq = self.number()
        self.db.execute("INSERT INTO changes VALUES (?, ?, ?, ?)", (seq, kind, key, age))
        self._changes = True
        return seq

    def drop(self, content: str, parts: str, layout: bytes) -> tuple[Dropped, ...]:
        """Remembers a content that no row names any more; nothing to remember when it lies nowhere."""
        if not layout:
            return ()
        number = self.number()
        self.db.execute("INSERT INTO deletions VALUES (?, ?, ?, ?)", (number, content, parts, layout))
        return (Dropped(number, layout),)

    def stale(self, key: str, age: int) -> None:
        """The records of that version's chunks say something else now."""
        self.db.execute("INSERT INTO stale_records VALUES (?, ?, ?)", (self.number(), key, age))

    # The writer's calls

    def accept(self) -> None:
        sums, self._sums = self._sums, {}
        for place, (number, size) in sums.items():
            gathered = self._batch_sums.setdefault(place, [0, 0])
            gathered[0] += number
            gathered[1] += size

    def reject(self) -> None:
        self._sums = {}
        self._settings = None

    def finish(self) -> None:
        for (kind, name), (number, size) in self._batch_sums.items():
            if number or size:
                self.db.execute(
                    "INSERT INTO counters VALUES (?, ?, ?, ?)"
                    " ON CONFLICT DO UPDATE SET number = number + excluded.number, bytes = bytes + excluded.bytes",
                    (kind, name, number, size),
                )
        if self._numbers is not None:
            self.db.execute("UPDATE sequence SET seq = ?, version = ?", self._numbers)
        if self._changes:
            self._trim()

    def _trim(self) -> None:
        """Seqs have gaps, so fewer than CHANGES_MAX rows may stay; counting them would cost more than the log is worth."""
        assert self._numbers is not None
        self.db.execute("DELETE FROM changes WHERE seq <= ?", (self._numbers[0] - CHANGES_MAX,))

    def _load_numbers(self) -> list[int]:
        self._numbers = list(self.db.execute("SELECT seq, version FROM sequence").get)
        return self._numbers


def completed(transaction: ContainerTransaction, name: str) -> bytes | None:
    """The kept result of an upload's completion or of a rename with a token."""
    found: bytes | None = transaction.db.execute("SELECT result FROM completed WHERE upload = ?", (name,)).get
    return found


def remember_completed(transaction: ContainerTransaction, name: str, key: str, result: bytes) -> None:
    """Keeps a result for COMPLETED_KEPT_US, and forgets those that are older."""
    transaction.db.execute("DELETE FROM completed WHERE at_us < ?", (transaction.now_us - COMPLETED_KEPT_US,))
    transaction.db.execute("INSERT OR REPLACE INTO completed VALUES (?, ?, ?, ?)", (name, key, transaction.now_us, result))


CONTAINER = Kind(
    name="container",
    format=1,
    tables=(
        "settings",
        "objects",
        "moved",
        "uploads",
        "parts",
        "completed",
        "deletions",
        "stale_records",
        "counters",
        "sequence",
        "changes",
    ),
    begin=ContainerTransaction,
)


def read_settings(db: apsw.Connection) -> BucketSettings:
    """Raises: BucketNotFound."""
    value = db.execute("SELECT value FROM settings WHERE removed = 0").get
    if value is None:
        raise BucketNotFound("there is no such bucket")
    return decode_settings(value)


def decode_settings(value: bytes) -> BucketSettings:
    return _settings_decoder.decode(value)
