"""A freezer on real sockets: TCP, Unix, TLS; found by its configuration; ended in order."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import trio
import trio.testing

from glacier.config import BusConfig, DiskConfig, FreezerConfig
from glacier.daemon import serve_freezer
from glacier.iceclient import dial
from glacier.reach import address_of, reach
from glacier.simulated import SimulatedBoard
from glacier.worker.config import WorkerConfig
from glacier.worker.daemon import to_freezer
from node.auth import NamespaceKey
from node.errors import ConfigError, DiskNotFound, FrazilError, PeerUnreachable
from node.http.client import Client
from node.http.server import listen
from node.tls import PLAIN, Tls, TlsConfig, open_tls
from tests.support.certificate import Authority, make_certificate
from tests.support.cold import freezer_of, head_of, pieces

DATA = b"ice" * 700_000
CHUNK = "a" * 32


def config_of(tmp_path: Path, *listens: str) -> FreezerConfig:
    NamespaceKey.create(tmp_path / "key")
    buses = tuple(BusConfig(listen, (DiskConfig(number),)) for number, listen in enumerate(listens))
    return FreezerConfig(name="north", namespace="n", key=tmp_path / "key", hardware="loop", buses=buses)


def with_tls(config: FreezerConfig, tmp_path: Path) -> FreezerConfig:
    make_certificate(tmp_path / "tls.pem")
    return replace(config, tls_cert=str(tmp_path / "tls.pem"), tls_key=str(tmp_path / "tls.pem"))


@asynccontextmanager
async def served(config: FreezerConfig, *, tls: Tls = PLAIN) -> AsyncIterator[tuple[FreezerConfig, trio.Event]]:
    """The configuration with the addresses that it got, and its end."""
    freezer = freezer_of(SimulatedBoard(config.layout, spin_up_s=0.0))
    await freezer.begin()
    drain = trio.Event()
    with trio.fail_after(20):
        async with trio.open_nursery() as nursery:
            addresses: list[str] = await nursery.start(partial(serve_freezer, freezer, config, drain, tls=tls))
            reached = tuple(replace(bus, listen=address) for bus, address in zip(config.buses, addresses, strict=True))
            yield replace(config, buses=reached), drain
            drain.set()


@pytest.mark.parametrize("way", ["TCP", "Unix", "TLS"])
async def test_a_chunk_goes_there_and_back(tmp_path: Path, way: str) -> None:
    config = config_of(tmp_path, f"unix:{tmp_path}/bus.sock" if way == "Unix" else "127.0.0.1:0")
    if way == "TLS":
        config = with_tls(config, tmp_path)
    async with served(config) as (reached, _), reach(reached, 0, key=NamespaceKey.load(config.key)) as bus:
        await bus.power_on(0)
        await bus.send(0, head_of(CHUNK, DATA), pieces(DATA))
        async with bus.get(0, CHUNK) as incoming:
            assert b"".join([bytes(piece) async for piece in incoming]) == DATA


async def test_with_tls_nothing_is_spoken_in_the_clear(tmp_path: Path) -> None:
    config = with_tls(config_of(tmp_path, "127.0.0.1:0"), tmp_path)
    async with served(config) as (reached, _):
        with pytest.raises(FrazilError):
            async with dial(reached.buses[0].listen, key=NamespaceKey.load(config.key), bus=0):
                raise AssertionError("it answered")


async def test_a_worker_speaks_tls_with_the_freezer_whose_certificate_it_was_given(tmp_path: Path) -> None:
    config = with_tls(config_of(tmp_path, "127.0.0.1:0"), tmp_path)
    other = tmp_path / "other.pem"
    make_certificate(other)
    key = NamespaceKey.load(config.key)
    async with served(config) as (reached, _):
        worker = WorkerConfig(freezer=reached.buses[0].listen, tls_cert=config.tls_cert)
        async with to_freezer(worker, key) as bus:
            assert (await bus.probe(0)).disk == 0
        for wrong in (replace(worker, tls_cert=str(other)), replace(worker, tls_cert="")):
            with pytest.raises(FrazilError):
                async with to_freezer(wrong, key):
                    raise AssertionError("it answered")
        with pytest.raises(ConfigError, match=r"nothing\.pem"):
            async with to_freezer(replace(worker, tls_cert="nothing.pem"), key):
                raise AssertionError("it was dialled")


async def test_the_figures_say_what_each_disk_has_been_through(tmp_path: Path) -> None:
    (reserved,) = listen("127.0.0.1", 0)
    port = reserved.getsockname()[1]
    reserved.close()
    config = replace(config_of(tmp_path, "127.0.0.1:0"), metrics=f"127.0.0.1:{port}")
    async with served(config) as (reached, _), reach(reached, 0, key=NamespaceKey.load(config.key)) as bus:
        await bus.power_on(0)
        async with Client() as client, await client.request("GET", f"127.0.0.1:{port}", "/metrics", timeout_s=10.0) as answer:
            text = (await answer.read(4 << 20)).decode()
    for line in (
        'frazil_freezer_disks{state="on"} 1.0',
        "frazil_freezer_disks_powered 1.0",
        'frazil_freezer_power_cycles_total{disk="0"} 1.0',
        'frazil_freezer_errors_total{disk="0",kind="failed_starts"} 0.0',
    ):
        assert line in text


async def test_who_is_connected_hears_of_the_end(tmp_path: Path) -> None:
    config = config_of(tmp_path, "127.0.0.1:0", "127.0.0.1:0")
    key = NamespaceKey.load(config.key)
    async with served(config) as (reached, drain):
        with pytest.raises(DiskNotFound, match="bus 0 is served here, not 1"):
            async with dial(reached.buses[0].listen, key=key, bus=1):
                raise AssertionError("it answered")
        async with reach(reached, 1, key=key) as bus:
            drain.set()
            await trio.testing.wait_all_tasks_blocked(0.05)
            with pytest.raises(FrazilError):
                await bus.probe(1)
            assert bus.broken
    with pytest.raises(PeerUnreachable):
        async with reach(reached, 1, key=key):
            raise AssertionError("it answered")


async def test_an_address_that_can_t_be_used_is_named(tmp_path: Path) -> None:
    with pytest.raises((ConfigError, ExceptionGroup)) as refused:
        async with served(config_of(tmp_path, "192.0.2.1:1")):
            raise AssertionError("it serves")
    assert "192.0.2.1:1" in repr(refused.value)


def test_this_host_reaches_what_listens_everywhere() -> None:
    assert [address_of(listen) for listen in ("0.0.0.0:1", "[::]:2", ":3", "ice.example:4", "unix:/run/a")] == [
        "127.0.0.1:1",
        "[::1]:2",
        "127.0.0.1:3",
        "ice.example:4",
        "unix:/run/a",
    ]


async def test_a_freezer_of_a_node_speaks_the_nodes_tls_with_hosts_of_its_authority_only(tmp_path: Path) -> None:
    authority, stranger = Authority(tmp_path), Authority(tmp_path, "stranger")
    ours, theirs = (open_tls(tls_of(each, each.name), "127.0.0.1") for each in (authority, stranger))
    config = config_of(tmp_path, "127.0.0.1:0", f"unix:{tmp_path}/bus.sock")
    key = NamespaceKey.load(config.key)
    async with served(config, tls=ours) as (reached, _):
        worker = WorkerConfig(freezer=reached.buses[0].listen)
        async with to_freezer(worker, key, tls=ours) as bus, reach(reached, 0, key=key, tls=ours):
            assert (await bus.probe(0)).disk == 0
        async with reach(reached, 1, key=key, tls=ours):  # within the host nothing is on a wire
            pass
        uncertified = ssl.create_default_context(cafile=str(authority.file))
        for wrong in (theirs.client, uncertified, None):
            with pytest.raises(FrazilError):
                async with dial(worker.freezer, key=key, bus=0, tls=wrong):
                    raise AssertionError("it answered")


def tls_of(authority: Authority, name: str) -> TlsConfig:
    cert, key = authority.sign(f"{name}-host", "127.0.0.1")
    return TlsConfig(str(cert), str(key), str(authority.file))
