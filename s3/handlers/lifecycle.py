"""The lifecycle configuration, whose one wish for all rules comes and goes as a header."""

from __future__ import annotations

from s3.call import Call, Header
from s3.errors import S3Error
from s3.handlers.configuration import document_of, received
from s3.lifecycle_document import LIFECYCLE, MINIMUM_SIZE, MINIMUM_SIZES

_HEADER = b"x-amz-transition-default-minimum-object-size"


async def get_lifecycle(call: Call) -> None:
    await call.answer_xml(document_of(call, LIFECYCLE), _minimum_size(call.settings.documents.get(MINIMUM_SIZE, MINIMUM_SIZES[0])))


async def put_lifecycle(call: Call) -> None:
    size = call.text(_HEADER, MINIMUM_SIZES[0])
    if size not in MINIMUM_SIZES:
        raise S3Error("InvalidRequest", "Invalid TransitionDefaultMinimumObjectSize found")
    lifecycle = await received(call, LIFECYCLE)
    await call.container.change_settings(documents={LIFECYCLE.name: LIFECYCLE.encode(lifecycle), MINIMUM_SIZE: size})
    await call.answer(200, _minimum_size(size))


async def delete_lifecycle(call: Call) -> None:
    await call.container.change_settings(documents={LIFECYCLE.name: None, MINIMUM_SIZE: None})
    await call.answer(204)


def _minimum_size(size: str) -> Header:
    return _HEADER, size.encode("ascii")
