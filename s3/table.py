"""The operation table of s3/README.md, made from the router. `python -m s3.table` prints it."""

from __future__ import annotations

from s3.router import ROUTES

BEGIN = "<!-- operations: made by `python -m s3.table` -->"
END = "<!-- end of operations -->"


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


if __name__ == "__main__":
    print(table())
