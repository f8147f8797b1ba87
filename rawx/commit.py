"""What changes a volume, done in batches: everything that waits is written, linked and made durable together.

Order within a batch: files are written and given their records; the journal notes them; they are linked; records are replaced; deleted
chunks are unlinked; one sync for all. A failed member never harms another, except that a failed syncfs fails all who relied on it.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Sequence

from node.errors import DeadlineExceeded, FrazilError, InvalidArgument, RecordCorrupt
from rawx import attributes, system
from rawx.chunk import Buffer, ChunkRecord
from rawx.durability import Unsynced
from rawx.folders import Folders, NewFile, path_of
from rawx.gate import Gate, refusal
from rawx.health import Health
from rawx.journal import Journal

Result = list[str] | FrazilError
"""What a request gets: [] when done, the chunks that could not be deleted, or the error to raise."""


class Request:
    """One change that waits for the committer. `abandoned`: its caller gave up, so it is not begun any more."""

    __slots__ = ("abandoned",)

    def __init__(self) -> None:
        self.abandoned = False


class Arrival(Request):
    """A new chunk: with its bytes (`data`), or with the file that an upload wrote already."""

    __slots__ = ("chunk", "data", "file", "has_sidecar", "record", "units")

    def __init__(self, chunk: str, record: ChunkRecord, units: bytes, data: Buffer | None, file: NewFile | None = None) -> None:
        super().__init__()
        self.chunk = chunk
        self.record = record
        self.units = units
        self.data = data
        self.file = file
        self.has_sidecar = False


class Change(Request):
    """Another record for a chunk, if it is newer."""

    __slots__ = ("chunk", "record")

    def __init__(self, chunk: str, record: ChunkRecord) -> None:
        super().__init__()
        self.chunk = chunk
        self.record = record


class Removal(Request):
    """Chunks to delete."""

    __slots__ = ("chunks",)

    def __init__(self, chunks: Sequence[str]) -> None:
        super().__init__()
        self.chunks = chunks


class Begun:
    """A volume's part of a batch: linked and changed, not synced yet.

    results   one for each request, as far as it is known
    waiting   (index of the request, it) of those to do; who gives up from here on still gets what was done
    linked    (index of the request, it, its file);  changed: (index, open file, path) of replaced records
    """

    __slots__ = ("changed", "linked", "requests", "results", "waiting")

    def __init__(self, requests: Sequence[Request]) -> None:
        self.requests = requests
        self.results: list[Result] = [DeadlineExceeded("given up before it was begun") if each.abandoned else [] for each in requests]
        self.waiting = [(index, request) for index, request in enumerate(requests) if isinstance(self.results[index], list)]
        self.linked: list[tuple[int, Arrival, NewFile]] = []
        self.changed: list[tuple[int, int, str]] = []


class Committer:
    """A volume's part in batches: `begin`, then the sync that rawx/device.py does for all its volumes, then `end`."""

    def __init__(self, folders: Folders, journal: Journal, health: Health, gate: Gate) -> None:
        self._folders = folders
        self._journal = journal
        self._gate = gate
        self.health = health

    def begin(self, begun: Begun) -> None:
        """Everything but the sync."""
        arrivals = [(index, request) for index, request in begun.waiting if isinstance(request, Arrival)]
        begun.linked = self._link_all(self._prepare_all(arrivals, begun.results), begun.results)
        for index, request in begun.waiting:
            if isinstance(request, Change):
                begun.changed += self._change(index, request, begun.results)
            elif isinstance(request, Removal):
                begun.results[index] = self._remove(request)

    def to_sync(self, begun: Begun) -> tuple[list[Unsynced], int | None]:
        """What the sync must make durable; and the root, when it has folders whose names are not durable yet."""
        root = self._folders.root
        files = [Unsynced(file.descriptor, root, path_of(arrival.chunk)) for _, arrival, file in begun.linked]
        files += [Unsynced(descriptor, root, path) for _, descriptor, path in begun.changed]
        if not files or not self._folders.names_unsynced:
            return files, None
        self._folders.names_unsynced = False  # an upload's thread may set it at any time; what it made before is synced now
        return files, root

    def end(self, begun: Begun, outcomes: Sequence[OSError | None], *, root_too: bool) -> None:
        """outcomes: of `to_sync`'s files, in order."""
        if root_too and any(outcomes):
            self._folders.names_unsynced = True
        for (index, arrival, _), failure in zip(begun.linked, outcomes, strict=False):
            if failure is not None:
                begun.results[index] = self.health.write_failed(failure, f"syncing chunk {arrival.chunk}")
                self._remove(Removal([arrival.chunk]))
        for (index, _, path), failure in zip(begun.changed, outcomes[len(begun.linked) :], strict=True):
            if failure is not None:
                begun.results[index] = self.health.write_failed(failure, f"syncing the record of {path}")

    def close(self, begun: Begun) -> None:
        """Whatever happened."""
        for request in begun.requests:
            if isinstance(request, Arrival) and request.file is not None:
                self._folders.discard(request.file)
        for _, descriptor, _ in begun.changed:
            os.close(descriptor)

    def remove(self, request: Request) -> Result:
        """A removal alone: what it unlinks is durable or forgotten, so it shares nothing with the arrivals."""
        assert isinstance(request, Removal)
        return DeadlineExceeded("given up before it was begun") if request.abandoned else self._remove(request)

    def _prepare_all(self, arrivals: list[tuple[int, Arrival]], results: list[Result]) -> list[tuple[int, Arrival]]:
        prepared = []
        fresh = [arrival.chunk for _, arrival in arrivals if arrival.file is None]  # of an upload it was told when that began
        for index, arrival in arrivals:
            try:
                self._prepare(arrival)
            except OSError as error:
                results[index] = self.health.write_failed(error, f"writing chunk {arrival.chunk}")
                self._forget_sidecar(arrival)
            except InvalidArgument as error:
                results[index] = error
            else:
                prepared.append((index, arrival))
        if prepared:
            try:
                self._journal.add(arrival.chunk for _, arrival in prepared)
                late = self._gate.refused(fresh)
                if late:
                    self._journal.drop(late)
            except OSError as error:
                for index, arrival in prepared:
                    results[index] = self.health.write_failed(error, "writing the journal")
                    self._forget_sidecar(arrival)
                return []
            for index, arrival in prepared:
                if arrival.chunk in late:
                    results[index] = refusal()
                    self._forget_sidecar(arrival)
            prepared = [(index, arrival) for index, arrival in prepared if arrival.chunk not in late]
        return prepared

    def _prepare(self, arrival: Arrival) -> None:
        if arrival.file is None:
            arrival.file = self._folders.new_file(arrival.chunk)
        if arrival.data is not None and len(arrival.data):
            attributes.write_all_bytes(arrival.file.descriptor, arrival.data)
        path = path_of(arrival.chunk)
        arrival.has_sidecar = attributes.write_new(arrival.file.descriptor, self._folders.root, path, arrival.record, arrival.units)

    def _link_all(self, prepared: list[tuple[int, Arrival]], results: list[Result]) -> list[tuple[int, Arrival, NewFile]]:
        linked = []
        for index, arrival in prepared:
            assert arrival.file is not None
            try:
                self._folders.link(arrival.file, arrival.chunk)
            except OSError as error:  # EEXIST: that chunk's own sidecar was replaced only if it was given the same id twice
                results[index] = self.health.write_failed(error, f"linking chunk {arrival.chunk}")
            else:
                linked.append((index, arrival, arrival.file))
        return linked

    def _forget_sidecar(self, arrival: Arrival) -> None:
        if arrival.has_sidecar:
            self._folders.unlink_quietly(path_of(arrival.chunk) + attributes.SIDECAR_SUFFIX)

    def _change(self, index: int, change: Change, results: list[Result]) -> list[tuple[int, int, str]]:
        """Replaces the record; what must be synced for it. Other processes may do the same to the same chunk: hence the lock.

        It is given back before the sync: the next change of that chunk may be in the same batch, and would wait for it for ever.
        """
        path = path_of(change.chunk)
        try:
            descriptor = system.open_plain(self._folders.root, path)
        except OSError as error:
            results[index] = self.health.read_failed(error, f"opening chunk {change.chunk}")
            return []
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            old = attributes.read(descriptor, self._folders.root, path)
            if (change.record.size, change.record.unit_bytes) != (old.record.size, old.unit_bytes):
                raise InvalidArgument("a record's size and unit_bytes belong to the bytes and can't change")
            if change.record.seq > old.record.seq:
                attributes.replace(descriptor, self._folders.root, path, old, change.record)
            fcntl.flock(descriptor, fcntl.LOCK_UN)
        except OSError as error:
            results[index] = self.health.write_failed(error, f"changing the record of chunk {change.chunk}")
        except (RecordCorrupt, InvalidArgument) as error:
            results[index] = error
        else:
            return [(index, descriptor, path)]
        os.close(descriptor)
        return []

    def _remove(self, removal: Removal) -> Result:
        """Not synced on purpose: a deleted chunk that a power cut brings back is an orphan, which the scrub collects."""
        failed = []
        for chunk in removal.chunks:
            try:
                self._folders.unlink(chunk)
            except OSError as error:
                self.health.write_failed(error, f"deleting chunk {chunk}")
                failed.append(chunk)
        return failed
