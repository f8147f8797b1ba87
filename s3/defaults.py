"""What a gateway serves unless it is told otherwise: in a module of its own, for those who read settings and serve nothing."""

from __future__ import annotations

DOMAINS = ("localhost",)
REGION = "us-east-1"
