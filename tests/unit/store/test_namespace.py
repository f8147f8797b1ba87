"""The namespace's settings: what is checked, and that TOML gives back what it was made of."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meta.conscience.score import DEFAULTS, Expressions
from node.errors import ConfigError
from store.location import LEVELS, Location
from store.namespace import NamespaceSettings, PoolSettings, edited, written
from store.placement import Candidate, Target
from store.policy import POLICIES, PolicySet

NAMES = st.text(alphabet="abcXYZ019-_ .\"'é", min_size=1, max_size=8)
LIMITS = st.dictionaries(st.sampled_from(LEVELS), st.integers(1, 20))
POOLS = st.builds(
    PoolSettings,
    targets=st.lists(st.sampled_from(["fast", "3 fast any", "any", "2 a b"]), max_size=3).map(tuple),
    distance_min=st.integers(1, 5),
    distance_wished=st.integers(1, 5),
    strict=LIMITS,
    fair=LIMITS,
)


@st.composite
def settings(draw: st.DrawFn) -> NamespaceSettings:
    pools = draw(st.dictionaries(NAMES, POOLS, max_size=3))
    policy = st.sampled_from(sorted(POLICIES))
    draws = draw(st.dictionaries(policy, st.sampled_from(sorted(pools)), max_size=2)) if pools else {}
    classes = draw(st.dictionaries(NAMES, policy, max_size=2))
    scores = draw(st.dictionaries(st.sampled_from(["rawx", "meta"]), st.just(Expressions("cpu", "root(2, io)")), max_size=2))
    return NamespaceSettings(draw(policy), classes, draws, pools, scores)


@given(settings())
def test_toml_and_the_document_give_back_what_they_were_made_of(made: NamespaceSettings) -> None:
    assert NamespaceSettings.parse(made.text()) == made
    assert NamespaceSettings.decode(made.encode()) == made


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('policy = "EC99"', "policy: there is no storage policy 'EC99'"),
        ('[classes]\nSTANDARD = "x"', "classes.STANDARD"),
        ('[draws]\nEC63 = "main"', "draws.EC63: there is no pool 'main'"),
        ("[pools.main]\ndistance_min = 9", "pools.main: a distance"),
        ("[pools.main]\nstrict = { planet = 1 }", "pools.main: limits"),
        ('[pools.main]\ndistance = "x"', "distance"),
        ('[draws]\nSTANDARD = "main"\n[pools.main]', "draws.STANDARD: there is no storage policy"),
        ("[sites.dc2]\nrate_bytes = 5", "sites.dc2: rate_bytes is 0 for no limit, or at least 65536"),
        ('[scores.rawx]\nplace = "import os"\nread = "cpu"', "scores.rawx.place"),
        ('[scores.toaster]\nplace = "1"\nread = "cpu"', "scores.toaster"),
        ("policies = 1", "policies"),
        ("policy = ", "TOML"),
    ],
)
def test_what_can_not_be_used_is_refused_with_its_place(text: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        NamespaceSettings.parse(text)


def test_one_value_is_changed_by_its_path() -> None:
    made = edited(NamespaceSettings(), "pools.main.targets", '["3 fast any"]')
    made = edited(made, "draws.EC63", "main")
    made = edited(made, "pools.main.strict.host", "3")
    pools, default = made.pools_for((1, 1, 1, 3, 9))
    assert pools["EC63"].targets == (Target(("fast", ""), 3),)
    assert pools["EC63"].strict == (0, 0, 0, 3, 0)
    assert default.targets == (Target(),)
    assert edited(made, "draws.EC63", "").draws == {}
    scored = edited(made, "scores.rawx.place", "space").scores["rawx"]
    assert scored == Expressions("space", DEFAULTS["rawx"].read)
    for path, value in (("draws.EC63", "other"), ("pools.main.strict.host", "many"), ("policy.x", "1"), ("classes.COLD", "")):
        with pytest.raises(ConfigError):
            edited(made, path, value)


def test_a_part_is_shown_as_toml_too() -> None:
    assert written("classes", {"STANDARD": "EC63"}) == '[classes]\nSTANDARD = "EC63"'
    assert written("pools.main.targets", ["3 fast any"]) == '["3 fast any"]'
    assert written("policy", "EC63") == "EC63"
    assert written("pools.main.distance_wished", 2) == "2"


def test_the_default_policies_bear_the_loss_of_a_host() -> None:
    def chosen(hosts: int, disks: int) -> PolicySet:
        return NamespaceSettings().policies("", [Location.parse(f"h{host}.{disk}") for host in range(hosts) for disk in range(disks)])

    assert (chosen(3, 3).small.name, chosen(3, 3).large.name) == ("FOURCOPIES", "EC63")
    assert (chosen(3, 1).small.name, chosen(3, 1).large.name) == ("THREECOPIES", "EC21")
    assert (chosen(2, 4).small.name, chosen(2, 4).large.name) == ("THREECOPIES", "THREECOPIES")
    assert chosen(1, 9).large.name == "EC63"
    assert chosen(9, 1).large.name == "EC63"
    with pytest.raises(ConfigError, match="15 volumes"):
        NamespaceSettings().policies("EC123", [Location.parse(f"h{host}.1") for host in range(12)])


def test_cold_classes_have_pools_and_policies_of_their_own() -> None:
    settings = NamespaceSettings.parse(
        """
        [classes]
        STANDARD = "EC63"
        DEEP_ARCHIVE = "TWOCOPIES"
        [draws]
        GLACIER = "paris"
        DEEP_ARCHIVE = "bunker"
        [pools.paris]
        sites = ["dc2", "dc4"]
        [pools.bunker]
        sites = ["dc4"]
        distance_min = 2
        """
    )
    sites = ("dc2", "dc4", "")
    members = [Candidate(str(number), 1.0, Location.parse(f"host{number}.disk"), site=sites[number % 3]) for number in range(12)]
    classes = settings.classes_for(members)
    assert {name: (found.large.name, found.pool) for name, found in classes.items()} == {
        "STANDARD": ("EC63", ""),
        "DEEP_ARCHIVE": ("TWOCOPIES", "DEEP_ARCHIVE"),
        "GLACIER": ("EC42", "GLACIER"),  # of the eight volumes that lead there
    }
    pools, _ = settings.pools_for(())
    assert pools["GLACIER"].sites == {"dc2", "dc4"}
    assert pools["DEEP_ARCHIVE"].hard()[3] == 1
    nowhere = [Candidate(each.volume, 1.0, each.location) for each in members]
    assert settings.classes_for(nowhere)["GLACIER"].pool == "GLACIER"
