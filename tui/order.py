"""What keys ask for: the question before it, the command that does the same, and the call. Pure."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from glacier.worker.protocol import Verb
from tui.feed import Reader
from tui.snapshot import BoardView, DiskState, DiskView, ServiceView

Call = Callable[[Reader], Awaitable[str | None]]
"""What it answers is shown."""
_VERBS = {"running": "resume", "paused": "pause", "aborted": "abort"}


@dataclass(frozen=True, slots=True)
class Order:
    """call: made when the question was answered with yes."""

    question: str
    command: str
    call: Call


def steer(job: int, state: str) -> Order:
    verb = _VERBS[state]
    return Order(f"{verb.capitalize()} job {job}?", f"frazil job {verb} {job}", lambda reader: reader.steer(job, state))


def lock(service: ServiceView) -> Order:
    """Or unlock, when it is locked."""
    name = service.name
    if service.locked:
        question, command = f"Take the lock off {service.kind} {name}?", f"frazil cluster unlock {name}"
    else:
        question, command = f"Lock {service.kind} {name}, so that it takes nothing new?", f"frazil cluster lock {name} --place 0"
    return Order(question, command, lambda reader: reader.lock(name, locked=not service.locked))


def switch(board: BoardView, disk: DiskView) -> Order:
    """On or off, whichever it is not; a disk that failed by force."""
    bus = bus_of(board, disk)
    verb = Verb.FORCE if disk.state is DiskState.FAILED else Verb.ON if disk.state in (DiskState.OFF, DiskState.ABSENT) else Verb.OFF
    way = "off" if verb is Verb.OFF else "on"
    question = f"Switch disk {disk.number} of {board.name} {way}?"
    if verb is Verb.FORCE:
        question += f" It failed: {disk.doing}."
    elif verb is Verb.OFF:
        question += " What runs on it is done first; jobs that wait for it have it switched on again."
    command = f"frazil glacier power {way} {disk.number}{' --force' if verb is Verb.FORCE else ''} --bus {bus}"
    return Order(question, command, lambda reader: reader.order(bus, disk.number, verb))


def check(board: BoardView, disk: DiskView) -> Order:
    """Its file system."""
    bus = bus_of(board, disk)
    question = f"Check the file system of disk {disk.number} of {board.name}? The other disks of bus {disk.bus} wait meanwhile."
    return Order(question, f"frazil glacier fsck {disk.number} --bus {bus}", lambda reader: reader.order(bus, disk.number, Verb.FSCK))


def verify(board: BoardView, disk: DiskView) -> Order:
    bus = bus_of(board, disk)
    question = f"Read and compare all chunks on disk {disk.number} of {board.name}?"
    return Order(question, f"frazil glacier verify --disk {disk.number} --bus {bus}", lambda reader: reader.verify(bus, disk.number))


def bus_of(board: BoardView, disk: DiskView) -> str:
    """As commands name it."""
    return f"{board.name}/{disk.bus}"
