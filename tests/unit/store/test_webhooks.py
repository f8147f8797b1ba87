"""Webhooks: only proper URLs are registered, and a file that was replaced is heeded."""

from __future__ import annotations

from pathlib import Path

import pytest

from node.errors import ConfigError, InvalidArgument
from store.webhooks import WEBHOOKS_NAME, Webhook, Webhooks, check_webhook, load_webhooks, save_webhooks


@pytest.mark.parametrize(
    "url",
    [
        "",
        "example.com/x",
        "ftp://example.com/",
        "file:///etc/passwd",
        "http://",
        "http:///path",
        "http://a b/",
        "http://example.com/#part",
        "http://user:secret@example.com/",
        "http://example.com:99999/",
        "http://example.com/\r\nHost: other",
        "http://exämple.com/",
        "http://[::1",
        "http://example.com/" + "x" * 2048,
    ],
)
def test_what_is_no_url_is_refused(url: str) -> None:
    with pytest.raises(InvalidArgument):
        check_webhook(Webhook("name", url))


@pytest.mark.parametrize("name", ["", "a b", "a:b", "../x", "x" * 81])
def test_what_is_no_name_is_refused(name: str) -> None:
    with pytest.raises(InvalidArgument):
        check_webhook(Webhook(name, "http://localhost:1/"))


def test_a_replaced_file_is_heeded(tmp_path: Path) -> None:
    webhooks = Webhooks(tmp_path)
    assert webhooks.find("a") is None
    for url in ("http://[::1]:8080/x?y=z", "https://example.com"):
        save_webhooks(tmp_path, {"a": Webhook("a", url)})
        assert webhooks.find("a") == Webhook("a", url) == load_webhooks(tmp_path)["a"]
    (tmp_path / WEBHOOKS_NAME).unlink()
    assert webhooks.find("a") is None


@pytest.mark.parametrize("text", ["", "{", '{"webhooks": 1}', '{"webhooks": [], "v": 99}'])
def test_a_damaged_file_is_told(tmp_path: Path, text: str) -> None:
    (tmp_path / WEBHOOKS_NAME).write_text(text)
    with pytest.raises(ConfigError):
        load_webhooks(tmp_path)
