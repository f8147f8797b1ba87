"""Deletes, one by one and by the thousand."""

from __future__ import annotations

from meta.protocol.object import DELETE_MANY_MAX, DeleteRequest, DeleteResult
from node import errors as node_errors
from s3.access import authorize_key
from s3.attributes import version_headers
from s3.call import Call, Header
from s3.condition import delete_condition, entry_condition
from s3.errors import CODES, S3Error, to_s3
from s3.lock import may_bypass
from s3.publish import publish_deletions
from s3.source import read_document
from s3.target import decode_key
from s3.version import encode_version, parse_version
from s3.xml import DECLARATION, NAMESPACE, Element, XmlRefused, elements_of, escape, text_of


async def delete_object(call: Call) -> None:
    text = call.query.get("versionId")
    result = await call.store.delete_object(
        call.bucket,
        DeleteRequest(
            call.key,
            version=None if text is None else parse_version(text),
            condition=delete_condition(call),
            owner=call.owner,
            bypass_governance=may_bypass(call, call.access),
        ),
    )
    if call.settings.documents:
        await publish_deletions(call, [result])
    headers: list[Header] = []
    if result.made_marker or result.was_marker:
        headers.append((b"x-amz-delete-marker", b"true"))
    if text is not None:
        headers.append((b"x-amz-version-id", text.encode("ascii")))
    elif result.made_marker:
        headers += version_headers(result.version, result.null, call.settings)
    await call.answer(204, *headers)


async def delete_objects(call: Call) -> None:
    document = await read_document(call, "Delete", checksum_required=True)
    try:
        quiet = text_of(document, "Quiet", "false").strip().lower() == "true"
        objects = elements_of(document, "Object")
        if not 1 <= len(objects) <= DELETE_MANY_MAX:
            raise XmlRefused(f"between 1 and {DELETE_MANY_MAX} objects may be deleted at once")
        named = [(text_of(each, "Key"), text_of(each, "VersionId", "") or None, each) for each in objects]
    except XmlRefused as error:
        raise S3Error("MalformedXML") from error
    answers: list[str] = []
    requests: list[DeleteRequest] = []
    asked: list[tuple[str, str | None]] = []
    refused: list[tuple[str, str, str]] = []
    for key, version, element in named:
        try:
            requests.append(await _request(call, key, version, element))
            asked.append((key, version))
        except XmlRefused as error:
            raise S3Error("MalformedXML") from error
        except S3Error as error:
            answers.append(_failed(key, version, error.code, error.message))
            refused.append((key, version or "", error.code))
    results = await call.store.delete_objects(call.bucket, requests) if requests else []
    if call.settings.documents:
        await publish_deletions(call, results)
    for (key, version), result in zip(asked, results, strict=True):
        if result.error:
            code, message = _translate(result)
            answers.append(_failed(key, version, code, message))
            refused.append((key, version or "", code))
        elif not quiet:
            answers.append(_deleted(key, version, result))
    if call.logged:
        done = [(key, version or "", "") for (key, version), result in zip(asked, results, strict=True) if not result.error]
        call.batch = [*done, *refused]
    await call.answer_xml(f'{DECLARATION}<DeleteResult xmlns="{NAMESPACE}">{"".join(answers)}</DeleteResult>')


async def _request(call: Call, key: str, version: str | None, element: Element) -> DeleteRequest:
    if not key:
        raise S3Error("InvalidArgument", "A key must have at least one character")
    decode_key(key.encode())
    access = await authorize_key(call, key, version, "s3:DeleteObject")
    condition = entry_condition(text_of(element, "ETag", ""), text_of(element, "Size", ""), text_of(element, "LastModifiedTime", ""))
    return DeleteRequest(
        key,
        version=None if version is None else parse_version(version),
        condition=condition,
        owner=call.owner,
        bypass_governance=may_bypass(call, access),
    )


def _translate(result: DeleteResult) -> tuple[str, str]:
    """Code and message of a refusal inside a batch: the object layer reports the name of its error."""
    kind = getattr(node_errors, result.error, None)
    if isinstance(kind, type) and issubclass(kind, node_errors.FrazilError):
        error = to_s3(kind(result.message))
        return error.code, error.message
    return (result.error, result.message) if result.error in CODES else ("InternalError", CODES["InternalError"][1])


def _failed(key: str, version: str | None, code: str, message: str) -> str:
    shown = f"<VersionId>{escape(version)}</VersionId>" if version else ""
    return f"<Error><Key>{escape(key)}</Key>{shown}<Code>{code}</Code><Message>{escape(message)}</Message></Error>"


def _deleted(key: str, version: str | None, result: DeleteResult) -> str:
    shown = f"<VersionId>{escape(version)}</VersionId>" if version else ""
    marker = ""
    if result.made_marker or result.was_marker:
        marker_version = encode_version(result.version, result.null) if result.made_marker else version
        marker = f"<DeleteMarker>true</DeleteMarker><DeleteMarkerVersionId>{marker_version}</DeleteMarkerVersionId>"
    return f"<Deleted><Key>{escape(key)}</Key>{shown}{marker}</Deleted>"
