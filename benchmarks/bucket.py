"""The few S3 calls that prepare a figure and check it: by http.client over the same pre-signed URLs, outside every clock."""

from __future__ import annotations

import http.client
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from html import unescape

from benchmarks.load import Load, LoadFailed
from benchmarks.presign import Credentials, Presigner

CALL_TIMEOUT_S = 120
FILL_CONNECTIONS = 16
PAGE_KEYS = 1000


@dataclass(frozen=True, slots=True)
class Bucket:
    """One bucket of the server at `host` ("127.0.0.1:3200")."""

    host: str
    credentials: Credentials
    name: str

    def presigner(self) -> Presigner:
        return Presigner(self.credentials, self.host, datetime.now(UTC))

    def targets(self, method: str, keys: Sequence[str]) -> list[str]:
        presigner = self.presigner()
        return [presigner.target(method, f"/{self.name}/{key}") for key in keys]

    def list_target(self, **query: str) -> str:
        return self.presigner().target("GET", f"/{self.name}", {"list-type": "2", **query})

    def call(self, method: str, target: str, body: bytes | None = None) -> bytes:
        """One request. Raises LoadFailed unless the answer is 2xx."""
        connection = http.client.HTTPConnection(self.host, timeout=CALL_TIMEOUT_S)
        try:
            connection.request(method, target, body=body, headers={"Content-Length": str(len(body))} if body is not None else {})
            answer = connection.getresponse()
            data = answer.read()
        except (OSError, http.client.HTTPException) as error:
            raise LoadFailed(f"{method} {target.partition('?')[0]}: {error!r}") from error
        finally:
            connection.close()
        if not 200 <= answer.status < 300:
            raise LoadFailed(f"{method} {target.partition('?')[0]}: {answer.status} {data[:300].decode(errors='replace')}")
        return data

    def create(self) -> None:
        self.call("PUT", self.presigner().target("PUT", f"/{self.name}"), b"")

    def remove(self) -> None:
        self.call("DELETE", self.presigner().target("DELETE", f"/{self.name}"))

    def put(self, key: str, body: bytes) -> None:
        self.call("PUT", self.targets("PUT", [key])[0], body)

    def get(self, key: str) -> bytes:
        return self.call("GET", self.targets("GET", [key])[0])

    def fill(self, keys: Sequence[str], body_bytes: int) -> None:
        """PUTs every key once, by wrk. Raises LoadFailed when one fails."""
        targets = self.targets("PUT", keys)
        Load("PUT", self.host, targets, min(FILL_CONNECTIONS, len(keys)), 0, body_bytes=body_bytes, count=len(keys)).run()

    def delete(self, keys: Sequence[str]) -> None:
        Load("DELETE", self.host, self.targets("DELETE", keys), min(FILL_CONNECTIONS, len(keys)), 0, count=len(keys)).run()

    def keys(self, follow: Callable[[str], bool] = lambda _: True) -> list[str]:
        """Every key of the bucket in listing order; stops early when `follow(last key of a page)` is false."""
        found: list[str] = []
        query: Mapping[str, str] = {}
        while True:
            page = self.call("GET", self.list_target(**{"max-keys": str(PAGE_KEYS), **query})).decode()
            keys = [unescape(key) for key in re.findall(r"<Contents>.*?<Key>([^<]*)</Key>", page, re.DOTALL)]
            found += keys
            if not keys or "<IsTruncated>true</IsTruncated>" not in page or not follow(keys[-1]):
                return found
            query = {"start-after": keys[-1]}

    def clear(self) -> None:
        """Deletes every object and the bucket."""
        keys = self.keys()
        if keys:
            self.delete(keys)
        self.remove()
