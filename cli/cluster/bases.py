"""Where metadata lies, and whether its replicas are the same."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import aclosing

import trio

from cli.cluster.peers import Cast, open_cast
from cli.exit import Exit
from cli.output import count_text
from cli.session import Session
from meta.cluster.link import Link
from meta.cluster.routing import RoutedMeta
from meta.cluster.wire import Surveying
from meta.commit import Header
from meta.directory import container_base
from node.errors import BaseNotFound, Damaged, FrazilError
from node.text import visible

TRIES = 5
PAUSE_S = 0.5
"""Before a base whose replicas differ is asked again: it may be being written."""

Answer = tuple[Header, str] | FrazilError


async def show_bases(session: Session, buckets: Iterable[str]) -> Exit:
    async with open_cast(session) as cast:
        meta = RoutedMeta(cast.node.coordinator, cast.node.client)
        for bucket in buckets:
            of = (await meta.place(bucket)).set
            for peer, answer in (await _ask(cast, of, container_base(bucket))).items():
                leads = bool(cast.queues[of]) and cast.queues[of][0].name == peer
                place = str(answer) if isinstance(answer, FrazilError) else f"epoch {answer[0].epoch}, index {answer[0].index}"
                session.output.record(
                    "replica",
                    f"{visible(bucket):<30} {of:<10} {peer:<32} {place}{', leads' if leads else ''}",
                    bucket=bucket,
                    set=of,
                    peer=peer,
                    leads=leads,
                    epoch=None if isinstance(answer, FrazilError) else answer[0].epoch,
                    index=None if isinstance(answer, FrazilError) else answer[0].index,
                )
    return Exit.OK


async def check_bases(session: Session, buckets: tuple[str, ...]) -> Exit:
    async with open_cast(session) as cast:
        meta = RoutedMeta(cast.node.coordinator, cast.node.client)
        bad = checked = 0
        for bucket in buckets:
            checked += 1
            bad += not await _check(session, cast, (await meta.place(bucket)).set, container_base(bucket))
        if not buckets:
            for of in cast.queues:
                async with aclosing(meta.handfuls(of)) as handfuls:
                    async for names in handfuls:
                        for base in names:
                            checked += 1
                            bad += not await _check(session, cast, of, base)
        session.output.record(
            "summary", f"{count_text(checked, 'base')} compared, {bad} not the same everywhere", bases=checked, differing=bad
        )
    return Exit.DAMAGED if bad else Exit.OK


async def _check(session: Session, cast: Cast, of: str, base: str) -> bool:
    answers: dict[str, Answer] = {}
    for turn in range(TRIES):
        if turn:
            await trio.sleep(PAUSE_S)
        answers = await _ask(cast, of, base)
        if all(isinstance(answer, BaseNotFound) for answer in answers.values()):
            return True  # it was never made
        if not any(isinstance(answer, FrazilError) for answer in answers.values()) and len(set(map(str, answers.values()))) == 1:
            return True
        if any(isinstance(answer, Damaged) for answer in answers.values()):
            break
    told = {
        peer: str(answer) if isinstance(answer, FrazilError) else f"epoch {answer[0].epoch} index {answer[0].index} sum {answer[1][:12]}"
        for peer, answer in answers.items()
    }
    session.output.record(
        "differs",
        f"{visible(base)} in {of}: " + "; ".join(f"{peer}: {text}" for peer, text in told.items()),
        base=base,
        set=of,
        replicas=told,
    )
    return False


async def _ask(cast: Cast, of: str, base: str) -> dict[str, Answer]:
    answers: dict[str, Answer] = {}
    for peer in cast.roster.sets[of].peers:
        link = Link(cast.node.client, peer, cast.roster.address, cast.node.clock)
        try:
            answers[peer] = await link.digest(Surveying(of, base, 0))
        except FrazilError as error:
            answers[peer] = error
    return answers
