"""A board of disks, as one would see it standing before it: each disk a cell, by bus."""

from __future__ import annotations

from typing import ClassVar

from rich.text import Text
from textual.binding import Binding, BindingType
from textual.geometry import Size
from textual.reactive import reactive
from textual.widget import Widget

from node.text import bytes_text, span_text
from tui.snapshot import BoardView, DiskState, DiskView
from tui.text import bar

CELL_WIDTH = 5
CURSOR = "◂"
_MARKS = {
    DiskState.OFF: ("·", "dim"),
    DiskState.SPINNING_UP: ("↻", "yellow"),
    DiskState.ON: ("●", "green"),
    DiskState.BUSY: ("▶", "bold green"),
    DiskState.FAILED: ("✗", "bold red"),
    DiskState.ABSENT: (" ", "dim"),
}
LEGEND = "  ".join(f"{mark} {state.value}" for state, (mark, _) in _MARKS.items() if mark != " ")


class BoardPanel(Widget, can_focus=True):
    """One board; drawn anew with each snapshot. cursor: number of the chosen disk, which keys are about."""

    board: reactive[BoardView | None] = reactive(None, layout=True)
    cursor: reactive[int | None] = reactive(None, layout=True)

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("left", "move(-1)", show=False),
        Binding("right", "move(1)", show=False),
        Binding("up", "row(-1)", show=False),
        Binding("down", "row(1)", show=False),
    ]

    DEFAULT_CSS = """
    BoardPanel { height: auto; padding: 0 1; }
    """

    def render(self) -> Text:
        if self.board is None:
            return Text("")
        return draw(self.board, max(CELL_WIDTH, self.content_size.width), self.chosen)

    @property
    def chosen(self) -> DiskView | None:
        """The disk under the cursor; at first the first one."""
        if self.board is None or not self.board.disks:
            return None
        return next((disk for disk in self.board.disks if disk.number == self.cursor), _rows(self.board, self._across)[0][0])

    @property
    def _across(self) -> int:
        return max(1, max(CELL_WIDTH, self.content_size.width) // CELL_WIDTH)

    def action_move(self, by: int) -> None:
        """To the next disk, over the ends of rows."""
        if self.board is not None and self.chosen is not None:
            disks = [disk for row in _rows(self.board, self._across) for disk in row]
            self._go(disks[min(max(disks.index(self.chosen) + by, 0), len(disks) - 1)])

    def action_row(self, by: int) -> None:
        """To the disk above or below."""
        if self.board is None or self.chosen is None:
            return
        rows = _rows(self.board, self._across)
        at = next(number for number, row in enumerate(rows) if self.chosen in row)
        target = rows[min(max(at + by, 0), len(rows) - 1)]
        self._go(target[min(rows[at].index(self.chosen), len(target) - 1)])

    def _go(self, disk: DiskView) -> None:
        self.cursor = disk.number

    def get_content_height(self, container: Size, viewport: Size, width: int) -> int:
        """Of what would be drawn in this width, which is not yet that of the widget."""
        return 0 if self.board is None else len(draw(self.board, max(CELL_WIDTH, width), self.chosen).wrap(self.app.console, width))


def _rows(board: BoardView, across: int) -> list[list[DiskView]]:
    """The disks as they are drawn: bus after bus, so many in a row."""
    found = []
    for bus in sorted({disk.bus for disk in board.disks}):
        disks = [disk for disk in board.disks if disk.bus == bus]
        found += [disks[start : start + across] for start in range(0, len(disks), across)]
    return found


def draw(board: BoardView, width: int, chosen: DiskView | None = None) -> Text:
    """The disks in rows of whole cells, then what those do that are not asleep, are chosen, or have something to tell."""
    text = Text()
    on = [disk for disk in board.disks if disk.state in (DiskState.ON, DiskState.BUSY, DiskState.SPINNING_UP)]
    used, total = sum(disk.bytes_used for disk in board.disks), sum(disk.bytes_total for disk in board.disks)
    text.append(f"{board.name}", style="bold")
    text.append(
        f"  {len(board.disks)} disks, {len(on)} powered, {bytes_text(used)} of {bytes_text(total)} used"
        f"; while you look {board.power_ons} power-on{'s' if board.power_ons != 1 else ''}, {board.watt_hours:.1f} Wh\n"
    )
    if board.trouble:
        text.append(f"{board.trouble}\n", style="bold red")
    bus = None
    for row in _rows(board, max(1, width // CELL_WIDTH)):
        if row[0].bus != bus:
            bus = row[0].bus
            text.append(_bus_line(board, bus), style="dim")
        for disk in row:
            _cell(text, disk, chosen=disk == chosen)
        text.append("\n")
    for disk in board.disks:
        if disk.state not in (DiskState.OFF, DiskState.ABSENT) or disk.note or disk == chosen:
            _line(text, disk, chosen=disk == chosen)
    return text


def _bus_line(board: BoardView, number: int) -> str:
    words = [f"bus {number}"]
    for bus in board.buses:
        if bus.number == number:
            words += [f"in {bus.site}"] if bus.site else []
            words += [f"at most {bytes_text(round(bus.rate_bytes))}/s"] if bus.rate_bytes else []
            words += [bus.doing] if bus.doing else []
    return ", ".join(words) + "\n"


def _cell(text: Text, disk: DiskView, *, chosen: bool) -> None:
    mark, style = _MARKS[disk.state]
    share = disk.bytes_used / disk.bytes_total if disk.bytes_total else 0.0
    text.append(f"{disk.number:>2}", style="red" if disk.errors else "dim")
    text.append(mark, style=style)
    text.append(bar(share, 1), style="cyan")
    text.append(CURSOR if chosen else " ", style="bold")


def _line(text: Text, disk: DiskView, *, chosen: bool) -> None:
    mark, style = _MARKS[disk.state]
    words = [disk.state.value]
    if disk.until_s > 0:
        words.append(f"ready in {span_text(disk.until_s)}")
    elif disk.state is DiskState.SPINNING_UP:
        words.append("later than usual")
    if disk.doing:
        words.append(disk.doing)
    if disk.errors:
        words.append(f"{disk.errors} error{'s' if disk.errors > 1 else ''}")
    text.append(f"{mark} ", style=style)
    if disk.cycles:
        words.append(
            f"powered on {'once' if disk.cycles == 1 else f'{disk.cycles} times'}"
            + (f", {span_text(disk.powered_s)} in all" if disk.powered_s else "")
        )
    if chosen:
        words.append(f"{bytes_text(disk.bytes_used)} of {bytes_text(disk.bytes_total)} used" if disk.bytes_total else "never measured")
    if disk.note:
        words.append(disk.note)
    text.append(f"disk {disk.number} (bus {disk.bus}){CURSOR if chosen else ''}: {', '.join(words)}\n")
