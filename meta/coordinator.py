"""What the services of a cluster agree through: who leads which set of peers, and small documents that all of them watch.

Forms of `Coordinator`: ZooKeeper (meta/zookeeper.py), one process (here), simulated (tests/sim/meta).
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Protocol, TypeVar

import msgspec
import trio

from node.errors import DocumentUnreadable, InvalidArgument, StillInUse, Superseded
from node.log import get_logger

HOLD_SESSIONS = 2
"""For how many times a session's length a document that another holds is waited for: servers end sessions a little late."""
DOCUMENT_BYTES_MAX = 256 << 10
"""A quarter of what ZooKeeper takes: documents are settings, not data."""


class Document(msgspec.Struct, frozen=True):
    """version: grows with each change of the document; 0 and no data when it is not there."""

    version: int
    data: bytes = b""


MISSING = Document(0)
EPOCHS = "epochs"
"""A document that says what is added to the numbers of mandates."""

V = TypeVar("V", bound=msgspec.Struct)
_REMEDIES = {
    "settings": "`frazil config edit` writes them anew",
    "lock": "`frazil cluster unlock` removes it",
    "webhooks": "write it anew as the file `webhooks.json` in the state of a gateway has it",
    "peer": "restart that meta service: it writes it anew",
    "conscience": "restart that conscience: it writes it anew",
}
_REMEDY = "write it anew as the file `keepsake` beside the metadata of each meta service has it"
_log = get_logger("meta.coordinator")
_told: dict[str, str] = {}


def parsed(name: str, document: Document, kind: type[V]) -> V:
    """What the document says. Raises: DocumentUnreadable."""
    try:
        found = msgspec.json.decode(document.data, type=kind)
    except (msgspec.DecodeError, RecursionError) as error:
        raise unreadable(name, document, error) from error
    known = next((field.default for field in msgspec.structs.fields(kind) if field.name == "v"), None)
    if known is not None and (version := getattr(found, "v")) != known:  # noqa: B009 - not every kind has one
        raise unreadable(name, document, ValueError(f"it has version {version}, this Frazil knows {known}"))
    return found


def unreadable(name: str, document: Document, cause: Exception) -> DocumentUnreadable:
    remedy = _REMEDIES.get(name.partition("/")[0], _REMEDY)
    error = DocumentUnreadable(f"the document {name} in ZooKeeper can't be read: {cause}; {remedy}")
    error.detail = f"{name} {document.version}"
    return error


def tell(error: DocumentUnreadable) -> None:
    """To the log, once for each version of a document."""
    name, _, version = error.detail.partition(" ")
    if _told.get(name) != version:
        _told[name] = version
        _log.error("%s", error)


class Epochs(msgspec.Struct, frozen=True):
    """floor: all epochs lie above it. It is raised when the numbers begin anew, because what gave them was lost."""

    floor: int = 0

    @classmethod
    def of(cls, document: Document) -> int:
        """The floor that is written there. Raises: DocumentUnreadable, after it was told: nobody is elected until it is mended."""
        try:
            return parsed(EPOCHS, document, cls).floor if document.version else 0
        except DocumentUnreadable as error:
            tell(error)
            raise


class Candidate(msgspec.Struct, frozen=True):
    """Who would lead. name: one path component, unique among the candidates of an election; address: where it serves."""

    name: str
    address: str


class Mandate(Protocol):
    """A candidate leads in `epoch`, which is greater than that of every mandate of this election before it."""

    @property
    def epoch(self) -> int: ...

    @property
    def trusted(self) -> bool:
        """Whether surely nobody else leads now. A read that looks here after it was asked for, and before it reads, is never stale."""

    @property
    def lost(self) -> bool:
        """Whether this mandate is known to be over. It may be over long before that is known."""

    async def wait_lost(self) -> None: ...

    async def resign(self) -> None:
        """The next candidate may lead; first stop to serve. Idempotent; when it can't be said now, the end of the session says it."""


class Coordinator(Protocol):
    """Names of documents and elections are made of [A-Za-z0-9_.-], documents' of one or two components ("settings", "lock/rawx-1").

    All that return raise PeerUnreachable and DeadlineExceeded; a change may have happened then.
    """

    async def campaign(self, election: str, candidate: Candidate) -> Mandate:
        """Waits, as long as it takes, until the candidate leads. Raises: only what trying again can't help (ConfigError)."""

    async def candidates(self, election: str) -> list[Candidate]:
        """In the order in which they will lead; the first one leads, or is about to."""

    async def elections(self) -> list[str]: ...

    async def newest_epoch(self) -> int:
        """No mandate that was given before has a greater one, unless what gave it went back since to an old copy of itself."""

    async def read(self, name: str) -> Document: ...

    async def write(self, name: str, data: bytes, *, version: int) -> Document:
        """In place of the version that was read; 0: where there is none. Raises: Superseded, InvalidArgument beyond DOCUMENT_BYTES_MAX."""

    async def remove(self, name: str, *, version: int) -> None:
        """Raises: Superseded."""

    async def names(self, folder: str) -> list[str]:
        """Last components of the documents "FOLDER/..."."""

    def watch(self, name: str) -> AsyncGenerator[Document, None]:
        """The document as it is, then each time it has changed; of changes in between only the last. Goes on over every outage.
        Close it (contextlib.aclosing)."""

    def watch_names(self, folder: str) -> AsyncGenerator[list[str], None]:
        """The same for `names`."""

    async def announce(self, name: str, data: bytes) -> None:
        """A document that is there as long as this process lives, and soon again after an outage; in place of one that is there."""

    async def occupy(self, name: str, data: bytes, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """For ever: a document like an announced one, but never in place of other data of a process that lives. Started once it is there:
        what a process left that is gone stays until its session ends. Raises: StillInUse when somebody else holds it, also later."""


class LocalCoordinator:
    """Implements Coordinator in this process, for a cluster of services that live in it. A candidate's session ends by `expire`."""

    def __init__(self, *, session_s: float = 0.2) -> None:
        """session_s: how long `occupy` waits for who may be gone."""
        self.session_s = session_s
        self._documents: dict[str, Document] = {}
        self._queues: dict[str, list[_LocalMandate]] = {}
        self._changed = trio.Event()
        self._numbers = 0

    def __repr__(self) -> str:
        return f"<LocalCoordinator documents={len(self._documents)} elections={len(self._queues)}>"

    async def campaign(self, election: str, candidate: Candidate) -> Mandate:
        self._numbers += 1
        mandate = _LocalMandate(self, election, candidate, self._numbers)
        queue = self._queues.setdefault(election, [])
        queue.append(mandate)
        try:
            while not mandate.lost and queue[0] is not mandate:
                await self._changed.wait()
            mandate.epoch += await self._floor()
        except BaseException:
            self.end(mandate)
            raise
        return mandate

    async def _floor(self) -> int:
        while True:
            try:
                return Epochs.of(self._documents.get(EPOCHS, MISSING))
            except DocumentUnreadable:
                await self._changed.wait()

    def end(self, mandate: _LocalMandate) -> None:
        queue = self._queues[mandate.election]
        if mandate in queue:
            queue.remove(mandate)
        self._notify()

    def expire(self, candidate: str) -> None:
        """As when the candidate's session ends."""
        for queue in self._queues.values():
            for mandate in [each for each in queue if each.candidate.name == candidate]:
                mandate.over.set()
                queue.remove(mandate)
        self._notify()

    def copied(self) -> tuple[dict[str, Document], int]:
        """As a backup of a ZooKeeper's data, for `lose_all`."""
        return dict(self._documents), self._numbers

    def lose_all(self, copy: tuple[dict[str, Document], int] = ({}, 0)) -> None:
        """As a ZooKeeper that is set up anew, empty or from a copy: all sessions end, numbers go on from there, nothing else is there."""
        for queue in self._queues.values():
            for mandate in queue:
                mandate.over.set()
            queue.clear()
        documents, self._numbers = copy
        self._documents = {name: document for name, document in documents.items() if not name.startswith("peer/")}  # whose sessions ended
        self._notify()

    async def candidates(self, election: str) -> list[Candidate]:
        await trio.lowlevel.checkpoint()
        return [mandate.candidate for mandate in self._queues.get(election, [])]

    async def elections(self) -> list[str]:
        await trio.lowlevel.checkpoint()
        return sorted(self._queues)

    async def newest_epoch(self) -> int:
        return Epochs.of(await self.read(EPOCHS)) + self._numbers

    async def read(self, name: str) -> Document:
        await trio.lowlevel.checkpoint()
        return self._documents.get(name, MISSING)

    async def write(self, name: str, data: bytes, *, version: int) -> Document:
        check_data(data)
        await trio.lowlevel.checkpoint()
        self._check(name, version)
        return self._put(name, data)

    async def remove(self, name: str, *, version: int) -> None:
        await trio.lowlevel.checkpoint()
        self._check(name, version)
        self._documents.pop(name, None)
        self._notify()

    async def names(self, folder: str) -> list[str]:
        await trio.lowlevel.checkpoint()
        return sorted(name.partition("/")[2] for name in self._documents if name.startswith(f"{folder}/"))

    async def watch(self, name: str) -> AsyncGenerator[Document, None]:
        last: Document | None = None
        while True:
            changed = self._changed
            document = await self.read(name)
            if document != last:
                yield document
                last = document
            await changed.wait()

    async def watch_names(self, folder: str) -> AsyncGenerator[list[str], None]:
        last: list[str] | None = None
        while True:
            changed = self._changed
            names = await self.names(folder)
            if names != last:
                yield names
                last = names
            await changed.wait()

    async def announce(self, name: str, data: bytes) -> None:
        check_data(data)
        await trio.lowlevel.checkpoint()
        self._put(name, data)

    async def occupy(self, name: str, data: bytes, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        tenure, started = Tenure(data, self.session_s), False
        while True:
            changed, found = self._changed, await self.read(name)
            if not found.version:
                found = self._put(name, data)
            if tenure.look(found.data, trio.current_time()):
                if not started:
                    started = True
                    task_status.started()
                await changed.wait()
            else:
                await trio.sleep(self.session_s / HOLD_SESSIONS)

    async def withdraw(self, name: str) -> None:
        """As when the process that announced it is gone."""
        await trio.lowlevel.checkpoint()
        self._documents.pop(name, None)
        self._notify()

    def _check(self, name: str, version: int) -> None:
        found = self._documents.get(name, MISSING).version
        if found != version:
            raise Superseded(f"{name} has version {found}, not {version}")

    def _put(self, name: str, data: bytes) -> Document:
        self._numbers += 1
        document = self._documents[name] = Document(self._numbers, data)
        self._notify()
        return document

    def _notify(self) -> None:
        changed, self._changed = self._changed, trio.Event()
        changed.set()


class _LocalMandate:
    def __init__(self, coordinator: LocalCoordinator, election: str, candidate: Candidate, epoch: int) -> None:
        self.election = election
        self.candidate = candidate
        self.epoch = epoch
        self.over = trio.Event()
        self._coordinator = coordinator

    def __repr__(self) -> str:
        return f"<Mandate {self.election} {self.candidate.name} epoch={self.epoch}{' over' if self.lost else ''}>"

    @property
    def trusted(self) -> bool:
        return not self.lost

    @property
    def lost(self) -> bool:
        return self.over.is_set()

    async def wait_lost(self) -> None:
        await self.over.wait()

    async def resign(self) -> None:
        await trio.lowlevel.checkpoint()
        self.over.set()
        self._coordinator.end(self)


class Tenure:
    """Who holds a document: this process, by its data, or another, that is gone or lives. Pure."""

    def __init__(self, own: bytes, session_s: float) -> None:
        self._own = own
        self._until_s = HOLD_SESSIONS * session_s
        self._other: tuple[bytes, float] | None = None

    def look(self, found: bytes, now: float) -> bool:
        """Whether it is our own. Raises: StillInUse when other data stays longer than the session of a process that is gone."""
        if found == self._own:
            self._other = None
            return True
        if self._other is None or self._other[0] != found:
            self._other = found, now
        elif now - self._other[1] > self._until_s:
            raise StillInUse(f"another process holds it: {found.decode(errors='replace')}")
        return False


def check_data(data: bytes) -> None:
    """Raises: InvalidArgument."""
    if len(data) > DOCUMENT_BYTES_MAX:
        raise InvalidArgument(f"a document of {len(data)} bytes; it may have {DOCUMENT_BYTES_MAX}")
