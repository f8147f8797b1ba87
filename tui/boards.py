"""A board of disks, as one would see it standing before it: each disk a cell, by bus."""

from __future__ import annotations

from rich.text import Text
from textual.geometry import Size
from textual.reactive import reactive
from textual.widget import Widget

from node.text import bytes_text, span_text
from tui.snapshot import BoardView, DiskState, DiskView
from tui.text import bar

CELL_WIDTH = 5
_MARKS = {
    DiskState.OFF: ("·", "dim"),
    DiskState.SPINNING_UP: ("↻", "yellow"),
    DiskState.ON: ("●", "green"),
    DiskState.BUSY: ("▶", "bold green"),
    DiskState.FAILED: ("✗", "bold red"),
    DiskState.ABSENT: (" ", "dim"),
}
LEGEND = "  ".join(f"{mark} {state.value}" for state, (mark, _) in _MARKS.items() if mark != " ")


class BoardPanel(Widget):
    """One board; drawn anew with each snapshot."""

    board: reactive[BoardView | None] = reactive(None, layout=True)

    DEFAULT_CSS = """
    BoardPanel { height: auto; padding: 0 1; }
    """

    def render(self) -> Text:
        if self.board is None:
            return Text("")
        return draw(self.board, max(CELL_WIDTH, self.content_size.width))

    def get_content_height(self, container: Size, viewport: Size, width: int) -> int:
        """Of what would be drawn in this width, which is not yet that of the widget."""
        return 0 if self.board is None else len(draw(self.board, max(CELL_WIDTH, width)).wrap(self.app.console, width))


def draw(board: BoardView, width: int) -> Text:
    """The disks in rows of whole cells, then what those that are not asleep do."""
    text = Text()
    on = [disk for disk in board.disks if disk.state in (DiskState.ON, DiskState.BUSY, DiskState.SPINNING_UP)]
    used, total = sum(disk.bytes_used for disk in board.disks), sum(disk.bytes_total for disk in board.disks)
    text.append(f"{board.name}", style="bold")
    text.append(
        f"  {len(board.disks)} disks, {len(on)} powered, {board.power_ons_hour} power-ons in the last hour, {board.watt_hours:.1f} Wh"
        f", {bytes_text(used)} of {bytes_text(total)} used\n"
    )
    if board.trouble:
        text.append(f"{board.trouble}\n", style="bold red")
    for bus in sorted({disk.bus for disk in board.disks}):
        disks = [disk for disk in board.disks if disk.bus == bus]
        text.append(f"bus {bus}\n", style="dim")
        across = max(1, width // CELL_WIDTH)
        for start in range(0, len(disks), across):
            for disk in disks[start : start + across]:
                _cell(text, disk)
            text.append("\n")
    for disk in board.disks:
        if disk.state not in (DiskState.OFF, DiskState.ABSENT):
            _line(text, disk)
    return text


def _cell(text: Text, disk: DiskView) -> None:
    mark, style = _MARKS[disk.state]
    share = disk.bytes_used / disk.bytes_total if disk.bytes_total else 0.0
    text.append(f"{disk.number:>2}", style="red" if disk.errors else "dim")
    text.append(mark, style=style)
    text.append(bar(share, 1), style="cyan")
    text.append(" ")


def _line(text: Text, disk: DiskView) -> None:
    mark, style = _MARKS[disk.state]
    words = [disk.state.value]
    if disk.until_s > 0:
        words.append(f"ready in {span_text(disk.until_s)}")
    elif disk.state is DiskState.SPINNING_UP:
        words.append("later than usual")
    if disk.doing:
        words.append(disk.doing)
    if disk.errors:
        words.append(f"{disk.errors} errors")
    text.append(f"{mark} ", style=style)
    if disk.cycles:
        words.append(f"powered on {disk.cycles} times" + (f", {span_text(disk.powered_s)} in all" if disk.powered_s else ""))
    text.append(f"disk {disk.number} (bus {disk.bus}): {', '.join(words)}\n")
