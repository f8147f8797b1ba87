"""The XML of listings: a page of 1,000 keys in one join. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from urllib.parse import quote

from meta.protocol.listing import Listed
from s3.checksum import FULL_OBJECT
from s3.moment import iso_date
from s3.storageclass import restore_status
from s3.version import encode_version
from s3.xml import escape, needs_escape

_URL_SAFE = "/*-._~"
_URL_UNSAFE = re.compile(r"[^A-Za-z0-9/*\-._~]")


def _url(text: str) -> str:
    return quote(text, safe=_URL_SAFE)


def _same(text: str) -> str:
    return text


Writer = Callable[[str], str]


def writer_for(encoding: str, texts: Iterable[str]) -> Writer:
    """How the names of one page are written. One search over all of them usually finds that nothing has to be done for any."""
    if encoding:
        return _url if _URL_UNSAFE.search("".join(texts)) else _same
    return escape if needs_escape(texts) else _same


def user_elements(user: str, names: Mapping[str, str]) -> str:
    """What <Owner> and <Initiator> hold."""
    return f"<ID>{escape(user)}</ID><DisplayName>{escape(names.get(user, user))}</DisplayName>"


def owner_element(owner: str, names: Mapping[str, str]) -> str:
    return f"<Owner>{user_elements(owner, names)}</Owner>"


def contents(rows: list[Listed], encoding: str, owners: Mapping[str, str] | None, now_us: int) -> str:
    """<Contents> of the rows. owners: display names by owner id, None when owners are not shown."""
    write = writer_for(encoding, [row.key for row in rows])
    shown = {owner: owner_element(owner, owners) for owner in {row.owner for row in rows}} if owners is not None else {}
    pieces = []
    for row in rows:
        algorithm = row.checksum_algorithm
        checksum = (
            f"<ChecksumAlgorithm>{algorithm.upper()}</ChecksumAlgorithm><ChecksumType>{row.checksum_type or FULL_OBJECT}</ChecksumType>"
            if algorithm
            else ""
        )
        pieces.append(
            f"<Contents><Key>{write(row.key)}</Key><LastModified>{iso_date(row.mtime_us)}</LastModified><ETag>&quot;{row.etag}&quot;</ETag>{checksum}"
            f"<Size>{row.size}</Size>{shown[row.owner] if shown else ''}<StorageClass>{row.storage_class}</StorageClass>"
            f"{restore_status(row.restore, now_us) if row.restore is not None else ''}</Contents>"
        )
    return "".join(pieces)


def versions(rows: list[Listed], encoding: str, owners: Mapping[str, str], now_us: int) -> str:
    """<Version> and <DeleteMarker> of the rows, in order."""
    write = writer_for(encoding, [row.key for row in rows])
    pieces = []
    for row in rows:
        head = (
            f"<Key>{write(row.key)}</Key><VersionId>{encode_version(row.version, row.null)}</VersionId>"
            f"<IsLatest>{'true' if row.latest else 'false'}</IsLatest><LastModified>{iso_date(row.mtime_us)}</LastModified>"
        )
        owner = owner_element(row.owner, owners)
        if row.marker:
            pieces.append(f"<DeleteMarker>{head}{owner}</DeleteMarker>")
            continue
        checksum = (
            f"<ChecksumAlgorithm>{row.checksum_algorithm.upper()}</ChecksumAlgorithm>"
            f"<ChecksumType>{row.checksum_type or FULL_OBJECT}</ChecksumType>"
            if row.checksum_algorithm
            else ""
        )
        pieces.append(
            f"<Version>{head}<ETag>&quot;{row.etag}&quot;</ETag>{checksum}<Size>{row.size}</Size>"
            f"<StorageClass>{row.storage_class}</StorageClass>{owner}"
            f"{restore_status(row.restore, now_us) if row.restore is not None else ''}</Version>"
        )
    return "".join(pieces)


def common_prefixes(prefixes: list[str], encoding: str) -> str:
    write = writer_for(encoding, prefixes)
    return "".join([f"<CommonPrefixes><Prefix>{write(prefix)}</Prefix></CommonPrefixes>" for prefix in prefixes])


def name_element(name: str, value: str, encoding: str) -> str:
    """An element whose text is a key, prefix, marker or delimiter."""
    return f"<{name}>{_url(value) if encoding else escape(value)}</{name}>" if value else f"<{name}/>"
