"""Which figures there are: name, how to measure it, what it stands beside."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from benchmarks.suite import LARGE, LARGE_OBJECTS, SMALL, Measurement, Suite

SMALL_CONNECTIONS = (1, 16, 64)
LARGE_CONNECTIONS = (1, 4, 16, 64)


@dataclass(frozen=True, slots=True)
class Figure:
    name: str
    run: Callable[[Suite], Measurement]
    reference: str | None = None
    beside: tuple[str, ...] = ()


def objects(layout: str) -> Iterator[Figure]:
    """PUT and GET of every size at every number of connections."""
    for size in SMALL:
        for connections in SMALL_CONNECTIONS:
            bare = f"bare-{size}-{connections}"
            yield Figure(f"put-{size}-{connections}-{layout}", _small_put(size, connections), bare, (f"write-fsync-{size}",))
            yield Figure(f"get-{size}-{connections}-{layout}", _small_get(size, connections), bare)
    for connections in LARGE_CONNECTIONS:
        yield Figure(f"put-{LARGE}-{connections}-{layout}", _large_put(connections), "md5", ("sha256",))
        yield Figure(f"get-{LARGE}-{connections}-{layout}", _large_get(connections), "sendfile")


def degraded(layout: str) -> Iterator[Figure]:
    """One object whose first data chunks are gone."""
    for connections in (1, 4):
        yield Figure(f"get-{LARGE}-{connections}-{layout}-degraded", _large_get(connections, objects=1), "sendfile")


def requests(suffix: str = "") -> Iterator[Figure]:
    """HEAD, DELETE and LIST, which know nothing of the layout's bytes."""
    yield Figure(f"head-16{suffix}", lambda suite: suite.head(16), "bare-4k-16")
    yield Figure(f"delete-16{suffix}", lambda suite: suite.delete(16), "bare-4k-16")
    yield Figure(f"list-1000{suffix}", lambda suite: suite.list_page_ms(), "sqlite-1000")
    yield Figure(f"list-1000-delimiter{suffix}", lambda suite: suite.list_page_ms("/"), "sqlite-1000-seeks")
    yield Figure(f"list-keys-4{suffix}", lambda suite: suite.list_keys_per_s(4))


def memory(suffix: str = "") -> Iterator[Figure]:
    """Under load, then whether more requests make it more. `rss-rest` is taken first of all, before anything was asked."""
    yield Figure(f"rss-growth{suffix}", lambda suite: suite.growth())
    yield Figure(f"rss-peak{suffix}", lambda suite: suite.resident_loaded()[1])
    yield Figure(f"rss-loaded{suffix}", lambda suite: suite.resident_loaded()[0])


def rest(suffix: str = "") -> Figure:
    return Figure(f"rss-rest{suffix}", lambda suite: suite.resident())


def _small_put(size: str, connections: int) -> Callable[[Suite], Measurement]:
    return lambda suite: suite.small_put(size, connections)


def _small_get(size: str, connections: int) -> Callable[[Suite], Measurement]:
    return lambda suite: suite.small_get(size, connections)


def _large_put(connections: int) -> Callable[[Suite], Measurement]:
    return lambda suite: suite.large_put(connections)


def _large_get(connections: int, objects: int = LARGE_OBJECTS) -> Callable[[Suite], Measurement]:
    return lambda suite: suite.large_get(connections, objects)
