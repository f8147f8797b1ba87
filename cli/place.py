"""Which store a command speaks to: a directory on this host, or a profile with an endpoint and a key."""

from __future__ import annotations

import os
import stat
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from difflib import get_close_matches
from pathlib import Path
from urllib.parse import urlsplit

from cli.exit import Exit, Hinted
from node.errors import ConfigError

REGION_DEFAULT = "us-east-1"
SECRET_BYTES_MAX = 1024
NODE_FILE = Path("/etc/frazil/node.toml")
"""Of a host that belongs to a cluster."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where S3 is spoken and with which key. pinned_cert: the one certificate to trust, of a store on this host."""

    url: str
    access_key: str
    secret_key: str = field(repr=False)
    region: str = REGION_DEFAULT
    pinned_cert: str = ""


@dataclass(frozen=True, slots=True)
class Profile:
    """A named store elsewhere, from the configuration file."""

    name: str
    endpoint: str
    access_key: str
    secret_file: str
    region: str = REGION_DEFAULT

    def load(self) -> Endpoint:
        """With the secret read from its file. Raises: ConfigError, OSError."""
        return Endpoint(self.endpoint.rstrip("/"), self.access_key, read_secret(Path(self.secret_file).expanduser()), self.region)


@dataclass(frozen=True, slots=True)
class StoreDirectory:
    """A store on this host, by its first directory, or a cluster by the file of one of its nodes; `reason` says how it was found."""

    path: Path
    reason: str
    named: bool = True

    @property
    def is_cluster(self) -> bool:
        return self.path.suffix == ".toml" and self.path.is_file()


def config_file(environ: Mapping[str, str]) -> Path:
    return Path(environ.get("XDG_CONFIG_HOME") or Path.home() / ".config") / "frazil" / "config.toml"


def last_store_file(environ: Mapping[str, str]) -> Path:
    return Path(environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state") / "frazil" / "last-store"


def read_profiles(path: Path) -> tuple[dict[str, Profile], str]:
    """(profiles by name, the default one's name or ""). A missing file has none.

    Raises: ConfigError with file and key when it can't be used.
    """
    try:
        table = tomllib.loads(path.read_text())
    except FileNotFoundError:
        return {}, ""
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: {error}") from error
    _refuse_unknown(table, ("default", "profile"), f"{path}")
    default = table.get("default", "")
    entries = table.get("profile", {})
    if not isinstance(default, str) or not isinstance(entries, dict):
        raise ConfigError(f"{path}: `default` is a profile's name, profiles are tables [profile.NAME]")
    if default and default not in entries:
        raise ConfigError(f"{path}: default = {default!r}, but there is no [profile.{default}]")
    return {name: _profile(name, entry, path) for name, entry in entries.items()}, default


def _profile(name: str, entry: object, path: Path) -> Profile:
    where = f"{path}: [profile.{name}]"
    if not isinstance(entry, dict):
        raise ConfigError(f"{where} is no table")
    known = [item.name for item in fields(Profile) if item.name != "name"]
    _refuse_unknown(entry, known, where)
    for key in known:
        if key not in entry and key != "region":
            raise ConfigError(f"{where} lacks {key}")
        if not isinstance(entry.get(key, ""), str):
            raise ConfigError(f"{where}: {key} is no string")
    split = urlsplit(entry["endpoint"])
    if split.scheme not in ("http", "https") or not split.netloc or split.path.strip("/") or split.query:
        raise ConfigError(f"{where}: endpoint is written http://HOST:PORT or https://HOST")
    return Profile(name, **entry)


def _refuse_unknown(table: Mapping[str, object], known: tuple[str, ...] | list[str], where: str) -> None:
    for key in table:
        if key not in known:
            close = get_close_matches(key, known, 1)
            raise ConfigError(f"{where}: unknown key {key!r}" + (f", meant {close[0]!r}?" if close else f"; known are {', '.join(known)}"))


def read_secret(path: Path) -> str:
    """A secret key from a file that only its owner may read. Raises: ConfigError, OSError."""
    with path.open("rb") as file:
        mode = os.fstat(file.fileno()).st_mode
        if stat.S_ISREG(mode) and mode & 0o077:
            raise ConfigError(f"{path} holds a secret but others may read it; run: chmod 600 {path}")
        raw = file.read(SECRET_BYTES_MAX + 1)
    return check_secret(raw, str(path))


def check_secret(raw: bytes, where: str) -> str:
    """One line of text without its end. Raises: ConfigError."""
    try:
        text = raw.decode().strip()
    except UnicodeDecodeError as error:
        raise ConfigError(f"{where}: the secret is no text") from error
    if not text or len(raw) > SECRET_BYTES_MAX or any(character.isspace() for character in text):
        raise ConfigError(f"{where}: a secret is one line of 1 to {SECRET_BYTES_MAX} characters without spaces")
    return text


def find(store: str, profile: str, environ: Mapping[str, str]) -> StoreDirectory | Profile:
    """The place a command means: option before environment before configuration before the store started last.

    Raises: Hinted when none is named or both are; ConfigError.
    """
    if store and profile:
        raise Hinted("--store and --profile exclude each other", code=Exit.USAGE)
    reason = "--store"
    if not store and not profile:
        store, profile = environ.get("FRAZIL_STORE", ""), environ.get("FRAZIL_PROFILE", "")
        reason = "FRAZIL_STORE"
        if store and profile:
            raise Hinted("FRAZIL_STORE and FRAZIL_PROFILE are both set", "unset one of them, or give --store or --profile", code=Exit.USAGE)
    if store:
        return StoreDirectory(Path(store).absolute(), reason)
    path = config_file(environ)
    profiles, default = read_profiles(path)
    name = profile or default
    if name:
        if name not in profiles:
            close = get_close_matches(name, list(profiles), 1)
            raise Hinted(
                f"{path} has no profile {name!r}", f"meant {close[0]!r}?" if close else f"add [profile.{name}] to it", code=Exit.USAGE
            )
        return profiles[name]
    try:
        last = last_store_file(environ).read_text().strip()
    except FileNotFoundError:
        last = ""
    if last:
        return StoreDirectory(Path(last), "the store this user started last", named=False)
    if NODE_FILE.is_file():
        return StoreDirectory(NODE_FILE, "the node of this host", named=False)
    raise Hinted("no store is known", "start one with `frazil up DIR`, or name one with --store DIR or --profile NAME", code=Exit.USAGE)


def remember_last(directory: Path, environ: Mapping[str, str]) -> None:
    """Notes the store that this user started. Raises: OSError."""
    path = last_store_file(environ)
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    temporary = path.with_name(f"{path.name}.{os.getpid()}")
    temporary.write_text(f"{directory}\n")
    temporary.replace(path)
