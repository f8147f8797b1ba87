"""glacier simulate: the schedule of a board in virtual time, in words."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from cli.exit import Exit
from cli.session import Session, with_session

if TYPE_CHECKING:
    from glacier.simulation import Outcome
    from glacier.study import Study

SCENARIOS = ("day", "poisson", "bursts", "zipf", "archive")
OBJECTS_MAX = 200_000
HOURS_MAX = 24 * 31


@click.command("simulate", short_help="Try the schedule of a board in virtual time.")
@click.option("--scenario", type=click.Choice(SCENARIOS), default="day", show_default=True, help="What is asked for.")
@click.option("--hours", metavar="HOURS", type=click.FloatRange(1, HOURS_MAX), default=24, show_default=True, help="For so long.")
@click.option(
    "--objects", metavar="N", type=click.IntRange(1, OBJECTS_MAX), default=5000, show_default=True, help="In the archive at the begin."
)
@click.option(
    "--buses", metavar="N", type=click.IntRange(1, 16), default=2, show_default=True, help="Of the board; one disk of each is powered."
)
@click.option("--disks", metavar="N", type=click.IntRange(1, 256), default=28, show_default=True, help="On each bus.")
@click.option("--code", default="6+3", show_default=True, metavar="K+M", help="Erasure code of the objects; 1+0 is one copy.")
@click.option(
    "--together", metavar="N", type=click.IntRange(1, 16), default=1, show_default=True, help="Fragments of an object that a disk may hold."
)
@click.option("--spin-up", type=click.FloatRange(0, 600), default=15.0, show_default=True, metavar="SECONDS", help="Power-on to mounted.")
@click.option("--seed", default="1", show_default=True, help="The same seed, the same day.")
@with_session
def simulate(
    session: Session, scenario: str, hours: float, objects: int, buses: int, disks: int, code: str, together: int, spin_up: float, seed: str
) -> Exit:
    """Try the schedule of a board in virtual time, against other schedules and against what none could beat.

    The lower bound of power cycles holds for schedules that let nobody wait longer than this one does.
    """
    from glacier.schedule import Rates
    from glacier.simulation import Board
    from glacier.study import study
    from glacier.trace import SCENARIOS as LOADS

    data, parity = _code(code)
    board = Board(buses, disks, data, parity, together, Rates(spin_up_s=spin_up))
    found = study(board, LOADS[scenario], objects=objects, hours=hours, seed=seed)
    _tell(session, found, scenario)
    return Exit.OK


def _code(text: str) -> tuple[int, int]:
    data, plus, parity = text.partition("+")
    if not plus or not data.isdigit() or not parity.isdigit() or not 1 <= int(data) <= 32 or int(parity) > 32:
        raise click.BadParameter(f"{text!r} is no code; write 6+3, or 1+0 for one copy", param_hint="--code")
    return int(data), int(parity)


def _tell(session: Session, found: Study, scenario: str) -> None:
    out = session.output
    head = f"{'':22}{'power cycles':>13}{'makespan':>11}{'energy':>11}  first byte, median / 99 % / longest"
    out.record("scenario", f"{scenario}: {found.requests:,} requests\n\n{head}", scenario=scenario, requests=found.requests)
    for name, outcome in found.outcomes.items():
        out.record("schedule", _line(name, outcome), name=name, **_fields(outcome))
    bound = found.bound
    line = f"{'lower bound':22}{bound.power_cycles:>13,}{short_time(bound.makespan_s):>11}{bound.energy_wh:>8.0f} Wh"
    out.record("bound", line, power_cycles=bound.power_cycles, makespan_s=bound.makespan_s, energy_wh=bound.energy_wh)


def _line(name: str, outcome: Outcome) -> str:
    start = f"{name:22}{outcome.power_cycles:>13,}{short_time(outcome.makespan_s):>11}{outcome.energy_wh:>8.0f} Wh"
    waits = [
        f"{kind.name.lower():<10}{short_time(each.median_s):>8} / {short_time(each.p99_s)} / {short_time(each.longest_s)}"
        for kind, each in outcome.waits.items()
    ]
    return f"\n{' ' * 59}".join([f"{start}  {waits[0] if waits else ''}", *waits[1:]])


def _fields(outcome: Outcome) -> dict[str, object]:
    waits = {
        kind.name.lower(): {"count": each.count, "median_s": each.median_s, "p99_s": each.p99_s, "longest_s": each.longest_s}
        for kind, each in outcome.waits.items()
    }
    return {
        "power_cycles": outcome.power_cycles,
        "makespan_s": outcome.makespan_s,
        "energy_wh": outcome.energy_wh,
        "on_s": outcome.on_s,
        "first_byte": waits,
    }


def short_time(seconds: float) -> str:
    """As short as it is read easily: 12.3 s, 4 min 05 s, 26.7 h, 7.0 d."""
    if seconds < 120:
        return f"{seconds:.1f} s"
    if seconds < 2 * 3600:
        return f"{seconds / 60:.1f} min"
    return f"{seconds / 3600:.1f} h" if seconds < 48 * 3600 else f"{seconds / 86400:.1f} d"
