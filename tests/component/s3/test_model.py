"""A bucket against a model of a few dictionaries: whatever is done to it through S3, every answer and every listing is the model's."""

from __future__ import annotations

import base64
import itertools
import random
from collections.abc import Iterator
from dataclasses import replace
from typing import Any
from urllib.parse import quote, unquote
from xml.etree import ElementTree
from xml.sax.saxutils import escape

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

import store.multipart
from tests.component.s3.conftest import OWNER, Served
from tests.conftest import ROUNDS
from tests.support.bucket import COMPLIANCE, GOVERNANCE, NULL, Bucket, Item, Upload, Version, etag_of_parts, md5
from tests.support.client import Answer, Client, Credentials

STEPS = 30
"""Of one history, at most. FRAZIL_TEST_ROUNDS=800 makes more than 20,000 together."""
UNTIL = ("2090-01-01T00:00:00.000Z", "2091-06-01T12:30:00.500Z", "2092-01-01T00:00:00.000Z")
KEYS = ("a", "a/b", "a/b/c", "a//d", "a&b<c>\"'", "é/ü", "b b+c%41", "a\U0010ffff", "/", "z")
PREFIXES = ("", "a", "a/", "a/b/", "é/", "b b", "/", "nothing")
DELIMITERS = ("", "", "/", "//", "b", "ü", "/b")
PART_BYTES_MIN = 4
"""In place of 5 MiB: the rules are the same."""

keys = st.sampled_from(KEYS)
bodies = st.binary(max_size=20)
whichs = st.integers(0, 3)
metadatas = st.dictionaries(st.sampled_from(("colour", "x-y")), st.sampled_from(("blue", "a  b", "")), max_size=2)
tag_sets = st.dictionaries(st.sampled_from(("t", "u v", "ä")), st.sampled_from(("", "1", "a/b")), max_size=2)
_numbers = itertools.count(1)
steps_done = 0


@pytest.fixture(scope="module", autouse=True)
def server(served: Served) -> Iterator[None]:
    kept, store.multipart.PART_BYTES_MIN = store.multipart.PART_BYTES_MIN, PART_BYTES_MIN
    Machine.served = served
    yield
    store.multipart.PART_BYTES_MIN = kept


def tag_header(tags: dict[str, str]) -> str:
    return "&".join(f"{quote(name, safe='')}={quote(value, safe='')}" for name, value in tags.items())


def tag_document(tags: dict[str, str]) -> bytes:
    inner = "".join(f"<Tag><Key>{escape(name)}</Key><Value>{escape(value)}</Value></Tag>" for name, value in tags.items())
    return f"<Tagging><TagSet>{inner}</TagSet></Tagging>".encode()


class Machine(RuleBasedStateMachine):
    served: Served

    def __init__(self) -> None:
        super().__init__()
        self.client = Client(self.served.endpoint, Credentials(OWNER.access_key, OWNER.secret))
        self.name = f"model-{next(_numbers)}"
        self.model = Bucket()
        self.random = random.Random(0)

    def teardown(self) -> None:
        self.client.close()

    @initialize(kind=st.sampled_from(("plain", "plain", "versioned", "locked")), seed=st.integers(0, 2**32))
    def begin(self, kind: str, seed: int) -> None:
        self.random = random.Random(seed)
        headers = [("x-amz-bucket-object-lock-enabled", "true")] if kind == "locked" else []
        assert self.client.call("PUT", self.name, headers=headers).status == 200
        if kind == "locked":
            self.model = Bucket(locked=True, versioning="Enabled")
        elif kind == "versioned":
            self.switch_versioning("Enabled")

    # Asking the store

    def call(self, method: str, key: str = "", *, expect: int | str = 200, **more: Any) -> Answer:
        """expect: the status of success, or the code of the refusal."""
        if isinstance(more.get("headers"), dict):
            more["headers"] = list(more["headers"].items())
        answer = self.client.call(method, self.name, key, **more)
        got = answer.status if isinstance(expect, int) else answer.code or answer.status
        assert got == expect, (method, key, more, answer, answer.body)
        return answer

    def checked(self, body: bytes) -> dict[str, str]:
        return {"content-md5": base64.b64encode(bytes.fromhex(md5(body))).decode()}

    def named(self, answer: Answer) -> str:
        """The version id an answer names; none in a bucket that never had versioning."""
        assert ("x-amz-version-id" in answer.headers) == bool(self.model.versioning), answer.headers
        return answer.headers.get("x-amz-version-id", NULL)

    def added(self, key: str, new: Version, answer: Answer) -> None:
        name = self.named(answer)
        assert name == (self.model.new_name() or name)
        assert (name == NULL) == self.model.makes_null
        self.model.add(key, replace(new, name=name))

    def pick(self, key: str, which: int) -> tuple[Version | None, list[tuple[str, str]]]:
        """A version of the key and the query that names it; version 0 is also asked for as the current one, by no query."""
        versions = self.model.keys.get(key, [])
        if which < len(versions):
            found = versions[which]
            return found, [] if which == 0 and self.random.random() < 0.5 else [("versionId", found.name)]
        return None, [("versionId", "0" * 15 + "1")] if which else []

    def missing(self, query: list[tuple[str, str]]) -> str:
        return "NoSuchVersion" if query else "NoSuchKey"

    # Objects

    @rule(key=keys, body=bodies, metadata=metadatas, tags=tag_sets, condition=st.sampled_from(("", "", "", "none", "match", "other")))
    def put(self, key: str, body: bytes, metadata: dict[str, str], tags: dict[str, str], condition: str) -> None:
        current = self.model.current(key)
        headers = {f"x-amz-meta-{name}": value for name, value in metadata.items()} | ({"x-amz-tagging": tag_header(tags)} if tags else {})
        refusal = ""
        if condition == "none":
            headers["if-none-match"] = "*"
            refusal = "PreconditionFailed" if current else ""
        elif condition:
            headers["if-match"] = f'"{current.etag if current and condition == "match" else "0" * 32}"'
            refusal = "NoSuchKey" if current is None else "" if condition == "match" else "PreconditionFailed"
        if refusal:
            self.call("PUT", key, body=body, headers=headers, expect=refusal)
            return
        answer = self.call("PUT", key, body=body, headers=headers)
        assert answer.headers["etag"] == f'"{md5(body)}"'
        self.added(key, Version("", body=body, etag=md5(body), metadata=metadata, tags=tags), answer)

    @rule(key=keys, body=bodies, mode=st.sampled_from((GOVERNANCE, COMPLIANCE, "")), until=st.sampled_from(UNTIL), hold=st.booleans())
    def put_locked(self, key: str, body: bytes, mode: str, until: str, hold: bool) -> None:
        headers = self.checked(body) | ({"x-amz-object-lock-legal-hold": "ON"} if hold or not mode else {})
        if mode:
            headers |= {"x-amz-object-lock-mode": mode, "x-amz-object-lock-retain-until-date": until}
        if not self.model.locked:
            self.call("PUT", key, body=body, headers=headers, expect="InvalidRequest")
            return
        answer = self.call("PUT", key, body=body, headers=headers)
        new = Version("", body=body, etag=md5(body), mode=mode, until=until if mode else "", hold=True if hold or not mode else None)
        self.added(key, new, answer)

    @rule(source=keys, which=whichs, to=keys, metadata=st.one_of(st.none(), metadatas), tags=st.one_of(st.none(), tag_sets))
    def copy(self, source: str, which: int, to: str, metadata: dict[str, str] | None, tags: dict[str, str] | None) -> None:
        found, query = self.pick(source, which)
        named = "".join(f"?versionId={value}" for _, value in query)
        headers = {"x-amz-copy-source": f"/{self.name}/{quote(source, safe='')}{named}"}
        if metadata is not None:
            headers |= {"x-amz-metadata-directive": "REPLACE"} | {f"x-amz-meta-{name}": value for name, value in metadata.items()}
        if tags is not None:
            headers |= {"x-amz-tagging-directive": "REPLACE", "x-amz-tagging": tag_header(tags)}
        refusal = ""
        if found is None:
            refusal = self.missing(query)
        elif found.marker:
            refusal = "InvalidRequest" if query else "NoSuchKey"
        elif source == to and not query and metadata is None:
            refusal = "InvalidRequest"
        if refusal:
            self.call("PUT", to, headers=headers, expect=refusal)
            return
        assert found is not None
        answer = self.call("PUT", to, headers=headers)
        assert answer.text("ETag") == f'"{found.etag}"'
        new = replace(found, mode="", until="", hold=None, metadata=found.metadata if metadata is None else metadata)
        self.added(to, replace(new, tags=found.tags if tags is None else tags), answer)

    @rule(key=keys, which=st.one_of(st.none(), whichs), bypass=st.booleans())
    def delete(self, key: str, which: int | None, bypass: bool) -> None:
        headers = {"x-amz-bypass-governance-retention": "true"} if bypass else {}
        if which is None:
            answer = self.call("DELETE", key, headers=headers, expect=204)
            self.deleted(key, answer.headers.get("x-amz-version-id"), answer.headers.get("x-amz-delete-marker") == "true")
            return
        versions = self.model.keys.get(key, [])
        found = versions[which] if which < len(versions) else None
        name = found.name if found else "0" * 15 + "1"
        if found is not None and found.locked(bypass=bypass):
            self.call("DELETE", key, query=[("versionId", name)], headers=headers, expect="AccessDenied")
            return
        answer = self.call("DELETE", key, query=[("versionId", name)], headers=headers, expect=204)
        assert answer.headers["x-amz-version-id"] == name
        assert (answer.headers.get("x-amz-delete-marker") == "true") == bool(found and found.marker)
        if found is not None:
            self.model.remove(key, found)

    def deleted(self, key: str, name: str | None, marker: bool) -> None:
        """The model after a delete without a version, whose answer named a marker or did not."""
        assert marker == bool(self.model.versioning)
        if self.model.versioning:
            assert name is not None
            assert (name == NULL) == self.model.makes_null
            self.model.add(key, Version(name, marker=True))
        elif key in self.model.keys:
            self.model.remove(key, self.model.keys[key][0])

    @rule(named=st.lists(st.tuples(keys, st.one_of(st.none(), whichs)), min_size=1, max_size=4), quiet=st.booleans(), bypass=st.booleans())
    def delete_many(self, named: list[tuple[str, int | None]], quiet: bool, bypass: bool) -> None:
        asked = []
        for key, which in named:
            versions = self.model.keys.get(key, [])
            asked.append((key, None if which is None else versions[which].name if which < len(versions) else "0" * 15 + "1"))
        inner = "".join(
            f"<Object><Key>{escape(key)}</Key>{f'<VersionId>{name}</VersionId>' if name else ''}</Object>" for key, name in asked
        )
        body = f"<Delete>{'<Quiet>true</Quiet>' if quiet else ''}{inner}</Delete>".encode()
        headers = self.checked(body) | ({"x-amz-bypass-governance-retention": "true"} if bypass else {})
        root = ElementTree.fromstring(self.call("POST", query=[("delete", "")], headers=headers, body=body).body)
        errors = [(each.findtext("{*}Key"), each.findtext("{*}VersionId"), each.findtext("{*}Code")) for each in root.findall("{*}Error")]
        done = iter(root.findall("{*}Deleted"))
        expected = []
        for key, name in asked:
            found = next((version for version in self.model.keys.get(key, []) if version.name == name), None)
            if found is not None and found.locked(bypass=bypass):
                expected.append((key, name, "AccessDenied"))
                continue
            if name is None:
                if quiet:  # says nothing of its marker: it is found when versions are listed next
                    self.deleted(key, self.model.new_name(), bool(self.model.versioning))
                else:
                    told = next(done)
                    assert told.findtext("{*}Key") == key
                    self.deleted(key, told.findtext("{*}DeleteMarkerVersionId"), told.findtext("{*}DeleteMarker") == "true")
                continue
            if found is not None:
                self.model.remove(key, found)
            if not quiet:
                told = next(done)
                assert (told.findtext("{*}Key"), told.findtext("{*}VersionId")) == (key, name)
                assert told.findtext("{*}DeleteMarkerVersionId") == (name if found and found.marker else None)
        assert errors == expected
        assert next(done, None) is None

    @rule(key=keys, body=bodies, wrong=st.sampled_from((0, 0, 0, 1, -1)))
    def append(self, key: str, body: bytes, wrong: int) -> None:
        current = self.model.current(key)
        size = len(current.body) if current else 0
        headers = {"x-amz-write-offset-bytes": str(max(size + wrong, 0))}
        if max(size + wrong, 0) != size:
            self.call("PUT", key, body=body, headers=headers, expect="InvalidWriteOffset")
            return
        answer = self.call("PUT", key, body=body, headers=headers)
        assert answer.headers["x-amz-object-size"] == str(size + len(body))
        if current is None:
            self.added(key, Version("", body=body, etag=md5(body)), answer)
            return
        etag = answer.headers["etag"].strip('"')
        parts = (current.parts or 1) + 1
        assert etag.endswith(f"-{parts}")
        new = replace(current, body=current.body + body, etag=etag, parts=parts, mode="", until="", hold=None)
        if current.null and self.model.makes_null:
            self.model.remove(key, current)
        self.added(key, new, answer)

    @rule(source=keys, to=keys, free=st.booleans())
    def rename(self, source: str, to: str, free: bool) -> None:
        current, there = self.model.current(source), self.model.current(to)
        headers = {"x-amz-rename-source": quote(source, safe="")} | ({"if-none-match": "*"} if free else {})
        expect: int | str = 200
        if current is None:
            expect = "NoSuchKey"
        elif free and there is not None:
            expect = "PreconditionFailed"
        elif source != to and current.locked(bypass=False):
            expect = "AccessDenied"
        self.call("PUT", to, query=[("renameObject", "")], headers=headers, expect=expect)
        if expect == 200:
            self.model.rename(source, to)

    # Uploads

    @rule(key=keys, metadata=metadatas)
    def begin_upload(self, key: str, metadata: dict[str, str]) -> None:
        headers = {f"x-amz-meta-{name}": value for name, value in metadata.items()}
        answer = self.call("POST", key, query=[("uploads", "")], headers=headers)
        self.model.uploads[answer.text("UploadId")] = Upload(key, metadata)

    @precondition(lambda self: self.model.uploads)
    @rule(data=st.data(), number=st.sampled_from((1, 2, 3, 10_000)), body=st.binary(min_size=1, max_size=12))
    def put_part(self, data: st.DataObject, number: int, body: bytes) -> None:
        name = data.draw(st.sampled_from(list(self.model.uploads)))
        upload = self.model.uploads[name]
        answer = self.call("PUT", upload.key, query=[("partNumber", str(number)), ("uploadId", name)], body=body)
        assert answer.headers["etag"] == f'"{md5(body)}"'
        upload.parts[number] = (body, md5(body))

    @precondition(lambda self: self.model.uploads)
    @rule(data=st.data(), abort=st.booleans())
    def end_upload(self, data: st.DataObject, abort: bool) -> None:
        name = data.draw(st.sampled_from(list(self.model.uploads)))
        upload = self.model.uploads[name]
        if abort:
            self.call("DELETE", upload.key, query=[("uploadId", name)], expect=204)
            del self.model.uploads[name]
            self.call("DELETE", upload.key, query=[("uploadId", name)], expect="NoSuchUpload")
            return
        used = {number: upload.parts[number] for number in sorted(upload.parts) if data.draw(st.booleans())}
        inner = "".join(f"<Part><PartNumber>{number}</PartNumber><ETag>{etag}</ETag></Part>" for number, (_, etag) in used.items())
        document = f"<CompleteMultipartUpload>{inner}</CompleteMultipartUpload>".encode()
        bodies = [body for body, _ in used.values()]
        expect: int | str = 200
        if not used:
            expect = "MalformedXML"
        elif any(len(body) < PART_BYTES_MIN for body in bodies[:-1]):
            expect = "EntityTooSmall"
        answer = self.call("POST", upload.key, query=[("uploadId", name)], body=document, expect=expect)
        if expect != 200:
            return
        assert answer.text("ETag") == f'"{etag_of_parts(bodies)}"'
        del self.model.uploads[name]
        new = Version("", body=b"".join(bodies), etag=etag_of_parts(bodies), metadata=upload.metadata, parts=len(bodies))
        self.added(upload.key, new, answer)
        again = self.call("POST", upload.key, query=[("uploadId", name)], body=document)
        assert (again.text("ETag"), self.named(again)) == (answer.text("ETag"), self.named(answer))

    # Changes of a version

    @rule(key=keys, which=whichs, tags=st.one_of(st.none(), tag_sets))
    def tag(self, key: str, which: int, tags: dict[str, str] | None) -> None:
        found, query = self.pick(key, which)
        body = b"" if tags is None else tag_document(tags)
        method, headers = ("DELETE", {}) if tags is None else ("PUT", self.checked(body))
        expect = self.changeable(found, query)
        self.call(method, key, query=[("tagging", ""), *query], body=body, headers=headers, expect=expect or (204 if tags is None else 200))
        if found is not None and not expect:
            found.tags = tags or {}

    def changeable(self, found: Version | None, query: list[tuple[str, str]]) -> str:
        if found is None:
            return self.missing(query)
        return "" if not found.marker else "MethodNotAllowed" if query else "NoSuchKey"

    @rule(key=keys, which=whichs, on=st.booleans())
    def hold(self, key: str, which: int, on: bool) -> None:
        found, query = self.pick(key, which)
        expect = self.changeable(found, query) if self.model.locked else "InvalidRequest"
        body = f"<LegalHold><Status>{'ON' if on else 'OFF'}</Status></LegalHold>".encode()
        self.call("PUT", key, query=[("legal-hold", ""), *query], body=body, headers=self.checked(body), expect=expect or 200)
        if found is not None and not expect:
            found.hold = on

    @rule(key=keys, which=whichs, mode=st.sampled_from((GOVERNANCE, COMPLIANCE, "")), until=st.sampled_from(UNTIL), bypass=st.booleans())
    def retain(self, key: str, which: int, mode: str, until: str, bypass: bool) -> None:
        found, query = self.pick(key, which)
        inner = f"<Mode>{mode}</Mode><RetainUntilDate>{until}</RetainUntilDate>" if mode else ""
        body = f"<Retention>{inner}</Retention>".encode()
        headers = self.checked(body) | ({"x-amz-bypass-governance-retention": "true"} if bypass else {})
        expect = self.changeable(found, query) if self.model.locked else "InvalidRequest"
        if not expect and found is not None and found.mode:
            prolonged = mode == found.mode and until >= found.until
            if not prolonged and not (found.mode == GOVERNANCE and bypass):
                expect = "AccessDenied"
        self.call("PUT", key, query=[("retention", ""), *query], body=body, headers=headers, expect=expect or 200)
        if found is not None and not expect:
            found.mode, found.until = mode, until if mode else ""

    @rule(state=st.sampled_from(("Enabled", "Suspended")))
    def switch_versioning(self, state: str) -> None:
        body = f"<VersioningConfiguration><Status>{state}</Status></VersioningConfiguration>".encode()
        expect: int | str = "InvalidBucketState" if self.model.locked and state == "Suspended" else 200
        self.call("PUT", query=[("versioning", "")], body=body, expect=expect)
        if expect == 200:
            self.model.versioning = state

    # What always holds

    @invariant()
    def the_bucket_is_the_model_s(self) -> None:
        global steps_done
        steps_done += 1
        self.compare_versions("", "", 1_000)
        draw = self.random.choice
        self.compare_versions(draw(PREFIXES), draw(DELIMITERS), draw((1, 2, 3, 1_000)))
        for kind in ("1", "2"):
            self.compare_objects(kind, draw(PREFIXES), draw(DELIMITERS), draw(("", "", *KEYS)), draw((1, 2, 3, 1_000)))
        self.compare_uploads(draw(PREFIXES), draw(DELIMITERS), draw((1, 2, 1_000)))
        self.compare_version(draw(KEYS))

    def pages(self, query: dict[str, str], follow: dict[str, str]) -> Iterator[ElementTree.Element]:
        """follow: which element of a page is which parameter of the next."""
        while True:
            root = ElementTree.fromstring(self.call("GET", query=list(query.items())).body)
            yield root
            if root.findtext("{*}IsTruncated") == "false":
                return
            query = query | {name: unquote(root.findtext("{*}" + element) or "") for element, name in follow.items()}
            if query.get("version-id-marker") == "":
                del query["version-id-marker"]

    def common(self, root: ElementTree.Element) -> list[str]:
        return [unquote(each.findtext("{*}Prefix") or "") for each in root.findall("{*}CommonPrefixes")]

    def compare_versions(self, prefix: str, delimiter: str, limit: int) -> None:
        expected = self.model.listing(prefix, delimiter, "", versions=True)
        query = {"versions": "", "prefix": prefix, "delimiter": delimiter, "max-keys": str(limit), "encoding-type": "url"}
        rows: list[tuple[str, Version]] = [item for item in expected if not isinstance(item, str)]
        prefixes: list[str] = []
        at = 0
        for root in self.pages(query, {"NextKeyMarker": "key-marker", "NextVersionIdMarker": "version-id-marker"}):
            found = [each for each in root if each.tag.endswith(("}Version", "}DeleteMarker"))]
            assert len(found) + len(self.common(root)) <= limit
            for element in found:
                assert at < len(rows), ElementTree.tostring(element)
                self.compare_row(element, *rows[at])
                at += 1
            prefixes += self.common(root)
        assert at == len(rows)
        assert prefixes == [item for item in expected if isinstance(item, str)]

    def compare_row(self, element: ElementTree.Element, key: str, version: Version) -> None:
        name = element.findtext("{*}VersionId") or ""
        if not version.name:  # made by an answer that does not tell it
            assert name not in ("", NULL)
            version.name = name
        marker = element.tag.endswith("}DeleteMarker")
        latest = version is self.model.keys[key][0]
        assert (unquote(element.findtext("{*}Key") or ""), name, marker) == (key, version.name, version.marker)
        assert element.findtext("{*}IsLatest") == ("true" if latest else "false")
        if not marker:
            self.compare_facts(element, version)

    def compare_facts(self, element: ElementTree.Element, version: Version) -> None:
        assert element.findtext("{*}ETag") == f'"{version.etag}"'
        assert element.findtext("{*}Size") == str(len(version.body))
        assert element.findtext("{*}StorageClass") == "STANDARD"

    def compare_objects(self, kind: str, prefix: str, delimiter: str, after: str, limit: int) -> None:
        expected: list[Item] = self.model.listing(prefix, delimiter, after, versions=False)
        query = {"prefix": prefix, "delimiter": delimiter, "max-keys": str(limit), "encoding-type": "url"}
        if kind == "2":
            query |= {"list-type": "2", "start-after": after, "fetch-owner": "true"}
            follow = {"NextContinuationToken": "continuation-token"}
        else:
            query |= {"marker": after}
            follow = {"NextMarker": "marker"}
        seen: list[Item] = []
        versions = dict(item for item in expected if not isinstance(item, str))
        while True:
            root = ElementTree.fromstring(self.call("GET", query=list(query.items())).body)
            contents = root.findall("{*}Contents")
            assert len(contents) + len(self.common(root)) <= limit
            if kind == "2":
                assert root.findtext("{*}KeyCount") == str(len(contents) + len(self.common(root)))
            page: list[Item] = list(self.common(root))
            for element in contents:
                key = unquote(element.findtext("{*}Key") or "")
                assert key in versions, key
                self.compare_facts(element, versions[key])
                page.append((key, versions[key]))
            seen += sorted(page, key=lambda item: (item if isinstance(item, str) else item[0]).encode())
            if root.findtext("{*}IsTruncated") == "false":
                break
            ((element_name, parameter),) = follow.items()
            following = root.findtext("{*}" + element_name)
            if following is None:  # version 1 tells it with a delimiter only; else the last key is it
                assert kind == "1"
                assert not delimiter
                following = contents[-1].findtext("{*}Key")
            query |= {parameter: unquote(following or "")}
        assert [item if isinstance(item, str) else item[0] for item in seen] == [
            item if isinstance(item, str) else item[0] for item in expected
        ]

    def compare_uploads(self, prefix: str, delimiter: str, limit: int) -> None:
        query = {"uploads": "", "prefix": prefix, "delimiter": delimiter, "max-uploads": str(limit), "encoding-type": "url"}
        seen: list[tuple[str, str]] = []
        prefixes: list[str] = []
        for root in self.pages(query, {"NextKeyMarker": "key-marker", "NextUploadIdMarker": "upload-id-marker"}):
            seen += [(unquote(each.findtext("{*}Key") or ""), each.findtext("{*}UploadId") or "") for each in root.findall("{*}Upload")]
            prefixes += self.common(root)
        expected = self.model.list_uploads(prefix, delimiter)
        assert seen == [item for item in expected if not isinstance(item, str)]
        assert prefixes == [item for item in expected if isinstance(item, str)]

    def compare_version(self, key: str) -> None:
        found, query = self.pick(key, self.random.randrange(3))
        method = self.random.choice(("GET", "HEAD"))
        if found is None or found.marker:
            answer = self.client.call(method, self.name, key, query=query)
            assert answer.status == (405 if found and query else 404), (answer, key, query)
            assert (answer.headers.get("x-amz-delete-marker") == "true") == (found is not None)
            return
        answer = self.call(method, key, query=query)
        if method == "GET":
            assert answer.body == found.body
        headers = answer.headers
        assert headers["content-length"] == str(len(found.body))
        assert headers["etag"] == f'"{found.etag}"'
        assert {name[11:]: " ".join(value.split()) for name, value in headers.items() if name.startswith("x-amz-meta-")} == {
            name: " ".join(value.split()) for name, value in found.metadata.items()
        }
        assert headers.get("x-amz-tagging-count", "0") == str(len(found.tags))
        assert headers.get("x-amz-object-lock-mode", "") == found.mode
        assert headers.get("x-amz-object-lock-retain-until-date", "") == found.until
        assert headers.get("x-amz-object-lock-legal-hold") == (None if found.hold is None else "ON" if found.hold else "OFF")
        assert headers.get("x-amz-version-id", NULL) == found.name
        assert ("x-amz-version-id" in headers) == bool(self.model.versioning)
        if found.tags:
            root = ElementTree.fromstring(self.call("GET", key, query=[("tagging", ""), *query]).body)
            assert {tag.findtext("{*}Key"): tag.findtext("{*}Value") or "" for tag in root.iter() if tag.tag.endswith("}Tag")} == found.tags


TestBucket = Machine.TestCase
TestBucket.settings = settings(
    max_examples=ROUNDS,
    stateful_step_count=STEPS,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
TestBucket.pytestmark = [pytest.mark.slow]
