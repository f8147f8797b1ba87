"""ZooKeeper as the Coordinator. The only module that knows kazoo: its threads reach the event loop by `Wait` and by setting events there.

    /frazil-NAMESPACE                                       all below it readable and writable for holders of the namespace's key only
    /frazil-NAMESPACE/elections/<election>/<candidate>.<token>-<number>     ephemeral; data: the candidate's address
    /frazil-NAMESPACE/documents/<name>[/<name>]             settings and the like; ephemeral where they were announced

Theory of operation. The candidate with the lowest number leads; ZooKeeper gives the numbers in the order of its transactions, so the
candidate's own creation (czxid) is an epoch that grows from leader to leader. Servers that lost everything count anew: then the document
EPOCHS says what is added (meta/cluster/keepsake.py). A name is never used twice, so a withdrawal that comes late
can't hit a later candidacy.

Lease. A session ends when ZooKeeper's leader heard nothing of it for the session time-out. An ordinary request does not prove that it
heard: a follower that has lost the leader goes on answering for a while. `sync` is answered through the leader. So from the time an
answered sync was sent, the session lives for the time-out, and a mandate is trusted for LEASE_SHARE of it, by the monotonic clock.
"""

from __future__ import annotations

import re
import threading
import time
import uuid
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, TypeVar, cast

import trio
from kazoo.client import KazooClient
from kazoo.exceptions import (
    AuthFailedError,
    BadVersionError,
    ConnectionDropped,
    InvalidACLError,
    KazooException,
    NoAuthError,
    NodeExistsError,
    NoNodeError,
)
from kazoo.handlers.threading import KazooTimeoutError, SequentialThreadingHandler
from kazoo.protocol.connection import ConnectionHandler
from kazoo.protocol.states import KazooState
from kazoo.retry import KazooRetry
from kazoo.security import make_digest_acl

from meta.coordinator import EPOCHS, MISSING, Candidate, Document, Epochs, Tenure, check_data
from node.auth import NamespaceKey
from node.clock import Clock
from node.errors import ConfigError, DeadlineExceeded, InvalidArgument, PeerUnreachable, Superseded, Unavailable
from node.log import get_logger
from node.threads import Wait, run_blocking

SESSION_S = 6.0
"""Asked for; the servers may give another. A leader that dies is replaced after it."""
LEASE_SHARE = 2 / 3
"""Of the session, in which a mandate is trusted: the rest is for clocks that differ in pace and for ZooKeeper's ticks."""
HEARTBEATS = 6
"""In each session."""
CALL_S = 10.0
"""How long a call waits for ZooKeeper, the election of its own leader included."""
RETRY_S = 0.2
WATCH_POLL_S = 30.0
"""How often something watched is read again without a word from ZooKeeper."""
RECONNECT_S = (0.05, 1.0)
"""Pause between attempts to connect: the first, and the longest."""
CLOSE_S = 5.0
REFUSED_SESSIONS = 2
"""For how many times a session's length servers may hang up before they are taken for other servers than before."""

_NAME = re.compile(r"[A-Za-z0-9_.-]{1,128}")
_USER = "frazil"
_log = get_logger("meta.zookeeper")
T = TypeVar("T")


@asynccontextmanager
async def open_zookeeper(
    hosts: str, namespace: str, *, key: NamespaceKey, clock: Clock, session_s: float = SESSION_S
) -> AsyncIterator[ZooKeeper]:
    """hosts: "host:port,host:port". Returns when the namespace's folder is there.

    Raises: PeerUnreachable, DeadlineExceeded when no server answers; ConfigError when the namespace has another key, or a name is none.
    """
    failure: Exception | None = None
    async with trio.open_nursery() as nursery:
        coordinator = ZooKeeper(hosts, _checked(namespace), key=key, clock=clock, session_s=session_s, nursery=nursery)
        try:
            await coordinator.begin()
            yield coordinator
        except Exception as error:  # noqa: BLE001 - raised again below, so that the nursery does not wrap it in a group
            failure = error
        finally:
            with trio.CancelScope(deadline=trio.current_time() + CLOSE_S, shield=True):
                await coordinator.aclose()
            nursery.cancel_scope.cancel()
    if failure is not None:
        raise failure


def _pause(seconds: float) -> None:
    """Not time.sleep, which fails under a faked clock (libfaketime with the monotonic one left alone)."""
    threading.Event().wait(seconds)


class _Handler(SequentialThreadingHandler):  # type: ignore[misc]
    sleep_func = staticmethod(_pause)


class _Connection(ConnectionHandler):  # type: ignore[misc]
    """kazoo's, but it remembers which time-out the servers gave the session, and ends up in a new one with servers that lost everything:
    they refuse, by hanging up, whoever saw later transactions than they have."""

    granted_s = 0.0
    _refused_since_s: float | None = None

    def _connect(self, *args: Any, **kwargs: Any) -> Any:
        try:
            read_ms, connect_ms = super()._connect(*args, **kwargs)
        except ConnectionDropped:
            if self._socket is not None:
                self._count_refusal()
            raise
        self._refused_since_s = None
        self.granted_s = read_ms * 1.5 / 1000  # kazoo reads for two thirds of it
        return read_ms, connect_ms

    def _count_refusal(self) -> None:
        now_s = time.monotonic()
        if self._refused_since_s is None:
            self._refused_since_s = now_s
        elif now_s - self._refused_since_s > REFUSED_SESSIONS * max(self.granted_s, SESSION_S):
            _log.warning("no ZooKeeper server takes this process back; it comes as one that knows nothing of what they had")
            self.client.last_zxid = 0
            self._refused_since_s = None


class ZooKeeper:
    """Implements Coordinator; made by `open_zookeeper`. One session for everything of a process."""

    def __init__(self, hosts: str, namespace: str, *, key: NamespaceKey, clock: Clock, session_s: float, nursery: trio.Nursery) -> None:
        password = key.derive(b"zookeeper").hex()
        self._hosts = hosts
        self._root = f"/frazil-{namespace}"
        self._clock = clock
        self._nursery = nursery
        self._token = trio.lowlevel.current_trio_token()
        self._acl = [make_digest_acl(_USER, password, all=True)]
        self._client = KazooClient(
            hosts=hosts,
            timeout=session_s,
            handler=_Handler(),
            auth_data=[("digest", f"{_USER}:{password}")],
            default_acl=self._acl,
            connection_retry=KazooRetry(max_tries=-1, delay=RECONNECT_S[0], max_delay=RECONNECT_S[1], sleep_func=_pause),
        )
        self._connection = _Connection(self._client, self._client._conn_retry.copy(), logger=self._client.logger)
        self._client._connection = self._connection
        self._connected = trio.Event()
        self._lease = (0, 0.0)
        self._mandates: set[_ZooKeeperMandate] = set()
        self._announced: dict[str, bytes] = {}
        self._closed = False

    def __repr__(self) -> str:
        return f"<ZooKeeper {self._hosts}{self._root} session={self._session():x} connected={self._connected.is_set()}>"

    @property
    def session_s(self) -> float:
        """As the servers gave it; 0 before."""
        return self._connection.granted_s

    def trusts(self, session: int) -> bool:
        """Whether that session surely lives."""
        held, until_s = self._lease
        return session == held and self._clock.monotonic() < until_s

    # Session

    async def begin(self) -> None:
        self._client.add_listener(self._heard)
        self._client.start_async()
        for folder in ("elections", "documents"):
            await self._create_folders(f"{self._root}/{folder}")
        acl, _ = await self._call(self._client.get_acls_async, self._root)
        if acl != self._acl:
            raise ConfigError(f"{self._root} in ZooKeeper belongs to somebody with another key: check the namespace's name and key")
        await self._beat()
        self._nursery.start_soon(self._keep_beating)

    async def aclose(self) -> None:
        """Ends the session, and with it all candidacies and announcements."""
        self._closed = True
        for mandate in list(self._mandates):
            mandate.finish()
        await run_blocking(self._stop, abandon=True)

    def _stop(self) -> None:
        self._client.stop()
        self._client.close()

    def _session(self) -> int:
        found = self._client.client_id
        return found[0] if found else 0

    def _heard(self, state: str) -> None:
        """In a thread of kazoo's, which must not wait."""
        try:
            self._token.run_sync_soon(self._turned, state)
        except trio.RunFinishedError:
            return

    def _turned(self, state: str) -> None:
        if state == KazooState.CONNECTED:
            self._connected.set()
            return
        if self._connected.is_set():
            self._connected = trio.Event()
        if state == KazooState.LOST and not self._closed:
            _log.warning("the session with ZooKeeper ended: whatever this process led it leads no more")
            self._lease = (0, 0.0)
            for mandate in list(self._mandates):
                mandate.finish()

    async def _keep_beating(self) -> None:
        while True:
            try:
                await self._beat()
            except Unavailable as error:
                _log.info("ZooKeeper does not answer: %s", error)
            await trio.sleep(max(self.session_s / HEARTBEATS, RETRY_S))

    async def _beat(self) -> None:
        await self._wait_connected()
        session, sent_s = self._session(), self._clock.monotonic()
        await self._call(self._client.sync_async, self._root)
        if session and session == self._session():
            self._lease = (session, sent_s + self.session_s * LEASE_SHARE)
        for name, data in list(self._announced.items()):
            await self._keep_announced(name, data)

    async def _wait_connected(self) -> None:
        """Requests that wait in kazoo for a connection are neither bounded nor taken back, so they wait here."""
        with trio.move_on_after(CALL_S):
            while not self._connected.is_set():
                await self._connected.wait()
            return
        raise PeerUnreachable(f"no ZooKeeper server of {self._hosts} could be reached within {CALL_S:g} s")

    async def _call(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """One of kazoo's asynchronous calls. Raises: NoNodeError, NodeExistsError, BadVersionError; in Frazil's words the rest."""
        await self._wait_connected()
        wait = Wait()

        def finish(result: Any) -> None:
            if result.exception is not None:
                wait.finish_soon(None, result.exception)
            else:
                wait.finish_soon(result.value, None)

        with trio.move_on_after(CALL_S):
            try:
                function(*args, **kwargs).rawlink(finish)
                return await wait.wait(abandon=True)
            except (NoNodeError, NodeExistsError, BadVersionError):
                raise
            except (NoAuthError, AuthFailedError, InvalidACLError) as error:
                raise ConfigError(f"ZooKeeper denies access to {self._root}: was the namespace made with another key?") from error
            except (KazooException, KazooTimeoutError) as error:
                raise PeerUnreachable(f"ZooKeeper at {self._hosts}: {type(error).__name__}") from error
        raise DeadlineExceeded(f"ZooKeeper at {self._hosts} did not answer within {CALL_S:g} s")

    def _event(self) -> tuple[trio.Event, Callable[[object], None]]:
        """An event, and what sets it from a thread of kazoo's."""
        event = trio.Event()

        def watch(_what: object) -> None:
            try:
                self._token.run_sync_soon(event.set)
            except trio.RunFinishedError:
                return

        return event, watch

    # Elections

    async def campaign(self, election: str, candidate: Candidate) -> _ZooKeeperMandate:
        folder = f"{self._root}/elections/{_checked(election)}"
        prefix = f"{_checked(candidate.name)}.{uuid.uuid4().hex}-"
        try:
            while True:
                try:
                    mandate = await self._campaign(folder, prefix, candidate.address.encode())
                except Unavailable as error:
                    _log.info("the election of %s waits: %s", election, error)
                    await trio.sleep(RETRY_S)
                else:
                    if mandate is not None:
                        return mandate
        except BaseException:
            with trio.CancelScope(deadline=trio.current_time() + CLOSE_S, shield=True):
                await self.withdraw(folder, prefix)
            raise

    async def _campaign(self, folder: str, prefix: str, address: bytes) -> _ZooKeeperMandate | None:
        """One look at the queue, and a wait for whoever is before us; None: look again."""
        queue = await self._queue(folder)
        own = next((name for name in queue if name.startswith(prefix)), None)
        if own is None:
            await self._clear(folder, queue, prefix)
            await self._create(f"{folder}/{prefix}", address, ephemeral=True, sequence=True)
            return None
        place = queue.index(own)
        if place == 0:
            floor = Epochs.of(await self.read(EPOCHS))  # before: one that is out of date makes an epoch that is refused
            stat = await self._call(self._client.exists_async, f"{folder}/{own}")
            return _ZooKeeperMandate(self, folder, own, floor + stat.czxid, stat.ephemeralOwner) if stat is not None else None
        event, watch = self._event()
        if await self._call(self._client.exists_async, f"{folder}/{queue[place - 1]}", watch) is not None:
            with trio.move_on_after(WATCH_POLL_S):
                await event.wait()
        return None

    async def _clear(self, folder: str, queue: list[str], prefix: str) -> None:
        """Candidacies of the same name in this session that it gave up long ago: servers that went back to an old copy have them again."""
        for name in queue:
            if name.rpartition(".")[0] == prefix.rpartition(".")[0]:
                stat = await self._call(self._client.exists_async, f"{folder}/{name}")
                if stat is not None and stat.ephemeralOwner == self._session():
                    await self._call(self._client.delete_async, f"{folder}/{name}")

    async def withdraw(self, folder: str, prefix: str) -> None:
        """Whatever of that name is in the queue leaves it; when ZooKeeper does not answer, the end of the session does it."""
        try:
            for name in await self._queue(folder):
                if name.startswith(prefix):
                    await self._call(self._client.delete_async, f"{folder}/{name}")
        except NoNodeError:
            pass
        except Unavailable as error:
            _log.info("a candidacy could not be withdrawn and ends with the session: %s", error)

    async def _queue(self, folder: str) -> list[str]:
        try:
            found = await self._call(self._client.get_children_async, folder)
            return sorted((name for name in found if name.rpartition("-")[2].isdecimal()), key=_number)  # the others are none of ours
        except NoNodeError:
            return []

    async def candidates(self, election: str) -> list[Candidate]:
        folder = f"{self._root}/elections/{_checked(election)}"
        found = []
        for name in await self._queue(folder):
            try:
                data, _ = await self._call(self._client.get_async, f"{folder}/{name}")
            except NoNodeError:
                continue
            found.append(Candidate(name.rpartition(".")[0], (data or b"").decode(errors="replace")))
        return found

    async def elections(self) -> list[str]:
        try:
            return sorted(await self._call(self._client.get_children_async, f"{self._root}/elections"))
        except NoNodeError:
            return []

    async def keep(self, mandate: _ZooKeeperMandate) -> None:
        """Until it is over: somebody may delete the candidate's node, although nobody should."""
        while not mandate.lost:
            event, watch = self._event()
            try:
                stat = await self._call(self._client.exists_async, mandate.path, watch)
            except Unavailable:
                await trio.sleep(RETRY_S)
                continue
            if stat is None:
                mandate.finish()
                return
            with trio.move_on_after(WATCH_POLL_S):
                await event.wait()

    def hold(self, mandate: _ZooKeeperMandate) -> None:
        self._mandates.add(mandate)
        if mandate.session != self._session():
            mandate.finish()
        else:
            self._nursery.start_soon(self.keep, mandate)

    def drop(self, mandate: _ZooKeeperMandate) -> None:
        self._mandates.discard(mandate)

    # Documents

    async def newest_epoch(self) -> int:
        await self._call(self._client.sync_async, self._root)  # its answer names the newest transaction that the leader knows
        return Epochs.of(await self.read(EPOCHS)) + cast(int, self._client.last_zxid)

    async def read(self, name: str) -> Document:
        return await self._read(self._document(name), None)

    async def _read(self, path: str, watch: Callable[[object], None] | None) -> Document:
        while True:
            try:
                data, stat = await self._call(self._client.get_async, path, watch)
                return Document(stat.mzxid, data or b"")
            except NoNodeError:
                if watch is None or await self._call(self._client.exists_async, path, watch) is None:
                    return MISSING

    async def write(self, name: str, data: bytes, *, version: int) -> Document:
        check_data(data)
        path = self._document(name)
        try:
            if version == 0:
                await self._create(path, data)
            else:
                known = await self._known(path, version)
                await self._call(self._client.set_async, path, data, known)
        except (NodeExistsError, BadVersionError, NoNodeError) as error:
            raise Superseded(f"{name} was changed meanwhile: read it again") from error
        return await self.read(name)

    async def remove(self, name: str, *, version: int) -> None:
        path = self._document(name)
        try:
            await self._call(self._client.delete_async, path, await self._known(path, version))
        except (BadVersionError, NoNodeError) as error:
            raise Superseded(f"{name} was changed meanwhile: read it again") from error

    async def _known(self, path: str, version: int) -> int:
        """ZooKeeper's own number of that version, which begins anew when a node is made anew; ours never does. Raises: BadVersionError."""
        stat = await self._call(self._client.exists_async, path)
        if stat is None or stat.mzxid != version:
            raise BadVersionError
        return cast(int, stat.version)

    async def _create(self, path: str, data: bytes, *, ephemeral: bool = False, sequence: bool = False) -> None:
        """With the folders where they are missing."""
        try:
            await self._call(self._client.create_async, path, data, ephemeral=ephemeral, sequence=sequence)
        except NoNodeError:
            await self._create_folders(path.rpartition("/")[0])
            await self._call(self._client.create_async, path, data, ephemeral=ephemeral, sequence=sequence)

    async def _create_folders(self, path: str) -> None:
        """All down to it: servers may have lost everything since this process began."""
        parts = path.split("/")[1:]
        for length in range(1, len(parts) + 1):
            try:
                await self._call(self._client.create_async, "/" + "/".join(parts[:length]))
            except NodeExistsError:
                pass

    async def names(self, folder: str) -> list[str]:
        return await self._names(self._document(folder), None)

    async def _names(self, path: str, watch: Callable[[object], None] | None) -> list[str]:
        while True:
            try:
                found = await self._call(self._client.get_children_async, path, watch)
                return sorted(name for name in found if _NAME.fullmatch(name))  # the others are none of ours
            except NoNodeError:
                if watch is None or await self._call(self._client.exists_async, path, watch) is None:
                    return []

    def watch(self, name: str) -> AsyncGenerator[Document, None]:
        path = self._document(name)
        return self._watched(lambda watch: self._read(path, watch))

    def watch_names(self, folder: str) -> AsyncGenerator[list[str], None]:
        path = self._document(folder)
        return self._watched(lambda watch: self._names(path, watch))

    async def _watched(self, read: Callable[[Callable[[object], None]], Awaitable[T]]) -> AsyncGenerator[T, None]:
        last: T | None = None
        while True:
            event, watch = self._event()
            try:
                found = await read(watch)
            except Unavailable as error:
                _log.info("what is watched can't be read now: %s", error)
                await trio.sleep(RETRY_S)
                continue
            if found != last:
                yield found
                last = found
            with trio.move_on_after(WATCH_POLL_S):
                await event.wait()

    async def announce(self, name: str, data: bytes) -> None:
        check_data(data)
        await self._keep_announced(name, data)
        self._announced[name] = data

    async def occupy(self, name: str, data: bytes, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        check_data(data)
        path, tenure = self._document(name), Tenure(data, max(self.session_s, RETRY_S))
        started = False
        while True:
            event, watch = self._event()
            try:
                is_own = await self._occupy(path, data, tenure, watch)
            except Unavailable as error:
                _log.info("%s can't be held now: %s", name, error)
                is_own = False
            if is_own and not started:
                started = True
                task_status.started()
            with trio.move_on_after(WATCH_POLL_S if is_own else RETRY_S):
                await event.wait()

    async def _occupy(self, path: str, data: bytes, tenure: Tenure, watch: Callable[[object], None]) -> bool:
        """Whether it is there in this session; what an earlier one with the same data left is replaced. Raises: StillInUse."""
        try:
            found, stat = await self._call(self._client.get_async, path, watch)
            if not tenure.look(found or b"", self._clock.monotonic()):
                return False
            if stat.ephemeralOwner == self._session():
                return True
            await self._call(self._client.delete_async, path)
        except NoNodeError:
            pass
        try:
            await self._create(path, data, ephemeral=True)
        except NodeExistsError:
            pass
        return False

    async def _keep_announced(self, name: str, data: bytes) -> None:
        """One that an earlier session of this process, or an earlier process, left behind is replaced."""
        path = self._document(name)
        try:
            found, stat = await self._call(self._client.get_async, path)
            if stat.ephemeralOwner == self._session():
                if found != data:
                    await self._call(self._client.set_async, path, data)
                return
            await self._call(self._client.delete_async, path)
        except NoNodeError:
            pass
        try:
            await self._create(path, data, ephemeral=True)
        except NodeExistsError as error:
            raise PeerUnreachable(f"{name} is announced by another process at the same time") from error

    def _document(self, name: str) -> str:
        """Raises: InvalidArgument."""
        parts = name.split("/")
        if len(parts) > 2:
            raise InvalidArgument(f"{name} has more than two components")
        return "/".join([self._root, "documents", *map(_checked, parts)])


class _ZooKeeperMandate:
    """Implements Mandate. session: in which the candidate was made; another session of the same process is no help."""

    def __init__(self, coordinator: ZooKeeper, folder: str, name: str, epoch: int, session: int) -> None:
        self.path = f"{folder}/{name}"
        self.epoch = epoch
        self.session = session
        self._folder = folder
        self._name = name
        self._coordinator = coordinator
        self._over = trio.Event()
        coordinator.hold(self)

    def __repr__(self) -> str:
        return f"<Mandate {self._name} epoch={self.epoch:x}{' over' if self.lost else ''}>"

    @property
    def trusted(self) -> bool:
        return not self._over.is_set() and self._coordinator.trusts(self.session)

    @property
    def lost(self) -> bool:
        return self._over.is_set()

    async def wait_lost(self) -> None:
        await self._over.wait()

    def finish(self) -> None:
        self._over.set()
        self._coordinator.drop(self)

    async def resign(self) -> None:
        self.finish()
        await self._coordinator.withdraw(self._folder, self._name)


def _number(name: str) -> int:
    return int(name.rpartition("-")[2])


def _checked(name: str) -> str:
    """Raises: InvalidArgument."""
    if not _NAME.fullmatch(name) or name in (".", ".."):
        raise InvalidArgument(f"{name!r} is no name in ZooKeeper: letters, digits, dots, dashes and underscores only")
    return name
