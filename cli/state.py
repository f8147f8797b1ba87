"""What a running store leaves for others on its host to find it: `run/state.json`."""

from __future__ import annotations

from pathlib import Path

import msgspec

SETTINGS_FILE = "store.json"
SECRET_FILE = "secret.key"
STATE_FILE = "run/state.json"
LOCK_FILE = "run/lock"
SOCKET_FILE = "run/internal.sock"


class State(msgspec.Struct, frozen=True):
    """How to reach the store. pid: of the main process; tls_cert: the certificate's path, "" for plain HTTP; cold: sockets of workers;
    lifecycle_day: seconds."""

    pid: int
    url: str
    admin_socket: str
    region: str = "us-east-1"
    tls_cert: str = ""
    cold: tuple[str, ...] = ()
    lifecycle_day: float = 86_400.0


def write_state(directory: Path, state: State) -> None:
    """Atomically, readable by the owner only."""
    path = directory / STATE_FILE
    path.parent.mkdir(exist_ok=True, mode=0o700)
    temporary = path.with_suffix(".new")
    temporary.write_bytes(msgspec.json.format(msgspec.json.encode(state)) + b"\n")
    temporary.replace(path)


def clear_state(directory: Path) -> None:
    (directory / STATE_FILE).unlink(missing_ok=True)


def read_state(directory: Path) -> State | None:
    """None when no process left one, or nothing that can be read."""
    try:
        return msgspec.json.decode((directory / STATE_FILE).read_bytes(), type=State)
    except (FileNotFoundError, NotADirectoryError, msgspec.DecodeError):
        return None
