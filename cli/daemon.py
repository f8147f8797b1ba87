"""A command that goes on in the background: started in a session of its own, waited for until it serves."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import frazil
from cli.exit import Exit, Hinted

READY_BYTES = 1_024
LOG_LINES_SHOWN = 5


def start_daemon(arguments: Sequence[str], log_path: Path) -> int:
    """Its process id, once it serves; what it says goes to the log. Raises: Hinted when it ends before, OSError."""
    log_path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    reader, writer = os.pipe2(os.O_CLOEXEC)
    launcher = str(Path(frazil.__file__).parent / "__main__.py")
    try:
        with log_path.open("ab") as log:
            begin = log.tell()
            process = subprocess.Popen(
                [sys.executable, launcher, *arguments, "--ready-fd", str(writer)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=(writer,),
                start_new_session=True,
                cwd="/",
            )
        os.close(writer)
        writer = -1
        if os.read(reader, READY_BYTES):
            return process.pid
    finally:
        os.close(reader)
        if writer >= 0:
            os.close(writer)
    code = process.wait()
    said = log_path.read_bytes()[begin:].decode(errors="replace").strip().splitlines()[-LOG_LINES_SHOWN:]
    words = "; ".join(said).removeprefix("frazil: error: ") or f"it ended with {code}"
    raise Hinted(words, f"all that it said is in {log_path}", code=Exit(code) if code in list(Exit) and code else Exit.FAILED)
