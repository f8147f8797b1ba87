"""store.json: what an embedded store is made of. Written anew as a whole, atomically and durably."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from node.errors import ConfigError
from node.files import write_durably

SETTINGS_VERSION = 1
SETTINGS_NAME = "store.json"
KEY_NAME = "secret.key"
SOCKET_PATH_BYTES_MAX = 107


class VolumeSlot(msgspec.Struct, frozen=True):
    """path: absolute, or relative to the store's first directory, so that the whole can move."""

    id: str
    path: str


class Settings(msgspec.Struct, frozen=True):
    """namespace: id of the installation, 16 hex digits; policy: the name asked for, "" = by the number of volumes.

    sites: of cold storage classes that go to the boards of certain data centres only
    """

    namespace: str
    created_us: int
    volumes: tuple[VolumeSlot, ...]
    policy: str = ""
    sites: dict[str, tuple[str, ...]] = {}
    v: int = SETTINGS_VERSION

    def path_of(self, slot: VolumeSlot, first: Path) -> Path:
        return first / slot.path  # an absolute path wins over `first`


def load_settings(first: Path) -> Settings | None:
    """None when there is no store. Raises: ConfigError when the file is damaged or of a newer Frazil."""
    path = first / SETTINGS_NAME
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return None
    try:
        settings = msgspec.json.decode(data, type=Settings)
    except msgspec.DecodeError as error:
        raise ConfigError(f"{path} is not readable: {error}") from error
    if settings.v != SETTINGS_VERSION:
        raise ConfigError(f"{path} has version {settings.v}, this Frazil knows {SETTINGS_VERSION}")
    return settings


def save_settings(first: Path, settings: Settings) -> None:
    write_durably(first / SETTINGS_NAME, msgspec.json.format(msgspec.json.encode(settings), indent=2) + b"\n")


@contextmanager
def exclusive(run: Path, what: str = "") -> Iterator[None]:
    """Holds the store (or `what` is kept in the folder) for this process. Raises: ConfigError that names the process which holds it."""
    descriptor = os.open(run / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            holder = os.read(descriptor, 32).decode("ascii", "replace").strip()
            what = what or f"the store {run.parent}"
            raise ConfigError(f"{what} is in use by process {holder or 'unknown'}; stop that one first") from error
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        yield
    finally:
        os.close(descriptor)


@contextmanager
def short_path(path: str) -> Iterator[str]:
    """The same file under a name that fits a socket address (107 bytes on Linux). Raises: OSError."""
    if len(os.fsencode(path)) <= SOCKET_PATH_BYTES_MAX:
        yield path
        return
    folder = os.open(os.path.dirname(path), os.O_PATH | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{folder}/{os.path.basename(path)}"
    finally:
        os.close(folder)
