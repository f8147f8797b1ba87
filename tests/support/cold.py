"""Chunks, boards and freezers for tests of the cold tier."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio
import trio.testing

from glacier.freezer import BoardFreezer, Pace
from glacier.iceclient import IceClient, connected
from glacier.iceserver import IceServer
from glacier.power import Budget, Layout
from glacier.protocol import ChunkHead, Freezer
from glacier.simulated import SimulatedBoard
from node.auth import NamespaceKey
from rawx.chunk import ChunkRecord, chunk_checksum, unit_digests

KEY = NamespaceKey(b"cold" * 8)
LAYOUT = Layout("north", ((0, 1, 2, 3), (4, 5, 6, 7)))
UNIT_BYTES = 4096
START_US = 1_767_225_600_000_000


class LoopClock:
    """The event loop's time as a clock (protocol: node.clock.Clock); begins at 2026-01-01."""

    def now_us(self) -> int:
        return START_US + round(trio.current_time() * 1e6)

    def monotonic(self) -> float:
        return trio.current_time()


def head_of(chunk: str, data: bytes, *, key: str = "key", unit_bytes: int = UNIT_BYTES) -> ChunkHead:
    units = unit_digests(data, unit_bytes)
    checksum = chunk_checksum(units)
    record = ChunkRecord("bucket", key, "c" * 32, "SINGLE", size=len(data), unit_bytes=unit_bytes, checksum=checksum.hex())
    return ChunkHead(chunk, len(data), unit_bytes, checksum, record.encode(), units)


async def pieces(data: bytes, piece_bytes: int = 10_000) -> AsyncIterator[bytes]:
    for at in range(0, len(data), piece_bytes):
        await trio.lowlevel.checkpoint()
        yield data[at : at + piece_bytes]


def freezer_of(board: SimulatedBoard, budget: Budget | None = None, **options: object) -> BoardFreezer:
    return BoardFreezer(board, budget=budget or Budget(), pace=Pace(), clock=LoopClock(), **options)  # type: ignore[arg-type]


@asynccontextmanager
async def over_ice(freezer: Freezer, *, key: NamespaceKey = KEY) -> AsyncIterator[IceClient]:
    """The same freezer at the other end of a connection in memory."""
    ours, theirs = trio.testing.memory_stream_pair()
    server = IceServer(freezer, KEY)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(server.converse, theirs)
        async with connected(ours, key=key, bus=freezer.bus.bus) as client:
            yield client
        nursery.cancel_scope.cancel()
