"""The namespace's webhooks: a document that operators change and gateways keep a copy of."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import aclosing
from pathlib import Path

from cli.cluster.node import Node
from meta.coordinator import Document, tell, unreadable
from node.errors import ConfigError, DocumentUnreadable, FrazilError, Superseded
from node.files import write_durably
from node.log import get_logger
from node.threads import run_blocking
from store.webhooks import DOCUMENT, WEBHOOKS_NAME, Webhook, decode_webhooks, encode_webhooks

TRIES = 5
Webhooks = dict[str, Webhook]
_log = get_logger("node")


async def read_webhooks(node: Node) -> Webhooks:
    """Raises: ConfigError, Unavailable."""
    document = await node.coordinator.read(DOCUMENT)
    return decode_webhooks(document.data, DOCUMENT) if document.version else {}


async def change_webhooks(node: Node, change: Callable[[Webhooks], Webhooks]) -> None:
    """Raises: what `change` raises; InvalidArgument, Superseded, Unavailable."""
    for _ in range(TRIES):
        document = await node.coordinator.read(DOCUMENT)
        known = decode_webhooks(document.data, DOCUMENT) if document.version else {}
        try:
            await node.coordinator.write(DOCUMENT, encode_webhooks(change(known)), version=document.version)
        except Superseded:
            continue
        return
    raise Superseded("the webhooks are being changed by somebody else; try again")


async def follow_webhooks(node: Node, home: Path) -> None:
    """Keeps home/webhooks.json as the document is, for ever; without the Coordinator the copy stands."""
    async with aclosing(node.coordinator.watch(DOCUMENT)) as changes:
        async for document in changes:
            try:
                if document.version:
                    webhooks_of(document)
                    await run_blocking(write_durably, home / WEBHOOKS_NAME, document.data)
            except DocumentUnreadable as error:  # a newer Frazil's, say: what was known stands
                tell(error)
            except (FrazilError, OSError) as error:
                _log.error("the namespace's webhooks can't be kept here: %s", error)


def webhooks_of(document: Document) -> Webhooks:
    """Raises: DocumentUnreadable."""
    try:
        return decode_webhooks(document.data, DOCUMENT)
    except ConfigError as error:
        raise unreadable(DOCUMENT, document, error) from error
