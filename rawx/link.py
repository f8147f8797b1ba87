"""A second chunk over the bytes of a first, without copying them.

Attributes belong to the file, not to its names. So each name gets its record in a sidecar, then the attribute points there, then the
file gets its second name. A crash between any two steps leaves the first chunk as it was and at most a sidecar without chunk, which the
sweep takes.
"""

from __future__ import annotations

import os
from typing import NamedTuple

from node.errors import AlreadyExists
from rawx import attributes, system
from rawx.attributes import Stored
from rawx.chunk import ChunkRecord
from rawx.folders import Folders, path_of


class Linked(NamedTuple):
    """The chunk that is there: its id, its open file, and what it says of itself."""

    chunk: str
    descriptor: int
    stored: Stored


def link_blocking(folders: Folders, source: Linked, target: str, record: ChunkRecord) -> None:
    """Durable at return. Raises: AlreadyExists, InvalidArgument, RecordCorrupt, OSError."""
    root = folders.root
    stored = source.stored
    attributes.check_units(record, os.fstat(source.descriptor).st_size, stored.units)
    if _is_linked(root, source, target, record):
        return
    folders.make_for(target)
    attributes.write_sidecar(root, path_of(target), Stored(record, stored.unit_bytes, stored.units))
    attributes.make_room(source.descriptor, root, path_of(source.chunk))
    os.fsync(source.descriptor)
    os.link(path_of(source.chunk), path_of(target), src_dir_fd=root, dst_dir_fd=root)
    attributes.sync_folder(root, os.path.dirname(path_of(target)))


def _is_linked(root: int, source: Linked, target: str, record: ChunkRecord) -> bool:
    """Whether the very same was done before. Raises: AlreadyExists when something else has the name."""
    try:
        descriptor = system.open_plain(root, path_of(target))
    except FileNotFoundError:
        return False
    try:
        same = os.path.samestat(os.fstat(source.descriptor), os.fstat(descriptor))
        if same and attributes.read(descriptor, root, path_of(target)).record == record:
            return True
        raise AlreadyExists(f"there is another chunk {target}")
    finally:
        os.close(descriptor)
