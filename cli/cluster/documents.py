"""All documents that the services of a cluster agree through, each with who reads it: which of them can't be read."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

from cli.cluster.conscience import LOCKS
from cli.cluster.node import CONSCIENCES, NAMESPACE_DOCUMENT, NamespaceRecord, address_of
from cli.cluster.webhooks import webhooks_of
from meta.cluster.roster import DIRECTORY, PEER_FOLDER, RENEWAL, SET_FOLDER, Layout, Peer, PeerSet, Renewal
from meta.conscience.protocol import Lock
from meta.coordinator import EPOCHS, Coordinator, Document, Epochs, V, parsed
from node.errors import DocumentUnreadable
from store.namespace import DOCUMENT as SETTINGS
from store.namespace import NamespaceSettings
from store.webhooks import DOCUMENT as WEBHOOKS

Reader = Callable[[str, Document], object]
"""Raises: DocumentUnreadable."""


def _of(kind: type[V]) -> Reader:
    return partial(_parsed, kind)


def _parsed(kind: type[V], name: str, document: Document) -> V:
    return parsed(name, document, kind)


DOCUMENTS: Mapping[str, Reader] = {
    NAMESPACE_DOCUMENT: _of(NamespaceRecord),
    SETTINGS: lambda _, document: NamespaceSettings.of(document),
    WEBHOOKS: lambda _, document: webhooks_of(document),
    DIRECTORY: _of(Layout),
    RENEWAL: _of(Renewal),
    EPOCHS: _of(Epochs),
}
FOLDERS: Mapping[str, Reader] = {LOCKS: _of(Lock), PEER_FOLDER: _of(Peer), SET_FOLDER: _of(PeerSet), CONSCIENCES: address_of}


async def unreadable_documents(coordinator: Coordinator) -> list[DocumentUnreadable]:
    """Raises: Unavailable."""
    readers = dict(DOCUMENTS)
    for folder, reader in FOLDERS.items():
        readers |= {f"{folder}/{name}": reader for name in await coordinator.names(folder)}
    found = []
    for name, reader in readers.items():
        document = await coordinator.read(name)
        try:
            if document.version:
                reader(name, document)
        except DocumentUnreadable as error:
            found.append(error)
    return found
