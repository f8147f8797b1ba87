"""TLS between the hosts of a namespace: what this host shows, and whom it believes.

Both ends of a connection show a certificate of one authority. Who calls also compares the address that it called with those in the
certificate: addresses are what registrations tell of a service, and so a certificate that the same authority gave to somebody else is of no
use between two hosts. The listener does not compare: a call may come from any address of a host, and is proved by the key (node/auth.py).
"""

from __future__ import annotations

import contextlib
import os
import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import trio

from node.errors import ConfigError
from node.log import get_logger

RENEWAL_S: Final = 10.0
"""How often the files are looked at: whether one was replaced."""
_ROUNDS: Final = 4
"""Of a handshake, at most: TLS 1.2 needs three."""
_REASONS: Final = {
    "KEY_VALUES_MISMATCH": "the key is not the certificate's",
    "KEY_TYPE_MISMATCH": "the key is not the certificate's",
}
Stamps = tuple[tuple[int, int, int], ...]
_log = get_logger("tls")


@dataclass(frozen=True, slots=True)
class TlsConfig:
    """cert, key: chain and key (PEM) that this host shows; authority: certificate (PEM) of who signed those of all hosts. "" = no TLS."""

    cert: str = ""
    key: str = ""
    authority: str = ""

    def __post_init__(self) -> None:
        missing = [name for name, path in self.files.items() if not path]
        if 0 < len(missing) < len(self.files):
            raise ValueError(f"cert, key and authority go together; {' and '.join(missing)} is not set")

    @property
    def files(self) -> dict[str, str]:
        return {"cert": self.cert, "key": self.key, "authority": self.authority}

    @property
    def wanted(self) -> bool:
        return bool(self.cert)

    def beside(self, folder: Path) -> TlsConfig:
        """With relative paths taken from there."""
        return TlsConfig(**{name: str(folder / path) for name, path in self.files.items()}) if self.wanted else self


class Tls:
    """server: for listeners, client: for calls; both None where services speak plain HTTP."""

    __slots__ = ("_config", "_host", "_seen", "client", "server")

    def __init__(self, config: TlsConfig, host: str) -> None:
        """Raises: ConfigError, when others would not take what this host shows, or this host what they show."""
        self._config = config
        self._host = host
        self._seen: Stamps = ()
        self.server: ssl.SSLContext | None = None
        self.client: ssl.SSLContext | None = None
        if config.wanted:
            self._seen = _stamps(config)
            self.server, self.client = _context(ssl.PROTOCOL_TLS_SERVER), _context(ssl.PROTOCOL_TLS_CLIENT)
            self.server.num_tickets = 0  # the client resumes no session
            self._load()
            _greet(self.server, self.client, config, host)

    def __repr__(self) -> str:
        return f"<Tls {self._config.cert or 'off'}>"

    def _load(self) -> None:
        """Raises: ConfigError."""
        config = self._config
        for context in filter(None, (self.server, self.client)):
            try:
                context.load_cert_chain(config.cert, config.key, password=_no_passphrase)
            except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
                raise ConfigError(f"tls.cert {config.cert}, tls.key {config.key}: {_words(error)}") from error
            try:
                context.load_verify_locations(config.authority)
            except (OSError, ValueError) as error:
                raise ConfigError(f"tls.authority {config.authority}: {_words(error)}") from error

    async def keep(self) -> None:
        """Takes up what was renewed on disk, for connections that begin then. For ever; at once where TLS is off."""
        refused: Stamps = ()
        while self._config.wanted:
            await trio.sleep(RENEWAL_S)
            try:
                found = _stamps(self._config)
                if found != self._seen and found != refused:
                    refused = found
                    self.renew(found)
            except ConfigError as error:  # half of it may be written yet; what was known stands
                _log.warning("the renewed certificate is not taken up: %s", error)

    def renew(self, found: Stamps) -> None:
        """Raises: ConfigError, and goes on with what it had."""
        Tls(self._config, self._host)  # what does not fit together must not come into use
        self._load()
        self._seen = found
        _log.info("took up the renewed certificate %s", self._config.cert)


PLAIN: Final = Tls(TlsConfig(), "")


def open_tls(config: TlsConfig, address: str) -> Tls:
    """address: of this host for the others, IPv6 in brackets. Raises: ConfigError."""
    return Tls(config, address.strip("[]")) if config.wanted else PLAIN


def _context(protocol: ssl._SSLMethod) -> ssl.SSLContext:
    context = ssl.SSLContext(protocol)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.verify_mode = ssl.CERT_REQUIRED
    return context


def _stamps(config: TlsConfig) -> Stamps:
    """Tell whether a file was replaced. Raises: ConfigError, which names the file that can't be read; errors of ssl don't."""
    stamps = []
    for name, path in config.files.items():
        try:
            with open(path, "rb") as file:
                found = os.fstat(file.fileno())
        except OSError as error:
            raise ConfigError(f"tls.{name} {path} can't be read: {error.strerror}") from error
        stamps.append((found.st_ino, found.st_size, found.st_mtime_ns))
    return tuple(stamps)


def _greet(server: ssl.SSLContext, client: ssl.SSLContext, config: TlsConfig, host: str) -> None:
    """Shakes hands with itself, as any two hosts of the namespace will. Raises: ConfigError."""
    there, back = ssl.MemoryBIO(), ssl.MemoryBIO()
    calling = client.wrap_bio(back, there, server_hostname=host)
    called = server.wrap_bio(there, back, server_side=True)
    try:
        for _ in range(_ROUNDS):
            for end in (calling, called):
                with contextlib.suppress(ssl.SSLWantReadError):
                    end.do_handshake()
    except ssl.SSLError as error:
        raise ConfigError(
            f"tls.cert {config.cert} would be refused by other hosts: {_words(error)}; it must be of tls.authority {config.authority}, "
            f"valid now, for servers and for clients, and bear this host's address {host}"
        ) from error


def _no_passphrase() -> str:
    """OpenSSL would ask at the terminal."""
    raise ValueError("the key has a passphrase: write it without one")


def _words(error: Exception) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return error.verify_message.rstrip(".")
    if isinstance(error, ssl.SSLError):
        return _REASONS.get(error.reason or "", "") or f"holds nothing that can be used in PEM form ({error.reason or error})"
    return str(error)
