"""The operation table of s3/README.md, made from the router, which a test holds against botocore's model.

`python -m s3.table` says whether the README is current; with --write it makes it so.
"""

from __future__ import annotations

import sys
from pathlib import Path

from s3.router import ROUTES

BEGIN = "<!-- operations: made by `make s3-table WRITE=1` -->"
END = "<!-- end of operations -->"
README = Path(__file__).with_name("README.md")


def table() -> str:
    lines = [BEGIN, "| operation | request | permission | state |", "|---|---|---|---|"]
    for route in sorted(ROUTES, key=lambda each: each.operation):
        path = {"service": "/", "bucket": "/{bucket}", "object": "/{bucket}/{key}"}[route.level.value]
        query = "?" + "&".join(route.query) if route.query else ""
        header = f" + {route.header.decode('ascii')}" if route.header else ""
        names = ", ".join((route.operation, *route.also))
        state = "served" if route.handler else f"NotImplemented: {route.note}"
        lines.append(f"| {names} | `{route.method} {path}{query}`{header} | {route.permission} | {state} |")
    return "\n".join([*lines, END])


def rewritten(readme: str) -> str:
    """The README's text with the table as it is now."""
    start, stop = readme.index("<!-- operations:"), readme.index(END) + len(END)
    return readme[:start] + table() + readme[stop:]


def main(arguments: list[str]) -> int:
    readme = README.read_text()
    wanted = rewritten(readme)
    if wanted == readme:
        return 0
    if "--write" in arguments:
        README.write_text(wanted)
        return 0
    print(f"the operation table in {README} is not current; make it with: make s3-table WRITE=1", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
