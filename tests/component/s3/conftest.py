"""A served gateway over a real store, in a thread that runs trio; boto3 talks to it from the test's thread."""

from __future__ import annotations

import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import boto3
import pytest
import trio
from botocore.config import Config

from glacier.lifecycle.engine import engine
from meta.protocol.accounts import KeyPair
from node.http.server import listen, serve
from s3.call import GatewayOptions
from s3.gateway import Gateway
from s3.lifecycle_document import rules_of
from store.embedded import StoreOptions, open_store

OWNER = KeyPair(
    access_key="AKIAOWNER00000000000",
    account="one",
    name="owner",
    user_id="a" * 64,
    display_name="Owner",
    secret="o" * 40,
    email="owner@example.org",
)
STRANGER = KeyPair(
    access_key="AKIASTRANGER00000000", account="two", name="stranger", user_id="b" * 64, secret="s" * 40, email="stranger@example.org"
)


class Served:
    """endpoint: of the running gateway; run: calls an async function in its event loop."""

    def __init__(self, options: GatewayOptions | None = None, *, certificate: Path | None = None) -> None:
        """certificate: key and certificate in one file, for TLS."""
        self.options = options
        self.certificate = certificate
        self.endpoint = ""
        self.port = 0
        self.store: Any = None
        self._ready = threading.Event()
        self._stop: Callable[[], None] = lambda: None
        self._failure: BaseException | None = None
        self._token: trio.lowlevel.TrioToken | None = None

    def run(self, function: Callable[..., Any], *args: Any) -> Any:
        return trio.from_thread.run(function, *args, trio_token=self._token)

    async def main(self, *paths: Path) -> None:
        drain = trio.Event()
        self._token = trio.lowlevel.current_trio_token()
        token = self._token
        self._stop = lambda: token.run_sync_soon(drain.set)
        async with open_store(StoreOptions(paths)) as store, trio.open_nursery() as nursery:
            gateway = Gateway(store, self.options)
            store.hire(engine(rules_of, gateway.calendar, gateway.herald))
            await nursery.start(lambda task_status: store.run_workers(task_status=task_status))
            for pair in (OWNER, STRANGER):
                await store.meta.accounts.create_key(pair)
            self.store = store
            await nursery.start(lambda task_status: gateway.run_workers(task_status=task_status))
            sockets = listen("127.0.0.1", 0)
            self.port = sockets[0].getsockname()[1]
            self.endpoint = f"{'https' if self.certificate else 'http'}://127.0.0.1:{self.port}"
            tls = None
            if self.certificate:
                tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
                tls.load_cert_chain(self.certificate)
            self._ready.set()
            await serve(gateway.handle, sockets, tls=tls, drain=drain, on_parse_error=gateway.on_parse_error, drain_timeout_s=2.0)
            nursery.cancel_scope.cancel()
            await gateway.aclose()

    @contextmanager
    def running(self, *paths: Path) -> Iterator[Served]:
        def work() -> None:
            try:
                trio.run(self.main, *paths)
            except BaseException as error:
                self._failure = error
                self._ready.set()

        thread = threading.Thread(target=work)
        thread.start()
        assert self._ready.wait(20)
        try:
            if self._failure is None:
                yield self
        finally:
            if self._failure is None:
                self._stop()
            thread.join(20)
        if self._failure is not None:
            raise self._failure


@pytest.fixture(scope="session")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with Served().running(tmp_path_factory.mktemp("store")) as running:
        yield running


def client_for(served: Served, pair: KeyPair | None = OWNER, **config: Any) -> Any:
    if pair is None:
        from botocore import UNSIGNED

        config["signature_version"] = UNSIGNED
    config.setdefault("signature_version", "s3v4")  # boto3 would presign with version 2
    settings = Config(retries={"total_max_attempts": 1}, s3={"addressing_style": "path"}, connect_timeout=5, read_timeout=20, **config)
    return boto3.client(
        "s3",
        endpoint_url=served.endpoint,
        region_name="us-east-1",
        aws_access_key_id=pair.access_key if pair else None,
        aws_secret_access_key=pair.secret if pair else None,
        config=settings,
        verify=str(served.certificate) if served.certificate else None,
    )


@pytest.fixture
def s3(served: Served) -> Iterator[Any]:
    client = client_for(served)
    yield client
    client.close()


@pytest.fixture(scope="module")
def stranger(served: Served) -> Iterator[Any]:
    client = client_for(served, STRANGER)
    yield client
    client.close()


@pytest.fixture(scope="module")
def anybody(served: Served) -> Iterator[Any]:
    client = client_for(served, None)
    yield client
    client.close()


_count = 0


@pytest.fixture
def bucket(s3: Any) -> str:
    global _count
    _count += 1
    name = f"bucket-{_count}"
    s3.create_bucket(Bucket=name)
    return name
