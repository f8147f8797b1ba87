"""The process that the crash tests kill: opens a volume and does one thing to it.

python crashing.py VOLUME ACTION CHUNK; prints the error's code, or "done"
"""

from __future__ import annotations

import sys

import msgspec
import trio

from node.errors import FrazilError
from rawx.chunk import ChunkRecord, ObjectRecord, chunk_checksum, unit_digests
from rawx.volume import Volume, open_volume

DATA = b"0123456789abcdef" * 16_384
UNIT = 64 << 10
LONG = {"long": "x" * 5000}


def make_record(data: bytes, *, seq: int = 0, attributes: dict[str, object] | None = None) -> tuple[ChunkRecord, bytes]:
    """The record and unit checksums of `data`."""
    units = unit_digests(data, UNIT)
    about = ObjectRecord(version=1, size=len(data), etag="e" * 32, mtime_us=1, attributes=attributes or {})
    checksum = chunk_checksum(units).hex()
    record = ChunkRecord("bucket", "key", "content", "SINGLE", size=len(data), checksum=checksum, unit_bytes=UNIT, seq=seq, object=about)
    return record, units


async def act(volume: Volume, action: str, chunk: str) -> None:
    """Raises: FrazilError."""
    record, units = make_record(DATA, attributes=LONG if action == "put-sidecar" else None)
    if action in ("put", "put-sidecar"):
        await volume.put(chunk, DATA, record, units)
    elif action == "put-many":
        await put_many(volume, [f"{index:x}{chunk[1:]}" for index in range(16)])
    elif action == "upload":
        upload = await volume.create(chunk, 0)
        for at in range(0, len(DATA), UNIT):
            await upload.write(DATA[at : at + UNIT])
        await upload.commit(record, units)
    elif action == "update":
        await volume.update(chunk, msgspec.structs.replace(record, seq=1))
    elif action == "update-sidecar":
        await volume.update(chunk, make_record(DATA, seq=1, attributes=LONG)[0])
    elif action == "delete":
        await volume.delete([chunk])
    elif action == "copy":
        await volume.copy(chunk, chunk[::-1], msgspec.structs.replace(record, seq=1))
    elif action == "quarantine":
        await volume.quarantine(chunk, "test")


async def put_many(volume: Volume, chunks: list[str]) -> None:
    """Puts all at once; prints those that were acknowledged, raises the last error of the others."""
    failures: list[FrazilError] = []

    async def put_one(chunk: str) -> None:
        try:
            await volume.put(chunk, DATA, *make_record(DATA))
        except FrazilError as error:
            failures.append(error)
        else:
            print(chunk, flush=True)

    async with trio.open_nursery() as nursery:
        for chunk in chunks:
            nursery.start_soon(put_one, chunk)
    if failures:
        raise failures[-1]


def main() -> None:
    path, action, chunk = sys.argv[1:]
    try:
        trio.run(act, open_volume(path, namespace="test"), action, chunk, strict_exception_groups=False)
    except FrazilError as error:
        print(error.code, flush=True)
    else:
        print("done", flush=True)


if __name__ == "__main__":
    main()
