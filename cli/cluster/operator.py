"""An operator's locks on services."""

from __future__ import annotations

import msgspec

from cli.cluster.node import Node
from cli.cluster.roles import LOCKS
from cli.exit import Exit, Hinted
from meta.conscience.protocol import Lock, Service
from node.errors import Superseded

TRIES = 5


def matching(node: Node, name: str) -> list[Service]:
    """The services of that id, host or location (or below it). Raises: Hinted when there is none."""
    found = [each for each in node.directory.services.values() if _fits(each, name)]
    if not found:
        raise Hinted(f"there is no service, host or location {name!r}", "`frazil cluster status` lists them", code=Exit.NOT_FOUND)
    return sorted(found, key=lambda each: each.id)


def _fits(service: Service, name: str) -> bool:
    registration = service.registration
    parts = registration.location.split(".")
    wanted = name.split(".")
    inside = any(parts[at : at + len(wanted)] == wanted for at in range(len(parts)))
    return name in (service.id, registration.host) or inside


async def lock(node: Node, service: str, wanted: Lock) -> None:
    """In place of a lock that is there. Raises: Superseded when others go on changing it; Unavailable."""
    name = f"{LOCKS}/{service}"
    for _ in range(TRIES):
        document = await node.coordinator.read(name)
        if document.version:
            await node.coordinator.remove(name, version=document.version)  # the folder is watched, not each lock
        try:
            await node.coordinator.write(name, msgspec.json.encode(wanted), version=0)
        except Superseded:
            continue
        return
    raise Superseded(f"the lock of {service} is being changed by somebody else; try again")


async def unlock(node: Node, service: str) -> bool:
    """Whether there was one."""
    name = f"{LOCKS}/{service}"
    document = await node.coordinator.read(name)
    if document.version:
        await node.coordinator.remove(name, version=document.version)
    return bool(document.version)
