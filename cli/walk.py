"""What lies below a local folder or a prefix, both in the order of their names' bytes, so that two of them can be compared as they flow."""

from __future__ import annotations

import os
import stat
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

import trio

from cli.address import Remote
from cli.client import S3Client
from cli.match import Filter

BATCH = 256
"""Local files found between two yields to the event loop."""


@dataclass(frozen=True, slots=True)
class Item:
    """A file or object. name: relative, with slashes; etag "": a local file."""

    name: str
    size: int
    modified: datetime
    etag: str = ""
    storage_class: str = ""


def from_stat(name: str, found: os.stat_result) -> Item:
    return Item(name, found.st_size, datetime.fromtimestamp(found.st_mtime_ns / 1e9, UTC))


def walk_folder(root: str, warn: Callable[[str], None], fail: Callable[[str, OSError], None]) -> Iterator[Item]:
    """Regular files below `root`, in the order that a listing of the same names has. Blocking.

    Links to files are followed, links to folders are not (they may lead in circles); sockets, pipes and devices are passed over
    with a warning, and so is what is gone when it is looked at. `fail` is told what can't be read, by path.
    Raises: OSError when `root` itself can't be read.
    """
    yield from _walk(root, "", warn, fail, top=True)


def _walk(folder: str, prefix: str, warn: Callable[[str], None], fail: Callable[[str, OSError], None], *, top: bool) -> Iterator[Item]:
    try:
        with os.scandir(folder) as entries:
            # A folder sorts as "name/", for that is how its keys begin.
            found = sorted(((entry, entry.is_dir(follow_symlinks=False)) for entry in entries), key=lambda pair: _sort_key(*pair))
    except OSError as error:
        if top:
            raise
        fail(folder, error)
        return
    for entry, is_folder in found:
        if is_folder:
            yield from _walk(entry.path, f"{prefix}{entry.name}/", warn, fail, top=False)
            continue
        try:
            status = entry.stat()
        except FileNotFoundError as error:
            warn(f"{entry.path}: {error.strerror}, passed over")
            continue
        except OSError as error:
            fail(entry.path, error)
            continue
        if stat.S_ISREG(status.st_mode):
            yield from_stat(prefix + entry.name, status)
        else:
            what = "a link to a folder" if stat.S_ISDIR(status.st_mode) else "no regular file"
            warn(f"{entry.path} is {what}, passed over")


def _sort_key(entry: os.DirEntry[str], is_folder: bool) -> bytes:
    return os.fsencode(entry.name + "/" if is_folder else entry.name)


async def local_items(root: str, passes: Filter, warn: Callable[[str], None], fail: Callable[[str, OSError], None]) -> AsyncIterator[Item]:
    """As walk_folder, filtered, giving way to other tasks now and then."""
    for count, item in enumerate(walk_folder(root, warn, fail)):
        if passes.passes(item.name):
            yield item
        if count % BATCH == 0:
            await trio.lowlevel.checkpoint()


async def remote_items(client: S3Client, folder: Remote, passes: Filter) -> AsyncIterator[Item]:
    """Objects below a prefix, filtered. Markers of empty folders (keys that end in a slash) are no items."""
    async for entry in client.list_objects(folder.bucket, folder.key):
        name = entry.key[len(folder.key) :]
        if name and not name.endswith("/") and passes.passes(name):
            yield Item(name, entry.size, entry.modified, entry.etag, entry.storage_class)
