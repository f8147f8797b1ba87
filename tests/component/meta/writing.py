"""A process that writes metadata as it is told on standard input: `python writing.py PATH`, then a line for each change."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[3]))

import trio

from meta.local import LocalMeta, open_meta
from meta.protocol.bucket import BucketSettings
from meta.protocol.object import DeleteRequest, ObjectRow
from node.auth import NamespaceKey
from node.clock import SystemClock


async def carry_out(meta: LocalMeta, line: str) -> None:
    verb, bucket, *rest = line.split()
    container = meta.container(bucket)
    match verb, rest:
        case "bucket", []:
            await meta.create_bucket(BucketSettings(bucket, "ann", "owner-ann", 1_000_000))
        case "remove", []:
            await meta.remove_bucket(bucket)
            while bucket in await meta.dirty_containers():  # what is left of it is to be deleted, which is nobody's task here
                dropped = await container.deletions(100)
                await container.deletions_done([each.id for each in dropped])
                stale = await container.records_to_sync(100)
                await container.records_synced([each.id for each in stale])
        case "version", []:
            await container.change_settings(versioning="Enabled")
        case "put", [key, content]:
            await container.put(ObjectRow(key, content=content, layout=b"l"))
        case "delete", [key]:
            await container.delete(DeleteRequest(key))
        case _:
            raise ValueError(line)


async def main(path: Path) -> None:
    async with open_meta(path, key=NamespaceKey(bytes(range(32))), clock=SystemClock()) as meta:
        for line in sys.stdin:
            await carry_out(meta, line)
            print("done", flush=True)


trio.run(main, Path(sys.argv[1]))
