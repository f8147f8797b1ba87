"""Tables of the dashboard: what strangers wrote is shown, and not obeyed."""

from __future__ import annotations

import asyncio

from textual.app import App, ComposeResult

from tui.listing import Listing, Row


class Shown(App[None]):
    def compose(self) -> ComposeResult:
        yield Listing(("name",), id="rows", empty="")


def test_a_name_with_control_characters_is_harmless_for_the_terminal() -> None:
    async def lines() -> list[str]:
        app = Shown()
        async with app.run_test(size=(60, 10)) as pilot:
            listing = app.query_one(Listing)
            listing.fill([Row("1", ("photo\x1b]0;title\x07\x9b2J\nnext",))])
            await pilot.pause()
            return ["".join(segment.text for segment in listing.render_line(y)) for y in range(3)]

    shown = asyncio.run(lines())
    assert all(line.isprintable() for line in shown)
    assert any("photo\\x1b]0;title\\x07\\x9b2J\\nnext" in line for line in shown)
