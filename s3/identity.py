"""Who asks: access keys kept at hand, and the one function that turns a request into an identity before anything else looks at it."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping

import msgspec

from meta.protocol.accounts import Accounts, KeyPair, Person
from node.errors import KeyPairNotFound
from node.http.message import Headers, Request
from s3 import claim as claims
from s3 import formclaim, sigv2, sigv4
from s3.errors import S3Error
from s3.query import TOKEN, Parameters, Query, parse_query
from s3.signingkey import Seed
from s3.target import bucket_of_host

KEYS_CACHED_MAX = 10_000
ACCESS_KEY_CHARACTERS_MAX = 128
"""As with AWS; longer ones are not looked for."""
KEY_AGE_S_MAX = 5.0
"""How long a revoked or suspended key may still work in a gateway that has it at hand."""
UNKNOWN_AGE_S_MAX = 1.0
"""How soon a key made elsewhere works here, when it was asked for before."""


class Identity(msgspec.Struct, frozen=True):
    """user_id: canonical id, "" for anonymous; account: owner of buckets; user: who of the account.

    boundaries   policies that narrow it, texts: it may do only what every group of them allows (those of the user, those of the key)
    """

    user_id: str = ""
    account: str = ""
    display_name: str = ""
    access_key: str = ""
    admin: bool = False
    user: str = ""
    boundaries: tuple[tuple[str, ...], ...] = ()

    @property
    def anonymous(self) -> bool:
        return not self.user_id


ANONYMOUS = Identity()


class Signed(msgspec.Struct, frozen=True):
    """A request's identity and, when it is signed with version 4, its verified claim. presigned: the URL is, its query holds headers."""

    identity: Identity
    claim: claims.Claim | None = None
    seed: Seed | None = None
    presigned: bool = False


NOT_SIGNED = Signed(ANONYMOUS)


class _Known(msgspec.Struct, frozen=True):
    secret: str | None
    identity: Identity
    suspended: bool
    until: float


class Keyring:
    """Access keys and people by id, remembered for KEY_AGE_S_MAX. Shared by all tasks of a gateway; the newest KEYS_CACHED_MAX are kept."""

    def __init__(self, accounts: Accounts, monotonic: Callable[[], float]) -> None:
        self._accounts = accounts
        self._monotonic = monotonic
        self._known: OrderedDict[str, _Known] = OrderedDict()
        self._people: OrderedDict[str, tuple[float, Person | None]] = OrderedDict()

    def __repr__(self) -> str:
        return f"<Keyring known={len(self._known)}>"

    def at_hand(self, access_key: str) -> _Known | None:
        """The key, if it was looked up lately: apart from `find`, so that a request that need not wait makes no coroutine."""
        known = self._known.get(access_key)
        return known if known is not None and known.until > self._monotonic() else None

    async def find(self, access_key: str) -> _Known:
        """The key, with secret None when there is none of that id."""
        known = self.at_hand(access_key)
        if known is not None:
            return known
        if len(access_key) > ACCESS_KEY_CHARACTERS_MAX:  # nobody's, and too long to remember: ten thousand of them would be
            return _Known(None, ANONYMOUS, False, 0.0)
        try:
            pair = await self._accounts.key(access_key)
        except KeyPairNotFound:
            known = _Known(None, ANONYMOUS, False, self._monotonic() + UNKNOWN_AGE_S_MAX)
        else:
            known = _Known(pair.secret, _identity(pair), pair.suspended, self._monotonic() + KEY_AGE_S_MAX)
        self._known[access_key] = known
        self._known.move_to_end(access_key)
        if len(self._known) > KEYS_CACHED_MAX:
            self._known.popitem(last=False)
        return known

    async def person(self, user_id: str) -> Person | None:
        """Whom a canonical id stands for; None when there is no such user."""
        known = self._people.get(user_id)
        if known is not None and known[0] > self._monotonic():
            return known[1]
        found = await self._accounts.people(user_id=user_id)
        person = found[0] if found else None
        self._people[user_id] = (self._monotonic() + (KEY_AGE_S_MAX if found else UNKNOWN_AGE_S_MAX), person)
        self._people.move_to_end(user_id)
        if len(self._people) > KEYS_CACHED_MAX:
            self._people.popitem(last=False)
        return person

    async def by_email(self, email: str) -> list[Person]:
        return await self._accounts.people(email=email)

    async def display_name(self, user_id: str) -> str:
        """The display name that goes with a canonical id; the id itself when no key of that user is left."""
        person = await self.person(user_id)
        return user_id if person is None else person.display_name or person.account


def _identity(pair: KeyPair) -> Identity:
    return Identity(
        pair.user_id,
        pair.account,
        pair.display_name or pair.name,
        pair.access_key,
        pair.admin,
        pair.name,
        pair.boundaries,
    )


class Doorway(msgspec.Struct, frozen=True):
    """What every signature is checked against. sigv2: whether signature version 2 is taken; domains: suffixes of virtual hosts."""

    keyring: Keyring
    region: bytes
    domains: tuple[str, ...] = ()
    sigv2: bool = False

    async def admit(self, request: Request, query: Query, signature: bytes | None, now_s: float) -> Signed:
        """The only door: every request passes here before routing, and leaves with a verified identity or as anonymous.

        `query` and `signature` are what `read_query` makes of the request's query. Raises: S3Error.
        """
        headers = request.headers
        if self.sigv2:
            parameters = parse_query(request.raw_query)
            old = sigv2.parse(headers.lines, parameters)
            if old is not None:
                signed = await _authenticate_v2(old, request, parameters, self, now_s)
                _refuse_token(headers, query)
                return signed
        claim = claims.parse(headers, query, signature)
        if claim is None:
            return NOT_SIGNED
        access_key = claim.credential.access_key
        known = self.keyring.at_hand(access_key) or await self.keyring.find(access_key)
        seed = sigv4.verify(
            claim,
            known.secret,
            method=request.method,
            raw_path=request.raw_path,
            query=query.canonical,
            headers=headers,
            region=self.region,
            now_s=now_s,
        )
        _refuse_token(headers, query)
        return Signed(_admitted(known), claim, seed, claim.expires_s is not None)


async def _authenticate_v2(claim: sigv2.Claim, request: Request, parameters: Parameters, door: Doorway, now_s: float) -> Signed:
    known = await door.keyring.find(claim.access_key)
    sigv2.verify(
        claim,
        known.secret,
        method=request.method,
        raw_path=request.raw_path,
        virtual_bucket=bucket_of_host(request.headers.get(b"host", b""), door.domains),
        parameters=parameters,
        headers=request.headers.lines,
        now_s=now_s,
    )
    return Signed(_admitted(known), presigned=claim.expires is not None)


async def authenticate_form(fields: Mapping[str, str], door: Doorway) -> Signed:
    """The same door for a POST form, which is signed by its fields (by lower-case name). Until when, its policy says.

    Raises: S3Error.
    """
    claim = formclaim.parse(fields)
    if claim is None:
        return NOT_SIGNED
    known = await door.keyring.find(claim.access_key)
    formclaim.verify(claim, known.secret, door.region)
    if "x-amz-security-token" in fields:
        raise S3Error("InvalidToken")
    return Signed(_admitted(known))


def _admitted(known: _Known) -> Identity:
    """The identity of a key whose signature was right. Raises: AccessDenied when it may do nothing."""
    if known.suspended:
        raise S3Error("AccessDenied", "The access key is suspended.")
    return known.identity


def _refuse_token(headers: Headers, query: Query) -> None:
    if TOKEN in headers.first or query.token:
        raise S3Error("InvalidToken")
