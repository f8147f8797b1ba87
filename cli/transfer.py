"""The jobs that cp, mv and sync are made of: upload, download, copy and delete, with or without removing the source."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from pathlib import Path

import trio

from cli.address import Local, Remote, check_key, local_name
from cli.body import PIECE_BYTES, encode_checksum, file_checksum
from cli.client import S3Client
from cli.connection import Head
from cli.download import Downloader
from cli.duplicate import Duplicator
from cli.job import Job
from cli.meter import Meter
from cli.upload import Uploader
from cli.walk import Item
from node.errors import Conflict, InvalidArgument


class Transfers:
    """Makes jobs that share clients, one bound on requests in flight, and one meter."""

    def __init__(
        self, clients: Mapping[str, S3Client], meter: Meter, jobs_max: int, headers: Mapping[str, str], *, move: bool = False
    ) -> None:
        self.clients = clients
        self._meter = meter
        self._limiter = trio.Semaphore(jobs_max)
        self._headers = headers
        self._move = move

    def client(self, place: Remote) -> S3Client:
        return self.clients[place.profile]

    def uploader(self, target: Remote) -> Uploader:
        return Uploader(self.client(target), self._limiter, self._meter, states_folder(os.environ))

    def downloader(self, source: Remote) -> Downloader:
        return Downloader(self.client(source), self._limiter, self._meter)

    async def upload_stream(self, descriptor: int, target: Remote) -> int:
        return await self.uploader(target).stream(descriptor, target, self._headers)

    def upload(self, path: str, size: int, target: Remote, needed: Callable[[], Awaitable[bool]] | None = None) -> Job:
        """Raises: InvalidArgument when the file's name can't be a key."""
        check_key(target.key)

        async def perform() -> None:
            await self.uploader(target).file(path, target, self._headers)
            if self._move:
                os.unlink(path)

        return Job("move" if self._move else "upload", path, str(target), size, perform, needed)

    def download(self, source: Remote, item: Item, path: str, needed: Callable[[], Awaitable[bool]] | None = None) -> Job:
        async def perform() -> None:
            os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
            await self.downloader(source).file(source, path, size=item.size, etag=item.etag, modified=item.modified)
            await self._remove_source(source)

        return Job("move" if self._move else "download", str(source), path, item.size, perform, needed)

    def write_into(self, source: Remote, item: Item, path: str) -> Job:
        """Into a pipe or device, which stays what it is; a file of its name would take its place."""

        async def perform() -> None:
            with open(path, "wb") as file:  # noqa: ASYNC230 - blocks for as long as its reader

                def write(piece: bytes) -> None:
                    file.write(piece)

                await self.downloader(source).stream(source, write)
            await self._remove_source(source)

        return Job("move" if self._move else "download", str(source), path, item.size, perform)

    def copy(self, source: Remote, size: int, target: Remote, needed: Callable[[], Awaitable[bool]] | None = None) -> Job:
        async def perform() -> None:
            if source == target and not self._headers:
                raise InvalidArgument("source and target are the same object")
            duplicator = Duplicator(self.client(source), self.client(target), self._limiter, self._meter)
            await duplicator.copy(source, size, target, self._headers)
            if source != target:
                await self._remove_source(source)

        return Job("move" if self._move else "copy", str(source), str(target), size, perform, needed)

    async def _remove_source(self, source: Remote) -> None:
        if self._move:
            await self.client(source).delete(source.bucket, source.key)

    def delete_remote(self, place: Remote) -> Job:
        async def perform() -> None:
            async with self._limiter:
                await self.client(place).delete(place.bucket, place.key)

        return Job("delete", str(place), "", 0, perform)

    def delete_local(self, root: str, name: str) -> Job:
        """A file below `root`, and the folders that are empty then."""
        path = os.path.join(root, name)

        async def perform() -> None:
            os.unlink(path)
            folder = os.path.dirname(name)
            with suppress(OSError):  # a folder that still holds something stays
                while folder:
                    os.rmdir(os.path.join(root, folder))
                    folder = os.path.dirname(folder)

        return Job("delete", path, "", 0, perform)


def path_below(root: Local, name: str) -> str:
    """Where the object with the relative key `name` goes. Raises: InvalidArgument when that is no path below `root`."""
    return os.path.join(root.path, local_name(name))


def is_special(path: str) -> bool:
    """Whether there is a pipe, device or socket of this name."""
    try:
        mode = os.stat(path).st_mode
    except OSError:
        return False
    return not (stat.S_ISREG(mode) or stat.S_ISDIR(mode))


def check_no_link(root: Local, name: str) -> None:
    """Raises: Conflict when a link on the way would lead the file out of `root`."""
    base = os.path.realpath(root.path)
    parent = os.path.realpath(os.path.join(base, os.path.dirname(name)))
    if os.path.commonpath((base, parent)) != base:
        raise Conflict(f"{name} would leave {root} through a link")


def same_bytes(path: str, head: Head) -> bool:
    """Whether a file has the bytes of an object, by what the store says of those; False when that is not enough to know."""
    with open(path, "rb", buffering=0) as file:
        size = os.fstat(file.fileno()).st_size
        if size != head.size:
            return False
        if head.whole_checksum:
            return encode_checksum(file_checksum(file.fileno(), 0, size, path)) == head.whole_checksum
        if "-" in head.etag:
            return False
        digest = hashlib.md5(usedforsecurity=False)
        while piece := file.read(PIECE_BYTES):
            digest.update(piece)
        return digest.hexdigest() == head.etag


def states_folder(environ: Mapping[str, str]) -> Path:
    """Where uploads in parts that were interrupted are noted."""
    return Path(environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state") / "frazil" / "uploads"
