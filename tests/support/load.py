"""A seeded mixed load: threads that put, overwrite, read, delete and upload in parts, and log what they saw for the oracle."""

from __future__ import annotations

import http.client
import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType

from .client import Answer, Client
from .oracle import ClientLog, Event, Kind, Outcome, identify, make_body

PART_BYTES = 5 << 20
RETRY_PAUSE_S = 0.05
BROKEN = (OSError, http.client.HTTPException)
NOT_SENT = (ConnectionRefusedError,)


@dataclass(frozen=True, slots=True)
class Mix:
    """What a load does: how many keys and threads, the weights of operations, and sizes in bytes with their weights."""

    keys: int = 120
    threads: int = 8
    operations: tuple[tuple[str, int], ...] = (
        ("put", 50),
        ("read", 25),
        ("delete", 12),
        ("delete_many", 3),
        ("multipart", 2),
        ("abort", 1),
    )
    sizes: tuple[tuple[int, int], ...] = ((200, 20), (4_096, 40), (40_000, 20), (131_072, 6), (131_073, 4), (1_500_000, 8), (6_300_000, 2))


def key_name(index: int) -> str:
    """Keys of several shapes: flat, in folders, with signs that must be escaped."""
    return (f"flat-{index}", f"dir{index % 7}/sub/{index}", f"sp ace+pl%us/ü-{index}", f"a&b<c>'\"{index}")[index % 4]


class Load:
    """A running load; a context manager. `name` begins its tokens and must be new for each load of a history.
    Broken connections are part of the game: threads note "unknown" and go on until `stop`."""

    def __init__(self, connect: Callable[[], Client], bucket: str, log: ClientLog, seed: str, *, name: str = "w", mix: Mix = Mix()) -> None:
        self._connect = connect
        self._bucket = bucket
        self._log = log
        self._mix = mix
        self._stop = threading.Event()
        self._count = 0
        self._errors: list[BaseException] = []
        self._threads = [
            threading.Thread(target=self._run, args=(f"{name}.{index}", f"{seed}-{index}"), daemon=True) for index in range(mix.threads)
        ]

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        self.stop()

    @property
    def operations(self) -> int:
        """Operations finished so far, about."""
        return self._count

    def wait_for(self, operations: int, timeout_s: float) -> None:
        """Returns when that many operations are done, or when the time is over."""
        end = time.monotonic() + timeout_s
        while self._count < operations and time.monotonic() < end and not self._errors:
            time.sleep(0.005)

    def stop(self) -> None:
        """Ends all threads and raises what a thread stumbled over, if any."""
        self._stop.set()
        for thread in self._threads:
            thread.join(timeout=60)
            assert not thread.is_alive(), "a client thread does not end"
        if self._errors:
            raise self._errors[0]

    def _run(self, name: str, seed: str) -> None:
        try:
            _Worker(self._connect(), self._bucket, self._log, random.Random(seed), name, self._mix).work(self._stop, self._tick)
        except Exception as error:
            self._errors.append(error)

    def _tick(self) -> None:
        self._count += 1


class _Worker:
    """One client thread's hands."""

    def __init__(self, client: Client, bucket: str, log: ClientLog, rng: random.Random, name: str, mix: Mix) -> None:
        self._client = client
        self._bucket = bucket
        self._log = log
        self._random = rng
        self._name = name
        self._mix = mix
        self._serial = 0
        self._actions: dict[str, Callable[[], None]] = {
            "put": self._put,
            "read": self._read,
            "delete": self._delete,
            "delete_many": self._delete_many,
            "multipart": self._multipart,
            "abort": self._abort,
        }

    def work(self, stop: threading.Event, tick: Callable[[], None]) -> None:
        names = [name for name, _ in self._mix.operations]
        weights = [weight for _, weight in self._mix.operations]
        with self._client:
            while not stop.is_set():
                try:
                    self._actions[self._random.choices(names, weights)[0]]()
                except BROKEN:
                    stop.wait(RETRY_PAUSE_S)
                tick()

    def _key(self) -> str:
        return key_name(self._random.randrange(self._mix.keys))

    def _body(self, floor: int = 0) -> tuple[str, bytes]:
        self._serial += 1
        token = f"{self._name}.{self._serial}"
        sizes = [size for size, _ in self._mix.sizes]
        size = self._random.choices(sizes, [weight for _, weight in self._mix.sizes])[0]
        return token, make_body(
            token, floor + self._random.randrange(size // 2, size + 1) if size not in (131_072, 131_073) else floor + size
        )

    def _write(self, kind: Kind, token: str, keys: list[str], send: Callable[[], Answer]) -> None:
        start = time.monotonic_ns()
        detail = ""
        try:
            answer = send()
        except NOT_SENT:
            raise
        except BROKEN as error:
            outcome, detail = Outcome.UNKNOWN, type(error).__name__
        else:
            outcome = outcome_of(answer)
            detail = "" if outcome is Outcome.ACKED else f"{answer.status} {answer.code}"
        end = time.monotonic_ns()
        for key in keys:
            self._log.add(Event(kind, key, token, start, end, outcome, "", detail))
        if outcome is Outcome.UNKNOWN and not detail[:1].isdigit():
            raise OSError(detail)

    def _put(self) -> None:
        key = self._key()
        token, body = self._body()
        self._write(Kind.PUT, token, [key], lambda: self._client.put(self._bucket, key, body))

    def _read(self) -> None:
        key = self._key()
        start = time.monotonic_ns()
        try:
            answer = self._client.get(self._bucket, key)
        except NOT_SENT:
            raise
        except BROKEN as error:
            self._log.add(Event(Kind.READ, key, "", start, time.monotonic_ns(), Outcome.UNKNOWN, "", type(error).__name__))
            raise
        self._log.add(read_event(key, answer, start))

    def _delete(self) -> None:
        key = self._key()
        self._write(Kind.DELETE, "", [key], lambda: self._client.delete(self._bucket, key))

    def _delete_many(self) -> None:
        keys = sorted({self._key() for _ in range(5)})
        self._write(Kind.DELETE, "", keys, lambda: self._client.delete_many(self._bucket, keys))

    def _upload(self, body: bytes) -> tuple[str, str, list[str]]:
        key = self._key()
        upload = self._client.create_upload(self._bucket, key).text("UploadId")
        etags = []
        for number, at in enumerate(range(0, len(body), PART_BYTES), 1):
            answer = self._client.put_part(self._bucket, key, upload, number, body[at : at + PART_BYTES])
            if answer.status != 200:
                return key, upload, []
            etags.append(answer.headers["etag"])
        return key, upload, etags

    def _multipart(self) -> None:
        token, body = self._body(floor=PART_BYTES)
        key, upload, etags = self._upload(body)
        if etags:
            self._write(Kind.PUT, token, [key], lambda: self._client.complete_upload(self._bucket, key, upload, etags))

    def _abort(self) -> None:
        _, body = self._body()
        key, upload, _ = self._upload(body[:PART_BYTES])
        if upload and self._random.random() < 0.5:
            self._client.abort_upload(self._bucket, key, upload)


def outcome_of(answer: Answer) -> Outcome:
    """A 5xx says nothing of what happened; nor does an error inside a 200, which only a completion may send."""
    if answer.status >= 500 or (answer.status == 200 and answer.code):
        return Outcome.UNKNOWN
    return Outcome.ACKED if answer.status < 300 else Outcome.FAILED


def read_event(key: str, answer: Answer, start_ns: int, detail: str = "") -> Event:
    """What a GET showed. Neither a 5xx nor a refusal shows anything: they count as unknown and are not judged."""
    end = time.monotonic_ns()
    if answer.status == 404 and answer.code == "NoSuchKey":
        return Event(Kind.READ, key, "", start_ns, end, detail=detail)
    if answer.status != 200:
        return Event(Kind.READ, key, "", start_ns, end, Outcome.UNKNOWN, "", f"{detail} {answer.status} {answer.code}".strip())
    token, fault = identify(answer.body)
    return Event(Kind.READ, key, token, start_ns, end, Outcome.ACKED, fault, detail)
