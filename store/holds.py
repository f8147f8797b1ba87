"""What the processes of one host are reading, told to each other by files: the chunks of a large object that is deleted meanwhile stay.

Only contents of several metachunks are told: the chunks of one are open while it is read, and an open file outlives its name. A file is
named `<first chunk's id>.<process>.<number>`, has no bytes, and is touched while the read goes on; one that a killed process left holds
nothing: at once, or, where another has its number by now, after HOLD_S_MAX.
"""

from __future__ import annotations

import os
import time
from itertools import count
from pathlib import Path

from node.log import get_logger
from store.layout import Layout

FOLDER = "reading"
HOLD_S_MAX = 300.0
READING_S = 300.0
"""So long do chunks of what was deleted or replaced stay in a cluster, unless the node's file says otherwise: others read unseen."""
TOUCH_S = 60.0
log = get_logger("store.holds")


class Holds:
    """One process's. Used by the event loop's thread; each call takes some ten microseconds."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._numbers = count()
        self._own: set[str] = set()
        self._touched_at = time.monotonic()

    def __repr__(self) -> str:
        return f"<Holds own={len(self._own)}>"

    def hold(self, layout: Layout) -> str:
        """A name for `release`; "" when nothing need or can be held."""
        if len(layout.metachunks) < 2:
            return ""
        name = f"{layout.metachunks[0].chunks[0].name}.{os.getpid()}.{next(self._numbers)}"
        try:
            self._make(name)
        except OSError as error:  # the read goes on; it ends early if the object is deleted by another process meanwhile
            log.warning("what is read can't be told to other processes", extra={"error": str(error)})
            return ""
        self._own.add(name)
        return name

    def _make(self, name: str) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC
        try:
            descriptor = os.open(self._folder / name, flags, 0o600)
        except FileNotFoundError:
            self._folder.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(self._folder / name, flags, 0o600)
        os.close(descriptor)

    def release(self, name: str) -> None:
        self._own.discard(name)
        try:
            os.unlink(self._folder / name)
        except OSError:  # it was taken for a dead process's; then it holds nothing
            return

    def touch(self) -> None:
        """Says that the reads go on; to be called often."""
        if time.monotonic() - self._touched_at < TOUCH_S:
            return
        self._touched_at = time.monotonic()
        for name in self._own:
            try:
                os.utime(self._folder / name)
            except OSError:  # nobody waits for it any more
                continue

    def held(self) -> set[str]:
        """First chunks of all contents that some process reads."""
        try:
            names = os.listdir(self._folder)
        except OSError:  # nobody ever read a large object
            return set()
        return {name.partition(".")[0] for name in names if self._is_held(name)}

    def _is_held(self, name: str) -> bool:
        path = self._folder / name
        try:
            if os.path.exists(f"/proc/{name.split('.')[1]}") and time.time() - path.stat().st_mtime < HOLD_S_MAX:
                return True
            path.unlink()
        except OSError:  # its reader was done just now
            pass
        return False
