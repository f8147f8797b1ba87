"""What a worker is asked, in this process or over its socket. Asking is answered at once and durably; doing follows when disks allow it."""

from __future__ import annotations

import enum
from collections.abc import Sequence
from typing import Protocol

import msgspec

from glacier.backlog import Kind

ITEMS_MAX = 1_000
"""Chunks of one call."""


class Verb(enum.Enum):
    """What an operator may ask of a disk. FORCE: on, although it failed; REPAIR: a check that repairs what it can without asking."""

    ON = "on"
    FORCE = "force"
    OFF = "off"
    FSCK = "fsck"
    REPAIR = "repair"

    @property
    def words(self) -> str:
        return _WORDS[self]


_WORDS = {
    Verb.ON: "power-on",
    Verb.FORCE: "power-on",
    Verb.OFF: "power-off",
    Verb.FSCK: "the check",
    Verb.REPAIR: "the repair",
}


class Item(msgspec.Struct, frozen=True, array_like=True):
    """A chunk by where it is."""

    volume: str
    chunk: str


class ChunkState(msgspec.Struct, frozen=True, array_like=True):
    """What the worker knows of a chunk.

    state      "" nothing: its bytes are on the volume; "wanted": they are to go to a cold disk; "sent": they are there as well;
               "cold": only there; "filled": on both; "lost": nowhere, or its file is gone
    asked      a thaw waits;  until_us: of what is filled or will be: when it may be emptied
    disk       where the bytes are or will be, -1: nowhere;  rank: of the disk among the board's, in the order in which they fill
    power_ons, wait_s   what reading it would cost: glacier.election.Outlook
    problem    why it can't be had now, "" when it can
    """

    state: str = ""
    asked: bool = False
    until_us: int = 0
    disk: int = -1
    rank: int = 0
    power_ons: int = 1
    wait_s: float = 0.0
    problem: str = ""


class DiskStatus(msgspec.Struct, frozen=True):
    """A disk as its worker and its freezer know it.

    used       bytes of the chunks on it;  closed: why it takes nothing new;  waiting: jobs by kind;  doing: what it does now
    problem    why it can't be used, "" when it can;  rest_s: how long it is left alone for that
    state      glacier.protocol.DiskState in lower case;  ready_s: of a rising one: about how long it still takes
    cycles, powered_s, errors, last_error, last_error_us   as the freezer told last: glacier.protocol.DiskReport
    note       what came of the last order that took longer than its answer, or of the last check of its file system
    """

    disk: int
    total: int
    used: int
    chunks: int
    closed: str
    problem: str
    waiting: dict[str, int]
    powered: bool = False
    state: str = "off"
    ready_s: float = 0.0
    rest_s: float = 0.0
    doing: str = ""
    cycles: int = 0
    powered_s: int = 0
    errors: int = 0
    last_error: str = ""
    last_error_us: int = 0
    note: str = ""


class QueuedJob(msgspec.Struct, frozen=True):
    """at_us: when it was asked for;  tries: how often it failed, last for the reason `problem`;  wait_s: until a thaw is over when all
    that wait now are, -1 when nothing can be told."""

    id: int
    kind: str
    disk: int
    volume: str
    chunk: str
    size: int
    at_us: int
    tries: int = 0
    problem: str = ""
    wait_s: float = -1.0


class Stray(msgspec.Struct, frozen=True, array_like=True):
    """A chunk on a cold disk whose file vanished, or one that was lost; bucket, key, content: as its record said."""

    volume: str
    chunk: str
    bucket: str
    key: str
    content: str


class Status(msgspec.Struct, frozen=True):
    """connected: the freezer answers;  doing: in words;  done: jobs by kind since the start;  lost: chunks that cold disks lost;
    strays: copies whose files vanished, and lost chunks that are not made anew yet; site, rate_bytes: of WorkerConfig, as it is now;
    place: where the freezer is, which tells boards of one name apart."""

    board: str
    bus: int
    connected: bool
    doing: str
    volumes: list[str]
    disks: list[DiskStatus]
    waiting: dict[str, int]
    done: dict[str, int]
    power_ons: int
    unverified_us: int
    lost: int = 0
    strays: int = 0
    site: str = ""
    rate_bytes: float = 0.0
    place: str = ""

    @property
    def name(self) -> str:
        """As people call the bus."""
        return f"{self.board}/{self.bus}"

    @property
    def full_name(self) -> str:
        """The same, where boards of one name are to be told apart."""
        return f"{self.board}@{self.place}/{self.bus}"


def is_named(status: Status, bus: str) -> bool:
    """Whether BOARD/BUS or BOARD@PLACE/BUS means this one; "" means all."""
    return bus in ("", status.name, status.full_name)


class ColdDoor(Protocol):
    """One worker. Every method may be repeated. Raises: Unavailable; VolumeNotFound for a volume that it doesn't look after."""

    async def create(self, items: Sequence[Item]) -> None:
        """Have them moved to a cold disk, some time. Unknown and damaged chunks are left alone."""

    async def get(self, items: Sequence[Item], kind: Kind, until_us: int) -> None:
        """Have them brought back until then (0: the worker's own while); what is still on its way out stays so long."""

    async def waive(self, items: Sequence[Item]) -> None:
        """What `get` asked for and has not come is needed no more: others were taken in its place."""

    async def melt(self, items: Sequence[Item]) -> None:
        """Have them brought back for good."""

    async def delete(self, items: Sequence[Item]) -> None:
        """They are about to be deleted on their volume: forget them."""

    async def states(self, items: Sequence[Item]) -> list[ChunkState]: ...

    async def status(self) -> Status: ...

    async def queue(self, limit: int) -> list[QueuedJob]:
        """What waits, the most urgent first."""

    async def strays(self, after: Item, limit: int) -> list[Stray]:
        """In the order of volumes and chunks; with all chunks of volumes that have long been away. Who finds that no metadata needs one
        deletes it."""

    async def verify(self, disk: int) -> int:
        """Have all chunks of a disk read and compared, soon; -1: of all disks. How many there are. Raises: DiskNotFound."""

    async def clear(self, disk: int) -> int:
        """Have all chunks of a disk moved to others; it takes none meanwhile. How many lie there. Raises: DiskNotFound, VolumeFull."""

    async def pace(self, rate_bytes: float) -> None:
        """Limits the bytes per second to the freezer and from it, until the worker ends; 0: not at all. Raises: InvalidArgument."""

    async def lose(self, disk: int) -> int:
        """The disk is gone for good: what lay on it is made anew from other chunks. How many chunks. Raises: DiskNotFound; Unavailable
        when some are of volumes that are away, once all others are done."""

    async def order(self, disk: int, verb: Verb) -> str:
        """Has it done as soon as what runs now is over; what came of it, in words, or that it is under way.

        Raises: DiskNotFound; PowerBudgetSpent (another disk has the power), DiskFailed, Busy, Unavailable (no freezer).
        """
