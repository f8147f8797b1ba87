"""A second process that looks at volumes for a survey: parsing and system calls of many chunks keep more than one processor busy.

It reads ids of volumes, a line each, from its parent, puts what it finds into a census of its own and answers with pages, as JSON lines. At
the end of its input it ends; a parent that was killed ends its input, and its output.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import ExitStack, suppress
from pathlib import Path

import msgspec
import trio

from node.errors import Unavailable
from node.log import get_logger
from node.threads import run_blocking
from store.rebuild.census import Census
from store.rebuild.page import Page, pages
from store.settings import load_settings
from store.slot import slots_of

PARTS = Path(__file__).resolve().parents[2]
"""The folder that `store/` and its neighbours are in: not where Python looks by itself when Frazil is installed."""
_decode = msgspec.json.Decoder(Page).decode
log = get_logger("store.rebuild")


async def help_with(first: Path, bucket: str, waiting: deque[str], census: Census, show: Callable[[Page], None]) -> list[Page]:
    """What a helper found that took volumes from the list `waiting` until it was empty; all of them are on it again when it failed."""
    taken: list[str] = []
    path = census.path.with_name("census-of-helper")
    try:
        found = await _ask([str(first), bucket, str(path)], waiting, taken, show)
    except (Unavailable, OSError) as error:
        log.warning("a helper failed; its volumes are looked at again", extra={"error": str(error)})
        waiting.extend(taken)
        return []
    else:
        await run_blocking(census.take_over, path)
        return found
    finally:
        path.unlink(missing_ok=True)


async def _ask(arguments: list[str], waiting: deque[str], taken: list[str], show: Callable[[Page], None]) -> list[Page]:
    """Raises: Unavailable when the helper ends before its time; OSError."""
    # -P: nothing is imported from wherever the command was given. In a group of its own: Ctrl-C goes to the parent, which ends it.
    command = [sys.executable, "-P", "-m", "store.rebuild.helper", *arguments]
    process = await trio.lowlevel.open_process(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, process_group=0, env=os.environ | {"PYTHONPATH": str(PARTS)}
    )
    assert process.stdin is not None
    assert process.stdout is not None
    told: list[Page] = []
    try:
        answers = _Answers(process.stdout)
        while waiting:
            taken.append(waiting.popleft())
            await process.stdin.send_all(f"{taken[-1]}\n".encode())
            async for page in answers:
                told.append(page)
                show(page)
                if page.last:
                    break
            else:
                raise Unavailable("it closed its output")
        await process.stdin.aclose()
        code = await process.wait()
    except trio.BrokenResourceError as error:
        raise Unavailable("it closed its input") from error
    finally:
        process.kill()
        with trio.CancelScope(shield=True):
            await process.wait()
            await process.stdin.aclose()
            await process.stdout.aclose()
    if code:
        raise Unavailable(f"it ended with code {code}")
    return told


class _Answers:
    """Pages, a line each. Iterating goes on where it was left."""

    def __init__(self, stream: trio.abc.ReceiveStream) -> None:
        self._stream = stream
        self._buffer = bytearray()

    def __aiter__(self) -> AsyncIterator[Page]:
        return self

    async def __anext__(self) -> Page:
        while (end := self._buffer.find(b"\n")) < 0:
            data = await self._stream.receive_some()
            if not data:
                raise StopAsyncIteration
            self._buffer += data
        line = bytes(self._buffer[:end])
        del self._buffer[: end + 1]
        return _decode(line)


def main() -> None:
    first, bucket, path = sys.argv[1:]
    with suppress(BrokenPipeError):  # the parent is gone
        trio.run(_serve, Path(first), bucket, Path(path))


async def _serve(first: Path, bucket: str, path: Path) -> None:
    settings = load_settings(first)
    assert settings is not None
    census = Census(path, [slot.id for slot in settings.volumes])
    with ExitStack() as stack:
        slots = {slot.id: slot for slot in slots_of(settings, first)}
        for line in sys.stdin:  # blocks: there is nothing else to do
            slot = stack.enter_context(slots[line.strip()])
            async for page in pages(slot.volume, census, bucket):
                sys.stdout.buffer.write(msgspec.json.encode(page) + b"\n")
                sys.stdout.buffer.flush()
    census.leave()


if __name__ == "__main__":
    main()
