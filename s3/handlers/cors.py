"""Cross-origin sharing: the configuration, and the question a browser asks before a request (preflight)."""

from __future__ import annotations

from meta.protocol.bucket import BucketSettings
from node.errors import BucketNotFound
from s3.call import Call
from s3.cors import CORS, METHODS, rule_headers
from s3.errors import S3Error
from s3.handlers.configuration import deleter, getter, putter
from s3.target import is_bucket_name

get_cors, put_cors, delete_cors = getter(CORS), putter(CORS), deleter(CORS)


async def preflight(call: Call) -> None:
    """Answers who shows no key, so it tells nothing but what the bucket's rules say; without a bucket it is as without rules.

    Raises: BadRequest, AccessForbidden.
    """
    headers = call.request.headers
    origin, method = headers.get(b"origin"), headers.get(b"access-control-request-method")
    if origin is None:
        raise S3Error("BadRequest", "Insufficient information. Origin request header needed.")
    wanted = "null" if method is None else method.decode("latin-1")
    if wanted not in METHODS:
        raise S3Error("BadRequest", f"Invalid Access-Control-Request-Method: {wanted}")
    settings = await _settings(call)
    cors = None if settings is None else CORS.of(settings)
    if cors is None:
        raise _forbidden(call, wanted, "CORS is not enabled for this bucket.")
    text = headers.get(b"access-control-request-headers", b"").decode("latin-1")
    names = [name.strip().lower() for name in text.split(",") if name.strip()]
    rule = cors.find(origin.decode("latin-1"), wanted, names)
    if rule is None:
        raise _forbidden(
            call,
            wanted,
            "This CORS request is not allowed. This is usually because the evalution of Origin, request method / "
            "Access-Control-Request-Method or Access-Control-Request-Headers are not whitelisted by the resource's CORS spec.",
        )
    answer = rule_headers(rule, origin)
    if names:
        answer.append((b"Access-Control-Allow-Headers", ", ".join(names).encode("latin-1")))
    await call.answer(200, *answer)


async def _settings(call: Call) -> BucketSettings | None:
    try:
        return await call.container.settings() if is_bucket_name(call.bucket) else None
    except BucketNotFound:
        return None


def _forbidden(call: Call, method: str, words: str) -> S3Error:
    kind = "OBJECT" if call.key else "BUCKET" if call.bucket else "SERVICE"
    return S3Error("AccessForbidden", f"CORSResponse: {words}", Method=method, ResourceType=kind)
