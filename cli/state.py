"""What a running store leaves for others on its host to find it: `run/state.json`."""

from __future__ import annotations

from pathlib import Path

import msgspec

SETTINGS_FILE = "store.json"
SECRET_FILE = "secret.key"
STATE_FILE = "run/state.json"
BOARDS_FILE = "boards.json"
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


class Boards(msgspec.Struct, frozen=True):
    """The boards that the store had when it was started with some last: what cold objects need to come back.

    board: the directory of `up --board`, "" for none;  workers: the sockets of `up --cold`
    """

    board: str = ""
    workers: tuple[str, ...] = ()
    v: int = 1

    @property
    def options(self) -> str:
        """With which `up` has them again."""
        return " ".join([*([f"--board {self.board}"] if self.board else []), *(f"--cold {worker}" for worker in self.workers)])


def remember_boards(directory: Path, boards: Boards) -> None:
    """Raises: OSError."""
    temporary = directory / f"{BOARDS_FILE}.new"
    temporary.write_bytes(msgspec.json.format(msgspec.json.encode(boards)) + b"\n")
    temporary.replace(directory / BOARDS_FILE)


def remembered_boards(directory: Path) -> Boards | None:
    """None when it never had any, or nothing that can be read says so."""
    try:
        return msgspec.json.decode((directory / BOARDS_FILE).read_bytes(), type=Boards)
    except (OSError, msgspec.DecodeError):
        return None


def missing_boards(directory: Path, state: State | None) -> str:
    """What is to be said of a store that runs without the boards it had; "" when it has them, never had any, or does not run."""
    boards = remembered_boards(directory)
    if boards is None or state is None or state.cold:
        return ""
    return f"it runs without its boards: what lies on cold disks can't be restored; start it with {boards.options}"


def clear_state(directory: Path) -> None:
    (directory / STATE_FILE).unlink(missing_ok=True)


def read_state(directory: Path) -> State | None:
    """None when no process left one, or nothing that can be read."""
    try:
        return msgspec.json.decode((directory / STATE_FILE).read_bytes(), type=State)
    except (FileNotFoundError, NotADirectoryError, msgspec.DecodeError):
        return None
