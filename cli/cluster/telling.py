"""What a role tells of itself to Prometheus, where its table of the node's file names an address."""

from __future__ import annotations

import trio

from cli.cluster.node import Node
from node.exposure import expose
from node.http.server import Observer
from node.metrics import Requests


def count_calls(component: str, listen: str) -> Observer | None:
    """Counts the component's calls, where somebody is to see it."""
    return Requests(component).observe if listen else None


async def expose_metrics(node: Node, listen: str, drain: trio.Event) -> None:
    if listen:
        await node.nursery.start(expose, listen, drain)
