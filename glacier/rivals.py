"""What the scheduler is compared with. Neither knows how urgent a job is."""

from __future__ import annotations

from math import inf

from glacier.backlog import Backlog
from glacier.schedule import Action, Bus, Off, Power, Rest, Run

IDLE_S = 60.0
"""Until an idle disk is powered off; as the scheduler's."""


def first_come_first_served(backlog: Backlog, bus: Bus, now_s: float) -> Action:
    """Every job in the order of asking, whichever disk it needs."""
    job = next(iter(backlog), None)  # they are in the order of their coming
    if job is None:
        return _idle(bus, now_s)
    return Run(job) if job.disk == bus.disk else Power(job.disk)


def most_requests_first(backlog: Backlog, bus: Bus, now_s: float) -> Action:
    """All that waits for the powered disk, then the disk for which most waits."""
    job = backlog.first(bus.disk) if bus.disk is not None else None
    if job is not None:
        return Run(job)
    if not backlog.disks:
        return _idle(bus, now_s)
    return Power(max(backlog.disks, key=lambda disk: (sum(map(len, backlog.disks[disk].values())), -disk)))


def _idle(bus: Bus, now_s: float) -> Action:
    if bus.disk is None:
        return Rest(inf)
    return Off() if now_s >= bus.busy_s + IDLE_S else Rest(bus.busy_s + IDLE_S)
