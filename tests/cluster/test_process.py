"""The command as a process: readiness, TLS, workers, stops, two at once, keys."""

from __future__ import annotations

import json
import os
import signal
import ssl
import stat
import subprocess
import threading
import time
from pathlib import Path

import pytest

from node.http.limits import Limits
from tests.cluster.conftest import StoreMaker
from tests.support.client import Client, Credentials
from tests.support.load import BROKEN, Load
from tests.support.need import need_programs
from tests.support.oracle import ClientLog, judge
from tests.support.store import StoreError, StoreProcess
from tests.support.survey import read_all

BUCKET = "bucket"
MIB = 1 << 20


def certificate(folder: Path) -> tuple[Path, Path]:
    need_programs("openssl")
    certificate, key = folder / "cert.pem", folder / "key.pem"
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"]
    command += ["-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(key), "-out", str(certificate)]
    subprocess.run(command, capture_output=True, check=True)
    return certificate, key


def test_tls(make_store: StoreMaker, scratch: Path) -> None:
    cert, key = certificate(scratch)
    context = ssl.create_default_context(cafile=str(cert))
    store = make_store(volumes=3, options=["--tls-cert", str(cert), "--tls-key", str(key)], scheme="https", context=context)
    with store.client() as client:
        client.make_bucket(BUCKET)
        for size in (0, 5_000, 3 * MIB + 1):
            body = os.urandom(size)
            assert client.put(BUCKET, f"k{size}", body).status == 200
            assert client.get(BUCKET, f"k{size}").body == body
    with Client(store.url.replace("https", "http"), store.credentials, timeout_s=5) as plain:
        try:
            answer = plain.get(BUCKET, "k0")
        except BROKEN:
            pass
        else:
            assert answer.status == 400
    old = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    old.load_verify_locations(cert)
    old.maximum_version = ssl.TLSVersion.TLSv1_2
    old.minimum_version = ssl.TLSVersion.TLSv1_2
    with Client(store.url, store.credentials, context=old) as client:
        assert client.get(BUCKET, "k5000").status == 200
    with store.client() as client:
        assert len(client.keys(BUCKET)) == 3


def test_first_start_prints_a_key_once(scratch: Path) -> None:
    with StoreProcess([scratch / "store"], scratch) as store:
        store.start()
        assert works(store, store.credentials)
        assert not works(store, Credentials(store.credentials.access_key, "0" * 40))
        store.stop()
        text = store.output_path.read_text()
        assert store.url in text
        assert text.count(store.credentials.secret_key) == 1
        store.start()
        assert works(store, store.credentials)
        store.stop()
        assert store.output_path.read_text().count(store.credentials.secret_key) == 1
    for name in ("store.json", "secret.key"):
        assert stat.S_IMODE((scratch / "store" / name).stat().st_mode) == 0o600


def test_a_key_may_be_brought_along_before_the_first_start(scratch: Path) -> None:
    mine = Credentials("FRAZILTESTACCESSKEY1", "frazil/test+secret/0123456789abcdefghijk")
    with StoreProcess([scratch / "store"], scratch) as store:
        words = ["--access-key", mine.access_key, "--secret-key", mine.secret_key, "--display-name", "Migrated", "--user-id", "f" * 64]
        made = json.loads(store.command("key", "create", "mine", *words, "--json").stdout.splitlines()[0])
        assert (made["access_key"], made["secret_key"], made["user_id"]) == (mine.access_key, mine.secret_key, "f" * 64)
        store.start()
        assert works(store, mine)
        with store.client(credentials=mine) as client:
            client.make_bucket(BUCKET)
            answer = client.call("GET")
            assert (answer.text("ID"), answer.text("DisplayName")) == ("f" * 64, "Migrated")
        store.stop()


def works(store: StoreProcess, credentials: Credentials) -> bool:
    with store.client(credentials=credentials) as client:
        return client.call("GET").status == 200


def test_keys_are_made_listed_and_revoked_while_it_runs(make_store: StoreMaker) -> None:
    store = make_store()
    made = json.loads(store.command("key", "create", "second", "--json").stdout)
    credentials = Credentials(made["access_key"], made["secret_key"])
    assert works(store, credentials)
    listed = store.command("key", "list", "--json").stdout
    assert credentials.access_key in listed
    assert credentials.secret_key not in listed
    store.restart()
    assert works(store, credentials)
    store.command("key", "revoke", credentials.access_key)
    end = time.monotonic() + 5
    while works(store, credentials):
        assert time.monotonic() < end, "a revoked key still opens"
        time.sleep(0.1)
    assert works(store, store.credentials)


def test_two_processes_cannot_share_a_store(make_store: StoreMaker, scratch: Path) -> None:
    store = make_store()
    home = scratch / "other"
    home.mkdir()
    with StoreProcess(store.directories, home) as second, pytest.raises(StoreError, match=r"exit code [1-9]"):
        second.start()
    assert "Traceback" not in (home / "store.log").read_text()
    with store.client() as client:
        client.make_bucket(BUCKET)


def test_a_stop_lets_requests_finish(make_store: StoreMaker) -> None:
    """SIGTERM in the middle of a PUT: it is answered, and durable."""
    store = make_store()
    with store.client() as client:
        client.make_bucket(BUCKET)
    begun = threading.Event()
    statuses: list[int] = []

    def slow() -> None:
        def body() -> object:
            for number in range(20):
                yield bytes([number]) * 50_000
                begun.set()
                time.sleep(0.05)

        with store.client() as client:
            statuses.append(client.put_stream(BUCKET, "slow", body(), 1_000_000).status)  # type: ignore[arg-type]

    thread = threading.Thread(target=slow)
    thread.start()
    assert begun.wait(5)
    store.stop()
    thread.join()
    assert statuses == [200]
    store.start()
    with store.client() as client:
        assert client.get(BUCKET, "slow").body == b"".join(bytes([number]) * 50_000 for number in range(20))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stop_is_quick_and_clean_when_idle(make_store: StoreMaker, number: signal.Signals) -> None:
    store = make_store()
    assert store.process is not None
    with store.client() as idle:
        idle.make_bucket(BUCKET)
        os.kill(store.pid, number)
        assert store.process.wait(Limits().drain_timeout_s / 2) in (0, 130), "an idle keep-alive connection holds the stop"


def test_workers_show_one_store(make_store: StoreMaker, log: ClientLog, seed: str) -> None:
    """Any process may answer any request: what one has acknowledged, the others show at once."""
    store = make_store(volumes=3, options=["--workers", "2"])
    assert len(store.processes()) >= 2
    with store.client() as client:
        client.make_bucket(BUCKET)
    with Load(store.client, BUCKET, log, seed) as load:
        load.wait_for(600, timeout_s=20)
    with store.client() as client:
        found = read_all(client, BUCKET, log.keys(), log, "at the end")
    verdict = judge(log.events)
    print(verdict)
    assert verdict.sound, verdict.explain()
    assert not found, found[:5]
    assert verdict.unknown == 0


def test_a_killed_worker_comes_back(make_store: StoreMaker, log: ClientLog, seed: str) -> None:
    store = make_store(options=["--workers", "2"])
    store.allowed.append("worker|gateway")
    with store.client() as client:
        client.make_bucket(BUCKET)
    count = len(store.processes())
    with Load(store.client, BUCKET, log, seed) as load:
        load.wait_for(100, timeout_s=10)
        os.kill(store.processes()[-1], signal.SIGKILL)
        load.wait_for(400, timeout_s=20)
    end = time.monotonic() + 10
    while len(store.processes()) < count:
        assert time.monotonic() < end, "the killed worker does not come back"
        time.sleep(0.1)
    with store.client() as client:
        found = read_all(client, BUCKET, log.keys(), log, "at the end")
    verdict = judge(log.events)
    assert verdict.sound, verdict.explain()
    assert not found, found[:5]


def test_workers_end_with_their_store(make_store: StoreMaker) -> None:
    store = make_store(options=["--workers", "2"])
    store.allowed.append("")
    everyone = store.processes()
    os.kill(store.pid, signal.SIGKILL)
    assert store.process is not None
    store.process.wait(timeout=5)
    end = time.monotonic() + 10
    while any(Path(f"/proc/{pid}").exists() for pid in everyone):
        assert time.monotonic() < end, "workers outlive the store that started them"
        time.sleep(0.1)
    store.start()


def test_internal_listeners_refuse_strangers(make_store: StoreMaker) -> None:
    """No socket that the store opens answers without a proof of the namespace's key (invariant 8)."""
    store = make_store(options=["--workers", "2"])
    listening = set()
    for pid in store.processes():
        done = subprocess.run(["ss", "-Hltnp"], capture_output=True, text=True, check=True)
        listening |= {line.split()[3] for line in done.stdout.splitlines() if f"pid={pid}," in line}
    assert listening == {f"127.0.0.1:{store.port}"}
    for path in store.directories[0].rglob("*"):
        if path.is_socket():
            assert stat.S_IMODE(path.stat().st_mode) & 0o007 == 0
            assert not stat.S_IMODE(path.parent.stat().st_mode) & 0o007 or stat.S_IMODE(path.stat().st_mode) & 0o077 == 0
            done = subprocess.run(
                ["curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", "--unix-socket", str(path), "http://x/"],
                capture_output=True,
                text=True,
                check=False,
            )
            assert done.stdout in ("000", "401", "403"), done.stdout
