"""What `doctor` looks at on a host of a cluster: its node's file, its disks, and whether it sees the others."""

from __future__ import annotations

import os
import pwd
import stat
import subprocess
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Iterator
from pathlib import Path

import trio

from cli.checks import Finding, certificate_findings, directory_findings, secret_mode
from cli.cluster.cold import worker_configs
from cli.cluster.config import NodeConfig, load_node
from cli.cluster.documents import unreadable_documents
from cli.cluster.door import open_door
from cli.cluster.node import Node
from cli.cluster.settings import check_services, read_settings
from cli.exit import to_words
from cli.output import count_text
from cli.place import StoreDirectory
from meta.conscience.protocol import Service
from node.errors import FrazilError
from node.tls import open_tls


def node_findings(place: StoreDirectory) -> Iterator[Finding]:
    """Never raises for what it finds."""
    try:
        config = load_node(place.path)
    except FrazilError as error:
        yield Finding("node", "failure", str(place.path), str(error), "packaging/node.toml shows every key")
        return
    yield Finding("node", "ok" if config.roles else "warning", str(place.path), f"runs {', '.join(config.roles) or 'nothing'} here")
    yield from secret_mode(config.key)
    yield from tls_findings(config)
    yield from _board_findings(config)
    folders = [*config.rawx.volumes, *([config.meta_directory] if config.meta.run else [])]
    yield from directory_findings(folders)

    async def collect() -> list[Finding]:
        return [finding async for finding in _network_findings(place, config)]

    yield from trio.run(collect)


def tls_findings(config: NodeConfig) -> Iterator[Finding]:
    """As the user of the services would find the files, when root asks."""
    tls = config.tls
    if not tls.wanted:
        yield Finding("tls", "ok", "tls", "is off: what hosts say to each other is proved by the key, and can be read on the wire")
        return
    try:
        open_tls(tls, config.reached_at())
    except FrazilError as error:
        yield Finding("tls", "failure", tls.cert, str(error), 'see "TLS between the hosts" in packaging/README.md')
        return
    yield from certificate_findings(Path(tls.cert), "write it in PEM form", "renew it: it is taken up without a restart")
    if Path(tls.key).stat().st_mode & stat.S_IRWXO:
        yield Finding("tls", "failure", tls.key, "may be read by anybody on this host", f"chmod o= {tls.key}")
    for path in _unreadable(config):
        text = f"can't be read by {config.key.owner()}, as whom the services run"
        yield Finding("tls", "failure", path, text, "give that user the file, and every folder above it")


def _unreadable(config: NodeConfig) -> list[str]:
    """Files that root, who asks, can read, and the owner of the namespace's key can't."""
    try:
        owner = pwd.getpwuid(config.key.stat().st_uid)
    except (OSError, KeyError):  # the key's own finding says it
        return []
    if os.geteuid() or not owner.pw_uid:
        return []
    groups = os.getgrouplist(owner.pw_name, owner.pw_gid)

    def may_read(path: str) -> bool:
        return not subprocess.run(["test", "-r", path], user=owner.pw_uid, group=owner.pw_gid, extra_groups=groups, check=False).returncode

    return [path for path in config.tls.files.values() if not may_read(path)]


def _board_findings(config: NodeConfig) -> Iterator[Finding]:
    for path in (*config.freezer.boards, *config.worker.buses):
        if not path.is_file():
            yield Finding("board", "failure", str(path), "is not there", "`frazil freezer init` makes one to try; glacier/ has samples")
    try:
        workers = worker_configs(config, "", "x")
    except FrazilError as error:
        yield Finding("board", "failure", "worker", str(error), "each bus names the volumes whose chunks it takes, and no volume twice")
    else:
        for each in workers:
            yield Finding("board", "ok", each.listen.lstrip(":"), f"bus {each.bus} of {each.freezer} keeps {len(each.volumes)} volumes")


async def _network_findings(place: StoreDirectory, config: NodeConfig) -> AsyncIterator[Finding]:
    try:
        async with open_door(place) as node:
            yield Finding("zookeeper", "ok", config.hosts, f"answers; the namespace is {node.namespace}")
            if len(config.zookeeper) < 3:
                yield Finding("zookeeper", "warning", config.hosts, "is one server", "elections end with it: run three")
            for finding in _service_findings(node):
                yield finding
            for error in await unreadable_documents(node.coordinator):
                words, _, remedy = str(error).rpartition("; ")
                yield Finding("document", "failure", error.detail.partition(" ")[0], words, remedy)
            yield await _settings_finding(node)
    except FrazilError as error:
        words, hint = to_words(error)
        yield Finding("zookeeper", "failure", config.hosts, words, hint)


def _service_findings(node: Node) -> Iterator[Finding]:
    services = [each for each in node.directory.services.values() if not each.gone]
    if node.directory.age_s() == float("inf"):
        yield Finding("conscience", "failure", "conscience", "no instance answers", "see that one runs: conscience.run = true on two hosts")
    else:
        yield Finding("conscience", "ok", "conscience", f"answers; {len(services)} services are known")
    for each in services:
        if each.reason:
            subject = f"{each.registration.kind} {each.id} at {each.registration.address}"
            yield Finding("service", "warning", subject, each.reason, _hint(each))
    yield from location_findings(services)
    kinds = Counter(each.registration.kind for each in services)
    places = {(each.registration.kind, each.registration.address.rpartition(":")[0]) for each in services}
    hosts = Counter(kind for kind, _ in places)
    for kind, least in (("conscience", 2), ("meta", 3), ("rawx", 3), ("gateway", 2)):
        if hosts[kind] < least:
            text = f"{kinds[kind]} on {hosts[kind]} hosts"
            yield Finding("spread", "warning", kind, text, f"the loss of a host is borne with {least} hosts or more")


def location_findings(services: Iterable[Service]) -> Iterator[Finding]:
    """Volumes that count as one disk."""
    volumes = [each.registration for each in services if each.registration.kind == "rawx"]
    for location, number in Counter(each.location for each in volumes).items():
        if number > 1:
            at = ", ".join(sorted(each.address for each in volumes if each.location == location))
            text = f"{count_text(number, 'volume')} at {at} say that this is where they are: they take one chunk of an object together"
            yield Finding("location", "failure", location, text, "give each host a `location` of its own in its node.toml")


def _hint(service: Service) -> str:
    return "frazil cluster unlock takes the lock off" if service.locked else "see its log on that host: journalctl -u 'frazil-node@*'"


async def _settings_finding(node: Node) -> Finding:
    try:
        settings, version = await read_settings(node)
        check_services(node, settings)
    except FrazilError as error:
        return Finding("settings", "failure", "settings", str(error), "change them: frazil config edit")
    return Finding("settings", "ok", "settings", f"version {version} can be met by the volumes there are")
