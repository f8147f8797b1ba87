"""Get, put and delete of a bucket's settings documents: the same three for all of them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

import msgspec

from s3.call import Call
from s3.configuration import Configuration
from s3.default_encryption import ENCRYPTION
from s3.errors import S3Error
from s3.payment import ACCELERATION, REQUEST_PAYMENT
from s3.shape import read
from s3.source import read_document
from s3.tags import TAGGING
from s3.xml import DECLARATION, XmlRefused

Handler = Callable[[Call], Awaitable[None]]
T = TypeVar("T", bound=msgspec.Struct)


async def received(call: Call, configuration: Configuration[T]) -> T:
    """The document in the request's body, checked. Raises: S3Error."""
    document = await read_document(call, configuration.root, checksum_required=configuration.checksum)
    try:
        value = read(document, configuration.kind)
    except XmlRefused as error:
        raise S3Error("MalformedXML") from error
    return configuration.checked(value)


async def keep(call: Call, configuration: Configuration[T], value: T | None) -> None:
    """None removes it. Durable at return."""
    text = None if value is None else configuration.encode(value)
    call.settings = await call.container.change_settings(documents={configuration.name: text})


def document_of(call: Call, configuration: Configuration[T]) -> str:
    """The bucket's document, or what stands for it. Raises: S3Error that says that there is none."""
    text = call.settings.documents.get(configuration.name)
    if text is None:
        if configuration.default is None:
            raise S3Error(configuration.absent, BucketName=call.bucket)
        text = configuration.encode(configuration.default)
    return DECLARATION + text


def getter(configuration: Configuration[T]) -> Handler:
    async def get(call: Call) -> None:
        await call.answer_xml(document_of(call, configuration))

    return get


def putter(configuration: Configuration[T], status: int = 200) -> Handler:
    async def put(call: Call) -> None:
        await keep(call, configuration, await received(call, configuration))
        await call.answer(status)

    return put


def deleter(configuration: Configuration[T]) -> Handler:
    """What is not there is deleted with success, as S3 has it."""

    async def delete(call: Call) -> None:
        await keep(call, configuration, None)
        await call.answer(204)

    return delete


get_tagging, put_tagging, delete_tagging = getter(TAGGING), putter(TAGGING, 204), deleter(TAGGING)
get_encryption, put_encryption, delete_encryption = getter(ENCRYPTION), putter(ENCRYPTION), deleter(ENCRYPTION)
get_request_payment, put_request_payment = getter(REQUEST_PAYMENT), putter(REQUEST_PAYMENT)
get_acceleration, put_acceleration = getter(ACCELERATION), putter(ACCELERATION)
