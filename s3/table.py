"""The operation table of s3/README.md: what botocore's model has, and beside it what the router does with it and which test shows that.

`python -m s3.table` says whether the README is current; with --write it makes it so. A development tool: it needs botocore and the tests.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from functools import cache
from pathlib import Path

from s3.router import NOT_IN_MODEL, ROUTES, Route

BEGIN = "<!-- operations: made by `make s3-table WRITE=1` -->"
END = "<!-- end of operations -->"
README = Path(__file__).with_name("README.md")
TESTS = Path(__file__).parent.parent / "tests"
_FOLDERS = ("component/s3", "cluster")
_ROW = re.compile(r"^\| (\w+)[^|]*\|.*\| served: ([\w./]+) \|$", re.MULTILINE)
_OF_BROWSERS = {"PostObject": "generate_presigned_post"} | dict.fromkeys(NOT_IN_MODEL - {"PostObject"}, "OPTIONS")
"""What a test of an operation has in it that boto3 has no method for."""


def table(readme: str) -> str:
    """Raises: LookupError for an operation of the model without a route, and for a served one that no test calls."""
    from botocore.session import get_session

    routes = {name: route for route in ROUTES for name in (route.operation, *route.also)}
    names = {routes[name].operation for name in (*get_session().get_service_model("s3").operation_names, *NOT_IN_MODEL)}
    kept = dict(_ROW.findall(readme))
    lines = [BEGIN, "| operation | request | permission | state |", "|---|---|---|---|"]
    lines += [_line(routes[name], kept) for name in sorted(names)]
    return "\n".join([*lines, END])


def _line(route: Route, kept: Mapping[str, str]) -> str:
    path = {"service": "/", "bucket": "/{bucket}", "object": "/{bucket}/{key}"}[route.level.value]
    query = "?" + "&".join(route.query) if route.query else ""
    header = f" + {route.header.decode('ascii')}" if route.header else ""
    names = ", ".join((route.operation, *route.also))
    state = f"served: {_test_of(route, kept.get(route.operation, ''))}" if route.handler else f"NotImplemented: {route.note}"
    return f"| {names} | `{route.method} {path}{query}`{header} | {route.permission} | {state} |"


def _test_of(route: Route, kept: str) -> str:
    """A file that calls the operation: the one that the table named before while it does, so that new tests don't change the table."""
    from botocore import xform_name

    words = [_OF_BROWSERS.get(route.operation) or xform_name(name) for name in (route.operation, *route.also)]
    pattern = re.compile(rf"\b(?:{'|'.join(words)})\b")
    counts = {name: len(pattern.findall(text)) for name, text in _tests().items()}
    if counts.get(kept):
        return kept
    best = max(sorted(counts), key=lambda name: counts[name])
    if not counts[best]:
        raise LookupError(f"{route.operation} is served, but no test in {' or '.join(_FOLDERS)} calls {words[0]}")
    return best


@cache
def _tests() -> Mapping[str, str]:
    files = (path for folder in _FOLDERS for path in sorted((TESTS / folder).rglob("test_*.py")))
    return {str(path.relative_to(TESTS)): path.read_text() for path in files}


def rewritten(readme: str) -> str:
    """The README's text with the table as it is now. Raises: as table."""
    start, stop = readme.index("<!-- operations:"), readme.index(END) + len(END)
    return readme[:start] + table(readme) + readme[stop:]


def main(arguments: list[str]) -> int:
    readme = README.read_text()
    try:
        wanted = rewritten(readme)
    except LookupError as error:
        print(f"the operation table can't be made: {error}", file=sys.stderr)
        return 1
    if wanted == readme:
        return 0
    if "--write" in arguments:
        README.write_text(wanted)
        return 0
    print(f"the operation table in {README} is not current; make it with: make s3-table WRITE=1", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
