"""What listens: sockets on an address of this host, and the certificate that they show."""

from __future__ import annotations

import errno
import socket
import ssl

from cli.exit import Exit, Hinted
from node.errors import ConfigError
from node.http.server import listen


def bind(address: tuple[str, int], *, shared: bool) -> list[socket.socket]:
    """Listening sockets; `shared` lets gateway processes of this store bind the same.

    Raises: Hinted when the address is taken or not ours.
    """
    host, port = address
    shown = f"{host or '*'}:{port}"
    try:
        if shared and port:  # SO_REUSEPORT would also let us in beside a stranger
            check_free(address)
        return listen(host, port, reuse_port=shared)
    except socket.gaierror as error:
        raise Hinted(f"can't listen on {shown}: {error.strerror}", "give --listen an address of this host", code=Exit.USAGE) from error
    except PermissionError as error:
        raise Hinted(f"can't listen on {shown}: ports below 1024 are root's", "choose another with --listen", code=Exit.DENIED) from error
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            hint = f"`ss -ltnp sport = :{port}` shows which; or choose another with --listen"
            raise Hinted(f"{shown} is taken by another process", hint, code=Exit.CONFLICT) from error
        raise Hinted(f"can't listen on {shown}: {error.strerror}", "give --listen an address of this host", code=Exit.USAGE) from error


def check_free(address: tuple[str, int]) -> None:
    """Binds the address for a moment. Raises: as bind."""
    for sock in bind(address, shared=False):
        sock.close()


def tls_context(cert: str, key: str) -> ssl.SSLContext | None:
    """Of the files of a certificate chain and its key, None without. Raises: ConfigError when they can't be used."""
    if not cert and not key:
        return None
    if not cert or not key:
        raise ConfigError("--tls-cert and --tls-key go together")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    try:
        context.load_cert_chain(cert, key)
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(f"--tls-cert {cert}, --tls-key {key}: {error}") from error
    return context
