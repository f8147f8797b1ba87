"""Every chunk of every volume in one sorted scratch table, so that the chunks of a content come together. Bounded memory: it is a file."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any

import apsw
import msgspec

from rawx.chunk import ChunkRecord
from rawx.protocol import Examined
from store.mosaic import has_mosaic
from store.rebuild.assembly import Fact

CACHE_KIB = 65_536
encode = msgspec.msgpack.Encoder().encode
"""Of what the tables keep as values."""
_SCHEMA = """
CREATE TABLE chunks(bucket TEXT, content TEXT, volume INTEGER, chunk BLOB, record BLOB);
CREATE TABLE rows(bucket TEXT, key TEXT, seq INTEGER, thin INTEGER, stale INTEGER, value BLOB);
CREATE TABLE pieces(bucket TEXT, whole TEXT, part INTEGER, rank INTEGER, value BLOB);
CREATE TABLE links(bucket TEXT, key TEXT, version INTEGER, after INTEGER, seq INTEGER, thin INTEGER, stale INTEGER, value BLOB);
CREATE TABLE mosaics(bucket TEXT, version INTEGER, content TEXT);
CREATE TABLE claimed(bucket TEXT, content TEXT, PRIMARY KEY(bucket, content)) WITHOUT ROWID;
CREATE TABLE leftovers(bucket TEXT, layout BLOB);
"""


class Census:
    """pieces: parts of objects and of uploads, by the id of the whole; rank: the higher, the better, among those of one number.
    mosaics: contents whose records tell of a mosaic; claimed: contents that are looked after already"""

    def __init__(self, path: Path, volumes: Sequence[str]) -> None:
        """volumes: ids of all that there are; the tables hold their places in the order of the ids."""
        path.unlink(missing_ok=True)
        self.path = path
        self._db = apsw.Connection(str(path))
        for pragma in ("journal_mode=OFF", "synchronous=OFF", f"cache_size=-{CACHE_KIB}", "locking_mode=EXCLUSIVE"):
            self._db.execute(f"PRAGMA {pragma}").fetchall()
        self._db.execute(_SCHEMA)
        self._volumes = sorted(volumes)
        self._indexes = {volume: index for index, volume in enumerate(self._volumes)}
        self.chunks = 0
        self._lock = threading.Lock()  # volumes are looked at side by side, each in threads of its own; an apsw connection is one thread's

    def __repr__(self) -> str:
        return f"<Census {self.path.name} chunks={self.chunks}>"

    def close(self) -> None:
        self._db.close()
        self.path.unlink(missing_ok=True)

    def leave(self) -> None:
        """Closes it for another that takes it over."""
        self._db.close()

    def take_over(self, path: Path) -> None:
        """The chunks of another census of the same volumes. Blocking."""
        with self._lock:
            self._db.execute("ATTACH ? AS other", (str(path),))
            with self._db:
                self._db.execute("INSERT INTO chunks SELECT * FROM other.chunks; INSERT INTO mosaics SELECT * FROM other.mosaics")
                self.chunks += self._db.execute("SELECT count(*) FROM other.chunks").get
            self._db.execute("DETACH other")

    def add(self, volume: str, found: Sequence[Examined]) -> None:
        """Chunks whose record can be read. Blocking."""
        index, rows, mosaics = self._indexes[volume], [], []
        for each in found:
            record = each.record
            if record is None:
                continue
            rows.append((record.bucket, record.content, index, bytes.fromhex(each.chunk), record.encode()))
            if record.object is not None and has_mosaic(record.object):
                mosaics.append((record.bucket, record.object.version, record.content))
        with self._lock, self._db:
            self._db.executemany("INSERT INTO chunks VALUES (?, ?, ?, ?, ?)", rows)
            self._db.executemany("INSERT INTO mosaics VALUES (?, ?, ?)", mosaics)
            self.chunks += len(rows)

    def contents(self) -> Iterator[list[Fact]]:
        """All chunks of contents that nothing has claimed, content by content, bucket by bucket."""
        unclaimed = "WHERE (bucket, content) NOT IN claimed" if self._db.execute("SELECT EXISTS (SELECT 1 FROM claimed)").get else ""
        cursor = self._db.execute(f"SELECT bucket, content, volume, chunk, record FROM chunks {unclaimed} ORDER BY 1, 2")
        with closing(cursor):
            volumes, parse = self._volumes, ChunkRecord.parse
            for _, group in groupby(cursor, key=itemgetter(0, 1)):
                yield [Fact(volumes[volume], chunk.hex(), parse(record)) for _, _, volume, chunk, record in group]

    def mosaics(self) -> list[tuple[str, str]]:
        """(bucket, content) of those whose records tell of one, the newest first."""
        statement = "SELECT bucket, content FROM mosaics GROUP BY bucket, content ORDER BY bucket, max(version) DESC"
        found: list[Any] = self._db.execute(statement).fetchall()
        if found:
            self._db.execute("CREATE INDEX chunks_sorted ON chunks(bucket, content)")
        return found

    def chunks_of(self, bucket: str, content: str) -> list[Fact]:
        """For contents of mosaics: there is an index of all by then."""
        found: list[Any] = self._db.execute(
            "SELECT volume, chunk, record FROM chunks WHERE bucket = ? AND content = ?", (bucket, content)
        ).fetchall()
        return [self._fact(*row) for row in found]

    def claim(self, bucket: str, contents: Iterable[str]) -> None:
        with self._db:
            self._db.executemany("INSERT OR IGNORE INTO claimed VALUES (?, ?)", [(bucket, content) for content in contents])

    def is_claimed(self, bucket: str, content: str) -> bool:
        found: int = self._db.execute("SELECT EXISTS (SELECT 1 FROM claimed WHERE bucket = ? AND content = ?)", (bucket, content)).get
        return found == 1

    def _fact(self, volume: int, chunk: bytes, record: bytes) -> Fact:
        return Fact(self._volumes[volume], chunk.hex(), ChunkRecord.parse(record))

    def add_many(self, table: str, rows: list[tuple[Any, ...]]) -> None:
        """Rows for one of the tables below, as the schema has them."""
        if rows:
            with self._db:
                self._db.executemany(f"INSERT INTO {table} VALUES ({', '.join('?' * len(rows[0]))})", rows)

    def buckets(self) -> list[str]:
        found: list[Any] = self._db.execute("SELECT bucket FROM chunks UNION SELECT bucket FROM rows ORDER BY 1").fetchall()
        return [row[0] for row in found]

    def sort(self) -> None:
        self._db.execute("CREATE INDEX rows_sorted ON rows(bucket, key); CREATE INDEX pieces_sorted ON pieces(bucket, whole, part)")

    def pieces(self) -> Iterator[tuple[str, list[tuple[int, bytes]]]]:
        """(bucket, [(part, value)]) for each whole; of each number the best first."""
        cursor = self._db.execute("SELECT bucket, whole, part, value FROM pieces ORDER BY bucket, whole, part, rank DESC")
        with closing(cursor):
            for (bucket, _), group in groupby(cursor, key=itemgetter(0, 1)):
                yield bucket, [(row[2], row[3]) for row in group]

    def rows(self, bucket: str) -> Iterator[list[tuple[int, bool, bool, bytes]]]:
        """(seq, thin, stale, value) of all rows of each key, key by key."""
        cursor = self._db.execute("SELECT key, seq, thin, stale, value FROM rows WHERE bucket = ? ORDER BY key", (bucket,))
        with closing(cursor):
            for _, group in groupby(cursor, key=itemgetter(0)):
                yield [(row[1], row[2] == 1, row[3] == 1, row[4]) for row in group]

    def links(self) -> list[tuple[str, str, int, int, bool, bool, bytes]]:
        """(bucket, key, after, seq, thin, stale, value) of what was appended, oldest first."""
        found: list[Any] = self._db.execute("SELECT bucket, key, after, seq, thin, stale, value FROM links ORDER BY version").fetchall()
        return [(*row[:4], row[4] == 1, row[5] == 1, row[6]) for row in found]

    def rows_of(self, bucket: str, key: str) -> list[tuple[int, bool, bool, bytes]]:
        """(number of the row here, thin, stale, value)."""
        statement = "SELECT rowid, thin, stale, value FROM rows WHERE bucket = ? AND key = ?"
        found: list[Any] = self._db.execute(statement, (bucket, key)).fetchall()
        return [(row[0], row[1] == 1, row[2] == 1, row[3]) for row in found]

    def replace_row(self, number: int, row: tuple[Any, ...]) -> None:
        with self._db:
            self._db.execute("DELETE FROM rows WHERE rowid = ?", (number,))
            self._db.execute("INSERT INTO rows VALUES (?, ?, ?, ?, ?, ?)", row)

    def leftovers(self, bucket: str) -> list[bytes]:
        found: list[Any] = self._db.execute("SELECT layout FROM leftovers WHERE bucket = ?", (bucket,)).fetchall()
        return [row[0] for row in found]

    def any_record(self, bucket: str) -> ChunkRecord | None:
        """Any record of the bucket."""
        found = self._db.execute("SELECT record FROM chunks WHERE bucket = ? LIMIT 1", (bucket,)).get
        return None if found is None else ChunkRecord.parse(found)
