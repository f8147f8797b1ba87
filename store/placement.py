"""Which volumes take the chunks of a metachunk: drawn by lot, weighted by free space. Pure: the random source is an argument."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from random import Random

from node.errors import NotEnoughServices

FREE_BYTES_MIN = 256 << 20
"""A volume with less takes no new chunks: the file system needs room for records, journals and what is in flight."""
FREE_SHARE_MIN = 0.02
"""The same as a share of the volume, which wins where it is smaller (small volumes)."""
INODES_FREE_MIN = 100


@dataclass(frozen=True, slots=True)
class Candidate:
    """weight: the likelihood of being drawn, relative to the others; 0: takes no chunks."""

    volume: str
    weight: float


def weight(bytes_free: int, bytes_total: int, inodes_free: int, *, sick: bool, read_only: bool) -> float:
    """Free bytes in GiB of a volume that can take chunks, else 0."""
    if sick or read_only or inodes_free < INODES_FREE_MIN:
        return 0.0
    if bytes_free < min(FREE_BYTES_MIN, bytes_total * FREE_SHARE_MIN):
        return 0.0
    return bytes_free / (1 << 30)


def draw(candidates: Iterable[Candidate], count: int, random: Random, *, without: Collection[str] = ()) -> list[str]:
    """`count` different volumes, none of `without`: hard, for two chunks of a metachunk on one volume would be lost together.

    Each has the key random ** (1 / weight) and the highest keys win: a weighted draw without replacement in one pass
    (Efraimidis and Spirakis, 2006). Raises: NotEnoughServices.
    """
    keyed = [(random.random() ** (1.0 / each.weight), each.volume) for each in candidates if each.weight > 0 and each.volume not in without]
    if len(keyed) < count:
        raise NotEnoughServices(f"{count} volumes are needed, {len(keyed)} are usable for writing")
    keyed.sort(reverse=True)
    return [volume for _, volume in keyed[:count]]
