"""The survey after the faults: everything is read in every way, and the ways must agree."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Iterable
from pathlib import Path
from urllib.parse import unquote_plus
from xml.etree import ElementTree

from .client import Client
from .load import BROKEN, read_event
from .oracle import ClientLog, Event, Kind, Outcome

HEAL_S = 20.0
CHUNK_FOLDER = "[0-9a-f][0-9a-f][0-9a-f]"


def read_all(client: Client, bucket: str, keys: Iterable[str], log: ClientLog, detail: str, heal_s: float = HEAL_S) -> list[str]:
    """Reads every key by GET, HEAD and in the listing; logs what it saw; returns disagreements, each a sentence.
    A key that can't be read within `heal_s` is a disagreement and, for the oracle, absent."""
    found: list[str] = []
    listed = {key: (size, etag.strip('"')) for page in client.pages(bucket) for key, size, etag in _contents(page.body.decode())}
    for key in sorted(set(keys) | set(listed)):
        event, body_size, etag = _read(client, bucket, key, detail, time.monotonic() + heal_s)
        log.add(event)
        if event.outcome is not Outcome.ACKED:
            found.append(f"{key!r} can't be read: {event.detail}")
            log.add(Event(Kind.READ, key, "", event.start_ns, event.end_ns, detail=event.detail))
            continue
        there = bool(event.token or event.fault)
        if there != (key in listed):
            found.append(f"{key!r} is {'' if there else 'not '}readable, and is {'' if key in listed else 'not '}listed")
        head = client.call("HEAD", bucket, key)
        if head.status != (200 if there else 404):
            found.append(f"{key!r}: HEAD answers {head.status}, GET says it is {'there' if there else 'absent'}")
        elif there:
            seen = (int(head.headers["content-length"]), head.headers["etag"].strip('"'))
            if not seen == (body_size, etag) == listed.get(key):
                found.append(f"{key!r}: GET {(body_size, etag)}, HEAD {seen}, listing {listed.get(key)}")
    return found


def _contents(document: str) -> Iterable[tuple[str, int, str]]:
    root = ElementTree.fromstring(document)
    for item in root.findall("{*}Contents"):
        yield unquote_plus(item.findtext("{*}Key", "")), int(item.findtext("{*}Size", "-1")), item.findtext("{*}ETag", "")


def _read(client: Client, bucket: str, key: str, detail: str, end: float) -> tuple[Event, int, str]:
    while True:
        start = time.monotonic_ns()
        try:
            answer = client.get(bucket, key)
        except BROKEN as error:
            event = Event(Kind.READ, key, "", start, time.monotonic_ns(), Outcome.UNKNOWN, "", f"{detail} {type(error).__name__}: {error}")
            size, etag = -1, ""
        else:
            event, size, etag = read_event(key, answer, start, detail), len(answer.body), answer.headers.get("etag", "").strip('"')
            if event.token and not event.fault and "-" not in etag and etag != hashlib.md5(answer.body).hexdigest():
                event = Event(Kind.READ, key, event.token, start, event.end_ns, Outcome.ACKED, "wrong", f"{detail} ETag is not the MD5")
        if event.outcome is Outcome.ACKED or time.monotonic() > end:
            return event, size, etag
        time.sleep(0.2)


def empty(client: Client, bucket: str) -> None:
    """Deletes every object and aborts every upload."""
    while uploads := client.uploads(bucket):
        for key, upload in uploads:
            assert client.abort_upload(bucket, key, upload).status == 204
    for page in list(client.pages(bucket)):
        keys = [unquote_plus(key) for key in page.texts("Key")]
        for key in (key for key in keys if not key.isprintable()):
            assert client.delete(bucket, key).status == 204
        keys = [key for key in keys if key.isprintable()]
        if keys:
            answer = client.delete_many(bucket, keys)
            assert answer.status == 200, answer
            assert not answer.texts("Code"), answer.body
    assert client.keys(bucket) == []


def chunk_files(directories: Iterable[Path]) -> list[Path]:
    """Every file in the chunk folders of all volumes, temporary ones and sidecars too, but for the keepsakes that workers write."""
    return [path for path in chunk_paths(directories) if path.is_file() and not is_keepsake(path)]


def chunk_paths(directories: Iterable[Path]) -> list[Path]:
    """All of it, keepsakes too."""
    return [path for directory in directories for path in sorted((directory / "volumes").glob(f"*/{CHUNK_FOLDER}/*"))]


def is_keepsake(path: Path) -> bool:
    """Whether the chunk keeps settings or accounts."""
    try:
        return b'"bucket":".frazil"' in os.getxattr(path, "user.frazil.chunk")
    except OSError:
        return False


def wait_until_gone(directories: list[Path], timeout_s: float, keep: Iterable[Path] = ()) -> list[str]:
    """Waits for the volumes to hold no chunk but `keep`; returns what is left over when the time ends: paths with their records."""
    end = time.monotonic() + timeout_s
    kept = set(keep)
    while left := [path for path in chunk_files(directories) if path not in kept]:
        if time.monotonic() > end:
            break
        time.sleep(0.1)
    return [f"{path}: {_record_of(path)}" for path in left]


def _record_of(path: Path) -> str:
    try:
        return os.getxattr(path, "user.frazil.chunk").decode()
    except OSError as error:
        return str(error)
