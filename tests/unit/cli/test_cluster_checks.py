"""What `doctor` says of a cluster's services."""

from __future__ import annotations

from cli.cluster.checks import location_findings
from meta.conscience.protocol import Registration, Service


def _volume(number: int, location: str) -> Service:
    return Service(Registration(f"v{number}", "rawx", f"10.0.0.{number}:6200", location=location))


def test_volumes_at_the_same_place_are_told() -> None:
    """As when a node's file was copied with its `location`."""
    services = [_volume(1, "dc.host1.disk1"), _volume(2, "dc.host1.disk1"), _volume(3, "dc.host3.disk1")]
    (finding,) = location_findings(services)
    assert (finding.level, finding.subject) == ("failure", "dc.host1.disk1")
    assert "2 volumes at 10.0.0.1:6200, 10.0.0.2:6200" in finding.text
    assert not list(location_findings(services[1:]))
