"""What a mount answered and did not store yet: others see that, and have it stored."""

from __future__ import annotations

import socket
from contextlib import ExitStack
from pathlib import Path

import trio

from store.debts import PAY_S, PLACES, Debts


class Mount:
    """Pays at once, or never; remembers who asked for what."""

    def __init__(self, run: Path) -> None:
        self.debts = Debts(run)
        self.asked: list[tuple[str, str]] = []
        self.stopped = False

    async def pay(self, bucket: str, key: str) -> None:
        self.asked.append((bucket, key))
        if self.stopped:
            await trio.sleep_forever()
        self.debts.owe(False)


async def test_another_has_a_debt_paid_and_then_there_is_none(tmp_path: Path, nursery: trio.Nursery) -> None:
    mount, gateway = Mount(tmp_path), Debts(tmp_path)
    await nursery.start(mount.debts.serve, mount.pay)
    assert not gateway.open
    mount.debts.owe(True)
    assert gateway.open
    await gateway.settle("b", "schlüssel\0")
    assert not gateway.open
    assert mount.asked == [("b", "schlüssel\0")]


async def test_a_mount_has_no_debt_with_itself_but_sees_those_of_others(tmp_path: Path, nursery: trio.Nursery) -> None:
    one, other = Mount(tmp_path), Mount(tmp_path)
    await nursery.start(one.debts.serve, one.pay)
    await nursery.start(other.debts.serve, other.pay)
    one.debts.owe(True)
    assert (one.debts.open, other.debts.open) == (False, True)
    other.debts.owe(True)
    await one.debts.settle()
    assert (one.asked, other.asked) == ([], [("", "")])
    assert other.debts.open


async def test_a_killed_mount_owes_nothing_any_more_and_its_place_is_taken_again(tmp_path: Path) -> None:
    dead, gateway = Mount(tmp_path), Debts(tmp_path)
    async with trio.open_nursery() as nursery:
        await nursery.start(dead.debts.serve, dead.pay)
        path = tmp_path / "debts-0.sock"
        kept = path.stat().st_ino
        path.rename(tmp_path / "kept")  # a killed process leaves its socket and its byte
        nursery.cancel_scope.cancel()
    (tmp_path / "kept").rename(path)
    assert path.stat().st_ino == kept
    (tmp_path / "debts").write_bytes(b"\1" + bytes(PLACES - 1))
    assert gateway.open
    await gateway.settle()
    assert not gateway.open
    async with trio.open_nursery() as nursery:
        await nursery.start(dead.debts.serve, dead.pay)
        dead.debts.owe(True)
        await gateway.settle()
        assert dead.asked == [("", "")]
        nursery.cancel_scope.cancel()


async def test_a_stopped_mount_is_waited_for_once(tmp_path: Path, nursery: trio.Nursery) -> None:
    mount, gateway = Mount(tmp_path), Debts(tmp_path)
    await nursery.start(mount.debts.serve, mount.pay)
    mount.stopped = True
    mount.debts.owe(True)
    began = trio.current_time()
    await gateway.settle()
    await gateway.settle()
    assert PAY_S <= trio.current_time() - began < PAY_S * 1.5
    assert mount.asked == [("", "")]


async def test_another_mount_begins_beside_a_stopped_one_that_has_all_the_callers_it_can_hold(
    tmp_path: Path, nursery: trio.Nursery
) -> None:
    path, mount = tmp_path / "debts-0.sock", Mount(tmp_path)
    with socket.socket(socket.AF_UNIX) as stopped, ExitStack() as callers:
        stopped.bind(str(path))
        stopped.listen(1)
        while True:
            caller = callers.enter_context(socket.socket(socket.AF_UNIX))
            caller.setblocking(False)
            try:
                caller.connect(str(path))
            except BlockingIOError:
                break
        with trio.fail_after(2):
            await nursery.start(mount.debts.serve, mount.pay)
        assert (tmp_path / "debts-1.sock").exists()
        gateway = Debts(tmp_path)
        (tmp_path / "debts").write_bytes(b"\1" + bytes(PLACES - 1))
        with trio.fail_after(2):
            await gateway.settle()
        assert gateway.open


async def test_who_keeps_none_sees_none() -> None:
    debts = Debts(None)
    debts.owe(True)
    assert not debts.open
    assert not debts.shared
    await debts.settle("b", "k")
