"""A process from start to end: readiness, signals, exit codes."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = """
import sys, trio
from node import errors, runner

async def main(drain, ready):
    what = sys.argv[1]
    if what == "bug":
        raise ZeroDivisionError("oops")
    if what == "config":
        raise errors.ConfigError("port is wrong")
    if what == "nested":
        async with trio.open_nursery() as nursery:
            async def fail():
                raise errors.Busy("come again")
            nursery.start_soon(fail)
            nursery.start_soon(trio.sleep_forever)
    if what == "taken":
        raise OSError(98, "Address already in use")
    ready.ready("http://127.0.0.1:1")
    if what == "serve":
        await drain.wait()
    if what == "stubborn":
        await drain.wait()
        print("draining", flush=True)
        await trio.sleep_forever()

sys.exit(runner.run(main, ready_fd=int(sys.argv[2]) if len(sys.argv) > 2 else None))
"""


def start(what: str, *arguments: str, **options: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM, what, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[3],
        **options,  # type: ignore[call-overload]
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    ("what", "code", "message"),
    [
        ("fine", 0, ""),
        ("bug", 1, "frazil: stopped by an internal error: ZeroDivisionError: oops"),
        ("config", 2, "frazil: port is wrong"),
        ("nested", 5, "frazil: come again"),
        ("taken", 1, "frazil: [Errno 98] Address already in use"),
    ],
)
def test_the_end_has_a_code_and_a_message(what: str, code: int, message: str) -> None:
    process = start(what)
    _, errors = process.communicate(timeout=20)
    assert process.returncode == code
    assert errors.strip().splitlines()[-1:] == ([message] if message else [])
    assert "Traceback" not in errors or what == "bug"


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_readiness_and_drain(number: signal.Signals, tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notified:
        notified.bind(str(tmp_path / "notify"))
        notified.settimeout(20)
        reader, writer = os.pipe()
        with start("serve", str(writer), pass_fds=[writer], env={**os.environ, "NOTIFY_SOCKET": str(tmp_path / "notify")}) as process:
            os.close(writer)
            with os.fdopen(reader) as ready:
                assert ready.read() == "http://127.0.0.1:1\n"
            assert notified.recv(1000) == b"READY=1\nSTATUS=http://127.0.0.1:1"
            process.send_signal(number)
            assert notified.recv(1000) == b"STOPPING=1"
            assert process.wait(20) == 0


@pytest.mark.slow
def test_the_second_signal_ends_at_once() -> None:
    reader, writer = os.pipe()
    with start("stubborn", str(writer), pass_fds=[writer]) as process:
        os.close(writer)
        with os.fdopen(reader) as ready:
            ready.read()
        process.send_signal(signal.SIGTERM)
        assert process.stdout is not None
        assert process.stdout.readline() == "draining\n"
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 130
