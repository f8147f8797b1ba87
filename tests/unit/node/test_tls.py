"""TLS between hosts: what fits together is taken, what doesn't is named with its file and its cause."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import trio.testing

from node.errors import ConfigError
from node.tls import PLAIN, RENEWAL_S, Tls, TlsConfig, open_tls
from tests.support.certificate import CLIENT, SERVER, Authority

HOST = "10.0.0.1"
Break = Callable[[Authority, TlsConfig], TlsConfig]


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


@pytest.fixture
def config(authority: Authority) -> TlsConfig:
    return config_of(authority, "host", HOST, "::1")


def config_of(authority: Authority, name: str, *addresses: str, **more: object) -> TlsConfig:
    cert, key = authority.sign(name, *addresses, **more)  # type: ignore[arg-type]
    return TlsConfig(str(cert), str(key), str(authority.file))


def stranger(authority: Authority) -> Authority:
    return Authority(authority.folder, "stranger")


def serial(tls: Tls, caller: ssl.SSLContext) -> bytes:
    """Of the certificate that the server shows."""
    assert tls.server is not None
    there, back = ssl.MemoryBIO(), ssl.MemoryBIO()
    calling = caller.wrap_bio(back, there, server_hostname=HOST)
    called = tls.server.wrap_bio(there, back, server_side=True)
    for end in (calling, called, calling):
        try:
            end.do_handshake()
        except ssl.SSLWantReadError:
            continue
    shown = calling.getpeercert(binary_form=True)
    assert shown
    return shown


def test_without_files_nothing_is_made() -> None:
    assert open_tls(TlsConfig(), HOST) is PLAIN
    assert (PLAIN.server, PLAIN.client) == (None, None)


@pytest.mark.parametrize("address", [HOST, "[::1]"])
def test_files_that_fit_are_taken_by_listeners_and_calls(config: TlsConfig, address: str) -> None:
    tls = open_tls(config, address)
    for context in (tls.server, tls.client):
        assert context is not None
        assert context.verify_mode is ssl.CERT_REQUIRED
    assert tls.client is not None
    assert tls.client.check_hostname


def broken(config: TlsConfig, name: str, text: str) -> TlsConfig:
    path = Path(getattr(config, name))
    path.write_text(text)
    return config


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda _, had: replace(had, cert="/nothing.crt"), "tls.cert /nothing.crt can't be read: No such file"),
        (lambda _, had: replace(had, key="/nothing.key"), "tls.key /nothing.key can't be read: No such file"),
        (lambda _, had: replace(had, authority="/"), "tls.authority / can't be read: Is a directory"),
        (lambda _, had: broken(had, "cert", "x"), "host.crt, tls.key .*host.key: holds nothing that can be used in PEM form"),
        (lambda _, had: broken(had, "key", "x"), "holds nothing that can be used in PEM form"),
        (lambda _, had: broken(had, "authority", "x"), "tls.authority .*: holds nothing that can be used in PEM form"),
        (lambda made, had: replace(had, key=str(made.sign("other", HOST)[1])), "the key is not the certificate's"),
        (lambda made, had: replace(had, authority=str(stranger(made).file)), "unable to get local issuer certificate"),
        (lambda made, _: config_of(made, "old", HOST, valid_h=-1.0), "old.crt would be refused by other hosts: certificate has expired"),
        (lambda made, _: config_of(made, "moved", "10.0.0.2"), "IP address mismatch.*bear this host's address 10.0.0.1"),
        (lambda made, _: config_of(made, "half", HOST, uses=(SERVER,)), "(unsuitable|unsupported) certificate purpose"),
        (lambda made, _: config_of(made, "half", HOST, uses=(CLIENT,)), "(unsuitable|unsupported) certificate purpose"),
    ],
)
def test_what_other_hosts_would_refuse_is_named_at_the_start(authority: Authority, config: TlsConfig, change: Break, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        open_tls(change(authority, config), HOST)


def test_a_key_with_a_passphrase_is_refused_and_nobody_is_asked_for_it(config: TlsConfig) -> None:
    from cryptography.hazmat.primitives import serialization

    path = Path(config.key)
    key = serialization.load_pem_private_key(path.read_bytes(), None)
    locked = serialization.BestAvailableEncryption(b"secret")
    path.write_bytes(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, locked))
    with pytest.raises(ConfigError, match="the key has a passphrase"):
        open_tls(config, HOST)


async def test_a_renewed_certificate_is_taken_up_when_all_of_it_is_there(
    authority: Authority, config: TlsConfig, autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    tls = open_tls(config, HOST)
    caller = open_tls(config_of(authority, "caller", HOST), HOST).client
    assert caller is not None
    before = serial(tls, caller)
    new_cert, new_key = authority.sign("new", HOST)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(tls.keep)
        new_cert.replace(config.cert)
        await trio.sleep(3 * RENEWAL_S)
        assert serial(tls, caller) == before
        new_key.replace(config.key)
        await trio.sleep(2 * RENEWAL_S)
        assert serial(tls, caller) != before
        nursery.cancel_scope.cancel()
    warnings = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert len(warnings) == 1
    assert "the key is not the certificate's" in warnings[0]
