"""Services of a cluster as a dashboard shows them: by host, with what wants to be looked at."""

from __future__ import annotations

from meta.conscience.protocol import Registration, Service
from node.errors import Unavailable
from rawx.protocol import VolumeStat
from tests.support.dashboard import CLUSTER
from tui.cluster import hosts, service_view, volume_view
from tui.snapshot import HostView, Level, alerts


def service(kind: str, location: str, read: int = 50, reason: str = "", *, locked: bool = False) -> Service:
    told = Registration(f"{kind}-0123456789", kind, "127.0.0.1:1", "h", location, statistics={"cpu": 60.0})
    return Service(told, read, read, reason, 0.0, locked)


def test_hosts_sum_up_what_runs_on_them() -> None:
    known = [
        service("conscience", "dc.h1"),
        service("meta", "dc.h1"),
        service("rawx", "dc.h1.disk1"),
        service("rawx", "dc.h1.disk2", 0, "it is away"),
        service("rawx", "dc.h2.disk1", 0, "no word for 9 s"),
    ]
    volumes = [volume_view(each, VolumeStat("v", 100, 40, 5)) for each in known if each.registration.kind == "rawx"]
    assert hosts(known, volumes) == (
        HostView("dc.h1", 3, 4, ("rawx", "meta", "conscience"), 200, 80, 40.0, "rawx: it is away", Level.WARNING),
        HostView("dc.h2", 0, 1, ("rawx",), 100, 40, 0.0, "nothing answers", Level.BAD),
    )


def test_a_volume_that_does_not_answer_says_why() -> None:
    away = volume_view(service("rawx", "dc.h1.disk1", 0, "no word for 9 s"), Unavailable("refused"))
    assert (away.name, away.trouble, away.level, away.host) == ("h1.disk1 rawx-0", "no word for 9 s", Level.BAD, "dc.h1")
    assert volume_view(service("rawx", "dc.h1.disk1"), Unavailable("refused")).trouble == "refused"
    assert service_view(service("meta", "dc.h1")).host == "dc.h1"


def test_a_lost_host_is_one_alert_and_not_one_for_each_of_its_services() -> None:
    words = [text for _, text in alerts(CLUSTER)]
    assert "host dc1.r3.host3: none of its services answers" in words
    assert not [text for text in words if "no word" in text]
    assert "the metadata does not answer" in words
    assert "rawx rawx-2a4f is locked by an operator" in words
