"""The settings of a namespace of many hosts: policies, classes, pools, scores. One document of the coordinator, checked before it is taken.

People read and write it as TOML (`frazil config edit`); it is kept as JSON. Pure.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping

import msgspec

from meta.conscience.expression import compile_expression
from meta.conscience.protocol import KINDS
from meta.conscience.score import Expressions
from node.errors import ConfigError, FrazilError
from store.location import LEVELS, Location, group_counts
from store.placement import Limits, Pool, Target
from store.policy import POLICIES, PolicySet

DOCUMENT = "settings"
SETTINGS_VERSION = 1
TARGETS_MAX = 16


class PoolSettings(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """How the chunks of a metachunk are spread.

    targets          each "COUNT SLOT FALLBACK ...", or without COUNT for the rest; none: any volume
    distance_min     between any two chunks, always: 1 different disks, 2 hosts, 3 racks, 4 rooms, 5 data centres
    distance_wished  the same, while it can be had
    strict, fair     chunks that one dc, room, rack, host, disk may have: always; while it can be had
    """

    targets: tuple[str, ...] = ()
    distance_min: int = 1
    distance_wished: int = 1
    strict: dict[str, int] = {}
    fair: dict[str, int] = {}

    def pool(self, groups: tuple[int, ...] = ()) -> Pool:
        """groups: see store.placement.Pool. Raises: ConfigError."""
        return Pool(
            tuple(map(_target, self.targets)) or (Target(),),
            _distance(self.distance_min),
            _distance(self.distance_wished),
            _limits(self.strict),
            _limits(self.fair),
            groups,
        )


class NamespaceSettings(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """policy   storage policy of what no class says otherwise of; "" = by the number of volumes and hosts
    classes  storage class (STANDARD ...) to policy
    draws    policy to the pool that it draws from;  pools: by name, "default" for all other policies
    scores   kind of service to the expressions that make its scores
    """

    policy: str = ""
    classes: dict[str, str] = {}
    draws: dict[str, str] = {}
    pools: dict[str, PoolSettings] = {}
    scores: dict[str, Expressions] = {}
    v: int = SETTINGS_VERSION

    def policies(self, name: str, volumes: Iterable[Location]) -> PolicySet:
        """name: of a policy, "" for the default. Raises: ConfigError when the volumes are too few."""
        known = list(volumes)
        chosen = PolicySet.for_hosts(len(known), group_counts(known)[LEVELS.index("host")])
        return PolicySet.named(name, len(known), default=chosen) if name else chosen

    def pools_for(self, groups: tuple[int, ...]) -> tuple[dict[str, Pool], Pool]:
        """Pools by policy, and the one of all other policies."""
        default = self.pools.get("default", PoolSettings()).pool(groups)
        return {policy: self.pools[pool].pool(groups) for policy, pool in self.draws.items()}, default

    def check(self) -> NamespaceSettings:
        """Itself. Raises: ConfigError that names the place and what would be right."""
        if self.v != SETTINGS_VERSION:
            raise ConfigError(f"the settings have version {self.v}, this Frazil knows {SETTINGS_VERSION}")
        for where, policy in [("policy", self.policy), *((f"classes.{name}", each) for name, each in self.classes.items())]:
            _check_policy(where, policy)
        for policy, pool in self.draws.items():
            _check_policy(f"draws.{policy}", policy)
            if pool not in self.pools:
                raise ConfigError(f"draws.{policy}: there is no pool {pool!r}; there are {', '.join(self.pools) or 'none'}")
        for name, each in self.pools.items():
            _told(f"pools.{name}", each.pool)
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
        except msgspec.DecodeError as error:
            raise ConfigError(f"the namespace's settings are not readable: {error}") from error

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
        for name in ("classes", "draws", "pools", "scores"):
            lines += ["", f"# {_COMMENTS[name]}", *_table((name,), table.get(name, {}))]
        return "\n".join(lines) + "\n"


_COMMENTS = {
    "classes": 'STANDARD = "EC63": which storage policy a storage class stands for',
    "draws": 'EC63 = "main": which pool a policy draws its volumes from',
    "pools": '[pools.main]  targets = ["3 fast any", "slow"], distance_wished = 2, strict = {host = 3}, fair = {rack = 3}',
    "scores": '[scores.rawx]  place = "0 if space <= 2 else root(2, cpu * space)", read = "cpu"',
}


def edited(settings: NamespaceSettings, path: str, value: str) -> NamespaceSettings:
    """With another value at a dotted path ("pools.main.distance_min"); "" removes it. Raises: ConfigError."""
    *folders, last = path.split(".")
    table = msgspec.to_builtins(settings)
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
