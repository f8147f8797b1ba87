"""One trace, scheduled in several ways, beside what none of them could beat."""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass
from random import Random

from glacier.bound import Bound, lower_bound
from glacier.election import cheapest
from glacier.rivals import first_come_first_served, most_requests_first
from glacier.schedule import Decide, Scheduler
from glacier.simulation import Archived, Board, Choose, Outcome, Shelves, Simulation, data_first, fill
from glacier.trace import Load, Request, make_trace

OURS = "frazil"


def ways(board: Board) -> dict[str, tuple[Decide, Choose]]:
    """The ways of scheduling, and of choosing the fragments of an object, by name."""
    return {
        "first come": (first_come_first_served, data_first),
        "first come, cheapest": (first_come_first_served, cheapest),
        "most requests": (most_requests_first, cheapest),
        OURS: (Scheduler(rates=board.rates), cheapest),
    }


@dataclass(frozen=True, slots=True)
class Study:
    outcomes: dict[str, Outcome]
    bound: Bound
    requests: int


def study(board: Board, load: Load, *, objects: int, hours: float, seed: str) -> Study:
    """Raises: ConfigError for a board on which the objects don't fit."""
    shelves, archive = fill(board, objects, Random(seed))
    trace = make_trace(load, objects=objects, hours=hours, random=Random(f"{seed} trace"))
    outcomes = {name: _run(board, shelves, archive, trace, way) for name, way in ways(board).items()}
    longest_s = {kind: waits.longest_s for kind, waits in outcomes[OURS].waits.items()}
    return Study(outcomes, lower_bound(board, archive, trace, longest_s), len(trace))


def _run(board: Board, shelves: Shelves, archive: Sequence[Archived], trace: Sequence[Request], way: tuple[Decide, Choose]) -> Outcome:
    decide, choose = way
    return Simulation(board, deepcopy(shelves), archive, decide, choose).run(trace)
