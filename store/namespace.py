"""The settings of a namespace of many hosts: policies, classes, pools, scores. One document of the coordinator, checked before it is taken.

People read and write it as TOML (`frazil config edit`); it is kept as JSON. Pure.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping

import msgspec

from meta.conscience.expression import compile_expression
from meta.conscience.protocol import KINDS
from meta.conscience.score import DEFAULTS, Expressions
from meta.coordinator import Document, unreadable
from meta.protocol.restore import COLD_CLASSES
from node.errors import ConfigError, FrazilError
from store.location import LEVELS, Location, group_counts
from store.placement import Candidate, Limits, Pool, Target
from store.policy import POLICIES, PolicySet

DOCUMENT = "settings"
SETTINGS_VERSION = 1
TARGETS_MAX = 16
SITE_RATE_BYTES_MIN = 64 << 10
"""Per second: a worker's least (glacier/pace.py)."""


class PoolSettings(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """How the chunks of a metachunk are spread.

    targets          each "COUNT SLOT FALLBACK ...", or without COUNT for the rest; none: any volume
    distance_min     between any two chunks, always: 1 different disks, 2 hosts, 3 racks, 4 rooms, 5 data centres
    distance_wished  the same, while it can be had
    strict, fair     chunks that one dc, room, rack, host, disk may have: always; while it can be had
    sites            always, volumes whose boards of sleeping disks are in one of these data centres; none: any
    """

    targets: tuple[str, ...] = ()
    distance_min: int = 1
    distance_wished: int = 1
    strict: dict[str, int] = {}
    fair: dict[str, int] = {}
    sites: tuple[str, ...] = ()

    def pool(self, groups: tuple[int, ...] = ()) -> Pool:
        """groups: see store.placement.Pool. Raises: ConfigError."""
        return Pool(
            tuple(map(_target, self.targets)) or (Target(),),
            _distance(self.distance_min),
            _distance(self.distance_wished),
            _limits(self.strict),
            _limits(self.fair),
            groups,
            frozenset(self.sites),
        )


class SiteSettings(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """A data centre with boards of sleeping disks.

    rate_bytes   per second, to its boards and from them, of all workers together, of which each has an even share; 0: as fast as it goes
    """

    rate_bytes: float = 0.0

    def check(self) -> None:
        """Raises: ConfigError."""
        if self.rate_bytes and self.rate_bytes < SITE_RATE_BYTES_MIN:
            raise ConfigError(f"rate_bytes is 0 for no limit, or at least {SITE_RATE_BYTES_MIN}, not {self.rate_bytes:g}")


class NamespaceSettings(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """policy   storage policy of what no class says otherwise of; "" = by the number of volumes and hosts
    classes  storage class (STANDARD ...) to policy
    draws    policy, or cold storage class, to the pool that it draws from, a class's before its policy's
    pools    by name, "default" for all others
    scores   kind of service to the expressions that make its scores
    sites    data centres of sleeping disks, by the names that workers give them
    """

    policy: str = ""
    classes: dict[str, str] = {}
    draws: dict[str, str] = {}
    pools: dict[str, PoolSettings] = {}
    scores: dict[str, Expressions] = {}
    sites: dict[str, SiteSettings] = {}
    v: int = SETTINGS_VERSION

    def policies(self, name: str, volumes: Iterable[Location]) -> PolicySet:
        """name: of a policy, "" for the default. Raises: ConfigError when the volumes are too few."""
        known = list(volumes)
        chosen = PolicySet.for_hosts(len(known), group_counts(known)[LEVELS.index("host")])
        return PolicySet.named(name, len(known), default=chosen) if name else chosen

    def classes_for(self, members: Iterable[Candidate]) -> dict[str, PolicySet]:
        """The policies of storage classes that have their own, or a pool of their own. Raises: ConfigError when the volumes are too few.

        While none of its volumes is known a class keeps its pool, from which nothing can be drawn then: nothing is put elsewhere.
        """
        known, (pools, _) = list(members), self.pools_for(())
        found = {}
        for name in {**self.classes, **{name: "" for name in self.draws if name not in POLICIES}}:
            own = name in self.draws
            mine = [each for each in known if not own or pools[name].takes(each)] or known
            policies = self.policies(self.classes.get(name, self.policy), [each.location for each in mine])
            found[name] = policies.in_pool(name) if own else policies
        return found

    def pools_for(self, groups: tuple[int, ...]) -> tuple[dict[str, Pool], Pool]:
        """Pools by policy or class, and the one of all others."""
        default = self.pools.get("default", PoolSettings()).pool(groups)
        return {policy: self.pools[pool].pool(groups) for policy, pool in self.draws.items()}, default

    def check(self) -> NamespaceSettings:
        """Itself. Raises: ConfigError that names the place and what would be right."""
        if self.v != SETTINGS_VERSION:
            raise ConfigError(f"the settings have version {self.v}, this Frazil knows {SETTINGS_VERSION}")
        for where, policy in [("policy", self.policy), *((f"classes.{name}", each) for name, each in self.classes.items())]:
            _check_policy(where, policy)
        for policy, pool in self.draws.items():
            if policy not in COLD_CLASSES:
                _check_policy(f"draws.{policy}", policy)
            if pool not in self.pools:
                raise ConfigError(f"draws.{policy}: there is no pool {pool!r}; there are {', '.join(self.pools) or 'none'}")
        for name, each in self.pools.items():
            _told(f"pools.{name}", each.pool)
        for name, site in self.sites.items():
            _told(f"sites.{name}", site.check)
        for kind, expressions in self.scores.items():
            if kind not in KINDS:
                raise ConfigError(f"scores.{kind}: there is no such kind of service; there are {', '.join(KINDS)}")
            _told(f"scores.{kind}.place", lambda text=expressions.place: compile_expression(text))
            _told(f"scores.{kind}.read", lambda text=expressions.read: compile_expression(text))
        return self

    def encode(self) -> bytes:
        return msgspec.json.encode(self)

    @classmethod
    def decode(cls, data: bytes) -> NamespaceSettings:
        """No bytes are the defaults. Raises: ConfigError."""
        if not data:
            return cls()
        try:
            return msgspec.json.decode(data, type=cls).check()
        except (msgspec.DecodeError, RecursionError) as error:
            raise ConfigError(f"the namespace's settings are not readable: {error}") from error

    @classmethod
    def of(cls, document: Document) -> NamespaceSettings:
        """Raises: DocumentUnreadable."""
        try:
            return cls.decode(document.data)
        except ConfigError as error:
            raise unreadable(DOCUMENT, document, error) from error

    @classmethod
    def parse(cls, text: str) -> NamespaceSettings:
        """From TOML. Raises: ConfigError."""
        try:
            return msgspec.convert(tomllib.loads(text), cls).check()
        except tomllib.TOMLDecodeError as error:
            raise ConfigError(f"not TOML: {error}") from error
        except msgspec.ValidationError as error:
            raise ConfigError(str(error).replace("`$.", "`").replace("Object contains", "there is an")) from error

    def text(self) -> str:
        """As TOML, with a comment for what isn't set."""
        table = msgspec.to_builtins(self)
        table.pop("v", None)
        lines = [f"policy = {_value(table.pop('policy', ''))}"]
        for name in ("classes", "draws", "pools", "scores", "sites"):
            lines += ["", f"# {_COMMENTS[name]}", *_table((name,), table.get(name, {}))]
        return "\n".join(lines) + "\n"


_COMMENTS = {
    "classes": 'STANDARD = "EC63": which storage policy a storage class stands for',
    "draws": 'EC63 = "main": which pool a policy draws its volumes from; GLACIER = "paris": which pool a cold class does',
    "pools": (
        '[pools.main]  targets = ["3 fast any", "slow"], distance_wished = 2, strict = {host = 3}, fair = {rack = 3}; '
        '[pools.paris]  sites = ["dc2"], where the boards of sleeping disks are'
    ),
    "sites": "[sites.dc2]  rate_bytes = 100000000: per second, to the boards in a data centre and from them",
    "scores": '[scores.rawx]  place = "0 if space <= 2 else root(2, cpu * space)", read = "cpu"',
}


def written(path: str, value: object) -> str:
    """A part of settings as people see it: a table as TOML, a text plain."""
    return (
        "\n".join(_table(tuple(path.split(".")), value)) if isinstance(value, dict) else value if isinstance(value, str) else _value(value)
    )


def edited(settings: NamespaceSettings, path: str, value: str) -> NamespaceSettings:
    """With another value at a dotted path ("pools.main.distance_min"); "" removes it. Raises: ConfigError."""
    *folders, last = path.split(".")
    table = msgspec.to_builtins(settings)
    if value and len(folders) == 2 and folders[0] == "scores" and folders[1] in DEFAULTS:  # the other expression stays as it is
        table.setdefault("scores", {}).setdefault(folders[1], msgspec.to_builtins(DEFAULTS[folders[1]]))
    at = table
    for folder in folders:
        at = at.setdefault(folder, {})
        if not isinstance(at, dict):
            raise ConfigError(f"{path}: {folder} is a value, not a table")
    if value:
        at[last] = _read(value)
    elif at.pop(last, None) is None:
        raise ConfigError(f"{path} is not set")
    try:
        return msgspec.convert(table, NamespaceSettings).check()
    except msgspec.ValidationError as error:
        raise ConfigError(str(error).replace("`$.", "`")) from error


def _read(text: str) -> object:
    """A TOML value, or else the text itself, so that a name needs no quotes."""
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def _told(where: str, call: object) -> None:
    try:
        call()  # type: ignore[operator]
    except FrazilError as error:
        raise ConfigError(f"{where}: {error}") from error


def _check_policy(where: str, policy: str) -> None:
    if policy and policy not in POLICIES:
        raise ConfigError(f"{where}: there is no storage policy {policy!r}; there are {', '.join(POLICIES)}")


def _target(text: str) -> Target:
    first, *rest = text.split() or [""]
    count = int(first) if first.isdecimal() and len(first) < 4 else 0
    slots = tuple("" if each == "any" else each for each in (rest if count else [first, *rest]))
    if not slots or (not slots[0] and first != "any" and not count):
        raise ConfigError(f'a target is "COUNT SLOT FALLBACK ...", not {text!r}')
    return Target(slots, count)


def _distance(value: int) -> int:
    if not 1 <= value <= len(LEVELS):
        raise ConfigError(f"a distance is 1 (disks) to {len(LEVELS)} (data centres), not {value}")
    return value


def _limits(limits: Mapping[str, int]) -> Limits:
    for level, limit in limits.items():
        if level not in LEVELS or limit < 1:
            raise ConfigError(f"limits are whole numbers above 0 for {', '.join(LEVELS)}, not {level} = {limit}")
    return tuple(limits.get(level, 0) for level in LEVELS)


def _table(path: tuple[str, ...], table: Mapping[str, object]) -> list[str]:
    values = [f"{_key(name)} = {_value(each)}" for name, each in table.items() if not isinstance(each, dict)]
    lines = [f"[{'.'.join(map(_key, path))}]", *values] if values or not table else []
    for name, each in table.items():
        if isinstance(each, dict):
            lines += _table((*path, name), each)
    return lines


def _key(name: str) -> str:
    return name if name and all(c.isascii() and (c.isalnum() or c in "-_") for c in name) else _value(name)


def _value(value: object) -> str:
    return msgspec.json.encode(value).decode()  # strings, numbers, true and lists of them are written alike in JSON and TOML
