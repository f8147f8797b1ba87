"""What a test needs of its machine. Missing things skip a test on a developer's machine, with the reason; in CI they fail it."""

from __future__ import annotations

import os
import shutil
from typing import NoReturn

import pytest

CONTINUOUS = os.environ.get("CI", "").lower() in ("1", "true", "yes")


def _missing(reason: str) -> NoReturn:
    if CONTINUOUS:
        pytest.fail(f"{reason}; in CI everything is there (.ci/apt-packages.txt)")
    pytest.skip(reason)


def need_programs(*names: str) -> None:
    """Skips, or fails in CI, unless each program is on the path."""
    absent = [name for name in names if shutil.which(name) is None]
    if absent:
        _missing(f"needs {', '.join(absent)}")


def need_root() -> None:
    """Skips, or fails in CI, unless this is root with loop devices."""
    if os.geteuid() != 0:
        _missing("needs root (loop devices, mounts)")
    if not os.path.exists("/dev/loop-control"):
        _missing("needs loop devices")


def need_fuse() -> None:
    need_root()
    if not os.path.exists("/dev/fuse"):
        _missing("needs /dev/fuse")
    try:
        import pyfuse3  # noqa: F401
    except ImportError:
        _missing("needs pyfuse3 (libfuse3-dev, then pip)")
