"""config: the settings of a namespace of many hosts."""

from __future__ import annotations

import click

from cli.exit import Exit
from cli.session import Session, with_session

_force = click.option("--force", is_flag=True, help="Also when the services that are known now can't meet it.")


@click.group("config", short_help="Show and change the settings of a cluster.")
def config() -> None:
    """Show and change the settings of a cluster: policies, storage classes, pools, scores. All services follow within a second."""


@config.command("get", short_help="Show the settings.")
@click.argument("path", default="")
@with_session
def get(session: Session, path: str) -> Exit:
    """Show the settings as TOML, or the one at PATH (as in pools.main.distance_min)."""
    return session.run(lambda: _get(session, path))


async def _get(session: Session, path: str) -> Exit:
    from cli.cluster.door import open_door
    from cli.cluster.settings import read_settings, value_at
    from store.namespace import written

    async with open_door(session.directory()) as door:
        settings, version = await read_settings(door)
    value = value_at(settings, path)
    session.output.record(
        "settings", settings.text().rstrip() if not path else written(path, value), version=version, path=path, value=value
    )
    return Exit.OK


@config.command("set", short_help="Change one setting.")
@click.argument("path")
@click.argument("value")
@_force
@with_session
def set_(session: Session, path: str, value: str, force: bool) -> Exit:
    """Set the setting at PATH to VALUE; "" takes it back to its default.

    frazil config set classes.STANDARD EC63
    """
    return session.run(lambda: _set(session, path, value, force))


async def _set(session: Session, path: str, value: str, force: bool) -> Exit:
    from cli.cluster.door import open_door
    from cli.cluster.settings import read_settings, write_settings
    from store.namespace import edited

    async with open_door(session.directory()) as door:
        settings, version = await read_settings(door)
        version = await write_settings(door, edited(settings, path, value), version, force=force)
    session.output.record("settings", f"{path} is set", version=version, path=path)
    return Exit.OK


@config.command("edit", short_help="Edit the settings in $EDITOR.")
@_force
@with_session
def edit(session: Session, force: bool) -> Exit:
    """Edit the settings as TOML in $EDITOR. What can't be used is said, and the editor opens again with your text."""
    return session.run(lambda: _edit(session, force))


async def _edit(session: Session, force: bool) -> Exit:
    from cli.cluster.settings import edit_settings

    return await edit_settings(session, force=force)
