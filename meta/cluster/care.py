"""What a leader does beside its work: peers that missed something are told, another leads where it should, peers join and leave.

Theory of operation of a change of peers. It goes in steps of one peer, so each majority meets each majority of the step before. Two steps
apart they need not meet: hence before a step every base of the set is taken over in this epoch, with the peers that are there now; after
that all it has counts as agreed by a majority of them. A peer that joins is up, and has everything before the one whose place it takes
leaves: else the set would stand on fewer replicas than before. Only who is lost for good is not held back by a newcomer that is away, too.
A leader works with the peers that the set's document names when its reign begins,
and a change of the document ends the reign.

Source: Ongaro: Consensus, Bridging Theory and Practice (2014), section 4.1.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import aclosing

import trio

from meta.cluster.link import Link
from meta.cluster.member import REST_S, Member, Watcher
from meta.cluster.reign import Reign
from meta.cluster.roster import PeerSet, Roster
from meta.cluster.routing import RoutedMeta
from meta.cluster.wire import Standings
from meta.commit import NOTHING, Header
from meta.coordinator import Coordinator
from node.errors import BaseNotFound, Fenced, FrazilError, PeerUnreachable, Superseded
from node.log import get_logger
from node.metrics import gauge

PING_S = 1.0
"""How often each peer is asked whether it is there."""
COMPARED_AT_ONCE = 100
COMPARE_PAUSE_S = 0.05
"""Between two handfuls of bases: 2,000 in a second at the most."""
COMPARE_SHARE = 1 / 4
"""Of the time that comparing may take: a reign that begins with thousands of bases serves meanwhile."""
COMPARE_S = 3600.0
"""How often all bases are compared although no peer was away."""
SPREAD_S = 5.0
"""How often a leader looks whether the peer that is to lead is there and up to date, to leave to it."""
STEP_S = 1.0
"""How often a leader looks whether the set's peers are to change."""
_log = get_logger("meta.care")


class Care:
    """Of one member, for all its reigns."""

    def __init__(self, member: Member, roster: Roster, routed: RoutedMeta, links: Mapping[str, Link], coordinator: Coordinator) -> None:
        self._member = member
        self._roster = roster
        self._routed = routed
        self._links = links
        self._coordinator = coordinator
        self._up: set[str] = set()
        self._stale: set[str] = set()

    def __repr__(self) -> str:
        return f"<Care {self._member.name} up={sorted(self._up)} stale={sorted(self._stale)}>"

    @property
    def watchers(self) -> tuple[Watcher, ...]:
        return (self.ping, self.compare, self.spread, self.rest, self.change)

    @property
    def _others(self) -> list[str]:
        return [peer for peer in self._member.peers.peers if peer != self._member.own.name]

    # Who is there

    async def ping(self, reign: Reign) -> None:
        self._up, self._stale = set(), set(self._others)
        lag = gauge("meta_replication_lag_entries", "Entries that a peer lacks, over the bases in use.", ("set", "peer"))
        while True:
            for peer in self._others:
                await self._ping(reign, peer)
            for peer, entries in reign.lag().items():
                lag.labels(self._member.name, peer).set(entries)
            await trio.sleep(PING_S)

    async def _ping(self, reign: Reign, peer: str) -> None:
        try:
            await self._links[peer].promise(reign.claim)
        except Fenced as error:
            _log.info("%s follows another leader of %s: %s", peer, reign.name, error)
            reign.end()
        except FrazilError:
            self._up.discard(peer)
            self._stale.add(peer)
        else:
            self._up.add(peer)

    # Who missed something

    async def compare(self, reign: Reign) -> None:
        """What is written follows by itself; here is all the rest, for a peer that was away and once in a while for all."""
        due = trio.current_time() + COMPARE_S
        while True:
            await trio.sleep(PING_S)
            if trio.current_time() > due:
                self._stale, due = set(self._others), trio.current_time() + COMPARE_S
            for peer in self._stale & self._up:
                self._stale.discard(peer)
                try:
                    await self.compare_with(reign, peer)
                except FrazilError as error:
                    _log.info("%s could not be compared with the set %s: %s", peer, reign.name, error)
                    self._stale.add(peer)

    async def compare_with(self, reign: Reign, peer: str) -> int:
        """Takes over each base in which the peer stands elsewhere, and drives it in those that are in use. How many there were."""
        differing = 0
        async with aclosing(self._routed.handfuls(self._member.name, COMPARED_AT_ONCE)) as handfuls:
            async for bases in handfuls:
                began_s = trio.current_time()
                differing += await self._compare(reign, peer, bases)
                await trio.sleep(max(COMPARE_PAUSE_S, (trio.current_time() - began_s) * (1 / COMPARE_SHARE - 1)))
        return differing

    async def _compare(self, reign: Reign, peer: str, bases: list[str]) -> int:
        theirs = await self._links[peer].standings(Standings(reign.name, reign.epoch, tuple(bases)))
        differing = [base for base, header in zip(bases, theirs, strict=True) if header != self._member.replica(base).header()]
        for base in differing:
            leader = reign.leaders.get(base)
            if leader is None:
                await self._take_over(reign, base)
            else:  # it may have lost, while it was away, what it was known to have
                leader.doubt(peer)
        return len(differing)

    @staticmethod
    async def _take_over(reign: Reign, base: str) -> None:
        try:
            await reign.ready(base)
        except BaseNotFound:  # assigned, not made yet
            return

    async def take_over_all(self, reign: Reign) -> None:
        async with aclosing(self._routed.handfuls(self._member.name, COMPARED_AT_ONCE)) as handfuls:
            async for bases in handfuls:
                for base in bases:
                    await self._take_over(reign, base)

    # Who leads

    async def spread(self, reign: Reign) -> None:
        """Each peer is the first of some sets."""
        first = self._member.peers.peers[0]
        while first != self._member.own.name:
            await trio.sleep(SPREAD_S)
            if first in self._up and reign.lag().get(first, 0) == 0 and first not in self._stale and await self._stands(first):
                _log.info("%s leaves the set %s to %s", self._member.own.name, reign.name, first)
                self._member.leave()
                return

    async def rest(self, reign: Reign) -> None:
        while not await self._member.is_to_rest():  # noqa: ASYNC110 - an operator's word in a list that is fetched
            await trio.sleep(REST_S)
        _log.info("%s is to rest and leaves the set %s", self._member.own.name, reign.name)
        self._member.leave()

    async def _stands(self, peer: str) -> bool:
        try:
            return any(candidate.name == peer for candidate in await self._coordinator.candidates(self._member.name))
        except FrazilError:
            return False

    # Who belongs to the set

    async def change(self, reign: Reign) -> None:
        while True:
            await trio.sleep(STEP_S)
            now = self._roster.sets.get(reign.name)
            following = now.step() if now is not None else None
            if now is None or following is None or now.peers != self._member.peers.peers:
                continue
            try:
                self._check_step(now, following)
                await self.take_over_all(reign)
                if len(following.peers) < len(now.peers):
                    await self._wait_joined(reign, now)
                await self._roster.change_set(reign.name, now, following)
                _log.info("the peers of the set %s: %s", reign.name, ", ".join(following.peers))
            except FrazilError as error:
                _log.info("the peers of the set %s can't change yet: %s", reign.name, error)

    def _check_step(self, now: PeerSet, following: PeerSet) -> None:
        """Raises: PeerUnreachable."""
        living = self._roster.peers.keys()
        joining, leaving = set(following.peers) - set(now.peers), set(now.peers) - set(following.peers)
        needed = joining or (set(now.joined) if leaving and leaving <= living else set())
        if away := sorted(needed - living):
            raise PeerUnreachable(f"{', '.join(away)} is to join and is away")

    async def _wait_joined(self, reign: Reign, now: PeerSet) -> None:
        """Until those that joined have all that this leader has now; it drives them. Raises: Superseded, FrazilError."""
        for peer in [peer for peer in now.joined if peer in self._roster.peers and peer != self._member.own.name]:
            async with aclosing(self._routed.handfuls(self._member.name, COMPARED_AT_ONCE)) as handfuls:
                async for bases in handfuls:
                    wanted = {base: self._member.replica(base).header() for base in bases}
                    while wanted := await self._lacking(reign, peer, wanted):
                        await trio.sleep(PING_S)
                        if self._roster.sets.get(reign.name) != now:
                            raise Superseded("the set is to have other peers")

    async def _lacking(self, reign: Reign, peer: str, wanted: dict[str, Header]) -> dict[str, Header]:
        """What of these bases the peer does not have yet up to there."""
        theirs = await self._links[peer].standings(Standings(reign.name, reign.epoch, tuple(wanted)))
        found = dict(zip(wanted, theirs, strict=True))
        return {base: header for base, header in wanted.items() if (found[base] or NOTHING) < header}
