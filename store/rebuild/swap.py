"""Whether there is metadata worth keeping, and putting the rebuilt one in its place."""

from __future__ import annotations

import time
from pathlib import Path

import apsw

from meta.connection import open_reader
from meta.directory import container_id
from node.errors import FrazilError
from node.files import sync_folder

META_FOLDER = "meta"
NEW_FOLDER = "meta.rebuilt"
OLD_FOLDER = "meta.before-"
COMPLETE_MARK = "complete"


def unhealthy(folder: Path, *, bucket: str = "") -> str:
    """Why the metadata in `folder`, or the bucket's in it, can't be trusted; "" when every base is whole. Blocking; reads all of it."""
    if bucket:
        return _damage(base_of(folder, bucket))
    if not folder.is_dir():
        return "there is none"
    missing = [name for name in ("accounts", "registry", "meta0", "meta1") if not any((folder / name).glob("*.db"))]
    if missing:
        return f"{', '.join(missing)}: no base is there"
    return next((damage for path in sorted(folder.rglob("*.db")) if (damage := _damage(path))), "")


def _damage(path: Path) -> str:
    try:
        reader = open_reader(path)
        try:
            answer = reader.execute("PRAGMA quick_check(1)").get
        finally:
            reader.close()
    except FrazilError as error:
        return str(error)
    except apsw.Error as error:
        return f"{path.name}: {error}"
    return "" if answer == "ok" else f"{path.name}: {answer}"


def put_in_place(first: Path) -> Path | None:
    """Makes what was built the store's metadata; where the old one lies now, None when there was none. Raises: OSError."""
    new = first / NEW_FOLDER
    (new / COMPLETE_MARK).touch()
    sync_folder(new)
    return finish_renames(first)


def finish_renames(first: Path) -> Path | None:
    """Also what a killed rebuild had left to do. Raises: OSError."""
    new, there = first / NEW_FOLDER, first / META_FOLDER
    old = None
    if there.exists():
        old = first / f"{OLD_FOLDER}{time.strftime('%Y%m%d-%H%M%S')}"
        there.rename(old)
    new.rename(there)
    (there / COMPLETE_MARK).unlink(missing_ok=True)
    sync_folder(first)
    return old


def is_built(first: Path) -> bool:
    """Whether a rebuild was complete but for the renames."""
    return (first / NEW_FOLDER / COMPLETE_MARK).exists() and not (first / META_FOLDER).exists()


def base_of(folder: Path, bucket: str) -> Path:
    """A container's base in a folder of metadata."""
    number = container_id(bucket)
    return folder / "container" / number[:3] / f"{number}.db"


def put_bucket_in_place(first: Path, bucket: str) -> Path:
    """As `put_in_place`, for one container; a kill leaves the bucket as it was, or without its base until this is repeated.

    The names of the bucket in the other bases are the caller's to make. Raises: OSError.
    """
    old = first / f"{OLD_FOLDER}{time.strftime('%Y%m%d-%H%M%S')}"
    for folder, target in ((first / META_FOLDER, old), (first / NEW_FOLDER, first / META_FOLDER)):
        base, there = base_of(folder, bucket), base_of(target, bucket)
        there.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        for suffix in ("-wal", "-shm", ""):  # the base last: without it the log is nobody's
            source = base.with_name(base.name + suffix)
            if source.exists():
                source.rename(there.with_name(there.name + suffix))
        sync_folder(there.parent)
    return old
