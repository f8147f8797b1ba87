"""Where a volume is: dc.room.rack.host.disk. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from node.errors import InvalidArgument

LEVELS = ("dc", "room", "rack", "host", "disk")
PART_CHARACTERS_MAX = 64


@dataclass(frozen=True, slots=True)
class Location:
    """parts: one per level; "" where a place has no name for a level, which then is one for all."""

    parts: tuple[str, ...]

    @classmethod
    def parse(cls, text: str) -> Location:
        """Fewer parts are those nearest to the disk: "host.disk" will do. Raises: InvalidArgument."""
        parts = text.split(".")
        if len(parts) > len(LEVELS) or any(len(part) > PART_CHARACTERS_MAX for part in parts):
            raise InvalidArgument(f"a location is {'.'.join(LEVELS)}, not {text!r}")
        return cls(("",) * (len(LEVELS) - len(parts)) + tuple(parts))

    def __str__(self) -> str:
        return ".".join(self.parts)

    def lies_in(self, place: str) -> bool:
        """Whether this is that place or below it: "host3", "rack1.host3"; names of levels that follow each other."""
        wanted = tuple(place.split("."))
        return any(self.parts[at : at + len(wanted)] == wanted for at in range(len(self.parts)))

    def group(self, level: int) -> tuple[str, ...]:
        """What it has in common with all that are in the same place of this level (index in LEVELS)."""
        return self.parts[: level + 1]

    def distance(self, other: Location) -> int:
        """How far up they part: 0 on one disk, 1 on one host, up to 5 in different data centres."""
        for level, (own, its) in enumerate(zip(self.parts, other.parts, strict=True)):
            if own != its:
                return len(LEVELS) - level
        return 0


def group_counts(locations: Iterable[Location]) -> tuple[int, ...]:
    """How many different places there are, per level."""
    known = list(locations)
    return tuple(len({each.group(level) for each in known}) for level in range(len(LEVELS)))
