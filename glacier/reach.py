"""The way to a bus of a freezer, by its configuration: for workers and people on the same host, and with a copy of the file elsewhere."""

from __future__ import annotations

import ssl
from contextlib import AbstractAsyncContextManager

from glacier.config import FreezerConfig
from glacier.iceclient import IceClient, dial
from node.auth import NamespaceKey
from node.errors import ConfigError, DiskNotFound
from node.tls import PLAIN, Tls

_EVERYWHERE = {"0.0.0.0": "127.0.0.1", "[::]": "[::1]", "": "127.0.0.1"}


def reach(
    config: FreezerConfig, bus: int, *, key: NamespaceKey, tls: Tls = PLAIN, here: str = ""
) -> AbstractAsyncContextManager[IceClient]:
    """tls: the node's, where the file names no certificate; here: this host, for a bus that listens on all its addresses.

    Raises: DiskNotFound (no such bus), ConfigError; as dial.
    """
    if not 0 <= bus < len(config.buses):
        raise DiskNotFound(f"board {config.name} has no bus {bus}; it has {len(config.buses)}")
    return dial(address_of(config.buses[bus].listen, here), key=key, bus=bus, tls=trusting(config.tls_cert) or tls.client)


def address_of(listen: str, here: str = "") -> str:
    """Where this host reaches what listens there; here: its own address, "" = the loopback one."""
    if listen.startswith("unix:"):
        return listen
    host, _, port = listen.rpartition(":")
    return f"{(here or _EVERYWHERE[host]) if host in _EVERYWHERE else host}:{port}"


def trusting(certificate: str) -> ssl.SSLContext | None:
    """Trusts the freezer's certificate and no other, whatever name it bears: the key proves who is at the other end. "": no TLS.

    Raises: ConfigError.
    """
    if not certificate:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.check_hostname = False
    try:
        context.load_verify_locations(certificate)
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(f"tls_cert {certificate}: {error}") from error
    return context
