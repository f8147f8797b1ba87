"""What this machine can do, measured in the same run: the yardsticks beside the figures."""

from __future__ import annotations

import hashlib
import os
import secrets
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import apsw

from benchmarks.load import Load
from benchmarks.serving import free_port, listening, process
from benchmarks.transfer import RECEIVE_BYTES

MIB = 1024 * 1024
DIGEST_BLOCK_BYTES = MIB
SENDFILE_BYTES = 64 * MIB
LISTED_ROWS = 1000
LISTED_COLUMNS = "key, age, is_null, marker, size, etag, mtime_us, storage_class, owner, checksum_algorithm, checksum_type"
"""What a listing needs of a row."""
ROW_ATTRIBUTES_BYTES, ROW_LAYOUT_BYTES = 60, 100
"""About what a small object's row holds besides."""


def _repeat(work: Callable[[], int], seconds: float) -> float:
    """Units of `work` per second, over whole rounds of at least `seconds`."""
    done = 0
    started = time.perf_counter()
    while (elapsed := time.perf_counter() - started) < seconds:
        done += work()
    return done / elapsed


def digest_mib_per_s(algorithm: str, seconds: float) -> float:
    """hashlib on one core, in blocks that stay in its cache."""
    block = os.urandom(DIGEST_BLOCK_BYTES)
    digest = hashlib.new(algorithm, usedforsecurity=False)

    def work() -> int:
        digest.update(block)
        return len(block)

    return _repeat(work, seconds) / MIB


def synced_files_per_s(directory: Path, size: int, seconds: float) -> float:
    """New files of `size` bytes, written and fsynced one after the other, per second."""
    body = os.urandom(size)
    with tempfile.TemporaryDirectory(dir=directory, prefix="fsync-") as scratch:
        names = iter(range(1 << 40))

        def work() -> int:
            target = os.open(f"{scratch}/{next(names)}", os.O_WRONLY | os.O_CREAT | os.O_EXCL)
            try:
                left = memoryview(body)
                while left:
                    left = left[os.write(target, left) :]
                os.fsync(target)
            finally:
                os.close(target)
            return 1

        return _repeat(work, seconds)


def sendfile_mib_per_s(directory: Path, seconds: float) -> float:
    """A cached file by sendfile over loopback, into the same reads that the GET figures do."""
    with tempfile.TemporaryFile(dir=directory) as cached, socket.create_server(("127.0.0.1", 0)) as listener:
        cached.write(os.urandom(SENDFILE_BYTES))
        cached.flush()

        def sender() -> None:
            line, _ = listener.accept()
            with line:
                while True:
                    offset = 0
                    while offset < SENDFILE_BYTES:
                        try:
                            offset += os.sendfile(line.fileno(), cached.fileno(), offset, SENDFILE_BYTES - offset)
                        except (BrokenPipeError, ConnectionResetError):
                            return

        thread = threading.Thread(target=sender, daemon=True)
        thread.start()
        with socket.create_connection(listener.getsockname()) as sink:
            buffer = memoryview(bytearray(RECEIVE_BYTES))
            rate = _repeat(lambda: sink.recv_into(buffer, RECEIVE_BYTES, socket.MSG_WAITALL), seconds)
        thread.join()
        return rate / MIB


@contextmanager
def rows_base(directory: Path, rows: int) -> Iterator[apsw.Connection]:
    """A table like a container's `objects` (meta/schema/container.sql), with `rows` keys of the LIST figures."""
    with tempfile.TemporaryDirectory(dir=directory, prefix="rows-") as scratch, closing(apsw.Connection(f"{scratch}/rows.db")) as base:
        base.pragma("journal_mode", "wal")
        base.execute(f"CREATE TABLE objects ({LISTED_COLUMNS}, policy, content, attributes, layout, PRIMARY KEY (key, age)) WITHOUT ROWID")
        start_us = 1_700_000_000_000_000
        etag, owner = secrets.token_hex(16), secrets.token_hex(32)
        unlisted = ("SINGLE", secrets.token_hex(16), os.urandom(ROW_ATTRIBUTES_BYTES), os.urandom(ROW_LAYOUT_BYTES))
        with base:
            base.executemany(
                f"INSERT INTO objects VALUES ({','.join('?' * 15)})",
                (
                    (listed_key(index), -start_us - index, 0, 0, 16, etag, start_us + index, "STANDARD", owner, "", "", *unlisted)
                    for index in range(rows)
                ),
            )
        yield base


def listed_key(index: int) -> str:
    """Keys of the LIST figures: 100 to a folder, in listing order."""
    return f"folder-{index // 100:05d}/object-{index % 100:03d}"


def rows_ms(base: apsw.Connection, rows: int, seconds: float) -> float:
    """Milliseconds to read a page of consecutive rows into Python, from changing places of the base."""
    starts = [listed_key(index) for index in range(0, max(rows - LISTED_ROWS, 1), LISTED_ROWS)]
    position = 0

    def work() -> int:
        nonlocal position
        position = (position + 1) % len(starts)
        found = base.execute(
            f"SELECT {LISTED_COLUMNS} FROM objects WHERE key > ? ORDER BY key LIMIT ?",
            (starts[position], LISTED_ROWS),
        ).fetchall()
        assert found
        return 1

    return 1000 / _repeat(work, seconds)


def seeks_ms(base: apsw.Connection, rows: int, seconds: float) -> float:
    """Milliseconds for as many seeks as a page of common prefixes needs: one per folder."""
    folders = [f"folder-{index:05d}/\x7f" for index in range(min(LISTED_ROWS, max(rows // 100, 1)))]

    def work() -> int:
        for folder in folders:
            base.execute("SELECT key FROM objects WHERE key > ? ORDER BY key LIMIT 1", (folder,)).fetchall()
        return 1

    return 1000 / _repeat(work, seconds)


@contextmanager
def bare_http(directory: Path) -> Iterator[str]:
    """The host of a reference server in its own process."""
    port = free_port()
    with process([sys.executable, "-m", "benchmarks.reference_server", str(port)], directory / "reference.log", listening(port)):
        yield f"127.0.0.1:{port}"


def bare_rate(host: str, size: int, connections: int, seconds: int) -> float:
    """Answers of `size` bytes from memory, per second, by the client and with the connections of the figure it stands beside."""
    return Load("GET", host, [f"/{size}"], connections, seconds).run().rate
