"""What is asked, or shown, over the pages: questions before something is changed, a number, a service's log."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import ClassVar

from rich.text import Text
from textual import work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.widgets import Input, Static

from node.errors import FrazilError
from node.logbook import Line
from tui import pages
from tui.boards import LEGEND
from tui.listing import Listing
from tui.text import bytes_of

LOG_EVERY_S = 2.0
HELP = """\
 1 to 9, 0  a page             tab        next thing on it
 /          filter rows        esc        no filter
 s, S       sort, reverse      enter, click on a title: sort by it
 j k g G    move               ctrl+p     commands and themes
 p          hold still         r          read now
 W          may change things  q          leave
 space, x   pause or resume, abort the chosen job (only after W)
 l          lock or unlock the chosen service: it takes nothing new (only after W)
 L          log of the chosen service, or of the store
 o f v      power on or off, check the file system, read all chunks of the chosen
            disk;  b: bytes per second of its bus (only after W)

Boards: """


class Help(ModalScreen[None]):
    """Which keys do what."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape,q,question_mark", "dismiss", "Close")]
    DEFAULT_CSS = """
    Help { align: center middle; }
    Help Static { width: 78; height: auto; border: round $accent; padding: 1 2; background: $surface; }
    """

    def compose(self) -> ComposeResult:
        yield Static(Text(HELP + LEGEND))


class Confirm(ModalScreen[bool]):
    """Asks before something is changed; says which command would do the same."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("y", "yes", "Yes"), Binding("n,escape", "no", "No")]
    DEFAULT_CSS = """
    Confirm { align: center middle; }
    Confirm Static { width: 64; height: auto; border: round $warning; padding: 1 2; background: $surface; }
    """

    def __init__(self, question: str, command: str) -> None:
        super().__init__()
        self._text = f"{question}\n\nThe same as:  {command}\n\ny: yes   n: no"

    def compose(self) -> ComposeResult:
        yield Static(Text(self._text))

    def action_yes(self) -> None:
        self.dismiss(True)

    def action_no(self) -> None:
        self.dismiss(False)


class Bytes(ModalScreen[int | None]):
    """Asks for a number of bytes; None: leave it as it is."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "leave", "Leave it")]
    DEFAULT_CSS = """
    Bytes { align: center middle; }
    Bytes Vertical { width: 64; height: auto; border: round $warning; padding: 1 2; background: $surface; }
    Bytes Input { height: 1; border: none; margin-top: 1; }
    """

    def __init__(self, question: str, command: str) -> None:
        super().__init__()
        self._text = f"{question}\n\nThe same as:  {command}\n\nenter: do it   escape: leave it"

    def compose(self) -> ComposeResult:
        with Vertical():
            yield Static(Text(self._text))
            yield Input(placeholder="10MiB, or 0 for no limit")

    def on_mount(self) -> None:
        self.query_one(Input).focus()

    def on_input_changed(self, event: Input.Changed) -> None:
        event.stop()  # else the app takes it for the filter's

    def on_input_submitted(self, event: Input.Submitted) -> None:
        event.stop()
        try:
            self.dismiss(bytes_of(event.value))
        except ValueError as error:
            self.notify(str(error), severity="error", markup=False)

    def action_leave(self) -> None:
        self.dismiss(None)


class Log(ModalScreen[None]):
    """The last lines of a log, the newest first, read again and again. fetch: blocking, called in a thread."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape,q,L", "dismiss", "Close")]
    DEFAULT_CSS = """
    Log { background: $surface; }
    Log Static { height: 1; padding: 0 1; background: $panel; }
    """

    def __init__(self, title: str, fetch: Callable[[], Sequence[Line]]) -> None:
        super().__init__()
        self._title = title
        self._fetch = fetch

    def compose(self) -> ComposeResult:
        yield Static(Text(f"log of {self._title}, the newest first; escape: close"), id="log-line")
        yield Listing(pages.LOG_COLUMNS, id="log-rows", empty="")

    def on_mount(self) -> None:
        self.query_one(Listing).focus()
        self._read()
        self.set_interval(LOG_EVERY_S, self._read)

    @work(thread=True, exclusive=True)
    def _read(self) -> None:
        try:
            lines: Sequence[Line] | FrazilError = self._fetch()
        except FrazilError as error:
            lines = error
        self.app.call_from_thread(partial(self._show, lines))

    def _show(self, lines: Sequence[Line] | FrazilError) -> None:
        if not self.is_attached:
            return
        if isinstance(lines, FrazilError):
            self.query_one("#log-line", Static).update(Text(f"log of {self._title}: {lines}", style="bold red"))
            return
        self.query_one(Listing).fill([pages.log_row(number, line) for number, line in enumerate(lines)][::-1])
