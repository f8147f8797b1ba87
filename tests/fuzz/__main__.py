"""`python -m tests.fuzz --minutes N`: hostile requests against a store of its own, until the time is over or something is found."""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
import time
from pathlib import Path

from tests.support.store import StoreProcess

from .campaign import Campaign, Found


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--minutes", type=float, default=5.0, help="how long (default 5)")
    parser.add_argument("--seed", default=str(int(time.time())), help="of the cases; printed (default: the clock's)")
    parser.add_argument("--first", type=int, default=0, help="number of the first case")
    parser.add_argument("--cases", type=int, default=0, help="so many cases, instead of minutes")
    parser.add_argument("--processor", type=float, default=1.0, help="share of a processor to use, about (default 1)")
    parser.add_argument("--connections", type=int, default=1, help="cases at once; more than one find races, but do not repeat (default 1)")
    parser.add_argument("--workers", type=int, default=1, help="gateway processes of the store (default 1)")
    parser.add_argument("--keep-going", action="store_true", help="go on after what was found, up to 20 times")
    options = parser.parse_args()
    print(f"seed {options.seed}", flush=True)
    until = time.monotonic() + options.minutes * 60
    first, found = options.first, 0
    while True:
        number, failure = run_once(options, first, until)
        if failure is None:
            return 1 if found else 0
        found += 1
        print(f"FOUND {found}: {failure}\n", flush=True)
        if not options.keep_going or found >= 20 or time.monotonic() > until:
            return 1
        first = number + 1


def run_once(options: argparse.Namespace, first: int, until: float) -> tuple[int, Found | None]:
    """A store, and cases until its time is over or one is found; the number of the last case."""
    root = Path(tempfile.mkdtemp(prefix="frazil-fuzz-"))
    try:
        with StoreProcess([root / "store"], root, volumes=3, options=["--sigv2", "--workers", str(options.workers)]) as store:
            store.start()
            campaign = Campaign(store, options.seed, share=options.processor, connections=options.connections)
            try:
                campaign.prepare()
                campaign.run(cases=options.cases, until=until, first=first)
            except Found as failure:
                return first + campaign.tally.cases, failure
            finally:
                print(campaign.tally, flush=True)
        return first + campaign.tally.cases, None
    finally:
        shutil.rmtree(root, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
