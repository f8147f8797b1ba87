"""What goes wrong on a host's network: packets that get lost, all of them, some, or those of one way. By nft, in the host's namespace.

netem would do it as well, where the kernel has it; many machines that build this do not.
"""

from __future__ import annotations

import itertools
import subprocess
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager

from .cluster import Host

ZOOKEEPER_PORTS = (2181, 2888, 3888)
META_PORT = 6100
_numbers = itertools.count()


@contextmanager
def one_way(source: Host, target: Host) -> Iterator[None]:
    """What `source` sends does not reach `target`; the other way is open."""
    with _rules(target, f'input iifname "eth0" ip saddr {source.address} drop'):
        yield


@contextmanager
def reset(source: Host, target: Host) -> Iterator[None]:
    """Connections from `source` are reset by `target`, those under way too."""
    with _rules(target, f'input iifname "eth0" ip saddr {source.address} meta l4proto tcp reject with tcp reset'):
        yield


@contextmanager
def lossy(hosts: Iterable[Host], percent: int) -> Iterator[None]:
    """Each packet that reaches one of the hosts is lost with that probability."""
    with ExitStack() as stack:
        for host in hosts:
            stack.enter_context(_rules(host, f'input iifname "eth0" numgen random mod 100 < {percent} drop'))
        yield


@contextmanager
def without_ports(host: Host, ports: Iterable[int]) -> Iterator[None]:
    """Nothing gets from the host to others' ports of that number, nor from others to its own; what is on the host still talks."""
    some = ", ".join(map(str, ports))
    ways = [(chain, side, way) for chain, side in (("input", "i"), ("output", "o")) for way in ("sport", "dport")]
    with _rules(host, *(f'{chain} {side}ifname "eth0" tcp {way} {{ {some} }} drop' for chain, side, way in ways)):
        yield


@contextmanager
def without_calls(host: Host, port: int) -> Iterator[None]:
    """Nothing that the host sends to others' port of that number gets there; what others send to its own does, and their answers."""
    with _rules(host, f'output oifname "eth0" tcp dport {port} drop'):
        yield


@contextmanager
def _rules(host: Host, *rules: str) -> Iterator[None]:
    table = f"inet faults{next(_numbers)}"
    chains = [f"add chain {table} {hook} {{ type filter hook {hook} priority 0; }}" for hook in ("input", "output")]
    _nft(host, f"add table {table}", *chains, *(f"add rule {table} {rule}" for rule in rules))
    try:
        yield
    finally:
        _nft(host, f"delete table {table}")


def _nft(host: Host, *lines: str) -> None:
    subprocess.run([*host.before, "nft", "-f", "-"], input="\n".join(lines) + "\n", text=True, check=True, capture_output=True)
