"""The lifecycle engine of a store: put together here, run as a part of the store's background.

In one process it works in the main process. What it does is in jobs and rows, and jobs are worked on by one process only: in a cluster the
one that is elected to.
"""

from __future__ import annotations

from functools import partial

from glacier.lifecycle.calendar import Calendar
from glacier.lifecycle.news import Herald
from glacier.lifecycle.transit import Transit
from store.store import Hired


def engine(calendar: Calendar, herald: Herald) -> Hired:
    return Hired(workers=(partial(Transit, calendar=calendar, herald=herald),))
