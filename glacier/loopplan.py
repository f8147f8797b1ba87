"""Configurations of a board of loop devices and of its workers, for trying things out on one machine."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from glacier.config import FreezerConfig

CONFIG_FILE = "freezer.toml"
START_MARGIN_S = 45.0
QUICK_WAITS = (
    ("expedited", 0.0, 5.0, 30.0),
    ("standard", 0.0, 20.0, 120.0),
    ("bulk", 10.0, 30.0, 300.0),
    ("freeze", 5.0, 30.0, 120.0),
    ("delete", 60.0, 120.0, 600.0),
)
"""(kind, hold_s, patience_s, bound_s); see glacier.worker.config."""


@dataclass(frozen=True, slots=True)
class LoopPlan:
    """What the board is to be; its disks are spread evenly over its buses."""

    disks: int = 8
    buses: int = 2
    disk_bytes: int = 1 << 30
    spin_up_s: float = 15.0


def loop_config(directory: Path, plan: LoopPlan, *, namespace: str, key: Path) -> str:
    """TOML for a board all of which lies below `directory`."""
    base = os.path.abspath(directory)
    lines = [
        "# A board of loop devices; glacier/freezer.toml explains the settings.",
        f'name = "{Path(base).name}"',
        f'namespace = "{namespace}"',
        f'key = "{os.path.abspath(key)}"',
        f'state = "{base}/state"',
        f'mounts = "{base}/mounts"',
        'hardware = "loop"',
        f"board_powered_max = {plan.buses}",
        f"spin_up_s = {plan.spin_up_s!r}",
        f"start_s_max = {plan.spin_up_s + START_MARGIN_S!r}",
        "",
        "[loop]",
        f'directory = "{base}/disks"',
        f"disk_bytes = {plan.disk_bytes}",
    ]
    for bus in range(plan.buses):
        numbers = range(bus * plan.disks // plan.buses, (bus + 1) * plan.disks // plan.buses)
        listed = ", ".join(f"{{ number = {number} }}" for number in numbers)
        lines += ["", "[[buses]]", f'listen = "unix:{base}/bus-{bus}.sock"', f"disks = [{listed}]"]
    return "\n".join(lines) + "\n"


def worker_config(directory: Path, bus: int, volumes: Sequence[Path], *, freezer: str, config: FreezerConfig) -> str:
    """TOML for the worker of a bus. On a board of loop devices what waits for company waits seconds, not hours: somebody looks on."""
    base = os.path.abspath(directory)
    listed = ", ".join(f'"{os.path.abspath(volume)}"' for volume in volumes)
    lines = [
        "# The worker of one bus; glacier/worker/worker.toml explains the settings.",
        f'listen = "unix:{base}/worker-{bus}.sock"',
        f'ledger = "{base}/worker-{bus}.db"',
        f'freezer = "{freezer}"',
        f"bus = {bus}",
        f'tls_cert = "{os.path.abspath(config.tls_cert) if config.tls_cert else ""}"',
        f'namespace = "{config.namespace}"',
        f'key = "{os.path.abspath(config.key)}"',
        f"volumes = [{listed}]",
        f"spin_up_s = {config.spin_up_s!r}",
    ]
    if config.hardware == "loop":
        lines += [f"disk_bytes = {config.loop.disk_bytes}", "least_s = 5.0", "idle_s = 5.0"]
        for kind, hold_s, patience_s, bound_s in QUICK_WAITS:
            lines += ["", f"[waits.{kind}]", f"hold_s = {hold_s}", f"patience_s = {patience_s}", f"bound_s = {bound_s}"]
    return "\n".join(lines) + "\n"


def write_loop_config(directory: Path, plan: LoopPlan, *, namespace: str, key: Path) -> Path:
    """Makes DIRECTORY/freezer.toml. Raises: FileExistsError, OSError."""
    directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    path = directory / CONFIG_FILE
    with path.open("x") as file:
        file.write(loop_config(directory, plan, namespace=namespace, key=key))
    return path
