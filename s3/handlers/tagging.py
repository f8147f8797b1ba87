"""Tags of objects."""

from __future__ import annotations

from meta.protocol.object import Change
from s3.attributes import version_headers
from s3.call import Call
from s3.errors import S3Error
from s3.handlers.read import current_row
from s3.notification import TAGGING_DELETED, TAGGING_PUT
from s3.publish import publish_row
from s3.source import read_document
from s3.tags import check_tags
from s3.version import parse_version
from s3.xml import DECLARATION, NAMESPACE, XmlRefused, elements_of, escape, text_of


async def get_tagging(call: Call) -> None:
    row = await current_row(call)
    tags = "".join(
        f"<Tag><Key>{escape(key)}</Key><Value>{escape(value)}</Value></Tag>" for key, value in sorted(row.attributes.tags.items())
    )
    await call.answer_xml(
        f'{DECLARATION}<Tagging xmlns="{NAMESPACE}"><TagSet>{tags}</TagSet></Tagging>',
        *version_headers(row.version, row.null, call.settings),
    )


async def put_tagging(call: Call) -> None:
    document = await read_document(call, "Tagging")
    try:
        if len(document.get("TagSet", ())) != 1:
            raise XmlRefused("TagSet must be there once")
        pairs = [(text_of(tag, "Key"), text_of(tag, "Value", "")) for tag in elements_of(elements_of(document, "TagSet")[0], "Tag")]
    except XmlRefused as error:
        raise S3Error("MalformedXML") from error
    await _change(call, check_tags(pairs), 200, TAGGING_PUT)


async def delete_tagging(call: Call) -> None:
    await _change(call, {}, 204, TAGGING_DELETED)


async def _change(call: Call, tags: dict[str, str], status: int, event: str) -> None:
    text = call.query.get("versionId")
    row = await call.container.change(
        Change(call.key, version=None if text is None else parse_version(text), tags=tags, expect_content=call.content)
    )
    if call.settings.documents:
        await publish_row(call, event, row)
    await call.answer(status, *version_headers(row.version, row.null, call.settings))
