"""Grants as clients write them (headers, XML) and as they are shown. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence

import msgspec

from s3.acl import FULL_CONTROL, GRANTS_MAX, GROUP, GROUPS, PERMISSIONS, READ, READ_ACP, USER, WRITE, WRITE_ACP, Grant
from s3.errors import S3Error, invalid_argument
from s3.xml import DECLARATION, NAMESPACE, Element, XmlRefused, elements_of, escape, text_of

EMAIL = "email"
GRANT_HEADERS: Mapping[bytes, str] = {
    b"x-amz-grant-read": READ,
    b"x-amz-grant-write": WRITE,
    b"x-amz-grant-read-acp": READ_ACP,
    b"x-amz-grant-write-acp": WRITE_ACP,
    b"x-amz-grant-full-control": FULL_CONTROL,
}
_PIECE = re.compile(r'\s*(id|uri|emailaddress)\s*=\s*(?:"([^"]*)"|([^",\s]*))\s*(?:,|\Z)', re.IGNORECASE)
_KINDS = {"id": USER, "uri": GROUP, "emailaddress": EMAIL}
_INSTANCE = 'xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"'


class Wish(msgspec.Struct, frozen=True):
    """A grant as asked for. kind: USER, GROUP or EMAIL; whether there is such a user is not known yet."""

    permission: str
    kind: str
    grantee: str


def wishes_of_headers(header: Callable[[bytes], bytes | None]) -> list[Wish]:
    """Raises: InvalidArgument, MalformedACLError."""
    wishes = []
    for name, permission in GRANT_HEADERS.items():
        value = header(name)
        if value is not None:
            wishes += [Wish(permission, kind, grantee) for kind, grantee in _pieces(name.decode("ascii"), value.decode("latin-1"))]
    return _checked(wishes)


def _pieces(name: str, text: str) -> list[tuple[str, str]]:
    found, at = [], 0
    while at < len(text):
        piece = _PIECE.match(text, at)
        if piece is None:
            raise invalid_argument("Argument format not recognized", name, text)
        found.append((_KINDS[piece[1].lower()], piece[2] if piece[2] is not None else piece[3]))
        at = piece.end()
    return found


def _checked(wishes: list[Wish]) -> list[Wish]:
    if len(wishes) > GRANTS_MAX:
        raise S3Error("MalformedACLError", f"An access control list may have {GRANTS_MAX} grants.")
    for wish in wishes:
        if wish.kind == GROUP and wish.grantee not in GROUPS:
            raise invalid_argument("Invalid group uri", "uri", wish.grantee)
    return wishes


def parse_acl_document(document: Element) -> tuple[str, list[Wish]]:
    """The owner's id and the grants of an AccessControlPolicy. Raises: MalformedACLError, InvalidArgument."""
    try:
        (owner,) = elements_of(document, "Owner")
        (listed,) = elements_of(document, "AccessControlList")
        return text_of(owner, "ID"), _checked([_wish(grant) for grant in elements_of(listed, "Grant")])
    except (XmlRefused, ValueError) as error:
        raise S3Error("MalformedACLError") from error


def _wish(grant: Element) -> Wish:
    """Raises: XmlRefused, ValueError."""
    (grantee,) = elements_of(grant, "Grantee")
    permission = text_of(grant, "Permission")
    if permission not in PERMISSIONS:
        raise XmlRefused(f"{permission} is no permission")
    found = [
        (kind, text_of(grantee, name, "")) for name, kind in (("ID", USER), ("URI", GROUP), ("EmailAddress", EMAIL)) if name in grantee
    ]
    kind = _TYPES.get(text_of(grantee, "@type", ""))
    chosen = [each for each in found if kind is None or each[0] == kind]
    if len(chosen) != 1:
        raise XmlRefused("a grantee is one of ID, URI, EmailAddress")
    return Wish(permission, *chosen[0])


_TYPES = {"CanonicalUser": USER, "Group": GROUP, "AmazonCustomerByEmail": EMAIL}


def acl_document(owner: str, grants: Sequence[Grant], names: Mapping[str, str]) -> str:
    """As S3 shows a list. names: display names by canonical id. Groups come first: Ceph's tests want them there."""

    def user(user_id: str) -> str:
        return f"<ID>{escape(user_id)}</ID><DisplayName>{escape(names.get(user_id, user_id))}</DisplayName>"

    def grantee(grant: Grant) -> str:
        if grant.kind == GROUP:
            return f'<Grantee {_INSTANCE} xsi:type="Group"><URI>{escape(grant.grantee)}</URI></Grantee>'
        return f'<Grantee {_INSTANCE} xsi:type="CanonicalUser">{user(grant.grantee)}</Grantee>'

    shown = sorted(grants, key=lambda grant: grant.kind != GROUP)
    listed = "".join(f"<Grant>{grantee(grant)}<Permission>{grant.permission}</Permission></Grant>" for grant in shown)
    return (
        f'{DECLARATION}<AccessControlPolicy xmlns="{NAMESPACE}"><Owner>{user(owner)}</Owner>'
        f"<AccessControlList>{listed}</AccessControlList></AccessControlPolicy>"
    )
