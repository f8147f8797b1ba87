"""Options of a mount as people write them."""

from __future__ import annotations

from pathlib import Path

import pytest

from fs.option import MountOptions
from node.errors import ConfigError

PLAIN = MountOptions(Path("/s"), Path("/m"))


def test_options_are_written_as_in_fstab() -> None:
    told = PLAIN.told(["ro,uid=5,umask=077,_netdev", "attr-timeout=0.5,nowriteback,x-systemd.automount,X-mount.mkdir"])
    assert (told.ro, told.uid, told.umask, told.attr_timeout, told.writeback) == (True, 5, 0o077, 0.5, False)
    assert told.defaults.file_mode == 0o600


def test_what_the_kernel_looks_after_is_told_to_it_in_its_order() -> None:
    assert PLAIN.told(["noexec,noatime", "nosuid,ro,exec"]).kernel == ("noexec", "noatime", "nosuid", "exec")


@pytest.mark.parametrize(
    "word", ["what", "uid", "uid=x", "uid=-1", "ro=1", "noumask", "umask=1000", "attr_timeout=nan", "store=/x", "noro=1"]
)
def test_what_is_no_option_is_refused(word: str) -> None:
    with pytest.raises(ConfigError):
        PLAIN.told([word])


def test_a_profile_is_a_set_of_options_that_later_ones_change() -> None:
    told = PLAIN.told(["profile=fast,attr_timeout=2"])
    assert (told.behind, told.entry_timeout, told.attr_timeout) == (True, 60.0, 2.0)
    with pytest.raises(ConfigError):
        PLAIN.told(["profile=swift"])


def test_a_misspelt_option_is_told_the_right_one() -> None:
    with pytest.raises(ConfigError, match="meant 'allow_other'"):
        PLAIN.told(["alow_other"])


@pytest.mark.parametrize(
    ("target", "place"), [("", ("", "")), ("b", ("b", "")), ("b/", ("b", "")), ("b/p/q", ("b", "p/q/")), ("b/p/", ("b", "p/"))]
)
def test_a_target_is_a_bucket_and_a_prefix(target: str, place: tuple[str, str]) -> None:
    assert MountOptions(Path("/s"), Path("/m"), target).place == place
