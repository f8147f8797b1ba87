"""A process that writes metadata and says on standard output what it begins and what was acknowledged, until it is killed.

Lines: "begin KEY WHAT" and "done KEY WHAT", where WHAT is the content after the operation ("-": deleted). Each key has one task.
"""

from __future__ import annotations

import os
import random
import sys
from pathlib import Path

import trio

from meta.local import open_meta
from meta.protocol.bucket import BucketSettings
from meta.protocol.object import DeleteRequest, ObjectRow
from meta.protocol.upload import Complete, PartRow, UploadRow
from node.auth import NamespaceKey
from node.clock import SystemClock
from node.errors import BucketOwned, FrazilError

TASKS = 16
KEYS_PER_TASK = 5


def say(word: str, key: str, what: str) -> None:
    os.write(1, f"{word} {key} {what}\n".encode())


async def main(path: Path, seed: str) -> None:
    async with open_meta(path, key=NamespaceKey(bytes(32)), clock=SystemClock()) as meta:
        try:
            await meta.create_bucket(BucketSettings("b", "a", "o", 1))
        except BucketOwned:
            pass
        container = meta.container("b")

        async def task(number: int) -> None:
            choose = random.Random(f"{seed}:{number}")
            step = 0
            while True:
                step += 1
                key = f"key-{number}-{choose.randrange(KEYS_PER_TASK)}"
                content = f"{seed}-{number}-{step}"
                row = ObjectRow(key, size=step, etag=content, content=content, layout=content.encode() * 20)
                kind = choose.choice(("put", "put", "put", "delete", "upload"))
                what = "-" if kind == "delete" else content
                say("begin", key, what)
                try:
                    if kind == "put":
                        result = await container.put(row)
                    elif kind == "delete":
                        result = await container.delete(DeleteRequest(key))
                    else:
                        await container.create_upload(UploadRow(content, key))
                        await container.put_part(key, content, PartRow(1, step, "e", f"part-{content}", b"part"))
                        result = await container.complete_upload(Complete(content, row, ((1, f"part-{content}"),)))
                except FrazilError as error:
                    print(repr(error), file=sys.stderr)
                    return
                say("done", key, what)
                if choose.random() < 0.5:
                    await container.deletions_done([dropped.id for dropped in result.dropped])

        async with trio.open_nursery() as nursery:
            for number in range(TASKS):
                nursery.start_soon(task, number)


if __name__ == "__main__":
    trio.run(main, Path(sys.argv[1]), sys.argv[2])
