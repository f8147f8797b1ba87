"""The HTTP service of a meta process: calls of the other peers, and calls of clients for what this host leads.

POST /set/<set>/<call>/meta/1/<door>/<method>     as in meta/wire.py; call: 32 hex digits that stay the same when the client asks again,
                                                  and then ".<epoch>.<index>", where the base stood before the first time, 0 0 = not known;
                                                  answers for containers say in HEADER_NAME where the base stands
POST /peer/1/<name>                               meta/cluster/wire.py
POST /leave/<set>                                 has another peer lead; answers true when this one led
POST /lag/<set>                                   of the leader: how many entries each peer lacks, over the bases in use
POST /reign/<set>                                 of the leader: its epoch, and the same
"""

from __future__ import annotations

import os
import re
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import trio

from meta.attempt import Attempt, current
from meta.cluster.bases import OPENED
from meta.cluster.birth import Births
from meta.cluster.calls import Calls
from meta.cluster.keepsake import Known, known
from meta.cluster.member import Member
from meta.cluster.wire import (
    API,
    CALL_BYTES_MAX,
    CHECKSUM_NAME,
    HEADER_NAME,
    STANDINGS_MAX,
    Appending,
    Following,
    Knowing,
    Promising,
    Pulling,
    Standings,
    Surveying,
)
from meta.commit import NOTHING, Header
from meta.directory import container_base
from meta.service import MSGPACK, read_call, routes
from meta.split import READS
from meta.wire import DOORS, Method
from node.auth import NamespaceKey, Verifier
from node.errors import (
    BaseCorrupt,
    BaseNotFound,
    BucketNotFound,
    FrazilError,
    InvalidArgument,
    NotFound,
    NotLeader,
    Undecided,
)
from node.http.message import Request
from node.http.reply import Reply
from node.threads import run_blocking

UNCHANGING = READS | frozenset(("prefixes", "find", "counts", "assigned"))
"""Methods that change nothing: what they see is told once it is agreed."""
BIRTHS = frozenset(("create_bucket", "remove_bucket"))
"""Methods of the door `meta` that span sets; the leader of the registry sees to them, one at a time for each bucket."""
REGISTRY = "registry"
REPEATED = UNCHANGING | frozenset(
    (
        "put_again",
        "create",
        "complete_upload",
        "deletions_done",
        "records_synced",
        "restale",
        "create_bucket",
        "dirty_containers",
        "claim",
        "release",
        "add_bucket",
        "remove_bucket",
        "revoke_key",
        "restore",
        "suspend",
        "put_policy",
        "attach",
        "save_job",
        "control_job",
        "lay_out",
        "assign",
        "mark_removed",
    )
)
"""Methods that come to the same when they are carried out twice, whatever others did in between."""
_CLIENT = re.compile(rb"/set/([A-Za-z0-9_.-]{1,128})/([0-9a-f]{32})(?:\.([0-9]{1,20})\.([0-9]{1,20}))?(/meta/1/.*)")
_LEAVE = re.compile(rb"/leave/([A-Za-z0-9_.-]{1,128})")
_LAG = re.compile(rb"/lag/([A-Za-z0-9_.-]{1,128})")
_REIGN = re.compile(rb"/reign/([A-Za-z0-9_.-]{1,128})")
_encode = msgspec.msgpack.Encoder().encode


class ClusterService:
    """Handler for node.http.server.serve. members: this host's, by set; may change."""

    def __init__(self, members: Mapping[str, Member], births: Births, key: NamespaceKey, *, path: Path) -> None:
        """path: of the peer."""
        self._members = members
        self._path = path
        self._births = births
        self._verifier = Verifier(key)
        self._routes = routes(DOORS)
        self._calls = Calls()
        self._peer_calls: dict[bytes, tuple[msgspec.msgpack.Decoder[Any], Callable[..., Awaitable[Any]]]] = {
            API + b"promise": (msgspec.msgpack.Decoder(Promising), self._promise),
            API + b"known": (msgspec.msgpack.Decoder(Knowing), self._known),
            API + b"survey": (msgspec.msgpack.Decoder(Surveying), self._survey),
            API + b"append": (msgspec.msgpack.Decoder(Appending), self._append),
            API + b"pull": (msgspec.msgpack.Decoder(Pulling), self._pull),
            API + b"after": (msgspec.msgpack.Decoder(Following), self._after),
            API + b"digest": (msgspec.msgpack.Decoder(Surveying), self._digest),
            API + b"standings": (msgspec.msgpack.Decoder(Standings), self._standings),
        }
        self._surveying = msgspec.msgpack.Decoder(Surveying)

    def __repr__(self) -> str:
        return f"<ClusterService members={list(self._members)} {self._verifier!r}>"

    async def __call__(self, request: Request, reply: Reply) -> None:
        """Raises: CallNotAuthenticated, NotFound, InvalidArgument, BodyTooLarge, NotLeader; what the call raises."""
        proof = self._verifier.verify(request)
        body = await request.body.read(CALL_BYTES_MAX)
        proof.check_body(body)
        if request.method != "POST":
            raise NotFound("no such call")
        peer_call = self._peer_calls.get(request.target)
        if peer_call is not None:
            decoder, function = peer_call
            await reply.whole(200, [MSGPACK], _encode(await function(_read(decoder, body))))
        elif request.target == API + b"snapshot":
            await self._snapshot(_read(self._surveying, body), reply)
        elif match := _CLIENT.fullmatch(request.target):
            again = Header(int(match[3]), int(match[4])) if match[3] else None
            answer, told = await self._client_call(match[1].decode(), match[2], again, match[5], body)
            await reply.whole(200, [MSGPACK, *told], answer)
        elif match := _LEAVE.fullmatch(request.target):
            await reply.whole(200, [MSGPACK], _encode(self._member(match[1].decode()).leave()))
        elif match := _LAG.fullmatch(request.target):
            await reply.whole(200, [MSGPACK], _encode(self._member(match[1].decode()).lag()))
        elif match := _REIGN.fullmatch(request.target):
            await reply.whole(200, [MSGPACK], _encode(self._member(match[1].decode()).reigning()))
        else:
            raise NotFound("no such call")

    def operation(self, request: Request) -> str:
        """The call's name, for metrics; "other" is whatever there is no such call of, so that strangers make no names."""
        if request.target in self._peer_calls:
            return request.target[len(API) :].decode()
        match = _CLIENT.fullmatch(request.target)
        route = self._routes.get(match[5]) if match else None
        return route[1].name if route else "other"

    def _member(self, of: str) -> Member:
        """Raises: NotLeader."""
        found = self._members.get(of)
        if found is None:
            raise NotLeader(f"this host is no peer of the set {of}")
        return found

    # Clients

    async def _client_call(
        self, of: str, number: bytes, again: Header | None, target: bytes, body: bytes
    ) -> tuple[bytes, list[tuple[bytes, bytes]]]:
        """The answer, and what its head says."""
        route = self._routes.get(target)
        if route is None:
            raise NotFound("no such call")
        door, method = route
        subject, arguments, named = read_call(method, body)
        do = partial(self._do, of, door, method, subject, arguments, named)
        if method.name in UNCHANGING:
            answer = await do()
        else:
            answer = await self._calls.answer(number, partial(self._attempt, number, again, door, method, subject, do))
        standing = self._member(of).agreed(container_base(subject)) if door == "container" else NOTHING
        return answer, [] if standing == NOTHING else [(HEADER_NAME, b"%d %d" % (standing.epoch, standing.index))]

    @staticmethod
    async def _attempt(
        number: bytes, again: Header | None, door: str, method: Method, subject: str, do: Callable[[], Awaitable[bytes]]
    ) -> bytes:
        if door != "container":
            return await do()
        harmless = method.name in REPEATED
        token = current.set(Attempt(bytes.fromhex(number.decode()), container_base(subject), again, harmless))
        try:
            return await do()
        finally:
            current.reset(token)

    async def _do(self, of: str, door: str, method: Method, subject: str, arguments: list[Any], named: dict[str, Any]) -> bytes:
        member = self._member(of)
        reign, target = member.reign, await self._lead(member, door, subject, method.name)
        try:
            answer = method.encode_answer(await getattr(target, method.name)(*arguments, **named))
        except BaseCorrupt as error:
            base = None if door == "meta" else _base_of(door, subject)  # behind that door are many
            if not await member.distrust(base, reign):
                raise
            again = NotLeader if method.name in UNCHANGING else Undecided
            raise again(f"a replica at this host is damaged; another is to lead: {error}") from error
        except FrazilError:
            if method.name in UNCHANGING:
                await member.settle(_base_of(door, subject), reign)
            raise
        if method.name in UNCHANGING:
            await member.settle(_base_of(door, subject), reign)
        return answer

    async def _lead(self, member: Member, door: str, subject: str, method: str) -> Any:
        """What implements the door, when this host leads the base behind it. Raises: NotLeader, BucketNotFound, InvalidArgument."""
        bases = member.bases
        match door:
            case "container":
                try:
                    await member.ready(_base_of(door, subject), create=method == "create")
                except BaseNotFound as error:
                    raise BucketNotFound("there is no such bucket") from error
                return bases.container(subject)
            case "meta1":
                target: Any = bases.assignments(subject)
                await member.ready(subject, create=True)
                return target
            case "meta0":
                await member.ready("meta0", create=True)
                return bases.prefixes
            case "meta":
                await member.ready(REGISTRY if method in BIRTHS else OPENED, create=True)
                return self._births if method in BIRTHS else bases
        await member.ready(_base_of(door, subject), create=True)
        return getattr(bases, door)

    # Peers

    async def _promise(self, call: Promising) -> int:
        return await self._member(call.set).take_promise(call)

    async def _known(self, _call: Knowing) -> Known:
        return await run_blocking(known, self._path)

    async def _survey(self, call: Surveying) -> Any:
        return await self._member(call.set).replica(call.base).survey(call.epoch)

    async def _append(self, call: Appending) -> Any:
        return await self._member(call.set).replica(call.entry.base).append(call.epoch, call.entry)

    async def _pull(self, call: Pulling) -> Any:
        return await self._member(call.set).pull(call.base, call.epoch, call.source)

    async def _after(self, call: Following) -> Any:
        await trio.lowlevel.checkpoint()
        return self._member(call.set).after(call.base, call.epoch, call.header)

    async def _digest(self, call: Surveying) -> Any:
        return await self._member(call.set).replica(call.base).digest()

    async def _standings(self, call: Standings) -> list[Header | None]:
        """None for a replica that has no say."""
        if len(call.bases) > STANDINGS_MAX:
            raise InvalidArgument(f"{STANDINGS_MAX} bases at most")
        member = self._member(call.set)
        member.check_source(call.epoch)
        found: list[Header | None] = []
        for base in call.bases:
            replica = member.replica(base)
            try:
                found.append(None if replica.damaged else replica.header())
            except BaseCorrupt:
                found.append(None)
            await trio.lowlevel.checkpoint()
        return found

    async def _snapshot(self, call: Surveying, reply: Reply) -> None:
        async with self._member(call.set).snapshot(call.base, call.epoch) as (path, header, checksum):
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            try:
                size = os.fstat(descriptor).st_size
                told = [(HEADER_NAME, b"%d %d" % (header.epoch, header.index)), (CHECKSUM_NAME, checksum.encode())]
                await reply.start(200, told, length=size)
                await reply.send_file(descriptor, 0, size)
                await reply.finish()
            finally:
                os.close(descriptor)


def _base_of(door: str, subject: str) -> str:
    """The base behind a door that has only one."""
    match door:
        case "container":
            return container_base(subject)
        case "meta1":
            return subject
    return "accounts" if door == "identities" else door


def _read(decoder: msgspec.msgpack.Decoder[Any], body: bytes) -> Any:
    """Raises: InvalidArgument."""
    try:
        return decoder.decode(body)
    except msgspec.DecodeError as error:
        raise InvalidArgument(f"the call is not readable: {error}") from error
