"""A table that keeps its place while its rows change: sorted by any column, filtered by a text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from rich.text import Text
from textual.binding import Binding, BindingType
from textual.message import Message
from textual.widgets import DataTable

from node.text import visible
from tui.snapshot import Level

COLOURS = {Level.GOOD: "", Level.WARNING: "yellow", Level.BAD: "red"}


class Row:
    """key: stays the same as long as the thing does; cells: as shown; order: as sorted; level: how it is coloured."""

    __slots__ = ("cells", "key", "level", "order")

    def __init__(self, key: str, cells: Sequence[str], order: Sequence[object] | None = None, level: Level = Level.GOOD) -> None:
        self.key, self.cells, self.level = key, tuple(cells), level
        self.order = tuple(order) if order is not None else self.cells

    def matches(self, words: str) -> bool:
        return all(word in " ".join(self.cells).casefold() for word in words.casefold().split())


class Listing(DataTable[Text]):
    """columns: their names; those that start with "#" hold numbers and stand on the right."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("s", "sort", "Sort"),
        Binding("S", "reverse", "Reverse", show=False),
        Binding("j", "cursor_down", show=False),
        Binding("k", "cursor_up", show=False),
        Binding("g", "scroll_top", show=False),
        Binding("G", "scroll_bottom", show=False),
    ]

    class Sorted(Message):
        """The order was changed."""

    def __init__(self, columns: Sequence[str], *, id: str, empty: str) -> None:
        super().__init__(id=id, cursor_type="row", zebra_stripes=True)
        self._names = [name.lstrip("#") for name in columns]
        self._right = [name.startswith("#") for name in columns]
        self._all: list[Row] = []
        self._by: int | None = None
        self._reverse = False
        self._words = ""
        self.empty = empty
        self.shown: list[Row] = []

    def on_mount(self) -> None:
        for index, name in enumerate(self._names):
            self.add_column(name, key=str(index))

    def fill(self, rows: Sequence[Row]) -> None:
        """Shows these rows; the cursor stays on the thing it was on."""
        self._all = list(rows)
        self._render_rows()

    def filter(self, words: str) -> None:
        self._words = words
        self._render_rows()

    @property
    def chosen(self) -> str | None:
        """Key of the row under the cursor."""
        return self.shown[self.cursor_row].key if 0 <= self.cursor_row < len(self.shown) else None

    def action_sort(self) -> None:
        """The next column orders; after the last one the natural order is back."""
        self._by = 0 if self._by is None else self._by + 1 if self._by + 1 < len(self._names) else None
        self._reverse = False
        self._after_sort()

    def action_reverse(self) -> None:
        self._reverse = not self._reverse
        self._after_sort()

    def on_data_table_header_selected(self, event: DataTable.HeaderSelected) -> None:
        column = int(event.column_key.value or 0)
        self._reverse = not self._reverse if self._by == column else False
        self._by = column
        self._after_sort()

    def _after_sort(self) -> None:
        for index, name in enumerate(self._names):
            arrow = (" ↓" if self._reverse else " ↑") if index == self._by else ""
            self.columns[list(self.columns)[index]].label = Text(name + arrow)
        self._render_rows()
        self.post_message(self.Sorted())

    def _render_rows(self) -> None:
        rows = [row for row in self._all if row.matches(self._words)]
        if self._by is not None:
            by = self._by
            rows.sort(key=lambda row: (str(type(row.order[by])), row.order[by]), reverse=self._reverse)
        elif self._reverse:
            rows.reverse()
        chosen, offset = self.chosen, self.scroll_offset
        self.shown = rows
        self.clear()
        for row in rows:
            style = COLOURS[row.level]
            self.add_row(*(self._cell(index, cell, style) for index, cell in enumerate(row.cells)), key=row.key)
        places = [index for index, row in enumerate(rows) if row.key == chosen]
        if places:
            self.move_cursor(row=places[0], scroll=False)
        self.scroll_to(offset.x, offset.y, animate=False)

    def _cell(self, index: int, text: str, style: str) -> Text:
        return Text(visible(text), style=style, justify="right" if self._right[index] else "left", no_wrap=True)
