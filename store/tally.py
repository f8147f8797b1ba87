"""What long work did and what damage it met: counts that are kept with its position, and sentences for people."""

from __future__ import annotations

import logging
from collections import Counter

import msgspec

from node.errors import FrazilError
from node.log import get_logger
from node.metrics import counter

SHARE = "share_ppm"
AWAY = "away"
"""Count, by volume: it could not be looked at."""
DAMAGED = "damaged"
"""Count, by bucket: its metadata could not be read."""
MILLION = 1_000_000
DAMAGES_KEPT_MAX = 10_000
"""The counts say how many there were."""
_LEVELS = {"told": logging.WARNING, "lost": logging.ERROR}
_BECAME = {"waits": "waiting", "told": "left as found"}
log = get_logger("store.scrub")


class Damage(msgspec.Struct, frozen=True):
    """One chunk that is not as it should be. outcome: "repaired", "deleted", "lost" (too little is left), "waits", "told"

    where: the volume's location, where hosts are told apart.
    """

    volume: str
    chunk: str
    problem: str
    bucket: str = ""
    key: str = ""
    detail: str = ""
    outcome: str = ""
    where: str = ""


class Tally:
    """What a scrub saw, for people and for programs. notes: sentences of other work."""

    def __init__(self, counts: dict[str, int] | None = None, *, quiet: bool = False) -> None:
        """quiet: what is found is neither logged nor counted in the process's metrics."""
        self.counts: Counter[str] = Counter(counts or {})
        self._quiet = quiet
        self.damages: list[Damage] = []
        self.notes: list[str] = []
        self._objects: set[tuple[str, str, str, str]] = set()

    def share(self, done: int, total: int) -> None:
        """How much of the whole is done, about; kept in millionths, for whoever estimates when it ends."""
        self.counts[SHARE] = min(MILLION * done // total, MILLION) if total else MILLION

    def saw(self, chunks: int, size: int) -> None:
        self.counts["chunks"] += chunks
        self.counts["bytes"] += size

    def passed_over(self, volume: str, where: str) -> None:
        """A volume that does not answer."""
        self.counts[f"{AWAY}:{_place(volume, where)}"] += 1

    def pass_over_bucket(self, bucket: str, error: FrazilError) -> None:
        """One whose metadata can't be read: the others need not wait until somebody mends it."""
        self.counts[f"{DAMAGED}:{bucket}"] += 1
        log.error("a bucket's metadata can't be read: it is passed over", extra={"bucket": bucket, "error": str(error)})

    def begin_pass(self) -> None:
        for name in [name for name in self.counts if name.startswith(f"{DAMAGED}:")]:
            del self.counts[name]

    def damaged_buckets(self) -> list[str]:
        """As a person reads it, of this pass."""
        names = sorted(name.partition(":")[2] for name in self.counts if name.startswith(f"{DAMAGED}:"))
        return [f"the metadata of bucket {name} can't be read, and it was passed over; the log says why" for name in names]

    def add(self, damage: Damage) -> None:
        self.counts[f"problem:{damage.problem}"] += 1
        self.counts[f"outcome:{damage.outcome}"] += 1
        place = _place(damage.volume, damage.where)
        self.counts[f"on:{place}:{damage.problem}:{damage.outcome}"] += 1
        self._count_object(place, damage)
        if len(self.damages) < DAMAGES_KEPT_MAX:
            self.damages.append(damage)
        if not self._quiet:
            _tell(damage)

    def _count_object(self, place: str, damage: Damage) -> None:
        """Each once, as far as this process remembers."""
        mark = (place, damage.problem, damage.bucket, damage.key)
        if damage.key and mark not in self._objects and len(self._objects) < DAMAGES_KEPT_MAX:
            self._objects.add(mark)
            self.counts[f"of:{place}:{damage.problem}"] += 1

    def sentences(self) -> list[str]:
        """As a person reads it: "3 chunks of 2 objects were corrupt on volume X (host2.disk1): all repaired"."""
        places: dict[tuple[str, str], Counter[str]] = {}
        away = []
        for name, number in sorted(self.counts.items()):
            kind, _, rest = name.partition(":")
            if kind == "on":
                place, problem, outcome = rest.split(":")
                places.setdefault((place, problem), Counter())[outcome] += number
            elif kind == AWAY:
                away.append(f"volume {rest} did not answer and was passed over")
        found = [_sentence(*key, outcomes, self.counts[f"of:{key[0]}:{key[1]}"]) for key, outcomes in places.items()]
        return self.notes + found + away + self.damaged_buckets()


def _place(volume: str, where: str) -> str:
    return f"{volume} ({where})" if where else volume


def _tell(damage: Damage) -> None:
    counter("chunk_damages", "Damaged chunks, by what was wrong and what became of them.", ("problem", "outcome")).labels(
        damage.problem, damage.outcome
    ).inc()
    told = {"volume": damage.volume, "chunk": damage.chunk, "problem": damage.problem, "outcome": damage.outcome, "why": damage.detail}
    if damage.where:
        told["where"] = damage.where
    log.log(_LEVELS.get(damage.outcome, logging.INFO), "a chunk was damaged", extra=told)


def _sentence(place: str, problem: str, outcomes: Counter[str], objects: int) -> str:
    total = sum(outcomes.values())
    (first, number) = outcomes.most_common(1)[0]
    if number == total:
        became = f"all {_BECAME.get(first, first)}" if total > 1 else _BECAME.get(first, first)
    else:
        became = ", ".join(f"{count} {_BECAME.get(outcome, outcome)}" for outcome, count in sorted(outcomes.items()))
    of = f" of {objects} object{'s' if objects > 1 else ''}" if objects else ""
    where = f"on volume {place}" if place else "on no volume"
    return f"{total} chunk{'s' if total > 1 else ''}{of} {'were' if total > 1 else 'was'} {problem} {where}: {became}"
