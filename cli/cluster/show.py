"""The services of all hosts, for people and programs."""

from __future__ import annotations

from cli.cluster.documents import unreadable_documents
from cli.cluster.door import open_door
from cli.cluster.node import Node
from cli.exit import Exit
from cli.output import Output, count_text
from cli.session import Session
from meta.cluster.link import lag_of_set
from meta.cluster.roster import SET_FOLDER
from meta.conscience.protocol import Service
from node.errors import FrazilError
from node.text import visible


async def show_cluster(session: Session) -> Exit:
    async with open_door(session.directory()) as node:
        output, fresh = session.output, node.directory.age_s() < float("inf")
        output.record(
            "cluster", f"namespace {node.config.namespace} ({node.namespace})", namespace=node.config.namespace, id=node.namespace
        )
        damaged = await unreadable_documents(node.coordinator)
        for error in damaged:
            output.warn(str(error))
        if not fresh:
            output.warn("no conscience answers: this is what was known last")
        given_up = sum(each.gone for each in node.directory.services.values())
        services = sorted(
            (each for each in node.directory.services.values() if not each.gone),
            key=lambda each: (each.registration.location, each.registration.kind, each.registration.address),
        )
        bad = sum(_show_service(output, each) for each in services)
        await _show_leaders(output, node)
    code = Exit.WARNINGS if bad or damaged or not fresh else Exit.OK
    output.record("summary", None, services=len(services), avoided=bad, exit=int(code))
    output.note(f"{count_text(len(services), 'service')}, {bad} avoided" + (f", {given_up} given up" if given_up else ""))
    return code


def _show_service(output: Output, service: Service) -> bool:
    """Whether there is something to warn of."""
    registration = service.registration
    avoided = not service.place or not service.read
    scores = f"place {service.place:>3}  read {service.read:>3}"
    latency = registration.statistics.get("latency_ms")
    syncs = f"  syncs in {latency:.0f} ms" if latency is not None else ""
    locked = "  locked" if service.locked and "locked" not in service.reason else ""
    tail = syncs + locked + (f"  {visible(service.reason)}" if service.reason else "")
    line = f"{visible(registration.location):<28} {registration.kind:<10} {registration.address:<21} {service.id:<28} "
    output.record(
        "service",
        line + output.style(scores, "red" if avoided else "green") + tail,
        id=service.id,
        kind=registration.kind,
        host=registration.host,
        address=registration.address,
        location=registration.location,
        slots=registration.slots,
        place=service.place,
        read=service.read,
        locked=service.locked,
        reason=service.reason,
        silent_s=service.silent_s,
        statistics=registration.statistics,
    )
    return avoided


async def _show_leaders(output: Output, node: Node) -> None:
    sets = set(await node.coordinator.names(SET_FOLDER))
    for election in await node.coordinator.elections():
        queue = await node.coordinator.candidates(election)
        if queue:
            line = f"{election:<28} led by {queue[0].name} at {queue[0].address}, {count_text(len(queue) - 1, 'other')} waiting"
            lag = await _lag(node, election, queue[0].address) if election in sets else None
            line += "" if lag is None else output.style(f"; {_lag_text(lag)}", "red" if any(lag.values()) else "green")
            output.record(
                "election",
                line,
                election=election,
                leader=queue[0].name,
                address=queue[0].address,
                candidates=[each.name for each in queue],
                lag=lag,
            )


async def _lag(node: Node, of: str, leader: str) -> dict[str, int] | None:
    """Entries that each peer of a set lacks; None while its leader doesn't say."""
    try:
        return await lag_of_set(node.client, leader, of)
    except FrazilError:
        return None


def _lag_text(lag: dict[str, int]) -> str:
    behind = [f"{visible(peer)} lacks {count_text(entries, 'transaction')}" for peer, entries in sorted(lag.items()) if entries]
    return ", ".join(behind) or "all peers are up to date"
