"""What a process of a node reaches of the cluster: the metadata wherever they are led, the services, the cold tier."""

from __future__ import annotations

from cli.cluster.node import Node
from glacier.cluster import ClusterBoards
from meta.cluster.routing import RoutedMeta
from meta.protocol.door import Meta
from store.cluster import Cluster


def cluster_meta(node: Node) -> Meta:
    """The namespace's metadata, wherever it is led."""
    return RoutedMeta(node.coordinator, node.client)


def boards_of(node: Node) -> ClusterBoards:
    """The namespace's cold tier, for as long as the node's process lives."""
    boards = ClusterBoards(node.client, node.directory)
    node.directory.listeners.append(boards.arrange)
    return boards


def cluster_of(node: Node) -> Cluster:
    return Cluster(
        namespace=node.namespace,
        key=node.key,
        clock=node.clock,
        client=node.client,
        meta=cluster_meta(node),
        directory=node.directory,
        coordinator=node.coordinator,
        home=node.config.state,
        volumes=node.config.rawx.volumes,
        tier=boards_of(node),
        reading_s=node.config.gateway.reading_s,
    )
