"""An operator's locks on services."""

from __future__ import annotations

import msgspec

from cli.cluster.conscience import LOCKS
from cli.cluster.node import Node
from cli.exit import Exit, Hinted
from meta.conscience.board import SILENT_S_MAX
from meta.conscience.protocol import Lock, Service
from node.errors import Superseded
from store.location import Location

TRIES = 5


def matching(node: Node, name: str, *, gone: bool = False) -> list[Service]:
    """The services of that id, host or location (or below it). gone: also what was given up. Raises: Hinted when there is none."""
    found = [each for each in node.directory.services.values() if _fits(each, name) and (gone or not each.gone)]
    if not found:
        raise Hinted(f"there is no service, host or location {name!r}", "`frazil cluster status` lists them", code=Exit.NOT_FOUND)
    return sorted(found, key=lambda each: each.id)


def _fits(service: Service, name: str) -> bool:
    registration = service.registration
    return name in (service.id, registration.host) or Location(tuple(registration.location.split("."))).lies_in(name)


async def lock(node: Node, service: str, wanted: Lock) -> None:
    """In place of a lock that is there, which stands until then. Raises: Superseded when others go on changing it; Unavailable."""
    name = f"{LOCKS}/{service}"
    for _ in range(TRIES):
        document = await node.coordinator.read(name)
        try:
            await node.coordinator.write(name, msgspec.json.encode(wanted), version=document.version)
        except Superseded:
            continue
        return
    raise Superseded(f"the lock of {service} is being changed by somebody else; try again")


def is_dead(service: Service) -> bool:
    return service.silent_s > SILENT_S_MAX


async def forget(node: Node, service: Service) -> None:
    """Raises: Hinted while it lives; as lock."""
    if not is_dead(service):
        raise Hinted(f"{service.id} is alive", "stop it first; `frazil cluster lock` keeps things away from it", code=Exit.CONFLICT)
    await lock(node, service.id, Lock(place=0, read=0, gone=True))


async def unlock(node: Node, service: str) -> bool:
    """Whether there was one."""
    name = f"{LOCKS}/{service}"
    document = await node.coordinator.read(name)
    if document.version:
        await node.coordinator.remove(name, version=document.version)
    return bool(document.version)
