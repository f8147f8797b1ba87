"""The dashboard as it looks and as its keys work, without a terminal. FRAZIL_TEST_WRITE=1 writes the screens anew."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from textual.pilot import Pilot
from textual.widgets import TabbedContent

from glacier.worker.protocol import Verb
from node.errors import AlreadyExists, PowerBudgetSpent, Unavailable
from node.logbook import Line
from tests.support.dashboard import AT_US, BROKEN_AT_WORK, BUSY, CLUSTER, NOT_UP
from tui.app import TABS, Top
from tui.boards import BoardPanel
from tui.feed import Reader
from tui.listing import Listing
from tui.snapshot import Snapshot

SCREENS = Path(__file__).parent / "screens"
SIZES = [(80, 24), (120, 40)]
Scenario = Callable[[Top, Pilot[None]], Awaitable[None]]


class Told:
    """A reader of fixed words; remembers what it was told to do."""

    def __init__(self, snapshot: Snapshot = BUSY) -> None:
        self.snapshot = snapshot
        self.orders: list[tuple[int, str]] = []
        self.locks: list[tuple[str, bool]] = []
        self.cold: list[tuple[str, int, str]] = []
        self.read_once = threading.Event()

    async def read(self) -> Snapshot:
        self.read_once.set()
        return self.snapshot

    async def steer(self, job: int, state: str) -> None:
        if job == 5:
            raise AlreadyExists("job 5 is over")
        self.orders.append((job, state))

    async def lock(self, service: str, *, locked: bool) -> None:
        self.locks.append((service, locked))

    async def order(self, bus: str, disk: int, verb: Verb) -> str:
        if disk == 4:
            raise PowerBudgetSpent("disk 3 has power, and bus 0 has it for one disk at a time: switch that one off first")
        self.cold.append((bus, disk, verb.value))
        return f"disk {disk} is {verb.value}"

    async def verify(self, bus: str, disk: int) -> str:
        self.cold.append((bus, disk, "verify"))
        return "its chunks will be read"

    async def pace(self, bus: str, rate_bytes: int) -> str:
        self.cold.append((bus, rate_bytes, "pace"))
        return "at most so much"

    async def log(self, service: str) -> list[Line]:
        if service.startswith("meta"):
            raise Unavailable("no answer within 5 s")
        return [Line(AT_US, "info", f"{service or 'the store'} serves"), Line(AT_US + 10**6, "warning", "a volume is away reason=[gone]")]


def play(
    scenario: Scenario, told: Told | None = None, *, size: tuple[int, int] = (120, 40), write: bool = False, every_s: float = 1.0
) -> None:
    """Runs the app with what `told` reads until the scenario is over. every_s: each reading makes the pilot wait longer for its keys."""
    reader = told or Told()

    @asynccontextmanager
    async def opening() -> AsyncIterator[Reader]:
        yield reader

    async def run() -> None:
        app = Top(opening, every_s=every_s, write=write)
        app.animation_level = "none"
        async with app.run_test(size=size, notifications=True) as pilot:
            while app.snapshot is None:
                await pilot.pause(0.02)
            await scenario(app, pilot)

    asyncio.run(run())


async def until(true: Callable[[], bool], pilot: Pilot[None]) -> None:
    for _ in range(100):
        if true():
            return
        await pilot.pause(0.05)
    raise AssertionError("it never came")


async def settled(app: Top, pilot: Pilot[None], expected: str) -> None:
    """Waits for the screen to look as it should: pages are laid out in steps, and a busy machine takes its time for each."""
    for _ in range(400):
        if screen(app) == expected:
            return
        await pilot.pause(0.05)


def screen(app: Top) -> str:
    """The characters on the screen."""
    strips = app.screen._compositor.render_strips()
    return "\n".join("".join(segment.text for segment in strip).rstrip() for strip in strips) + "\n"


async def looks(app: Top, pilot: Pilot[None], name: str) -> None:
    """Whether the screen is the one that was kept under this name."""
    path = SCREENS / f"{name}-{app.size.width}x{app.size.height}.txt"
    if os.environ.get("FRAZIL_TEST_WRITE") == "1":
        await pilot.pause(1.0)
        path.parent.mkdir(exist_ok=True)
        path.write_text(screen(app))
    await settled(app, pilot, path.read_text())
    assert screen(app) == path.read_text()


@pytest.mark.parametrize("size", SIZES, ids=["80x24", "120x40"])
def test_every_page_looks_as_it_should(size: tuple[int, int]) -> None:
    async def scenario(app: Top, pilot: Pilot[None]) -> None:
        for number, name in enumerate(TABS[:9], 1):
            await pilot.press(str(number))
            await looks(app, pilot, name)

    play(scenario, size=size)


@pytest.mark.parametrize("size", SIZES, ids=["80x24", "120x40"])
def test_a_cluster_shows_its_hosts_services_leaders_and_the_board_that_is_chosen(size: tuple[int, int]) -> None:
    async def scenario(app: Top, pilot: Pilot[None]) -> None:
        for key, name in (("1", "overview"), ("2", "volumes"), ("7", "services"), ("8", "elections"), ("0", "hosts")):
            await pilot.press(key)
            await looks(app, pilot, f"cluster-{name}")
        await pilot.press("5")
        await looks(app, pilot, "cluster-boards")
        await pilot.press("down", "down")
        await looks(app, pilot, "cluster-third-board")

    play(scenario, Told(CLUSTER), size=size)


@pytest.mark.parametrize("size", SIZES, ids=["80x24", "120x40"])
@pytest.mark.parametrize(("name", "snapshot"), [("not-up", NOT_UP), ("broken-at-work", BROKEN_AT_WORK)], ids=["not-up", "broken-at-work"])
def test_a_disk_that_fails_is_seen_on_every_page_that_is_about_it(size: tuple[int, int], name: str, snapshot: Snapshot) -> None:
    async def scenario(app: Top, pilot: Pilot[None]) -> None:
        for key, page in (("1", "overview"), ("5", "boards"), ("6", "waiting"), ("9", "events")):
            await pilot.press(key)
            await looks(app, pilot, f"{name}-{page}")

    play(scenario, Told(snapshot), size=size)


def test_a_disk_is_switched_checked_and_verified_after_being_asked() -> None:
    told = Told()

    async def scenario(app: Top, pilot: Pilot[None]) -> None:
        await pilot.press("5", "o", "y")
        await pilot.pause(0.1)
        assert told.cold == []
        await pilot.press("W", "o")
        await until(lambda: "frazil glacier power on 0 --bus icebox-1/0" in screen(app), pilot)
        await pilot.press("n", "o", "y")
        await until(lambda: told.cold == [("icebox-1/0", 0, "on")], pilot)
        await until(lambda: "disk 0 is on" in screen(app), pilot)
        await pilot.press("right", "right", "right", "o")
        await until(lambda: "power off 3 --bus" in screen(app), pilot)
        await pilot.press("y")
        await until(lambda: told.cold[1:] == [("icebox-1/0", 3, "off")], pilot)
        await pilot.press("f", "y")
        await until(lambda: told.cold[2:] == [("icebox-1/0", 3, "fsck")], pilot)
        await pilot.press("v", "y")
        await until(lambda: told.cold[3:] == [("icebox-1/0", 3, "verify")], pilot)

    play(scenario, told)


def test_a_disk_that_the_budget_gives_no_power_says_why_and_a_failed_one_is_tried_by_force() -> None:
    told = Told()

    async def scenario(app: Top, pilot: Pilot[None]) -> None:
        await pilot.press("5", *["right"] * 4, "o", "y")
        await until(lambda: "switch that one off first" in " ".join(screen(app).split()), pilot)
        await pilot.press(*["down"] * 3)
        board = app.query_one(BoardPanel)
        await until(lambda: board.chosen is not None and board.chosen.bus == 1, pilot)
        board.cursor = 41
        await pilot.press("o")
        await until(lambda: "power on 41 --force" in " ".join(screen(app).split()), pilot)
        await pilot.press("y")
        await until(lambda: told.cold == [("icebox-1/1", 41, "force")], pilot)

    play(scenario, told, write=True)


def test_the_bytes_of_a_bus_are_limited_once_they_are_a_number() -> None:
    told = Told()

    async def scenario(app: Top, pilot: Pilot[None]) -> None:
        await pilot.press("5", "b", *"much", "enter")
        await until(lambda: "is no number of bytes" in " ".join(screen(app).split()), pilot)
        assert told.cold == []
        await pilot.press("escape", "b", *"8MiB", "enter")
        await until(lambda: told.cold == [("icebox-1/0", 8 << 20, "pace")], pilot)

    play(scenario, told, write=True)


@pytest.mark.parametrize("size", SIZES, ids=["80x24", "120x40"])
def test_the_log_of_the_chosen_service_is_shown(size: tuple[int, int]) -> None:
    async def scenario(app: Top, pilot: Pilot[None]) -> None:
        await pilot.press("L")
        await until(lambda: "choose a service" in screen(app), pilot)
        await pilot.press("7")
        await until(lambda: app.query_one("#services-rows", Listing).chosen == "conscience-1a4f", pilot)
        await pilot.press("L")
        await looks(app, pilot, "cluster-log")
        await pilot.press("escape", "down", "L")
        await until(lambda: "no answer within 5 s" in screen(app), pilot)

    play(scenario, Told(CLUSTER), size=size)


def test_the_log_of_a_store_in_one_process_is_shown() -> None:
    async def scenario(app: Top, pilot: Pilot[None]) -> None:
        await pilot.press("L")
        await until(lambda: "the store serves" in screen(app), pilot)

    play(scenario)


def test_a_service_is_locked_and_unlocked_after_being_asked() -> None:
    told = Told(CLUSTER)

    async def scenario(app: Top, pilot: Pilot[None]) -> None:
        await pilot.press("7", "l", "y")
        await pilot.pause(0.1)
        assert told.locks == []
        await pilot.press("W", "l")
        await until(lambda: "frazil cluster lock conscience-1a4f" in screen(app), pilot)
        await pilot.press("n", "l", "y")
        await until(lambda: told.locks == [("conscience-1a4f", True)], pilot)
        await pilot.press(*["down"] * 6, "l")
        await until(lambda: "frazil cluster unlock rawx-2a4f" in screen(app), pilot)
        await pilot.press("y")
        await until(lambda: told.locks[1:] == [("rawx-2a4f", False)], pilot)

    play(scenario, told)


def test_pages_without_anything_say_why() -> None:
    async def scenario(app: Top, pilot: Pilot[None]) -> None:
        for name in ("5", "6", "7", "8", "9"):
            await pilot.press(name)
            await pilot.pause()
        assert "Nothing has changed" in screen(app)

    play(scenario, Told(Snapshot(AT_US, "/srv/frazil", True)))


def test_filter_keeps_the_rows_with_all_words_and_escape_brings_back_all() -> None:
    async def scenario(app: Top, pilot: Pilot[None]) -> None:
        await pilot.press("3", "slash", *"arch gla")
        await pilot.pause()
        buckets = app.query_one("#buckets-rows", Listing)
        assert [row.key for row in buckets.shown] == ["archive"]
        await pilot.press("escape")
        await pilot.pause()
        assert len(buckets.shown) == 2

    play(scenario)


def test_sorting_goes_from_column_to_column_and_back_to_the_natural_order() -> None:
    async def scenario(app: Top, pilot: Pilot[None]) -> None:
        await pilot.press("3")
        buckets = app.query_one("#buckets-rows", Listing)
        await pilot.press("s", "s", "s")
        await pilot.pause()
        assert [row.key for row in buckets.shown] == ["archive", "photos"]
        await pilot.press("S")
        await pilot.pause()
        assert [row.key for row in buckets.shown] == ["photos", "archive"]
        await pilot.press("s", "s", "s")
        await pilot.pause()
        assert [row.key for row in buckets.shown] == ["archive", "photos"]

    play(scenario)


def test_the_cursor_stays_on_its_thing_while_rows_come_and_go() -> None:
    told = Told()

    async def scenario(app: Top, pilot: Pilot[None]) -> None:
        await pilot.press("4", "down")
        jobs = app.query_one("#jobs-rows", Listing)
        assert jobs.chosen == "6"
        app.show(Snapshot(AT_US, "x", True, jobs=(BUSY.jobs[1], BUSY.jobs[2])))
        assert jobs.chosen == "6"

    play(scenario, told)


def test_looking_changes_nothing() -> None:
    told = Told()

    async def scenario(app: Top, pilot: Pilot[None]) -> None:
        await pilot.press("4", "space", "y", "x", "y")
        await pilot.pause(0.1)

    play(scenario, told)
    assert told.orders == []


def test_a_job_is_paused_resumed_and_aborted_after_being_asked() -> None:
    told = Told()

    async def scenario(app: Top, pilot: Pilot[None]) -> None:
        await pilot.press("4", "W", "space")
        await pilot.pause()
        assert "frazil job pause 7" in screen(app)
        await pilot.press("y")
        await pilot.pause(0.1)
        await pilot.press("down", "space", "y")
        await pilot.pause(0.1)
        await pilot.press("x", "n")
        await pilot.pause(0.1)
        await pilot.press("x", "y")
        await pilot.pause(0.3)

    play(scenario, told)
    assert told.orders == [(7, "paused"), (6, "running"), (6, "aborted")]


def test_what_the_store_refuses_is_shown() -> None:
    async def scenario(app: Top, pilot: Pilot[None]) -> None:
        await pilot.press("4", "down", "down", "x", "y")
        await until(lambda: "job 5 is over" in screen(app), pilot)

    play(scenario, write=True)


def test_a_held_screen_stays_as_it_is() -> None:
    told = Told()

    async def scenario(app: Top, pilot: Pilot[None]) -> None:
        await pilot.press("p")
        told.snapshot = Snapshot(AT_US, "elsewhere", True)
        await pilot.pause(0.3)
        assert app.snapshot is BUSY
        await pilot.press("p")
        await pilot.pause(0.3)
        assert app.snapshot is told.snapshot

    play(scenario, told, every_s=0.1)


def test_a_store_out_of_reach_is_told_and_tried_again() -> None:
    class Failing(Told):
        failures = 3

        async def read(self) -> Snapshot:
            if self.failures:
                self.failures -= 1
                raise OSError("the disk is gone")
            return await super().read()

    async def scenario(app: Top, pilot: Pilot[None]) -> None:
        assert app.snapshot is BUSY

    play(scenario, Failing(), every_s=0.1)


def test_help_names_the_keys_and_goes_away() -> None:
    async def scenario(app: Top, pilot: Pilot[None]) -> None:
        await pilot.press("question_mark")
        await pilot.pause()
        assert "filter rows" in screen(app)
        await pilot.press("escape")
        await pilot.pause()
        assert app.query_one(TabbedContent).active == "overview"

    play(scenario)
