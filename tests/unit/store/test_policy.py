from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node.errors import ConfigError, NotEnoughServices
from rawx.chunk import UNIT_BYTES_MAX
from store.policy import EC42, EC63, POLICIES, SMALL_BYTES_MAX, THREECOPIES, PolicySet, Usable

ALL = sorted(POLICIES.values(), key=lambda policy: policy.name)


@pytest.mark.parametrize(
    ("volumes", "small", "large"),
    [
        (1, "SINGLE", "SINGLE"),
        (2, "TWOCOPIES", "TWOCOPIES"),
        (3, "THREECOPIES", "EC21"),
        (5, "THREECOPIES", "EC21"),
        (6, "THREECOPIES", "EC42"),
        (8, "THREECOPIES", "EC42"),
        (9, "FOURCOPIES", "EC63"),
        (40, "FOURCOPIES", "EC63"),
    ],
)
def test_default_follows_from_the_number_of_volumes(volumes: int, small: str, large: str) -> None:
    chosen = PolicySet.for_volumes(volumes)
    assert (chosen.small.name, chosen.large.name) == (small, large)


def test_size_decides_between_small_and_large() -> None:
    chosen = PolicySet.for_volumes(9)
    assert chosen.choose(SMALL_BYTES_MAX, Usable(9)).name == "FOURCOPIES"
    assert chosen.choose(SMALL_BYTES_MAX + 1, Usable(9)).name == "EC63"
    assert chosen.choose(None, Usable(9)).name == "EC63"


@pytest.mark.parametrize(("usable", "name"), [(9, "EC63"), (7, "EC63"), (6, "EC42"), (5, "EC42"), (4, "THREECOPIES"), (2, "THREECOPIES")])
def test_few_usable_volumes_step_down_to_a_policy_that_still_bears_a_loss(usable: int, name: str) -> None:
    assert PolicySet.for_volumes(9).choose(1 << 20, Usable(usable)).name == name


@pytest.mark.parametrize(
    ("volumes", "hosts", "of_hosts", "name"),
    [
        (9, 3, 3, "EC63"),
        (6, 2, 3, "THREECOPIES"),  # as EC42 each host would have three of the six, and its restart would leave too few
        (24, 2, 3, "THREECOPIES"),
        (6, 2, 2, "EC42"),  # there are no more hosts: whoever chose the code knows
        (9, 3, 4, "EC63"),
        (4, 2, 3, "THREECOPIES"),
        (3, 1, 3, "THREECOPIES"),  # nothing bears the loss of the last host
    ],
)
def test_while_a_host_is_away_nothing_is_written_that_the_next_one_would_take_along(
    volumes: int, hosts: int, of_hosts: int, name: str
) -> None:
    assert PolicySet.for_volumes(9).choose(1 << 20, Usable(volumes, hosts, of_hosts)).name == name


def test_one_usable_volume_takes_nothing_that_was_promised_two_copies() -> None:
    for volumes in (2, 3, 6, 9):
        with pytest.raises(NotEnoughServices):
            PolicySet.for_volumes(volumes).choose(4096, Usable(1))


def test_a_quorum_always_bears_a_loss() -> None:
    for policy in ALL:
        assert policy.name == "SINGLE" or policy.quorum > policy.needed
        assert policy.quorum <= policy.chunks


@pytest.mark.parametrize(("name", "volumes"), [("EC63", 8), ("nonsense", 9), ("THREECOPIES", 2)])
def test_impossible_policies_are_refused_with_a_reason(name: str, volumes: int) -> None:
    with pytest.raises(ConfigError, match=name):
        PolicySet.named(name, volumes)


def test_a_named_code_keeps_small_objects_as_copies() -> None:
    assert PolicySet.named("ec21", 9).small.name == "FOURCOPIES"


@pytest.mark.parametrize("policy", ALL, ids=lambda policy: policy.name)
def test_geometry_fits_together(policy: object) -> None:
    assert policy in ALL
    for each in ALL:
        assert each.slab_bytes % each.stripe_bytes == 0
        assert each.metachunk_bytes % each.slab_bytes == 0
        assert each.metachunk_bytes >= 64 << 20
        assert each.unit_bytes <= UNIT_BYTES_MAX
        assert each.fragment_bytes(each.slab_bytes) <= UNIT_BYTES_MAX
        digests = 8 * -(-each.chunk_bytes(each.metachunk_bytes) // each.unit_bytes)
        assert digests <= 2048  # what ext4's attributes take beside the record


@given(st.sampled_from(ALL), st.integers(0, 70 << 20))
def test_chunks_hold_their_metachunk(policy: object, size: int) -> None:
    assert policy in ALL
    each = next(candidate for candidate in ALL if candidate == policy)
    room = each.chunk_bytes(size) * (each.data if each.coded else 1)
    assert size <= room <= size + 64 * each.data


def test_a_class_with_a_pool_of_its_own_steps_down_within_it_and_is_no_other_policy() -> None:
    own = PolicySet(THREECOPIES, EC63).in_pool("GLACIER")
    assert own == PolicySet(THREECOPIES, EC63)
    assert (own.pool, own.large.draws, PolicySet(THREECOPIES, EC63).large.draws) == ("GLACIER", "GLACIER", "EC63")
    lower = own.choose(None, Usable(EC63.quorum - 1))
    assert (lower, lower.draws) == (EC42, "GLACIER")
    assert own.wanted(EC63, 1 << 30) is EC63
