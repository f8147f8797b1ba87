"""webhooks.json: the URLs that an operator lets events go to, by name. No other URL is ever called, whatever a bucket's settings say.

On a cluster the same is a document of the Coordinator, of which each gateway keeps a copy in its own folder.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from urllib.parse import urlsplit

import msgspec

from node.errors import ConfigError, InvalidArgument
from node.files import write_durably

WEBHOOKS_NAME = "webhooks.json"
WEBHOOKS_VERSION = 1
DOCUMENT = "webhooks"
WEBHOOKS_MAX = 1_000
URL_CHARACTERS_MAX = 2_048
_URL = re.compile(rf"[\x21-\x7e]{{1,{URL_CHARACTERS_MAX}}}")
_NAME = re.compile(r"[A-Za-z0-9_-]{1,80}")


class Webhook(msgspec.Struct, frozen=True, omit_defaults=True):
    """name: the resource in the ARNs that name it; url: http or https; account: whose buckets may use it, "" = all."""

    name: str
    url: str
    account: str = ""

    def serves(self, account: str) -> bool:
        return self.account in ("", account)


class _File(msgspec.Struct, frozen=True):
    webhooks: tuple[Webhook, ...] = ()
    v: int = WEBHOOKS_VERSION


def check_webhook(webhook: Webhook) -> None:
    """Raises: InvalidArgument."""
    if not _NAME.fullmatch(webhook.name):
        raise InvalidArgument("a webhook's name has 1 to 80 characters of A-Z a-z 0-9 _ -")
    try:
        parts = urlsplit(webhook.url)
        valid = parts.scheme in ("http", "https") and bool(parts.hostname) and not parts.fragment and parts.port != 0
    except ValueError:  # a port that is none, brackets that don't close
        valid = False
    if (
        not valid
        or len(webhook.url) > URL_CHARACTERS_MAX
        or not webhook.url.isascii()
        or not webhook.url.isprintable()
        or " " in webhook.url
    ):
        raise InvalidArgument(f"a webhook's URL is http://... or https://... of at most {URL_CHARACTERS_MAX} ASCII characters")
    if "@" in parts.netloc:
        raise InvalidArgument("a webhook's URL has no user and password in it: they would be shown and logged")


def load_webhooks(first: Path) -> dict[str, Webhook]:
    """Those of the store whose first directory this is. Raises: ConfigError when the file is damaged or of a newer Frazil."""
    path = first / WEBHOOKS_NAME
    try:
        return decode_webhooks(path.read_bytes(), str(path))
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise ConfigError(f"{path} is not readable: {error}") from error


def decode_webhooks(data: bytes, where: str) -> dict[str, Webhook]:
    """Raises: ConfigError."""
    try:
        file = msgspec.json.decode(data, type=_File)
    except (msgspec.DecodeError, RecursionError) as error:
        raise ConfigError(f"{where} is not readable: {error}") from error
    if file.v != WEBHOOKS_VERSION:
        raise ConfigError(f"{where} has version {file.v}, this Frazil knows {WEBHOOKS_VERSION}")
    return {webhook.name: webhook for webhook in file.webhooks}


def save_webhooks(first: Path, webhooks: dict[str, Webhook]) -> None:
    """Running processes heed it with the next event. Raises: InvalidArgument, OSError."""
    write_durably(first / WEBHOOKS_NAME, encode_webhooks(webhooks))


def encode_webhooks(webhooks: dict[str, Webhook]) -> bytes:
    """Raises: InvalidArgument."""
    if len(webhooks) > WEBHOOKS_MAX:
        raise InvalidArgument(f"a store has at most {WEBHOOKS_MAX} webhooks")
    for webhook in webhooks.values():
        check_webhook(webhook)
    file = _File(tuple(webhooks[name] for name in sorted(webhooks)))
    return msgspec.json.format(msgspec.json.encode(file), indent=2) + b"\n"


class Webhooks:
    """The file as it is now, read again whenever it was replaced."""

    def __init__(self, first: Path) -> None:
        self._first = first
        self._seen: tuple[int, int] | None = None
        self._known: dict[str, Webhook] = {}

    def __repr__(self) -> str:
        return f"<Webhooks {self._first} known={len(self._known)}>"

    def find(self, name: str) -> Webhook | None:
        """Raises: ConfigError."""
        try:
            status = os.stat(self._first / WEBHOOKS_NAME)
            now = (status.st_ino, status.st_mtime_ns)
        except FileNotFoundError:
            now = None
        if now != self._seen:
            self._known, self._seen = load_webhooks(self._first), now
        return self._known.get(name)
