"""The command `frazil`: puts the folder that holds the parts first on the import path, then hands over to `cli`."""

from __future__ import annotations

import sys
from pathlib import Path


def parts_folder(here: Path) -> Path:
    """The folder that holds `rawx/` and its neighbours: `frazil/` itself when installed, its parent in a checkout."""
    return here if (here / "rawx").is_dir() else here.parent


def main() -> int:
    """Runs the command line in sys.argv; the exit code."""
    folder = str(parts_folder(Path(__file__).resolve().parent))
    if sys.path[:1] != [folder]:
        sys.path.insert(0, folder)
    from cli.main import main as run

    return run()


if __name__ == "__main__":
    sys.exit(main())
