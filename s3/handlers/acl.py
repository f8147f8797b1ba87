"""Access control lists, as far as canned ones go: private and public-read."""

from __future__ import annotations

from meta.protocol import Change
from s3.attributes import acl_of, refuse_not_yet, version_headers
from s3.call import Call
from s3.errors import S3Error, not_implemented
from s3.handlers.read import current_row
from s3.source import read_document
from s3.version import parse_version
from s3.xml import DECLARATION, NAMESPACE, Element, XmlRefused, elements_of, escape, text_of

_INSTANCE = 'xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"'
_ALL_USERS = "http://acs.amazonaws.com/groups/global/AllUsers"


def _document(owner: str, name: str, acl: str) -> str:
    grants = (
        f'<Grant><Grantee {_INSTANCE} xsi:type="CanonicalUser"><ID>{escape(owner)}</ID><DisplayName>{escape(name)}</DisplayName></Grantee>'
        "<Permission>FULL_CONTROL</Permission></Grant>"
    )
    if acl == "public-read":
        grants += f'<Grant><Grantee {_INSTANCE} xsi:type="Group"><URI>{_ALL_USERS}</URI></Grantee><Permission>READ</Permission></Grant>'
    return (
        f'{DECLARATION}<AccessControlPolicy xmlns="{NAMESPACE}">'
        f"<Owner><ID>{escape(owner)}</ID><DisplayName>{escape(name)}</DisplayName></Owner>"
        f"<AccessControlList>{grants}</AccessControlList></AccessControlPolicy>"
    )


def _canned(document: Element, owner: str) -> str:
    """The canned name of an ACL document that says no more than one of ours. Raises: MalformedXML, NotImplemented."""
    acl = "private"
    try:
        lists = elements_of(document, "AccessControlList")
        if len(lists) != 1:
            raise XmlRefused("AccessControlList must be there once")
        for grant in elements_of(lists[0], "Grant"):
            (grantee,) = elements_of(grant, "Grantee")
            permission = text_of(grant, "Permission")
            if text_of(grantee, "URI", "") == _ALL_USERS and permission == "READ":
                acl = "public-read"
            elif text_of(grantee, "ID", "") != owner or permission != "FULL_CONTROL":
                raise not_implemented("A grant other than FULL_CONTROL to the owner and READ to all users")
    except (XmlRefused, ValueError) as error:
        raise S3Error("MalformedXML") from error
    return acl


async def _wanted(call: Call, owner: str) -> str:
    refuse_not_yet(call)
    if call.header(b"x-amz-acl") is not None:
        if call.request.has_body:
            raise S3Error("UnexpectedContent")
        return acl_of(call)
    return _canned(await read_document(call, "AccessControlPolicy"), owner)


async def get_bucket_acl(call: Call) -> None:
    owner = call.settings.owner
    await call.answer_xml(_document(owner, await call.services.keyring.display_name(owner), call.settings.acl))


async def put_bucket_acl(call: Call) -> None:
    await call.container.change_settings(acl=await _wanted(call, call.settings.owner))
    await call.answer(200)


async def get_object_acl(call: Call) -> None:
    row = await current_row(call)
    owner = row.owner or call.settings.owner
    document = _document(owner, await call.services.keyring.display_name(owner), row.attributes.acl)
    await call.answer_xml(document, *version_headers(row.version, row.null, call.settings))


async def put_object_acl(call: Call) -> None:
    row = await current_row(call)
    acl = await _wanted(call, row.owner or call.settings.owner)
    text = call.query.get("versionId")
    changed = await call.container.change(Change(call.key, version=None if text is None else parse_version(text), acl=acl))
    await call.answer(200, *version_headers(changed.version, changed.null, call.settings))
