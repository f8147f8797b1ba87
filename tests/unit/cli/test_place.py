"""Which store a command means."""

from __future__ import annotations

from pathlib import Path

import pytest

from cli.exit import Exit, Hinted, to_exit
from cli.place import Profile, StoreDirectory, find, read_profiles, read_secret, remember_last
from node.errors import ConfigError

CONFIG = """
default = "office"
[profile.office]
endpoint = "https://s3.example.org/"
access_key = "AK"
secret_file = "SECRET"
region = "eu"
[profile.lab]
endpoint = "http://127.0.0.1:3200"
access_key = "AK"
secret_file = "SECRET"
"""


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    return {"XDG_CONFIG_HOME": str(tmp_path / "config"), "XDG_STATE_HOME": str(tmp_path / "state")}


def write_config(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "config" / "frazil" / "config.toml"
    path.parent.mkdir(parents=True)
    path.write_text(text)
    return path


def test_options_come_before_the_environment_before_the_file_before_the_last(tmp_path: Path, environ: dict[str, str]) -> None:
    remember_last(tmp_path / "last", environ)
    assert find("", "", environ) == StoreDirectory(tmp_path / "last", "the store this user started last", named=False)
    write_config(tmp_path, CONFIG)
    assert find("", "", environ).name == "office"  # type: ignore[union-attr]
    assert find("", "", {**environ, "FRAZIL_STORE": "/srv/a"}) == StoreDirectory(Path("/srv/a"), "FRAZIL_STORE")
    assert find("", "", {**environ, "FRAZIL_PROFILE": "lab"}).name == "lab"  # type: ignore[union-attr]
    assert find("/srv/b", "", {**environ, "FRAZIL_STORE": "/srv/a"}) == StoreDirectory(Path("/srv/b"), "--store")
    assert isinstance(find("", "lab", {**environ, "FRAZIL_STORE": "/srv/a"}), Profile)


def test_nothing_known(environ: dict[str, str]) -> None:
    with pytest.raises(Hinted, match="no store is known") as caught:
        find("", "", environ)
    assert to_exit(caught.value) is Exit.USAGE


def test_two_places_at_once(environ: dict[str, str]) -> None:
    with pytest.raises(Hinted):
        find("/srv/a", "lab", environ)
    with pytest.raises(Hinted):
        find("", "", {**environ, "FRAZIL_STORE": "/srv/a", "FRAZIL_PROFILE": "lab"})


def test_an_unknown_profile_gets_a_suggestion(tmp_path: Path, environ: dict[str, str]) -> None:
    write_config(tmp_path, CONFIG)
    with pytest.raises(Hinted) as caught:
        find("", "offices", environ)
    assert "office" in caught.value.hint


@pytest.mark.parametrize(
    "text",
    [
        "default = 1",
        'default = "none"',
        "profiles = 1",
        "[profile.x]\nendpoint = 'http://h'",
        "[profile.x]\nendpoint = 'ftp://h'\naccess_key = 'a'\nsecret_file = 's'",
        "[profile.x]\nendpoint = 'http://h/path'\naccess_key = 'a'\nsecret_file = 's'",
        "[profile.x]\nendpoint = 'http://h'\naccess_key = 'a'\nsecret_file = 's'\nacess = 'b'",
        "not toml",
    ],
)
def test_a_configuration_that_is_wrong_is_refused_by_name(tmp_path: Path, text: str) -> None:
    path = write_config(tmp_path, text)
    with pytest.raises(ConfigError, match=r"config\.toml"):
        read_profiles(path)


def test_a_secret_that_others_may_read_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    path.write_text("the-secret\n")
    path.chmod(0o644)
    with pytest.raises(ConfigError, match="chmod 600"):
        read_secret(path)
    path.chmod(0o600)
    assert read_secret(path) == "the-secret"


@pytest.mark.parametrize("content", [b"", b"\n", b"a b", b"\xff\xfe", b"x" * 2000])
def test_what_is_no_secret(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "secret"
    path.write_bytes(content)
    path.chmod(0o600)
    with pytest.raises(ConfigError):
        read_secret(path)
