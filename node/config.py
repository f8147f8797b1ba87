"""TOML files into frozen dataclasses: each component has one, its defaults are the documentation, and a mistake is named with its place."""

from __future__ import annotations

import dataclasses
import difflib
import tomllib
import types
import typing
from pathlib import Path
from typing import Any, TypeVar

from node.errors import ConfigError

T = TypeVar("T")
_MAX_BYTES = 1 << 20
_WORDS = {
    str: "a string",
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    dict: "a table",
    list: "a list",
    tuple: "a list",
    Path: "a path",
}


def load(kind: type[T], path: str | Path) -> T:
    """The configuration in the file at `path`. Raises: ConfigError naming the file, the key and what would be right."""
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from error
    if len(data) > _MAX_BYTES:
        raise ConfigError(f"{path}: larger than {_MAX_BYTES} bytes")
    try:
        return parse(kind, data.decode())
    except (ConfigError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: {error}") from error


def parse(kind: type[T], text: str) -> T:
    """As `load`, from the text itself."""
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"not TOML: {error}") from error
    return build(kind, table)


def build(kind: type[T], table: dict[str, Any], *, where: str = "") -> T:
    """A dataclass from a table; nested dataclasses from nested tables. `where` is the dotted place of the table."""
    assert dataclasses.is_dataclass(kind)
    hints = typing.get_type_hints(kind)
    names = [field.name for field in dataclasses.fields(kind)]
    for key in table:
        if key not in names:
            near = difflib.get_close_matches(key, names, n=1)
            hint = f"; did you mean {near[0]}?" if near else f"; known here: {', '.join(sorted(names))}"
            raise ConfigError(f"unknown key {where}{key}{hint}")
    values = {key: _convert(hints[key], value, f"{where}{key}") for key, value in table.items()}
    missing = [
        field.name
        for field in dataclasses.fields(kind)
        if field.name not in values and field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
    ]
    if missing:
        raise ConfigError(f"{where}{missing[0]} is not set and has no default")
    try:
        return typing.cast(T, kind(**values))
    except ValueError as error:
        raise ConfigError(f"{where.rstrip('.') or 'configuration'}: {error}") from error


def _convert(hint: Any, value: Any, place: str) -> Any:
    origin = typing.get_origin(hint)
    arguments = typing.get_args(hint)
    if dataclasses.is_dataclass(hint) and isinstance(value, dict):
        return build(typing.cast(type[Any], hint), value, where=f"{place}.")
    if origin in (typing.Union, types.UnionType):
        return _convert_union(arguments, value, place)
    if origin is typing.Literal:
        if value in arguments:
            return value
        raise ConfigError(f"{place} is {value!r}; it may be {', '.join(map(repr, arguments))}")
    if origin in (list, tuple) and isinstance(value, list):
        items = [_convert(arguments[0], item, f"{place}[{at}]") for at, item in enumerate(value)]
        return items if origin is list else tuple(items)
    if origin is dict and isinstance(value, dict):
        return {key: _convert(arguments[1], item, f"{place}.{key}") for key, item in value.items()}
    if hint is float and type(value) is int:
        return float(value)
    if hint is Path and isinstance(value, str):
        return Path(value)
    if isinstance(hint, type) and type(value) is hint:  # type(): true is no number
        return value
    raise ConfigError(f"{place} must be {_describe(hint)}, not {_describe(type(value))} {value!r}")


def _convert_union(arguments: tuple[Any, ...], value: Any, place: str) -> Any:
    for argument in arguments:
        if argument is type(None):
            continue
        try:
            return _convert(argument, value, place)
        except ConfigError:
            if len([a for a in arguments if a is not type(None)]) == 1:
                raise
    raise ConfigError(f"{place} must be {' or '.join(map(_describe, arguments))}, not {value!r}")


def _describe(hint: Any) -> str:
    origin = typing.get_origin(hint) or hint
    if dataclasses.is_dataclass(origin):
        return "a table"
    return _WORDS.get(origin) or str(getattr(origin, "__name__", origin))
