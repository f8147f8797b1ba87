"""`frazil top`: what the store does, on one screen that one wants to keep open."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from functools import partial
from typing import ClassVar

from rich.text import Text
from textual import work
from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.screen import Screen
from textual.widgets import DataTable, Footer, Input, Static, TabbedContent, TabPane

from node.errors import FrazilError
from tui import order, pages
from tui.boards import BoardPanel
from tui.dialog import Bytes, Confirm, Help, Log
from tui.feed import Feed, Opening, Reader
from tui.listing import Listing, Row
from tui.order import Call, Order
from tui.overview import Overview
from tui.snapshot import BoardView, DiskView, JobView, Snapshot

STALE_S = 5.0
"""What is older is said to be."""
TABS = ("overview", "volumes", "buckets", "jobs", "boards", "waiting", "services", "elections", "events", "hosts")
_TITLES = ("Overview", "Volumes", "Buckets", "Jobs", "Boards", "Queue", "Services", "Elections", "Events", "Hosts")


class Top(App[None]):
    """The dashboard. opening: where snapshots come from; write: whether it may steer."""

    TITLE = "frazil top"
    AUTO_FOCUS = None
    BINDINGS: ClassVar[list[BindingType]] = [
        *(Binding(str(number % 10), f"page({name!r})", show=False) for number, name in enumerate(TABS, 1)),
        Binding("slash", "filter", "Filter"),
        Binding("p", "hold", "Hold"),
        Binding("r", "now", "Read now", show=False),
        Binding("W", "allow", "Write"),
        Binding("space", "toggle_job", show=False),
        Binding("x", "abort_job", show=False),
        Binding("l", "lock", show=False),
        Binding("L", "log", show=False),
        Binding("o", "power", show=False),
        Binding("f", "fsck", show=False),
        Binding("v", "verify", show=False),
        Binding("b", "pace", show=False),
        Binding("question_mark", "help", "Help"),
        Binding("q", "quit", "Quit"),
    ]
    CSS = """
    #line { height: 1; padding: 0 1; background: $panel; }
    #filter { display: none; height: 1; border: none; padding: 0 1; }
    #filter.open { display: block; }
    .empty { padding: 1 2; color: $text-muted; }
    #boards-page { scrollbar-gutter: stable; }
    TabbedContent { height: 1fr; }
    TabPane { padding: 0; height: 1fr; }
    Listing { height: 1fr; }
    #boards-rows { height: auto; max-height: 9; }
    """

    def __init__(self, opening: Opening, *, every_s: float = 1.0, write: bool = False) -> None:
        super().__init__()
        self.snapshot: Snapshot | None = None
        self.writes = write
        self._held = False
        self._trouble = ""
        self._read_at_s = 0.0
        self._feed = Feed(opening, every_s, self._from_feed, self._feed_failed)

    def compose(self) -> ComposeResult:
        yield Static("connecting …", id="line")
        with TabbedContent(initial="overview"):
            for number, (name, title) in enumerate(zip(TABS, _TITLES, strict=True), 1):
                with TabPane(f"{number % 10} {title}", id=name):
                    yield from self._page(name)
        yield Input(placeholder="words that a row must have", id="filter", disabled=True)
        yield Footer()

    def _page(self, name: str) -> ComposeResult:
        match name:
            case "overview":
                yield Overview(id="overview-page")
            case "boards":
                yield Listing(pages.BOARD_COLUMNS, id="boards-rows", empty="")
                with VerticalScroll(id="boards-page"):
                    yield Static("No boards: objects of cold classes stay on the volumes.", classes="empty")
            case _:
                columns, empty = _COLUMNS[name]
                yield Static(empty, classes="empty")
                yield Listing(columns, id=f"{name}-rows", empty=empty)

    def on_mount(self) -> None:
        self._feed.start()
        self.query_one(TabbedContent).hide_tab("hosts")
        self.set_interval(1.0, self._draw_line)

    def on_unmount(self) -> None:
        self._feed.stop()

    # From the feed's thread

    def _from_feed(self, snapshot: Snapshot) -> None:
        self._hand_over(partial(self.show, snapshot))

    def _feed_failed(self, words: str) -> None:
        self._hand_over(partial(self._note_trouble, words))

    def _hand_over(self, call: partial[None]) -> None:
        if self.is_running:
            self.call_later(call)

    # In the app's own loop

    @property
    def _page_screen(self) -> Screen[object]:
        """The one with the pages, whatever lies over it."""
        return self.screen_stack[0]

    @property
    def _gone(self) -> bool:
        """Not there yet, or being taken down."""
        return not self.screen_stack or not self._page_screen.query("#line")

    def show(self, snapshot: Snapshot) -> None:
        """Draws a snapshot, unless the screen is held."""
        self._trouble, self._read_at_s = "", time.monotonic()
        if self._held or self._gone:
            return
        self.snapshot = snapshot
        if snapshot.hosts:
            self._page_screen.query_one(TabbedContent).show_tab("hosts")
        self._page_screen.query_one(Overview).remember(snapshot)
        self._draw_page()
        self._draw_line()

    def _draw_page(self) -> None:
        """The one that is seen; the others when they are turned to."""
        snapshot = self.snapshot
        if snapshot is None or self._gone:
            return
        match self._page_screen.query_one(TabbedContent).active:
            case "overview":
                self._page_screen.query_one(Overview).show(snapshot)
            case "volumes":
                self._fill("volumes", map(pages.volume_row, snapshot.volumes))
            case "buckets":
                self._fill("buckets", map(pages.bucket_row, snapshot.buckets))
            case "jobs":
                self._fill("jobs", map(pages.job_row, snapshot.jobs))
            case "boards":
                self._show_boards(snapshot)
            case "waiting":
                self._fill("waiting", map(pages.waiting_row, snapshot.waiting))
            case "services":
                self._fill("services", map(pages.service_row, snapshot.services))
            case "elections":
                self._fill("elections", map(pages.election_row, snapshot.elections))
            case "hosts":
                self._fill("hosts", map(pages.host_row, snapshot.hosts))
            case "events":
                self._fill("events", reversed([pages.event_row(number, each) for number, each in enumerate(snapshot.events)]))

    def _fill(self, name: str, each: Iterable[Row]) -> None:
        rows = list(each)
        listing = self._page_screen.query_one(f"#{name}-rows", Listing)
        listing.display = bool(rows)
        self._page_screen.query_one(f"#{name} .empty").display = not rows
        listing.fill(rows)

    def _show_boards(self, snapshot: Snapshot) -> None:
        """Of several the chosen one, below the list of all."""
        listing = self._page_screen.query_one("#boards-rows", Listing)
        listing.display = len(snapshot.boards) > 1
        listing.fill([pages.board_row(board) for board in snapshot.boards])
        self._page_screen.query_one("#boards-page .empty").display = not snapshot.boards
        self._show_board(snapshot, listing.chosen)

    def _show_board(self, snapshot: Snapshot, name: str | None) -> None:
        page = self._page_screen.query_one("#boards-page", VerticalScroll)
        if not page.query(BoardPanel):
            page.mount(BoardPanel())
        chosen = [board for board in snapshot.boards if board.name == name]
        page.query_one(BoardPanel).board = chosen[0] if chosen else None

    def on_data_table_row_highlighted(self, event: DataTable.RowHighlighted) -> None:
        if event.data_table.id == "boards-rows" and self.snapshot is not None and event.row_key is not None and not self._gone:
            self._show_board(self.snapshot, event.row_key.value)

    def _note_trouble(self, words: str) -> None:
        self._trouble = words
        self._draw_line()

    def _draw_line(self) -> None:
        if self._gone:
            return
        line = Text(no_wrap=True, overflow="ellipsis")
        if self.snapshot is not None:
            line.append(self.snapshot.name, style="bold")
            line.append(f"  {self.snapshot.url or 'does not run'}  ")
            age = time.monotonic() - self._read_at_s
            if self._held:
                line.append("held  ", style="reverse")
            elif age > STALE_S:
                line.append(f"{age:.0f} s old  ", style="bold yellow")
        line.append("may change things" if self.writes else "read-only", style="bold red" if self.writes else "dim")
        if self._trouble:
            line.append(f"  {self._trouble}", style="bold red")
        self._page_screen.query_one("#line", Static).update(line)

    # Keys

    def action_page(self, name: str) -> None:
        self.query_one(TabbedContent).active = name

    def on_tabbed_content_tab_activated(self, event: TabbedContent.TabActivated) -> None:
        self._draw_page()
        if not isinstance(self.focused, Input):
            shown = [listing for listing in event.pane.query(Listing) if listing.display]
            for widget in shown or event.pane.query(BoardPanel):
                widget.focus()

    def action_filter(self) -> None:
        box = self.query_one("#filter", Input)
        box.add_class("open")
        box.disabled = False
        box.focus()

    def on_input_changed(self, event: Input.Changed) -> None:
        for listing in self._listings():
            listing.filter(event.value)

    def on_input_submitted(self, event: Input.Submitted) -> None:
        self._leave_filter(keep=bool(event.value))

    def on_key(self, event: object) -> None:
        if getattr(event, "key", "") == "escape":
            self._leave_filter(keep=False)

    def _leave_filter(self, *, keep: bool) -> None:
        box = self.query_one("#filter", Input)
        if not keep:
            box.value = ""
            box.remove_class("open")
            box.disabled = True
        for listing in self._listings():
            listing.focus()

    def _listings(self) -> Iterator[Listing]:
        yield from self.query_one(f"#{self.query_one(TabbedContent).active}").query(Listing)

    def action_hold(self) -> None:
        self._held = not self._held
        self._draw_line()

    @work(thread=True)
    def action_now(self) -> None:
        async def read(reader: Reader) -> None:
            self._from_feed(await reader.read())

        self._make(read)

    def action_allow(self) -> None:
        self.writes = not self.writes
        self._draw_line()

    def action_help(self) -> None:
        self.push_screen(Help())

    def action_toggle_job(self) -> None:
        job = self._chosen_job()
        if job is not None:
            self._confirm(order.steer(job.id, "running" if job.state == "paused" else "paused"))

    def action_abort_job(self) -> None:
        job = self._chosen_job()
        if job is not None:
            self._confirm(order.steer(job.id, "aborted"))

    def _chosen_job(self) -> JobView | None:
        if self.query_one(TabbedContent).active != "jobs" or self.snapshot is None:
            return None
        if not self._may_write():
            return None
        chosen = self.query_one("#jobs-rows", Listing).chosen
        return next((job for job in self.snapshot.jobs if str(job.id) == chosen), None)

    def _may_write(self) -> bool:
        if not self.writes:
            self.notify("read-only: press W first", severity="warning")
        return self.writes

    def action_lock(self) -> None:
        if self.query_one(TabbedContent).active != "services" or self.snapshot is None:
            return
        if not self._may_write():
            return
        chosen = self.query_one("#services-rows", Listing).chosen
        service = next((each for each in self.snapshot.services if each.name == chosen), None)
        if service is not None:
            self._confirm(order.lock(service))

    def action_log(self) -> None:
        """Of the chosen service; where there are none, of the store."""
        chosen, title = "", "the store"
        if self.snapshot is not None and self.snapshot.hosts:
            chosen = title = self.query_one("#services-rows", Listing).chosen or ""
            if self.query_one(TabbedContent).active != "services" or not chosen:
                self.notify("choose a service on its page (7) first", severity="warning")
                return
        self.push_screen(Log(title, lambda: self._feed.call(lambda reader: reader.log(chosen))))

    def _chosen_disk(self) -> tuple[BoardView, DiskView] | None:
        """On the page of boards, when things may be changed."""
        if self.query_one(TabbedContent).active != "boards":
            return None
        for panel in self.query(BoardPanel):
            if panel.board is not None and panel.chosen is not None and self._may_write():
                return panel.board, panel.chosen
        return None

    def action_power(self) -> None:
        if (found := self._chosen_disk()) is not None:
            self._confirm(order.switch(*found))

    def action_fsck(self) -> None:
        if (found := self._chosen_disk()) is not None:
            self._confirm(order.check(*found))

    def action_verify(self) -> None:
        if (found := self._chosen_disk()) is not None:
            self._confirm(order.verify(*found))

    def action_pace(self) -> None:
        if (found := self._chosen_disk()) is None:
            return
        bus = order.bus_of(*found)

        def answered(rate: int | None) -> None:
            if rate is not None:
                self._carry_out(lambda reader: reader.pace(bus, rate))

        question = f"How many bytes per second may go to bus {bus}, and come from it?"
        self.push_screen(Bytes(question, f"frazil glacier pace RATE --bus {bus}"), answered)

    def _confirm(self, wanted: Order) -> None:
        def answered(yes: bool | None) -> None:
            if yes:
                self._carry_out(wanted.call)

        self.push_screen(Confirm(wanted.question, wanted.command), answered)

    @work(thread=True)
    def _carry_out(self, call: Call) -> None:
        self._make(call)

    def _make(self, call: Call) -> None:
        try:
            words = self._feed.call(call)
        except FrazilError as error:
            self.call_from_thread(partial(self.notify, str(error), severity="error", markup=False))
        else:
            if words:
                self.call_from_thread(partial(self.notify, words, markup=False))


_COLUMNS = {
    "volumes": (pages.VOLUME_COLUMNS, "No volumes."),
    "buckets": (pages.BUCKET_COLUMNS, "No buckets yet: frazil mb s3://NAME makes one."),
    "jobs": (pages.JOB_COLUMNS, "No jobs: scrubs, rebuilds and moves appear here."),
    "waiting": (pages.WAITING_COLUMNS, "Nothing waits for a sleeping disk."),
    "services": (pages.SERVICE_COLUMNS, "One process serves everything; a cluster lists its services here."),
    "hosts": (pages.HOST_COLUMNS, "One host: Volumes shows its disks."),
    "elections": (pages.ELECTION_COLUMNS, "No elections: one process holds all metadata."),
    "events": (pages.EVENT_COLUMNS, "Nothing has changed since this dashboard was opened."),
}
