"""The lifecycle engine of a store: put together here, run as a part of what one process does for all.

The master is that process: it turns rules into a standing job, whose position and outcome are kept, and into lists in the containers. In
one process there is no other; among many gateways it is the one that has the caretaking, and whoever takes over goes on from there.
"""

from __future__ import annotations

from functools import partial

from glacier.lifecycle.calendar import DAY_US, Calendar
from glacier.lifecycle.news import Herald
from glacier.lifecycle.task import KIND, LifecycleTask
from glacier.lifecycle.transit import Transit
from glacier.lifecycle.walk import RulesOf
from store.jobs.duty import Duty
from store.store import Hired

SCANS_PER_DAY = 4
"""Days end at midnight; what is due then is done within a quarter of the next at the latest, and new rules are felt as soon."""
PACE_BYTES = 40 << 20
"""10,000 versions or 640 actions in a second."""
DELAY_S = 60.0
"""Of the first pass after the process began, when days have their usual length."""


def engine(rules_of: RulesOf, calendar: Calendar, herald: Herald) -> Hired:
    make = partial(LifecycleTask, rules_of=rules_of, calendar=calendar, herald=herald)
    usual = calendar.day_us == DAY_US
    duty = Duty(PACE_BYTES if usual else 0, calendar.day_us / SCANS_PER_DAY / 1e6, delay_s=DELAY_S if usual else 0.0)
    return Hired({KIND: make}, {KIND: duty}, (partial(Transit, calendar=calendar, herald=herald),))
