"""The metadata of a cluster as a client sees it: each call goes to the leader of the set that has its base.

What was learnt is remembered until it proves wrong: where containers are (`Place`), who leads a set. A leader that is gone is looked for
until PATIENCE_S is over, so an election is a slow answer, not an error.

A call that may have been carried out is made again only where that is harmless. A leader remembers the calls it answers and carries none
out twice; another leader finds a container's calls in the log (meta/attempt.py), for the client knows where the base stood before. Of the
other doors it is asked again only what is in REPEATED. The rest, and what the log does not reach back for, is told as undecided.
"""

from __future__ import annotations

import math
import os
import random
from collections import OrderedDict
from collections.abc import AsyncGenerator, Awaitable, Callable, Collection
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar, cast

import trio

from meta.attempt import NUMBER_BYTES
from meta.client import Door, MetaDoors, ignored, post
from meta.cluster.bases import OPENED
from meta.cluster.roster import DIRECTORY, Layout, renewed_sets
from meta.cluster.service import BIRTHS, REGISTRY, REPEATED
from meta.cluster.wire import HEADER_NAME
from meta.commit import NOTHING, Header
from meta.coordinator import Coordinator, parsed
from meta.directory import container_base, container_id
from meta.protocol.bucket import BucketSettings
from meta.protocol.directory import Assignments, Place, Prefix, Prefixes
from meta.wire import Method, methods
from node.errors import (
    BadRequest,
    BaseCorrupt,
    BucketNotFound,
    BucketOwned,
    CallNotAuthenticated,
    DeadlineExceeded,
    Fenced,
    Forgotten,
    FrazilError,
    NotConnected,
    NotFound,
    NotLeader,
    PeerUnreachable,
    ShuttingDown,
    Unavailable,
    Undecided,
)
from node.http.client import Client
from node.http.message import Headers

PATIENCE_S = 20.0
"""How long a leader is looked for: an election takes the session time-out of meta/zookeeper.py and a little more."""
RETRY_S = (0.05, 0.5)
"""Pause before a call is made again: the first, and the longest."""
PLACES_MAX = 100_000
CENSUS_S = 2.0
"""How long a part of the directory is trusted to have the containers that it had: new sets get theirs after it."""
HANDFUL = 100
_BIRTHS = frozenset(methods("meta")[name].target for name in BIRTHS)
_SAFE = (NotLeader, ShuttingDown, NotConnected)
"""The call was not carried out."""
_UNSURE = (PeerUnreachable, DeadlineExceeded, Undecided, Fenced)
T = TypeVar("T")


class RoutedMeta(MetaDoors):
    """Implements meta.protocol.door.Meta, and what meta/cluster/birth.py needs."""

    def __init__(self, coordinator: Coordinator, client: Client, *, patience_s: float = PATIENCE_S, layout: Layout | None = None) -> None:
        """client: with the namespace's key;  layout: instead of the namespace's, for one that is being made."""
        super().__init__(self._route)
        self._coordinator = coordinator
        self._client = client
        self._patience_s = patience_s
        self._given = layout
        self._layout = layout
        self._prefixes: list[Prefix] = []
        self._places: OrderedDict[str, Place] = OrderedDict()
        self._censuses: dict[str, _Census] = {}
        self._leaders: dict[str, str] = {}
        self._standings: OrderedDict[str, Header] = OrderedDict()  # of containers, as answers told them
        self._answered: dict[str, float] = {}  # when the leader of each set carried a call out last, by trio's clock

    def __repr__(self) -> str:
        return f"<RoutedMeta leaders={self._leaders} places={len(self._places)}>"

    async def dirty_containers(self) -> list[str]:
        """Of all sets. Raises: Unavailable when one does not answer."""
        method, found = methods("meta")["dirty_containers"], []
        for of in sorted(set((await self.sets()).values())):
            found += await self._call(partial(_known, of), method, method.encode_call(""))
        return found

    async def create_bucket(self, settings: BucketSettings) -> None:
        """The answer to a repeat of the caller's own request, whose first answer was lost, is that of the first."""
        try:
            await super().create_bucket(settings)
        except _Repeated as repeated:
            if not isinstance(repeated.error, BucketOwned) or await self._created_us(settings.bucket) != settings.created_us:
                raise repeated.error from None

    async def remove_bucket(self, bucket: str, *, created_us: int = 0) -> None:
        """As `create_bucket`; a repeat never removes a bucket that took the name meanwhile."""
        try:
            await super().remove_bucket(bucket, created_us=created_us or await self._created_us(bucket))
        except _Repeated as repeated:
            if not isinstance(repeated.error, BucketNotFound):
                raise repeated.error from None

    async def _created_us(self, bucket: str) -> int:
        """0 when there is no such bucket."""
        try:
            return (await self.container(bucket).settings()).created_us
        except BucketNotFound:
            return 0

    # The directory

    async def sets(self) -> dict[str, str]:
        """The set of each of the namespace's own bases, and under its own name each set that has containers."""
        layout = await self._known_layout()
        sets = dict(layout.sets)
        for prefix in await self.prefixes():
            sets[prefix.base] = prefix.set
        return sets | {name: name for name in await self._coordinator.names("set")}

    async def handfuls(self, of: str, size: int = HANDFUL) -> AsyncGenerator[list[str], None]:
        """Names of all bases of a set. Close it (contextlib.aclosing)."""
        sets = await self.sets()
        yield [OPENED, *(base for base, place in sets.items() if place == of and base != of)]
        for part in sorted({prefix.base for prefix in await self.prefixes()}):
            after = ""
            while page := await self.part(part).assigned(of, after, size):
                yield [container_base(place.bucket) for place in page]
                after = page[-1].bucket

    async def prefixes(self) -> list[Prefix]:
        """Raises: Unavailable before the namespace was laid out."""
        if not self._prefixes:
            door = cast(Prefixes, Door(self._route, "meta0", ""))
            self._prefixes = await door.prefixes()
        return self._prefixes

    async def lay_out(self, prefixes: list[Prefix]) -> None:
        door = cast(Prefixes, Door(self._route, "meta0", ""))
        self._prefixes = await door.lay_out(prefixes)

    async def assignments(self, bucket: str) -> Assignments:
        """The part of the directory that knows the bucket."""
        return self.part(await self._part_of(bucket))

    async def _part_of(self, bucket: str) -> str:
        number = container_id(bucket)
        for prefix in await self.prefixes():
            if number.startswith(prefix.prefix):
                return prefix.base
        raise NotLeader("the namespace is not laid out yet")

    def part(self, base: str) -> Assignments:
        return cast(Assignments, Door(self._route, "meta1", base))

    def oldest_answer(self, begun: float) -> tuple[str, float]:
        """Of the sets of the directory the one whose leader answered the longest ago, and when. begun: for one that never did."""
        known = {prefix.set for prefix in self._prefixes}
        if not known:
            return "the directory", max(self._answered.values(), default=begun)
        return min(((of, self._answered.get(of, begun)) for of in known), key=lambda each: each[1])

    async def probe(self, since: float) -> None:
        """Asks the leaders of the directory that have not answered since then for something small, side by side. Raises: Unavailable."""
        parts = {prefix.set: prefix.base for prefix in await self.prefixes() if self._answered.get(prefix.set, -math.inf) < since}
        async with trio.open_nursery() as nursery:
            for base in parts.values():
                nursery.start_soon(self._probe, base)

    async def _probe(self, base: str) -> None:
        try:
            await self.part(base).assigned("", "", 1)
        except FrazilError:  # its silence tells
            return

    async def place(self, bucket: str) -> Place:
        """Raises: BucketNotFound."""
        found = self._places.get(bucket)
        if found is None:
            found = await (await self.assignments(bucket)).find(bucket)
            self._remember(found)
        return found

    async def assign(self, bucket: str) -> Place:
        """To one of the sets that have the fewest containers, unless it has a place."""
        part = await self._part_of(bucket)
        census = self._censuses.get(part)
        if census is None or trio.current_time() > census.until_s:
            census = self._censuses[part] = await self._census(part)
        wish = census.fewest()
        place = await self.part(part).assign(bucket, wish)
        if place.set in census.counts:
            census.counts[place.set] += 1
        self._remember(place)
        return place

    async def _census(self, part: str) -> _Census:
        names: Collection[str] = (await self._read_layout()).among
        if not names:
            names = set(await self._coordinator.names("set")) - {*await renewed_sets(self._coordinator)}
        if not names:
            raise NotLeader("the namespace has no sets yet")
        counts = await self.part(part).counts()
        return _Census({name: counts.get(name, 0) for name in names}, trio.current_time() + CENSUS_S)

    async def mark_removed(self, bucket: str) -> None:
        await (await self.assignments(bucket)).mark_removed(bucket)
        self._places.pop(bucket, None)

    def _remember(self, place: Place) -> None:
        self._places[place.bucket] = place
        if len(self._places) > PLACES_MAX:
            self._places.popitem(last=False)

    async def _known_layout(self) -> Layout:
        if self._layout is None:
            self._layout = await self._read_layout()
        return self._layout

    async def _read_layout(self) -> Layout:
        if self._given is not None:
            return self._given
        document = await self._coordinator.read(DIRECTORY)
        if not document.version:
            raise NotLeader("the namespace is not laid out yet: no meta service has started")
        return parsed(DIRECTORY, document, Layout)

    def _forget_directory(self) -> None:
        """All metadata may be in other sets by now: see meta/cluster/renewal.py."""
        self._layout, self._prefixes = self._given, []
        self._places.clear()
        self._censuses.clear()
        self._standings.clear()

    # Calls

    async def _route(self, door: str, subject: str, method: Method, body: bytes) -> Any:
        if door != "container":
            return await self._call(lambda: self._set_of(door, subject, method), method, body)
        known = subject in self._places
        place = await self.place(subject)
        try:
            return await self._call(partial(self._set_of_container, subject), method, body, container=subject)
        except (BucketNotFound, BaseCorrupt):
            if not known:
                raise
            self._places.pop(subject, None)  # it was moved, or made anew elsewhere
            moved = await self.place(subject)
            if moved.set == place.set:
                raise
        self._standings.pop(subject, None)
        return await self._call(partial(self._set_of_container, subject), method, body, container=subject)

    async def _set_of_container(self, bucket: str) -> str:
        return (await self.place(bucket)).set

    async def _set_of(self, door: str, subject: str, method: Method) -> str:
        layout = await self._known_layout()
        match door:
            case "meta1":
                return next(prefix.set for prefix in await self.prefixes() if prefix.base == subject)
            case "meta":
                assert method.name in BIRTHS
                return layout.sets[REGISTRY]
            case "identities":
                return layout.sets["accounts"]
        return layout.sets[door]

    async def _call(self, set_of: Callable[[], Awaitable[str]], method: Method, body: bytes, *, container: str = "") -> Any:
        """To the leader of the set. container: the bucket, of a call to one.

        Raises: NotLeader when none was found in time; Undecided; what the method raises.
        """
        number = os.urandom(NUMBER_BYTES).hex().encode()
        before = self._standings.get(container, NOTHING)
        doubt: Unavailable | None = None
        heed = partial(self._heed, container) if container else ignored

        async def once() -> Any:
            nonlocal number, method, doubt
            of = await set_of()
            address = await self._leader(of)
            try:
                found = await post(self._client, address, b"/set/%b/%b%b" % (of.encode(), number, method.target), method, body, heed=heed)
                self._answered[of] = trio.current_time()
                return found
            except Forgotten as error:
                raise _Told(error) from error
            except (*_SAFE, *_UNSURE) as error:
                self._leaders.pop(of, None)
                if not isinstance(error, _SAFE):
                    if doubt is None and container:
                        number += b".%d.%d" % (before.epoch, before.index)
                    method, doubt = _following(method, error, container=bool(container)), error
                raise
            except (BadRequest, CallNotAuthenticated) as error:  # of this attempt: it says nothing of the one before
                if doubt is not None:
                    raise _Told(doubt) from error
                raise
            except FrazilError as error:
                if doubt is not None and type(error) is NotFound:  # no such call: a host that is still to be upgraded
                    raise _Told(doubt) from error
                if doubt is not None and method.target in _BIRTHS:
                    raise _Repeated(error) from error
                raise

        try:
            return await self._patient(once)
        except _Told as told:
            raise Undecided(f"whether {method.name} was carried out is not known: {told.cause}") from told.cause

    def _heed(self, container: str, headers: Headers) -> None:
        epoch, _, index = headers.get(HEADER_NAME, b"").partition(b" ")
        if epoch.isdigit() and index.isdigit():
            self._standings[container] = Header(int(epoch), int(index))
            if len(self._standings) > PLACES_MAX:
                self._standings.popitem(last=False)

    async def _patient(self, once: Callable[[], Awaitable[T]]) -> T:
        deadline = trio.current_time() + self._patience_s
        pause_s, longest_s = RETRY_S
        while True:
            try:
                return await once()
            except (*_SAFE, *_UNSURE):
                if trio.current_time() + pause_s > deadline:
                    raise
            await trio.sleep(pause_s * (0.5 + random.random()))
            pause_s = min(2 * pause_s, longest_s)

    async def _leader(self, of: str) -> str:
        found = self._leaders.get(of)
        if found is None:
            queue = await self._coordinator.candidates(of)
            if not queue:
                self._forget_directory()
                raise NotLeader(f"nobody stands for the set {of}: is one of its peers up?")
            found = self._leaders[of] = queue[0].address
        return found


@dataclass(slots=True)
class _Census:
    """How many containers each set has that takes new ones, as one part of the directory knows, and what came since."""

    counts: dict[str, int]
    until_s: float

    def fewest(self) -> str:
        fewest = min(self.counts.values())
        return random.choice([name for name, count in self.counts.items() if count == fewest])


async def _known(of: str) -> str:
    return of


class _Repeated(Exception):
    """What a creation or removal of a bucket was refused with after it may have been carried out."""

    def __init__(self, error: FrazilError) -> None:
        super().__init__(str(error))
        self.error = error


class _Told(Exception):
    """Out of the patience, for it must not be tried again."""

    def __init__(self, cause: Unavailable) -> None:
        super().__init__(str(cause))
        self.cause = cause


def _following(method: Method, error: Unavailable, *, container: bool) -> Method:
    """How a call that may have been carried out is made again. Raises: _Told when it must not be."""
    if method.name == "put" and container:
        return methods("container")["put_again"]
    if not container and method.name not in REPEATED:
        raise _Told(error) from error
    return method
