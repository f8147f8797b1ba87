"""The log: one object per line, the request on it, and never a secret."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator

import pytest

from node.log import ROOT, bind_request, get_logger, redact, set_up, unbind_request


@pytest.fixture
def stream() -> Iterator[io.StringIO]:
    made = io.StringIO()
    root = logging.getLogger(ROOT)
    before = (root.handlers[:], root.level, root.propagate)
    set_up("info", stream=made)
    yield made
    root.handlers[:], root.propagate = before[0], before[2]
    root.setLevel(before[1])


def test_lines_are_json_with_fields_and_request(stream: io.StringIO) -> None:
    token = bind_request("ABC")
    get_logger("rawx").info("disk %s is slow", "d1", extra={"volume": "v1", "wait_s": 1.5})
    unbind_request(token)
    get_logger("rawx").debug("unseen")
    get_logger("rawx").warning("x")
    first, second = map(json.loads, stream.getvalue().splitlines())
    assert first.pop("time").endswith("Z")
    assert first == {
        "level": "info",
        "logger": "frazil.rawx",
        "message": "disk d1 is slow",
        "request": "ABC",
        "volume": "v1",
        "wait_s": 1.5,
    }
    assert "request" not in second


def test_exceptions_and_odd_values_do_not_break_the_line(stream: io.StringIO) -> None:
    try:
        raise ValueError("a\nb")
    except ValueError:
        get_logger("x").exception("failed", extra={"what": object(), "raw": b"\xff"})
    line = json.loads(stream.getvalue())
    assert "ValueError: a\nb" in line["traceback"]
    assert "object" in line["what"]
    assert stream.getvalue().count("\n") == 1


def test_a_line_for_people_is_one_line_whatever_names_hold(stream: io.StringIO) -> None:
    set_up("info", stream=stream, json=False, colour=False)
    get_logger("x").warning("key %s", "a\x1b[2J\nforged", extra={"key": "\x1b]0;title\x07"})
    (line,) = stream.getvalue().splitlines()
    assert line.endswith("key a\\x1b[2J\\nforged key=\\x1b]0;title\\x07")


CANARY = "canaryCANARY+/1234"


@pytest.mark.parametrize(
    "text",
    [
        f"GET /b/k?X-Amz-Signature={CANARY}&x=y",
        f"X-Amz-Credential={CANARY}/20200101/us-east-1",
        f"x-amz-security-token={CANARY}",
        f"Authorization: AWS4-HMAC-SHA256 Credential=AK, Signature={CANARY}",
        f"{{'authorization': 'Bearer {CANARY}'}}",
        f"headers [(b'authorization', 1)] authorization=b'{CANARY}'",
        f"secret_key={CANARY}",
        f'"password": "{CANARY}"',
    ],
)
def test_secrets_are_struck_out_of_text(text: str) -> None:
    assert CANARY not in redact(text)
    assert "[redacted]" in redact(text)


def test_secrets_are_struck_out_of_lines(stream: io.StringIO) -> None:
    try:
        raise ValueError(f"secret={CANARY}")
    except ValueError:
        get_logger("x").exception(
            "call with Signature=%s", CANARY, extra={"secret_key": CANARY, "session_token": CANARY, "url": f"?Signature={CANARY}"}
        )
    assert CANARY not in stream.getvalue()
    assert "[redacted]" in stream.getvalue()


def test_harmless_text_is_left_alone() -> None:
    assert redact("PUT /bucket/key?partNumber=1 took 3 ms") == "PUT /bucket/key?partNumber=1 took 3 ms"


def test_a_terminal_gets_readable_lines() -> None:
    stream = io.StringIO()
    root = logging.getLogger(ROOT)
    before = (root.handlers[:], root.level, root.propagate)
    try:
        set_up("info", stream=stream, json=False, colour=True)
        get_logger("x").warning("disk is slow", extra={"volume": "v1"})
    finally:
        root.handlers[:], root.propagate = before[0], before[2]
        root.setLevel(before[1])
    assert "\x1b[33mwarning\x1b[0m disk is slow volume=v1" in stream.getvalue()
