"""All cases; run over a folder, as a table: `python -m tests.posix FOLDER`."""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections import Counter
from pathlib import Path

from tests.posix import attributes, files, folders, links, names, permissions, renames
from tests.posix.case import CASES, Case

MODULES = (attributes, files, folders, links, names, permissions, renames)
"""Imported for the cases that they register."""


def attempt(case: Case, top: Path) -> str:
    """What is wrong; "" when nothing is."""
    folder = Path(tempfile.mkdtemp(prefix="posix-", dir=top))
    folder.chmod(0o755)
    try:
        case.run(folder)
    except (AssertionError, OSError) as error:
        return f"{type(error).__name__}: {error}"
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return ""


def main() -> int:
    if len(sys.argv) != 2:
        print("usage: python -m tests.posix FOLDER", file=sys.stderr)
        return 2
    good: Counter[str] = Counter()
    total: Counter[str] = Counter()
    for case in CASES:
        total[case.call] += 1
        problem = attempt(case, Path(sys.argv[1]))
        if problem:
            print(f"{case}\n    {problem}")
        else:
            good[case.call] += 1
    for call in sorted(total):
        print(f"{call:18}{good[call]:4} of {total[call]}")
    print(f"{'all':18}{good.total():4} of {total.total()}")
    return 0 if good == total else 1
