"""What the write functions of a container share within one SQLite transaction: settings, numbers, sums, the change log."""

from __future__ import annotations

import apsw
import msgspec

from meta.kind import Kind, Transaction
from meta.protocol.bucket import BucketSettings
from meta.protocol.object import Dropped
from meta.script import ChangeLine
from node.errors import BucketNotFound

COMPLETED_KEPT_US = 24 * 3600 * 1_000_000
"""How long a completion, or a rename with a token, may be repeated."""
SETTINGS_KEY = ""
"""Stands in `stale_records` for the bucket's settings: no object has it."""

_settings_decoder = msgspec.msgpack.Decoder(BucketSettings)
_settings_encoder = msgspec.msgpack.Encoder()

Sums = dict[str, list[int]]
"""[number, bytes] by place: class/NAME = versions with content, by storage class · marker · upload · part · older = rows that are not their
key's newest."""
_sums_decoder = msgspec.json.Decoder(Sums)
_sums_encoder = msgspec.json.Encoder()


class ContainerTransaction(Transaction):
    """See meta/kind.py. Sums are gathered in memory and written once per transaction; they and the settings are remembered for the next."""

    __slots__ = ("_batch_sums", "_numbers", "_settings", "_sums", "_totals")

    def __init__(self, db: apsw.Connection) -> None:
        super().__init__(db)
        self._settings: BucketSettings | None = None
        self._numbers: list[int] | None = None
        self._totals: Sums = {}
        self._sums: Sums = {}
        self._batch_sums: Sums = {}

    def begin(self, now_us: int, *, afresh: bool) -> None:
        super().begin(now_us, afresh=afresh)
        if afresh:
            self._settings = self._numbers = None
        self._sums, self._batch_sums = {}, {}

    # What the transaction knows

    @property
    def settings(self) -> BucketSettings:
        """Raises: BucketNotFound when the bucket was never made or is removed."""
        if self._settings is None:
            self._settings = read_settings(self.db)
        return self._settings

    def write_settings(self, settings: BucketSettings, *, removed: bool = False) -> None:
        self.write("INSERT OR REPLACE INTO settings VALUES (1, ?, ?)", (removed, _settings_encoder.encode(settings)))
        self._settings = None if removed else settings

    def number(self) -> int:
        """The next of the container's numbers."""
        numbers = self._numbers or self._load()
        numbers[0] += 1
        return numbers[0]

    def reserve(self, count: int) -> int:
        """So many numbers in a row; the first of them."""
        numbers = self._numbers or self._load()
        first, numbers[0] = numbers[0] + 1, numbers[0] + count
        return first

    def version(self, wish: int, newest: int) -> int:
        """A version larger than `newest` of its key: the wish if it is, else the time, moved beyond every version given before."""
        numbers = self._numbers or self._load()
        version = wish if wish > newest else max(self.now_us, numbers[1] + 1, newest + 1)
        numbers[1] = max(numbers[1], version)
        return version

    def was_given(self, version: int) -> bool:
        """Whether this version, or a higher one, was given to any key."""
        return version <= (self._numbers or self._load())[1]

    def begin_after(self, seq: int) -> None:
        """Numbers go on behind this one."""
        numbers = self._numbers or self._load()
        numbers[0] = max(numbers[0], seq)

    # What requests leave behind

    def count(self, place: str, number: int, size: int) -> None:
        """Adds to a sum."""
        _add(self._sums, place, number, size)

    def total(self) -> int:
        """Bytes of all versions and parts, this request's included."""
        if self._numbers is None:
            self._load()
        return sum(size for sums in (self._totals, self._batch_sums, self._sums) for _, size in sums.values())

    def changed(self, kind: str, key: str, age: int) -> int:
        """A line in the change log; returns its seq."""
        seq = self.number()
        self.script.lines.append(ChangeLine(seq, kind, key, age))
        return seq

    def drop(self, content: str, parts: str, layout: bytes) -> tuple[Dropped, ...]:
        """Remembers a content that no row names any more; nothing to remember when it lies nowhere."""
        if not layout:
            return ()
        number = self.number()
        self.write("INSERT INTO deletions VALUES (?, ?, ?, ?)", (number, content, parts, layout))
        return (Dropped(number, layout),)

    def stale(self, key: str, age: int) -> None:
        """The records of that version's chunks say something else now."""
        self.write("INSERT INTO stale_records VALUES (?, ?, ?)", (self.number(), key, age))

    # The writer's calls

    def accept(self) -> None:
        if self._sums:
            sums, self._sums = self._sums, {}
            for place, (number, size) in sums.items():
                _add(self._batch_sums, place, number, size)

    def reject(self) -> None:
        self._sums = {}
        self._settings = None

    def finish(self) -> None:
        numbers = self._numbers or self._load()
        for place, (number, size) in self._batch_sums.items():
            _add(self._totals, place, number, size)
        self.write("UPDATE state SET seq = ?, version = ?, sums = ?", (*numbers, _sums_encoder.encode(self._totals).decode()))

    def _load(self) -> list[int]:
        *self._numbers, sums = self.db.execute("SELECT seq, version, sums FROM state").get
        self._totals = _sums_decoder.decode(sums)
        return self._numbers


def _add(sums: Sums, place: str, number: int, size: int) -> None:
    found = sums.get(place)
    if found is None:
        sums[place] = [number, size]
    else:
        found[0] += number
        found[1] += size


def completed(transaction: ContainerTransaction, name: str) -> bytes | None:
    """The kept result of an upload's completion or of a rename with a token."""
    found: bytes | None = transaction.db.execute("SELECT result FROM completed WHERE upload = ?", (name,)).get
    return found


def remember_completed(transaction: ContainerTransaction, name: str, key: str, result: bytes) -> None:
    """Keeps a result for COMPLETED_KEPT_US, and forgets those that are older."""
    transaction.write("DELETE FROM completed WHERE at_us < ?", (transaction.now_us - COMPLETED_KEPT_US,))
    transaction.write("INSERT OR REPLACE INTO completed VALUES (?, ?, ?, ?)", (name, key, transaction.now_us, result))


CONTAINER = Kind(
    name="container",
    format=3,
    tables=("settings", "objects", "moved", "uploads", "parts", "completed", "deletions", "stale_records", "cold", "state"),
    transaction=ContainerTransaction,
)


def read_sums(db: apsw.Connection) -> Sums:
    """Empty in a base that holds no bucket yet."""
    return _sums_decoder.decode(db.execute("SELECT sums FROM state").get)


def read_settings(db: apsw.Connection) -> BucketSettings:
    """Raises: BucketNotFound."""
    settings = find_settings(db)
    if settings is None:
        raise BucketNotFound("there is no such bucket")
    return settings


def find_settings(db: apsw.Connection) -> BucketSettings | None:
    """None when the bucket was never made or is removed."""
    value = db.execute("SELECT value FROM settings WHERE removed = 0").get
    return None if value is None else decode_settings(value)


def decode_settings(value: bytes) -> BucketSettings:
    return _settings_decoder.decode(value)
