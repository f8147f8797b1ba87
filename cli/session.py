"""What every command shares: the common options, the output, the store it speaks to, and the event loop it runs in."""

from __future__ import annotations

import functools
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import click

from cli.customer import NO_KEYS, CustomerKeys
from cli.exit import Exit, Hinted, main_cause
from cli.output import Output
from cli.place import Profile, StoreDirectory, find

if TYPE_CHECKING:
    from cli.client import S3Client

T = TypeVar("T")
_COMMON = ("store", "profile", "json", "quiet", "color")


@dataclass(frozen=True, slots=True)
class Settings:
    """The common options as given, before or behind the command's name."""

    store: str = ""
    profile: str = ""
    json: bool = False
    quiet: bool = False
    color: str = "auto"


def common_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Adds the options that every command understands."""
    options = (
        click.option("--store", metavar="DIR", default="", help="The store on this host, by its first directory [env: FRAZIL_STORE]."),
        click.option("--profile", metavar="NAME", default="", help="A store elsewhere, by its name in config.toml [env: FRAZIL_PROFILE]."),
        click.option("--json", is_flag=True, help="JSON Lines on standard output, with a summary record at the end."),
        click.option("-q", "--quiet", is_flag=True, help="Only results and errors."),
        click.option(
            "--color",
            type=click.Choice(["auto", "always", "never"]),
            default="auto",
            help="Colour [default: auto; env: NO_COLOR, CLICOLOR_FORCE].",
        ),
    )
    for option in reversed(options):
        function = option(function)
    return function


def with_session(function: Callable[..., Any]) -> Callable[..., Any]:
    """A command that gets a Session first, made of the common options; `dry_run` among its own options reaches the output."""

    @functools.wraps(function)
    def command(*args: object, **options: object) -> object:
        context = click.get_current_context()
        given = {name: options.pop(name) for name in _COMMON}
        for name, value in context.find_root().params.items():  # `frazil --json ls` means the same as `frazil ls --json`
            if name in given and given[name] in ("", False, "auto"):
                given[name] = value
        session = Session(Settings(**given), dry_run=bool(options.get("dry_run")))  # type: ignore[arg-type]
        try:
            try:
                result = function(session, *args, **options)
            except BaseException as error:
                if os.environ.get("FRAZIL_DEBUG") or not _is_failure(error):
                    raise
                result = session.output.error(error, where=session.subject)
            session.output.flush()
        except BaseException as error:
            if not isinstance(main_cause(error), BrokenPipeError):
                raise
            session.output.abandon()  # here and not at the root: click would make it exit code 1
            result = Exit.PIPE
        return result

    return common_options(command)


def _is_failure(error: BaseException) -> bool:
    """Whether it is to be told as this command's failure; the rest (usage, interrupts, a closed pipe) is the root's to tell."""
    cause = main_cause(error)
    return isinstance(cause, Exception) and not isinstance(
        cause, (click.ClickException, click.exceptions.Exit, click.Abort, BrokenPipeError)
    )


class Session:
    """One run of one command. subject: what it is about, for the message when it fails."""

    def __init__(self, settings: Settings, *, dry_run: bool = False) -> None:
        self.settings = settings
        self.subject = ""
        self.output = Output(json=settings.json, quiet=settings.quiet, color=settings.color, dry_run=dry_run)

    def __repr__(self) -> str:
        return f"<Session {self.settings}>"

    def place(self, profile: str = "") -> StoreDirectory | Profile:
        """Where the command goes; `profile` from an address overrides the options."""
        if profile:
            return find("", profile, os.environ)
        return find(self.settings.store, self.settings.profile, os.environ)

    def directory(self, profile: str = "") -> StoreDirectory:
        """For commands that only work on the store's own host; profile: as for `place`. Raises: Hinted."""
        place = self.place(profile)
        if isinstance(place, Profile):
            raise Hinted(f"profile {place.name} is a store elsewhere", "run this on the store's host, with --store DIR", code=Exit.USAGE)
        return place

    @asynccontextmanager
    async def client(self, profile: str = "", *, connections_max: int = 32, customers: CustomerKeys = NO_KEYS) -> AsyncIterator[S3Client]:
        """An S3 client of the place. Raises: Hinted when a local store doesn't run."""
        from cli.client import S3Client

        place = self.place(profile)
        if isinstance(place, Profile):
            endpoint = place.load()
        else:
            from cli.door import local_endpoint

            endpoint = await local_endpoint(place)
        async with S3Client(endpoint, connections_max=connections_max, customers=customers) as client:
            yield client

    @asynccontextmanager
    async def clients(
        self, profiles: set[str], *, connections_max: int = 32, customers: CustomerKeys = NO_KEYS
    ) -> AsyncIterator[dict[str, S3Client]]:
        """A client for each profile that the addresses of a command name."""
        async with AsyncExitStack() as stack:
            yield {
                name: await stack.enter_async_context(self.client(name, connections_max=connections_max, customers=customers))
                for name in profiles
            }

    def run(self, main: Callable[[], Awaitable[T]]) -> T:
        """Runs the command's event loop; SIGTERM ends it as SIGINT does."""
        import signal

        import trio

        signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))
        return trio.run(main, restrict_keyboard_interrupt_to_checkpoints=True)
