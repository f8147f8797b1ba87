"""Times that hang together."""

from __future__ import annotations

from meta.cluster.routing import PATIENCE_S
from meta.zookeeper import SESSION_S
from node.http.pool import PROBE_S, QUIET_S, VANISHED_S


def test_a_call_to_a_leader_without_power_is_made_again_before_patience_ends() -> None:
    """It ended with a 503 after a minute, although another led after six seconds."""
    assert SESSION_S < VANISHED_S
    assert max(QUIET_S, VANISHED_S) + 2 * PROBE_S + 3 < PATIENCE_S
