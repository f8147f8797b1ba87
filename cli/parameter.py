"""Types of arguments and options: places, sizes, durations, and options that several commands share."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from typing import Any

import click

from cli.address import Address, Remote, parse_address, parse_remote
from cli.job import JOBS_DEFAULT
from cli.place import config_file, read_profiles
from node.errors import ConfigError, InvalidArgument

JOBS_MAX = 256
ENCRYPTION_HEADER = "x-amz-server-side-encryption"
_SIZE_UNITS = {
    "": 1,
    "b": 1,
    "k": 1 << 10,
    "kib": 1 << 10,
    "m": 1 << 20,
    "mib": 1 << 20,
    "g": 1 << 30,
    "gib": 1 << 30,
    "t": 1 << 40,
    "tib": 1 << 40,
}
_TIME_UNITS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86_400}


def _profiles(value: str) -> frozenset[str]:
    """The profiles there are, read only when the value could name one."""
    if value.startswith("s3://") or ":" not in value.partition("/")[0]:
        return frozenset()
    return frozenset(read_profiles(config_file(os.environ))[0])


class RemoteType(click.ParamType[Remote]):
    """A bucket, object or prefix; `s3://` may be left out."""

    name = "place"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Remote:
        if isinstance(value, Remote):
            return value
        try:
            return parse_remote(value, _profiles(value))
        except (InvalidArgument, ConfigError) as error:
            self.fail(str(error), param, ctx)

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[Any]:
        from cli.completion import complete_place

        return complete_place(ctx, incomplete, local=False)


class AddressType(click.ParamType[Address]):
    """A remote place (with `s3://` or a profile), a local path, or `-`."""

    name = "place"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Address:
        if not isinstance(value, str):
            return value  # type: ignore[no-any-return]  # converted before
        try:
            return parse_address(value, _profiles(value))
        except (InvalidArgument, ConfigError) as error:
            self.fail(str(error), param, ctx)

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[Any]:
        from cli.completion import complete_place

        return complete_place(ctx, incomplete, local=True)


class _Quantity(click.ParamType[int]):
    def __init__(self, name: str, units: dict[str, int], example: str) -> None:
        self.name = name
        self._units = units
        self._example = example

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        if isinstance(value, int):
            return value
        match = re.fullmatch(r"(\d{1,15})\s*([a-zA-Z]*)", value)
        if match is None or match[2].lower() not in self._units:
            self.fail(f"{value!r} is no {self.name}; write one like {self._example}", param, ctx)
        return int(match[1]) * self._units[match[2].lower()]


class HostPort(click.ParamType[tuple[str, int]]):
    """HOST:PORT, [IPV6]:PORT or :PORT for all addresses; as (host, port)."""

    name = "host:port"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, int]:
        if isinstance(value, tuple):
            return value
        host, colon, port = value.rpartition(":")
        if not colon or not port.isdigit() or not 0 <= int(port) <= 65_535 or (":" in host and not host.startswith("[")):
            self.fail(f"{value!r} is not HOST:PORT (as 127.0.0.1:3200, [::1]:3200, :3200)", param, ctx)
        return host.strip("[]"), int(port)


REMOTE = RemoteType()
ADDRESS = AddressType()
SIZE = _Quantity("size", _SIZE_UNITS, "64MiB")
DURATION = _Quantity("duration", _TIME_UNITS, "90s, 15m, 12h or 7d")
HOST_PORT = HostPort()


def jobs_option(function: Callable[..., Any]) -> Callable[..., Any]:
    text = "How many transfers and requests run side by side."
    return click.option("-j", "--jobs", metavar="N", type=click.IntRange(1, JOBS_MAX), default=JOBS_DEFAULT, show_default=True, help=text)(
        function
    )


def dry_run_option(function: Callable[..., Any]) -> Callable[..., Any]:
    return click.option("-n", "--dry-run", is_flag=True, help="Say what would be done, with '(dry-run)' before each line, and do nothing.")(
        function
    )


def filter_options(function: Callable[..., Any]) -> Callable[..., Any]:
    include = click.option(
        "--include", multiple=True, metavar="GLOB", help="Only names that match; ** crosses folders; may be given again."
    )
    exclude = click.option("--exclude", multiple=True, metavar="GLOB", help="No names that match; wins over --include; may be given again.")
    return include(exclude(function))


def header_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """What an object gets beside its bytes; `object_headers` turns the options into headers."""
    options = (
        click.option("--content-type", metavar="TYPE", default="", help="Content-Type, instead of guessing by the name."),
        click.option("--cache-control", metavar="VALUE", default="", help="Cache-Control."),
        click.option("--metadata", multiple=True, metavar="NAME=VALUE", help="User metadata; may be given again."),
        click.option("--storage-class", metavar="CLASS", default="", help="Storage class."),
        click.option("--sse", metavar="aes256|kms[:KEY]", default="", help="Encrypt in the store, with its own key or one that it holds."),
    )
    for option in reversed(options):
        function = option(function)
    return function


def customer_key_option(function: Callable[..., Any]) -> Callable[..., Any]:
    text = "File with your own key (SSE-C), which the store doesn't keep: 32 bytes, hex or base64."
    return click.option("--sse-c-key-file", metavar="FILE", default="", help=text)(function)


def _encryption_headers(wish: str) -> dict[str, str]:
    method, _, key = wish.partition(":")
    match method.lower():
        case "":
            return {}
        case "aes256" if not key:
            return {ENCRYPTION_HEADER: "AES256"}
        case "kms":
            return {ENCRYPTION_HEADER: "aws:kms"} | ({f"{ENCRYPTION_HEADER}-aws-kms-key-id": key} if key else {})
    raise click.UsageError(f"--sse {wish!r} is not aes256, kms or kms:KEY")


def object_headers(options: dict[str, Any]) -> dict[str, str]:
    """Takes the header options out of `options`. Raises: click.UsageError."""
    headers: dict[str, str] = {}
    for option, header in (("content_type", "content-type"), ("cache_control", "cache-control"), ("storage_class", "x-amz-storage-class")):
        if value := options.pop(option):
            headers[header] = value
    headers |= _encryption_headers(options.pop("sse"))
    for pair in options.pop("metadata"):
        name, equals, value = pair.partition("=")
        if not equals or not re.fullmatch(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+", name):
            raise click.UsageError(f"--metadata {pair!r} is not NAME=VALUE")
        headers[f"x-amz-meta-{name.lower()}"] = value
    for name, value in headers.items():
        if not value.isprintable():
            raise click.UsageError(f"the value for {name} has control characters")
    return headers
