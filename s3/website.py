"""A bucket as a website: its document, what S3 refuses in it, and which request is sent elsewhere. Pure.

Source: https://docs.aws.amazon.com/AmazonS3/latest/userguide/WebsiteHosting.html
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Annotated, Literal
from urllib.parse import quote

import msgspec

from s3.configuration import Configuration
from s3.errors import S3Error
from s3.shape import Shape
from s3.target import bucket_of_host

RULES_MAX = 50
MOVED = 301
_REDIRECT_CODES = frozenset({"301", "302", "303", "304", "305", "307", "308"})
_ERROR_CODE = re.compile(r"[45][0-9][0-9]", re.ASCII)
_HOST = re.compile(r"[A-Za-z0-9.\-]{1,253}(:[0-9]{1,5})?", re.ASCII)
_SITE = re.compile(r"(.+)\.s3-website(?:[-.][a-z0-9-]+)?", re.ASCII)

Protocol = Literal["http", "https"]
Text = Annotated[str, msgspec.Meta(min_length=1)]


class IndexDocument(Shape, frozen=True):
    suffix: str


class ErrorDocument(Shape, frozen=True):
    key: Text


class RedirectAll(Shape, frozen=True):
    host_name: str
    protocol: Protocol | None = None


class Condition(Shape, frozen=True):
    http_error_code_returned_equals: str | None = None
    key_prefix_equals: str | None = None


class Redirect(Shape, frozen=True):
    host_name: str | None = None
    http_redirect_code: str | None = None
    protocol: Protocol | None = None
    replace_key_prefix_with: str | None = None
    replace_key_with: str | None = None


class RoutingRule(Shape, frozen=True, kw_only=True):
    condition: Condition | None = None
    redirect: Redirect

    @property
    def prefix(self) -> str:
        return (self.condition.key_prefix_equals if self.condition is not None else None) or ""

    @property
    def error(self) -> str | None:
        return None if self.condition is None else self.condition.http_error_code_returned_equals


class RoutingRules(Shape, frozen=True):
    rules: Annotated[tuple[RoutingRule, ...], msgspec.Meta(max_length=RULES_MAX)] = msgspec.field(default=(), name="RoutingRule")


class Moved(msgspec.Struct, frozen=True):
    """Where a request is sent, and with which status."""

    status: int
    location: str


class Website(Shape, frozen=True):
    error_document: ErrorDocument | None = None
    index_document: IndexDocument | None = None
    redirect_all: RedirectAll | None = msgspec.field(default=None, name="RedirectAllRequestsTo")
    routing_rules: RoutingRules | None = None

    def key_of(self, path: str) -> str:
        """The key that a path (without its first slash) means: a folder means its index document."""
        assert self.index_document is not None
        return path + self.index_document.suffix if not path or path.endswith("/") else path

    def moved(self, path: str, origin: str, status: int | None = None) -> Moved | None:
        """Where the rules send a request, None when nowhere. origin: "http://host"; status: of the error that would be answered.

        Before anything is looked up (status None) only rules without an error count.
        """
        if self.redirect_all is not None:
            protocol = self.redirect_all.protocol or origin.partition(":")[0]
            return Moved(MOVED, f"{protocol}://{self.redirect_all.host_name}/{escape_path(path)}")
        for rule in self.routing_rules.rules if self.routing_rules is not None else ():
            if path.startswith(rule.prefix) and rule.error == (None if status is None else str(status)):
                return _moved(rule, path, origin)
        return None


def _moved(rule: RoutingRule, path: str, origin: str) -> Moved:
    protocol, _, host = origin.partition("://")
    redirect = rule.redirect
    if redirect.replace_key_with is not None:
        path = redirect.replace_key_with
    elif redirect.replace_key_prefix_with is not None:
        path = redirect.replace_key_prefix_with + path[len(rule.prefix) :]
    location = f"{redirect.protocol or protocol}://{redirect.host_name or host}/{escape_path(path)}"
    return Moved(int(redirect.http_redirect_code or MOVED), location)


def escape_path(path: str) -> str:
    """A key as a URL's path, without its first slash. A key that begins with one can't become another host's name."""
    escaped = quote(path, safe="/-._~!$&'()*+,;=:@")
    return "%2F" + escaped[1:] if escaped.startswith("/") else escaped


def checked(website: Website) -> Website:
    """Raises: InvalidArgument, InvalidRequest in AWS's words."""
    target = website.redirect_all
    if target is not None:
        if website.index_document or website.error_document or website.routing_rules:
            raise _argument("RedirectAllRequestsTo cannot be provided in conjunction with other Routing Rules.")
        _check_host(target.host_name)
        return website
    if website.index_document is None:
        raise _argument("A value for IndexDocument Suffix must be provided if RedirectAllRequestsTo is empty")
    if not website.index_document.suffix or "/" in website.index_document.suffix:
        raise _argument("The IndexDocument Suffix is not well formed")
    for rule in website.routing_rules.rules if website.routing_rules is not None else ():
        _check_condition(rule.condition)
        _check_redirect(rule.redirect)
    return website


def _argument(words: str) -> S3Error:
    return S3Error("InvalidArgument", words)


def _request(words: str) -> S3Error:
    return S3Error("InvalidRequest", words)


def _check_host(host: str) -> None:
    if not _HOST.fullmatch(host):
        raise _request("The HostName of a redirect is not well formed.")


def _check_condition(condition: Condition | None) -> None:
    if condition is None:
        return
    code = condition.http_error_code_returned_equals
    if code is None and condition.key_prefix_equals is None:
        raise _request(
            "Condition cannot be empty. To redirect all requests without a condition, the condition element shouldn't be present."
        )
    if code is not None and not _ERROR_CODE.fullmatch(code):
        raise _request(f"The provided HTTP error code ({code}) is not valid. Valid codes are 4XX or 5XX.")


def _check_redirect(redirect: Redirect) -> None:
    if redirect == Redirect():
        raise S3Error("MalformedXML")
    if redirect.host_name is not None:
        _check_host(redirect.host_name)
    if redirect.replace_key_with is not None and redirect.replace_key_prefix_with is not None:
        raise _request("You can only define ReplaceKeyPrefix or ReplaceKey but not both.")
    code = redirect.http_redirect_code
    if code is not None and code not in _REDIRECT_CODES:
        raise _request(f"The provided HTTP redirect code ({code}) is not valid. Valid codes are 3XX except 300.")


WEBSITE = Configuration("website", "WebsiteConfiguration", Website, absent="NoSuchWebsiteConfiguration", checked=checked)


def site_of_host(host: bytes, domains: Sequence[str]) -> str:
    """The bucket whose website a Host header names, "" when it names none: BUCKET.s3-website[-REGION | .REGION].DOMAIN."""
    found = _SITE.fullmatch(bucket_of_host(host, domains))
    return found[1] if found is not None else ""
