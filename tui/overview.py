"""The first page: is all well, how full is it, what comes in and out."""

from __future__ import annotations

from collections import deque

from rich.text import Text
from textual.app import ComposeResult
from textual.containers import VerticalScroll
from textual.widgets import Sparkline, Static

from node.text import bytes_text, span_text
from tui.listing import COLOURS
from tui.snapshot import DiskState, Level, Snapshot, alerts
from tui.text import bar

HISTORY = 120
BAR_WIDTH = 30
_BUSY = (DiskState.ON, DiskState.BUSY, DiskState.SPINNING_UP)


class Overview(VerticalScroll):
    """Health, space, traffic, alerts."""

    DEFAULT_CSS = """
    Overview { padding: 0 1; }
    Overview Static { margin-bottom: 1; }
    Overview Sparkline { height: 3; margin-bottom: 1; }
    """

    def __init__(self, *, id: str) -> None:
        super().__init__(id=id)
        self._rates: deque[float] = deque(maxlen=HISTORY)

    def compose(self) -> ComposeResult:
        yield Static(id="health")
        yield Static(id="space")
        yield Static(id="traffic")
        yield Sparkline([], id="rates")
        yield Static(id="work")

    def remember(self, snapshot: Snapshot) -> None:
        """For the line of rates, which goes on while another page is looked at."""
        self._rates.append(sum(snapshot.traffic.requests.values()))

    def show(self, snapshot: Snapshot) -> None:
        self.query_one("#health", Static).update(health(snapshot))
        self.query_one("#space", Static).update(space(snapshot))
        self.query_one("#traffic", Static).update(traffic(snapshot))
        self.query_one("#rates", Sparkline).data = list(self._rates)
        self.query_one("#work", Static).update(work(snapshot))


def health(snapshot: Snapshot) -> Text:
    found = alerts(snapshot)
    if not found:
        return Text("● all well", style="green")
    text = Text()
    for level, words in found:
        text.append("● ", style=COLOURS[level])
        text.append(words + "\n")
    text.right_crop(1)
    return text


def space(snapshot: Snapshot) -> Text:
    total = sum(volume.bytes_total for volume in snapshot.volumes)
    free = sum(volume.bytes_free for volume in snapshot.volumes)
    share = (total - free) / total if total else 0.0
    healthy = sum(not volume.trouble for volume in snapshot.volumes)
    versions, held = sum(bucket.versions for bucket in snapshot.buckets), sum(bucket.bytes for bucket in snapshot.buckets)
    text = Text("space    ", style="bold")
    text.append(bar(share, BAR_WIDTH), style=COLOURS[Level.WARNING] if share > 0.9 else "cyan")
    text.append(f" {share:.0%} of {bytes_text(total)}\n")
    text.append("volumes  ", style="bold")
    text.append(f"{healthy} of {len(snapshot.volumes)} healthy{'; ' if snapshot.policy else ''}{snapshot.policy}\n")
    text.append("objects  ", style="bold")
    text.append(f"{versions:,} in {len(snapshot.buckets):,} bucket{'' if len(snapshot.buckets) == 1 else 's'}, {bytes_text(held)}")
    return text


def traffic(snapshot: Snapshot) -> Text:
    now = snapshot.traffic
    text = Text("traffic  ", style="bold")
    text.append(f"{sum(now.requests.values()):,.1f} requests/s, {bytes_text(now.sent_bytes)}/s out")
    if now.errors:
        text.append(f", {now.errors:.1f} failures/s", style="red")
    text.append(f"; half within {span_text(now.usual_s)}, 99 % within {span_text(now.slow_s)}" if now.slow_s else "")
    busiest = sorted(((rate, name) for name, rate in now.requests.items() if rate >= 0.05), reverse=True)[:6]
    if busiest:
        text.append("\n         " + "  ".join(f"{name} {rate:,.1f}" for rate, name in busiest), style="dim")
    text.append("\nprocess  ", style="bold")
    text.append(f"{bytes_text(now.memory_bytes)} of memory, {now.processors:.0%} of a processor")
    return text


def work(snapshot: Snapshot) -> Text:
    running = [job for job in snapshot.jobs if job.state == "running"]
    text = Text("jobs     ", style="bold")
    text.append("; ".join(f"{job.id} {job.what}" for job in running[:4]) or "none is running")
    text.append("\nwaiting  ", style="bold")
    text.append(f"{snapshot.findings:,} damaged chunks, {snapshot.pending:,} chores")
    if snapshot.boards:
        disks = [disk for board in snapshot.boards for disk in board.disks]
        text.append("\ncold     ", style="bold")
        text.append(
            f"{sum(disk.state in _BUSY for disk in disks)} of {len(disks)} disks powered; {len(snapshot.waiting):,} jobs wait for them"
        )
    return text
