"""A certificate for loopback, made once per run."""

from __future__ import annotations

import ssl

import pytest

from tests.support.certificate import make_certificate


@pytest.fixture(scope="session")
def tls_contexts(tmp_path_factory: pytest.TempPathFactory) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """Server's and client's context with a self-signed certificate for 127.0.0.1."""
    path = tmp_path_factory.mktemp("tls") / "both.pem"
    make_certificate(path)
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(path)
    return server, ssl.create_default_context(cafile=str(path))
