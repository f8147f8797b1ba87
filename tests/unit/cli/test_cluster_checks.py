"""What `doctor` says of a cluster's services, and of a host's certificate."""

from __future__ import annotations

import os
import pwd
import tempfile
from pathlib import Path

import pytest

from cli.cluster.checks import location_findings, tls_findings
from cli.cluster.config import NodeConfig
from meta.conscience.protocol import Registration, Service
from node.tls import TlsConfig
from tests.support.certificate import Authority

ADDRESS = "10.0.0.1"


def _volume(number: int, location: str) -> Service:
    return Service(Registration(f"v{number}", "rawx", f"10.0.0.{number}:6200", location=location))


def test_volumes_at_the_same_place_are_told() -> None:
    """As when a node's file was copied with its `location`."""
    services = [_volume(1, "dc.host1.disk1"), _volume(2, "dc.host1.disk1"), _volume(3, "dc.host3.disk1")]
    (finding,) = location_findings(services)
    assert (finding.level, finding.subject) == ("failure", "dc.host1.disk1")
    assert "2 volumes at 10.0.0.1:6200, 10.0.0.2:6200" in finding.text
    assert not list(location_findings(services[1:]))


def _node(folder: Path, tls: TlsConfig) -> NodeConfig:
    key = folder / "secret.key"
    key.write_text("k")
    return NodeConfig(key=key, address=ADDRESS, tls=tls)


def _tls(folder: Path, address: str, valid_h: float = 24.0 * 100) -> TlsConfig:
    authority = Authority(folder)
    cert, key = authority.sign("host", address, valid_h=valid_h)
    return TlsConfig(str(cert), str(key), str(authority.file))


def _levels(config: NodeConfig) -> list[tuple[str, str]]:
    return [(each.level, each.text) for each in tls_findings(config)]


def test_a_certificate_that_others_take_is_well_until_it_soon_ends(tmp_path: Path) -> None:
    assert _levels(_node(tmp_path, _tls(tmp_path, ADDRESS))) == [("ok", "is valid for 99 more days")]
    assert _levels(_node(tmp_path, _tls(tmp_path, ADDRESS, valid_h=24.5))) == [("warning", "is valid for 1 more days")]
    ((level, text),) = _levels(_node(tmp_path, TlsConfig()))
    assert (level, text[:6]) == ("ok", "is off")


def test_a_certificate_that_others_refuse_is_a_failure(tmp_path: Path) -> None:
    ((level, text),) = _levels(_node(tmp_path, _tls(tmp_path, ADDRESS, valid_h=-1.0)))
    assert level == "failure"
    assert "certificate has expired" in text
    ((level, text),) = _levels(_node(tmp_path, _tls(tmp_path, "10.0.0.2")))
    assert level == "failure"
    assert "bear this host's address 10.0.0.1" in text


def test_a_key_that_anybody_may_read_is_a_failure(tmp_path: Path) -> None:
    config = _node(tmp_path, _tls(tmp_path, ADDRESS))
    Path(config.tls.key).chmod(0o644)
    assert ("failure", "may be read by anybody on this host") in _levels(config)


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_files_that_the_services_user_can_not_read_are_failures() -> None:
    user = pwd.getpwnam("nobody")
    with tempfile.TemporaryDirectory() as name:  # pytest's own are below folders of root's alone
        folder = Path(name)
        config = _node(folder, _tls(folder, ADDRESS))
        for path in (folder, config.key, Path(config.tls.cert), Path(config.tls.authority)):
            os.chown(path, user.pw_uid, user.pw_gid)
        unread = [each for each in tls_findings(config) if each.level == "failure"]
    assert [each.subject for each in unread] == [config.tls.key]
    assert "can't be read by nobody" in unread[0].text
