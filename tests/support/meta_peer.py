"""A meta service as a process of its own: `python -m tests.support.meta_peer FOLDER PORT ZOOKEEPER NAMESPACE SESSION_S REPLICAS [HOST]`."""

from __future__ import annotations

import logging
import sys
from pathlib import Path

import trio

from meta.cluster.process import MetaOptions, serve_meta
from meta.zookeeper import open_zookeeper
from node.auth import NamespaceKey
from node.clock import SystemClock
from node.http.server import listen
from node.runner import Ready, run

KEY = NamespaceKey(bytes(range(32)))


async def main(drain: trio.Event, ready: Ready) -> None:
    folder, port, hosts, namespace, session_s, replicas, *rest = sys.argv[1:]
    host = rest[0] if rest else "127.0.0.1"
    options = MetaOptions(Path(folder), f"{host}:{port}", replicas=int(replicas))
    clock = SystemClock()
    async with open_zookeeper(hosts, namespace, key=KEY, clock=clock, session_s=float(session_s)) as coordinator:
        async with trio.open_nursery() as nursery:

            async def serve() -> None:
                await serve_meta(options, listen(host, int(port)), coordinator=coordinator, key=KEY, clock=clock, drain=drain)
                nursery.cancel_scope.cancel()

            nursery.start_soon(serve)
            ready.ready(host)


if __name__ == "__main__":
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(asctime)s %(name)s %(levelname)s %(message)s")
    logging.getLogger("kazoo").setLevel(logging.WARNING)
    sys.exit(run(main))
