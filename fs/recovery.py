"""After a crash of the mount: what a file's spool on disk holds becomes what the file would have been, had it been closed then.

Only over the version that it was written over. Where that was replaced meanwhile, or can't be read, the spool's files are put aside in
FOLDER/kept/ and the log says so: nothing is guessed and nothing is lost.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import accumulate
from pathlib import Path

import msgspec
from msgspec.structs import replace

from fs.attribute import Defaults, file_stat
from fs.file import File
from fs.inode import Inode
from fs.shared import Shared
from fs.spool import DATA, HEAD, NOTE, Note
from fs.stage import Stage
from meta.protocol.object import Attributes, ObjectRow
from node.errors import FrazilError, NotFound, RecordCorrupt, Superseded
from node.log import get_logger

PIECE_BYTES = 1 << 20
KEPT = "kept"
CUT = "CUT"
log = get_logger("fs.recovery")


async def recover(shared: Shared, defaults: Defaults) -> int:
    """How many files were stored. A folder that this process holds. Raises: OSError."""
    stored = 0
    for path in sorted(shared.spools.path.glob("*" + NOTE), key=_number):
        try:
            note = msgspec.json.decode(path.with_suffix(HEAD).read_bytes(), type=Note)
            await _recover(shared, defaults, path, note)
        except (FrazilError, OSError, msgspec.DecodeError, ValueError) as error:
            aside = _put_aside(path)
            log.error("what was written to a file before the crash could not be stored and is in %s: %s", aside, error)
        else:
            stored += 1
            log.warning("%s/%s: what was written before the crash is stored", note.bucket, note.key)
            for suffix in (NOTE, HEAD, DATA):
                path.with_suffix(suffix).unlink(missing_ok=True)
    return stored


def _number(path: Path) -> int:
    """In the order in which they were made: what a recovery was at when it was killed itself comes behind what it was reading."""
    return int(path.stem) if path.stem.isdigit() else 0


async def _recover(shared: Shared, defaults: Defaults, path: Path, note: Note) -> None:
    """Raises: Superseded when another version is there by now; what saving a file raises."""
    row = await _row(shared, note)
    if (row.content if row is not None else "") != note.content:
        raise Superseded(f"{note.bucket}/{note.key} was replaced meanwhile")
    top = Inode(0, None, b"", "", folder=True)
    top.bucket = note.bucket
    inode = Inode(0, top, note.key.encode(), note.key, folder=False)
    attributes = row.attributes if row is not None else Attributes()
    stated = ObjectRow(note.key, size=note.size, attributes=msgspec.structs.replace(attributes, metadata=note.metadata))
    stat = file_stat(stated, defaults)
    file = File(shared, inode, row, replace(stat, size=row.size if row is not None else 0))
    try:
        if note.upload:
            await file.resume(await _stage(shared, note))
        await file.truncate(min(note.kept, note.size))
        await file.truncate(note.size)
        await _replay(file, path)
        await file.restate(lambda now: replace(stat, size=now.size), lambda _: note.metadata)
        await file.save()
    finally:
        await file.aclose()


async def _stage(shared: Shared, note: Note) -> Stage:
    """Of its parts those that the note knows of. Raises: UploadNotFound."""
    assert shared.uploads is not None
    upload, parts = await shared.uploads.parts(note.bucket, note.upload_key or note.key, note.upload)
    counted = [part for part, stop in zip(parts, accumulate(part.size for part in parts), strict=True) if stop <= note.staged]
    return Stage(shared.uploads, note.bucket, upload, counted)


async def _row(shared: Shared, note: Note) -> ObjectRow | None:
    try:
        return await shared.connection.row(note.bucket, note.key)
    except NotFound:
        return None


async def _replay(file: File, path: Path) -> None:
    """Does again what the note tells. The data file holds each byte as it was last."""
    with path.with_suffix(DATA).open("rb") as data:
        for start, stop in _steps(path):
            if start is None:
                await file.truncate(stop)
                continue
            for at in range(start, stop, PIECE_BYTES):
                data.seek(at)
                await file.write(at, data.read(min(PIECE_BYTES, stop - at)))


def _steps(path: Path) -> Iterator[tuple[int | None, int]]:
    """(start, stop) of each write; (None, size) of each truncation. A last line that was cut short counts for nothing."""
    for line in path.read_text().splitlines(keepends=True):
        words = line.split()
        if not line.endswith("\n"):
            return
        if len(words) != 2:
            raise RecordCorrupt(f"a spool's note has the line {line!r}")
        yield (None if words[0] == CUT else int(words[0])), int(words[1])


def _put_aside(path: Path) -> Path:
    aside = path.parent / KEPT
    aside.mkdir(exist_ok=True, mode=0o700)
    number = 1 + max((int(each.stem) for each in aside.iterdir() if each.stem.isdigit()), default=0)
    for suffix in (NOTE, HEAD, DATA):
        if path.with_suffix(suffix).exists():
            path.with_suffix(suffix).rename(aside / f"{number}{suffix}")
    return aside / f"{number}{DATA}"
