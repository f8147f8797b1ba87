"""The namespace's settings, read, checked against what there is, and written."""

from __future__ import annotations

import os
import random
import shlex
import subprocess
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path

import msgspec

from cli.cluster.door import open_door
from cli.cluster.node import Node
from cli.exit import Exit, Hinted
from cli.session import Session
from node.errors import ConfigError, InvalidArgument, NotEnoughServices
from store.location import Location, group_counts
from store.namespace import DOCUMENT, NamespaceSettings
from store.placement import Candidate, spread
from store.policy import POLICIES, Policy

EDITORS = ("sensible-editor", "nano", "vi")


async def read_settings(node: Node) -> tuple[NamespaceSettings, int]:
    """And the version they have. Raises: ConfigError, Unavailable."""
    document = await node.coordinator.read(DOCUMENT)
    return NamespaceSettings.decode(document.data), document.version


async def write_settings(node: Node, settings: NamespaceSettings, version: int, *, force: bool) -> int:
    """Their new version. Raises: ConfigError when they can't be met (unless `force`); Superseded when somebody else was faster."""
    if not force:
        check_services(node, settings.check())
    return (await node.coordinator.write(DOCUMENT, settings.encode(), version=version)).version


def check_services(node: Node, settings: NamespaceSettings) -> None:
    """Whether the volumes that are known, dead ones too, could take every policy that is named. Raises: ConfigError."""
    members = []
    for each in node.directory.of_kind("rawx"):
        try:
            location = Location.parse(each.registration.location)
        except InvalidArgument as error:
            raise ConfigError(f"volume {each.id}: {error}") from error
        members.append(Candidate(each.id, 1.0, location, frozenset(each.registration.slots), each.registration.site))
    if not members:
        raise ConfigError("no volumes are known, so whether they can meet the settings can't be said; --force takes them all the same")
    _check_sites(settings, members)
    chosen = settings.policies(settings.policy, [each.location for each in members])
    names = ({settings.policy, *settings.classes.values(), *settings.draws} & POLICIES.keys()) | {chosen.small.name, chosen.large.name}
    for name in sorted(names):
        _check_policy(settings, members, POLICIES[name], name)
    for name, policies in settings.classes_for(members).items():
        if policies.pool:
            for policy in (policies.small, policies.large):
                _check_policy(settings, members, policy, f"{name} ({policy.name})")


def _check_policy(settings: NamespaceSettings, members: Sequence[Candidate], policy: Policy, name: str) -> None:
    """Raises: ConfigError."""
    pools, default = settings.pools_for(group_counts(each.location for each in members))
    try:
        drawn = spread(members, policy.chunks, policy.chunks, random.Random(0), pools.get(policy.draws, default))
    except NotEnoughServices as error:
        words = f"{name} can't be met by the {len(members)} volumes there are: {error}; --force takes it all the same"
        raise ConfigError(words) from error
    assert len(drawn) == policy.chunks


def _check_sites(settings: NamespaceSettings, members: Iterable[Candidate]) -> None:
    """Raises: ConfigError for a data centre in which no volume has boards."""
    known = sorted({each.site for each in members if each.site})
    named = [(f"pools.{name}.sites", site) for name, pool in settings.pools.items() for site in pool.sites]
    for where, site in [*named, *((f"sites.{site}", site) for site in settings.sites)]:
        if site not in known:
            there = f"there are some in {', '.join(known)}" if known else "no volume has a worker with boards"
            hint = "`site` in a worker's file names it (glacier/worker/worker.toml); --force takes it all the same"
            raise ConfigError(f"{where}: no volume has boards in {site!r}; {there}. {hint}")


def value_at(settings: NamespaceSettings, path: str) -> object:
    """Raises: ConfigError."""
    value: object = msgspec.to_builtins(settings)
    for part in path.split(".") if path else ():
        if not isinstance(value, dict) or part not in value:
            raise ConfigError(f"{path} is not set")
        value = value[part]
    return value


async def edit_settings(session: Session, *, force: bool) -> Exit:
    """Raises: Hinted without an editor; FrazilError."""
    async with open_door(session.directory()) as node:
        document = await node.coordinator.read(DOCUMENT)
        version = document.version
        try:
            before = text = NamespaceSettings.decode(document.data).text()
        except ConfigError as error:  # here they can be mended
            before = text = f"#! {error}; these are the defaults\n{NamespaceSettings().text()}"
        while True:
            text = _edited(text)
            if text == before:
                session.output.note("nothing was changed")
                return Exit.OK
            try:
                version = await write_settings(node, NamespaceSettings.parse(text), version, force=force)
                break
            except ConfigError as error:
                text = "".join(line for line in text.splitlines(keepends=True) if not line.startswith("#! "))
                text = before = f"#! {error}\n{text}"
    session.output.record("settings", "the settings are changed", version=version)
    return Exit.OK


def _edited(text: str) -> str:
    """What comes back from the editor, without the lines that told what was wrong."""
    command = os.environ.get("VISUAL") or os.environ.get("EDITOR") or ""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "settings.toml"
        path.write_text(text)
        for editor in [command] if command else EDITORS:
            try:
                done = subprocess.run([*shlex.split(editor), str(path)], check=False)
            except FileNotFoundError:
                continue
            if done.returncode:
                raise Hinted(f"{editor} ended with {done.returncode}; nothing was changed", code=Exit.FAILED)
            return path.read_text()
    raise Hinted(f"no editor: {command or ', '.join(EDITORS)}", "set EDITOR", code=Exit.USAGE)
