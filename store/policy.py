"""Storage policies: how many copies or fragments, how many must be written, which policy a size gets. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from node.errors import ConfigError, NotEnoughServices

SMALL_BYTES_MAX = 128 << 10
"""Objects up to here are kept as copies and read and written in one piece."""
STORAGE_POLICY = "storage-policy"
"""The document of a bucket that has a policy of its own: the policy's name."""
METACHUNK_BYTES = 64 << 20
"""Least size of a full metachunk; rounded up to whole slabs, so that a 64 MiB object is one metachunk under every policy."""
SLAB_BYTES = 1 << 20
"""Wished bytes per thread hop of a write; a hop costs 200 us, hashing 1 MiB 1.6 ms."""
FRAGMENT_ALIGN_BYTES = 64
"""Units of the last stripe are rounded up to this, which keeps the vector code on whole cache lines."""


def round_up(value: int, step: int) -> int:
    return -(-value // step) * step


@dataclass(frozen=True, slots=True)
class Policy:
    """Copies (parity 0) or an erasure code of `data` + `parity` fragments.

    data         copies, or data fragments of a stripe
    unit_bytes   checksummed unit; for codes also a fragment's share of one stripe
    quorum       chunks of a metachunk that must be durable before a write is acknowledged
    tolerates    chunks of a metachunk that may be lost without losing a byte
    pool         the storage class whose own pool it draws from, "" = its name's; where it draws from makes it no other policy
    """

    name: str
    data: int
    parity: int
    unit_bytes: int
    quorum: int
    pool: str = field(default="", compare=False)

    @property
    def draws(self) -> str:
        """Whose pool it draws from: see store.placement.Topology."""
        return self.pool or self.name

    @property
    def coded(self) -> bool:
        return self.parity > 0

    @property
    def chunks(self) -> int:
        return self.data + self.parity

    @property
    def tolerates(self) -> int:
        return self.parity if self.coded else self.data - 1

    @property
    def needed(self) -> int:
        """Chunks that a read needs."""
        return self.data if self.coded else 1

    @property
    def stripe_bytes(self) -> int:
        """Bytes of the object in one stripe; for copies one unit."""
        return self.unit_bytes * self.data if self.coded else self.unit_bytes

    @property
    def slab_bytes(self) -> int:
        """Whole stripes of about SLAB_BYTES: what one write hop carries."""
        return round_up(SLAB_BYTES, self.stripe_bytes)

    @property
    def metachunk_bytes(self) -> int:
        return round_up(METACHUNK_BYTES, self.slab_bytes)

    def chunk_bytes(self, metachunk_size: int) -> int:
        """Bytes of each chunk of a metachunk that holds `metachunk_size` bytes of the object."""
        if not self.coded:
            return metachunk_size
        whole, rest = divmod(metachunk_size, self.stripe_bytes)
        return whole * self.unit_bytes + self.fragment_bytes(rest)

    def fragment_bytes(self, stripe_size: int) -> int:
        """Bytes of each unit of a stripe that holds `stripe_size` bytes (the last one may be short)."""
        return round_up(-(-stripe_size // self.data), FRAGMENT_ALIGN_BYTES)


# Copies: 64 MiB in units of 256 KiB make 2 KiB of checksums, which an extended attribute on ext4 takes.
# Quorum of copies: all of two, two of three, three of four; "written" never means "on one disk" where the policy promises two
# (OpenIO 5.1.8).
# Quorum of codes: one fragment more than a read needs.
SINGLE = Policy("SINGLE", 1, 0, 256 << 10, 1)
TWOCOPIES = Policy("TWOCOPIES", 2, 0, 256 << 10, 2)
THREECOPIES = Policy("THREECOPIES", 3, 0, 256 << 10, 2)
FOURCOPIES = Policy("FOURCOPIES", 4, 0, 256 << 10, 3)
EC21 = Policy("EC21", 2, 1, 256 << 10, 3)
EC42 = Policy("EC42", 4, 2, 128 << 10, 5)
EC63 = Policy("EC63", 6, 3, 128 << 10, 7)
EC123 = Policy("EC123", 12, 3, 64 << 10, 13)

POLICIES = {policy.name: policy for policy in (SINGLE, TWOCOPIES, THREECOPIES, FOURCOPIES, EC21, EC42, EC63, EC123)}

_STEPS = {EC123: EC63, EC63: EC42, EC42: THREECOPIES, FOURCOPIES: THREECOPIES, EC21: TWOCOPIES}
"""What is written instead while too few volumes are usable for a quorum. Nothing steps down to where one loss would lose data."""


def _steps(policy: Policy) -> Iterator[Policy]:
    yield policy
    while (lower := _STEPS.get(policy)) is not None:
        yield lower
        policy = lower


@dataclass(frozen=True, slots=True)
class Usable:
    """What takes writes now. hosts: those that have such volumes, of so many that there are; 0 of 0 where hosts don't count."""

    volumes: int
    hosts: int = 0
    of_hosts: int = 0

    def reaches(self, policy: Policy) -> bool:
        """Whether the policy can have its quorum."""
        return self.volumes >= policy.quorum

    def bears_a_host(self, policy: Policy) -> bool:
        """Whether what is written so can be read when a host goes. While all hosts are there that is for whoever chose the policy to say;
        while one is away its chunks crowd on the others, and the next that goes, if only for a restart, would take too many."""
        spread = self.hosts == self.of_hosts or -(-policy.chunks // max(self.hosts, 1)) <= policy.tolerates
        return spread and self.reaches(policy)


@dataclass(frozen=True, slots=True)
class PolicySet:
    """The namespace's choice: one policy for small objects, one for the rest."""

    small: Policy
    large: Policy

    @classmethod
    def for_volumes(cls, count: int) -> PolicySet:
        """What people expect of so many disks; small objects bear the loss of as many as large ones. Raises: ConfigError without any."""
        if count < 1:
            raise ConfigError("a store needs at least one volume")
        small = SINGLE if count == 1 else TWOCOPIES if count == 2 else THREECOPIES if count <= 8 else FOURCOPIES
        large = small if count <= 2 else EC21 if count <= 5 else EC42 if count <= 8 else EC63
        return cls(small, large)

    @classmethod
    def for_hosts(cls, volumes: int, hosts: int) -> PolicySet:
        """The same for volumes on so many hosts: where the loss of one host would lose a code more than it tolerates, there are copies."""
        chosen = cls.for_volumes(volumes)
        even = -(-chosen.large.chunks // hosts) if hosts else 0
        return chosen if hosts < 2 or even <= chosen.large.tolerates else cls(chosen.small, chosen.small)

    @classmethod
    def named(cls, name: str, count: int, *, default: PolicySet | None = None) -> PolicySet:
        """The policy asked for by name; "" is the default (not given: that for `count` volumes). A code keeps small objects as copies.

        Raises: ConfigError when the name is unknown or the volumes are too few for it.
        """
        default = default or cls.for_volumes(count)
        if not name:
            return default
        policy = POLICIES.get(name.upper())
        if policy is None:
            raise ConfigError(f"there is no storage policy {name!r}; there are {', '.join(POLICIES)}")
        if policy.chunks > count:
            raise ConfigError(f"policy {policy.name} needs {policy.chunks} volumes, the store has {count}")
        return cls(default.small if policy.coded else policy, policy)

    @classmethod
    def of_bucket(cls, name: str, count: int) -> PolicySet:
        """As `named`, for a bucket's own policy, which stays when volumes go away: what is written then steps down.

        Raises: ConfigError when the name is unknown.
        """
        policy = POLICIES.get(name)
        if policy is None:
            raise ConfigError(f"there is no storage policy {name!r}; there are {', '.join(POLICIES)}")
        return cls(cls.for_volumes(count).small if policy.coded else policy, policy)

    def in_pool(self, name: str) -> PolicySet:
        """The same, drawn from the pool of a storage class."""
        return PolicySet(replace(self.small, pool=name), replace(self.large, pool=name))

    @property
    def pool(self) -> str:
        """The storage class whose own pool these draw from, or nothing."""
        return self.large.pool

    def wanted(self, policy: Policy, size: int) -> Policy:
        """What a metachunk of `size` bytes that was written with `policy` should have; the same when it is right."""
        small = size <= SMALL_BYTES_MAX
        if policy.name == self.large.name or (small and policy.name == self.small.name):
            return policy
        return self.small if small else self.large

    def choose(self, size: int | None, usable: Usable) -> Policy:
        """The policy for an object of `size` bytes (None: unknown, so large) for what takes writes now.

        Raises: NotEnoughServices when not even the policies it may step down to reach their quorum.
        """
        return self.lower(self.small if size is not None and size <= SMALL_BYTES_MAX else self.large, usable)

    def lower(self, policy: Policy, usable: Usable) -> Policy:
        """The policy itself, or the first that it may step down to that bears the loss of a host, or else that reaches its quorum.

        Raises: NotEnoughServices.
        """
        steps = list(_steps(policy))
        for bears in (usable.bears_a_host, usable.reaches):
            for step in steps:
                if bears(step):
                    return step if step.pool == policy.pool else replace(step, pool=policy.pool)
        raise NotEnoughServices(f"policy {policy.name} cannot be met: {usable.volumes} volumes are usable for writing")
