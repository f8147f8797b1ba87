"""Structured log on the standard library's: JSON lines in services, readable lines on a terminal, the request's id on each, no secrets.

A call below the level costs one comparison; there is none on the path of a request unless something is wrong with it.
"""

from __future__ import annotations

import contextvars
import logging
import re
import sys
import time
from typing import IO, Any

import msgspec

from node.text import visible

ROOT = "frazil"
REDACTED = "[redacted]"
_SECRET_NAME = re.compile(r"authorization|secret|signature|password|passwd|token|credential|private|namespace_key", re.IGNORECASE)
_SECRET_TEXT = re.compile(
    r"(?i)((?:x-amz-)?(?:signature|credential|security-token)=)[^&\s\"',]+"
    r"|((?:proxy-)?authorization[\"']?\s*[:=]\s*[bB]?[\"']?)[^\r\n\"']+"
    r"|((?:secret|password|passwd|token)[a-z_-]*[\"']?\s*[:=]\s*[\"']?)[^\s\"',&]+"
)
_PLAIN = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
"""Attributes that every record has; the others came by `extra`."""
_LEVEL_COLOURS = {logging.WARNING: "\x1b[33m", logging.ERROR: "\x1b[31m", logging.CRITICAL: "\x1b[31m"}

_request_id: contextvars.ContextVar[str] = contextvars.ContextVar("request_id", default="")


def bind_request(request_id: str) -> contextvars.Token[str]:
    """Puts the id on every line this task and its children log from now on; `unbind_request` takes it off."""
    return _request_id.set(request_id)


def unbind_request(token: contextvars.Token[str]) -> None:
    _request_id.reset(token)


def get_logger(name: str) -> logging.Logger:
    """The logger "frazil.<name>". Fields go by `extra={"bucket": ...}`."""
    return logging.getLogger(f"{ROOT}.{name}")


def redact(text: str) -> str:
    """`text` without the values of signatures, credentials, passwords and Authorization headers."""
    return _SECRET_TEXT.sub(lambda match: (match[1] or match[2] or match[3]) + REDACTED, text)


def _fields(record: logging.LogRecord) -> dict[str, Any]:
    extra = {key: value for key, value in vars(record).items() if key not in _PLAIN}
    for key, value in extra.items():
        if _SECRET_NAME.search(key):
            extra[key] = REDACTED
        elif isinstance(value, bytes):
            extra[key] = redact(value.decode("utf-8", "backslashreplace"))
        elif isinstance(value, str):
            extra[key] = redact(value)
    return extra


def sentence(record: logging.LogRecord) -> str:
    """A record as one line for people, harmless for a terminal: message and fields, without secrets; time and level stand elsewhere."""
    line = redact(record.getMessage()) + "".join(f" {key}={value}" for key, value in _fields(record).items())
    if request_id := _request_id.get():
        line += f" request={request_id}"
    return visible(line)


class _Formatter(logging.Formatter):
    def _message(self, record: logging.LogRecord) -> str:
        return redact(record.getMessage())

    def _traceback(self, record: logging.LogRecord) -> str:
        return redact(self.formatException(record.exc_info)) if record.exc_info and record.exc_info[0] is not None else ""


class JsonFormatter(_Formatter):
    """One JSON object per line: time (RFC 3339, UTC, ms), level, logger, message, request when there is one, then the fields."""

    def format(self, record: logging.LogRecord) -> str:
        date = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        line: dict[str, Any] = {
            "time": f"{date}.{int(record.msecs):03d}Z",
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": self._message(record),
        }
        if request_id := _request_id.get():
            line["request"] = request_id
        line |= {key: value for key, value in _fields(record).items() if key not in line}
        if traceback := self._traceback(record):
            line["traceback"] = traceback
        return msgspec.json.encode(line, enc_hook=repr).decode()


class HumanFormatter(_Formatter):
    """For a terminal: time, level, message, fields."""

    def __init__(self, *, colour: bool) -> None:
        super().__init__()
        self._colour = colour

    def format(self, record: logging.LogRecord) -> str:
        date = time.strftime("%H:%M:%S", time.localtime(record.created))
        level = record.levelname.lower()
        colour = _LEVEL_COLOURS.get(record.levelno, "") if self._colour else ""
        line = f"{date} {colour}{level:7}{colour and chr(27) + '[0m'} {sentence(record)}"
        if traceback := self._traceback(record):
            line += "\n" + traceback
        return line


def set_up(level: str = "info", *, stream: IO[str] | None = None, json: bool | None = None, colour: bool | None = None) -> None:
    """Sends the log to `stream` (standard error). `json` None: unless the stream is a terminal; `colour` None: on a terminal."""
    stream = stream if stream is not None else sys.stderr
    terminal = stream.isatty()
    handler = logging.StreamHandler(stream)
    use_json = not terminal if json is None else json
    handler.setFormatter(JsonFormatter() if use_json else HumanFormatter(colour=terminal if colour is None else colour))
    root = logging.getLogger(ROOT)
    for old in root.handlers[:]:
        root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(level.upper())
    root.propagate = False
