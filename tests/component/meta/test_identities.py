"""Accounts, users and the policies that narrow them, wherever they are kept."""

from __future__ import annotations

import re

import pytest

from meta.identities import ATTACHED_MAX
from meta.protocol.accounts import KeyPair, Person
from meta.protocol.door import Meta
from meta.protocol.identities import Account, Subject, User
from node.clock import FakeClock
from node.errors import AccountNotFound, AlreadyExists, InvalidArgument, KeyPairNotFound, PolicyNotFound, StillInUse, UserNotFound


async def test_an_account_is_made_and_its_keys_are_its_owner(meta: Meta, clock: FakeClock) -> None:
    made = await meta.identities.create_account(Account("ann", display_name="Ann", email="Ann@example.org"))
    assert re.fullmatch(r"[0-9a-f]{64}", made.user_id)
    assert made.created_us == clock.now_us()
    assert await meta.identities.accounts() == [made]
    key = await meta.accounts.create_key(KeyPair("", "ann", "laptop", ""))
    assert (key.user_id, key.display_name) == (made.user_id, "Ann")
    person = Person(made.user_id, "ann", "Ann", "Ann@example.org")
    assert await meta.accounts.people(user_id=made.user_id) == [person]
    assert await meta.accounts.people(email="ann@EXAMPLE.org") == [person]
    assert await meta.accounts.people() == []
    with pytest.raises(AlreadyExists):
        await meta.identities.create_account(Account("ann"))
    with pytest.raises(AlreadyExists):
        await meta.identities.create_account(Account("other", user_id=made.user_id))


async def test_a_key_makes_account_and_user(meta: Meta) -> None:
    key = await meta.accounts.create_key(KeyPair("", "ann", "laptop", "canonical", "Ann", "ann@example.org"))
    second = await meta.accounts.create_key(KeyPair("", "ann", "phone", "", email="ann@example.org"))
    assert second.user_id == "canonical"
    (account,) = await meta.identities.accounts()
    assert (account.account, account.user_id, account.display_name, account.email) == ("ann", key.user_id, "Ann", "ann@example.org")
    assert [(user.account, user.user) for user in await meta.identities.users()] == [("ann", "laptop"), ("ann", "phone")]
    assert [person.user_id for person in await meta.accounts.people(email="ann@example.org")] == ["canonical"]


@pytest.mark.parametrize("account", [Account(""), Account("a b"), Account("a:b"), Account("a" * 129), Account("a", user_id="a b")])
async def test_accounts_that_no_policy_could_name_are_refused(meta: Meta, account: Account) -> None:
    with pytest.raises(InvalidArgument):
        await meta.identities.create_account(account)


async def test_users_come_and_go(meta: Meta) -> None:
    with pytest.raises(AccountNotFound):
        await meta.identities.create_user(User("ann", "laptop"))
    await meta.identities.create_account(Account("ann"))
    with pytest.raises(PolicyNotFound):
        await meta.identities.create_user(User("ann", "laptop", policies=("none",)))
    made = await meta.identities.create_user(User("ann", "laptop"))
    with pytest.raises(AlreadyExists):
        await meta.identities.create_user(User("ann", "laptop"))
    assert await meta.identities.users() == [made]
    key = await meta.accounts.create_key(KeyPair("", "ann", "laptop", ""))
    with pytest.raises(StillInUse):
        await meta.identities.remove_user("ann", "laptop")
    await meta.accounts.revoke_key(key.access_key)
    await meta.identities.remove_user("ann", "laptop")
    with pytest.raises(UserNotFound):
        await meta.identities.remove_user("ann", "laptop")


async def test_suspensions_of_key_user_and_account(meta: Meta) -> None:
    key = await meta.accounts.create_key(KeyPair("", "ann", "laptop", ""))
    other = await meta.accounts.create_key(KeyPair("", "bob", "laptop", ""))
    subjects = {"key": Subject(access_key=key.access_key), "user": Subject("ann", "laptop"), "account": Subject("ann")}
    for by, subject in subjects.items():
        await meta.identities.suspend(subject, suspended=True)
        found = await meta.accounts.key(key.access_key)
        assert (found.suspended, found.suspended_by) == (True, by)
    assert not (await meta.accounts.key(other.access_key)).suspended
    for subject in subjects.values():
        assert (await meta.accounts.key(key.access_key)).suspended
        await meta.identities.suspend(subject, suspended=False)
    assert not (await meta.accounts.key(key.access_key)).suspended
    for subject, error in (
        (Subject("x"), AccountNotFound),
        (Subject("ann", "x"), UserNotFound),
        (Subject(access_key="x"), KeyPairNotFound),
    ):
        with pytest.raises(error):
            await meta.identities.suspend(subject, suspended=True)


async def test_policies_narrow_users_and_keys(meta: Meta, clock: FakeClock) -> None:
    identities = meta.identities
    await identities.put_policy("one", "text 1")
    await identities.put_policy("two", "text 2")
    key = await meta.accounts.create_key(KeyPair("", "ann", "laptop", "", policies=("one",)))
    assert (await meta.accounts.key(key.access_key)).boundaries == (("text 1",),)
    await identities.attach(Subject(access_key=key.access_key), "two", attached=True)
    await identities.attach(Subject(access_key=key.access_key), "two", attached=True)
    await identities.attach(Subject("ann", "laptop"), "two", attached=True)
    assert (await meta.accounts.key(key.access_key)).boundaries == (("text 2",), ("text 1", "text 2"))
    assert [pair.policies for pair in await meta.accounts.keys()] == [("one", "two")]
    assert [user.policies for user in await identities.users()] == [("two",)]
    clock.advance(1.0)
    changed = await identities.put_policy("one", "text 3")
    assert changed.changed_us > changed.created_us
    assert (await meta.accounts.key(key.access_key)).boundaries[1] == ("text 3", "text 2")
    with pytest.raises(StillInUse):
        await identities.delete_policy("two")
    await identities.attach(Subject("ann", "laptop"), "two", attached=False)
    await identities.attach(Subject(access_key=key.access_key), "two", attached=False)
    await identities.delete_policy("two")
    assert [policy.name for policy in await identities.policies()] == ["one"]
    assert (await meta.accounts.key(key.access_key)).boundaries == (("text 3",),)


async def test_what_can_not_be_attached(meta: Meta) -> None:
    identities = meta.identities
    key = await meta.accounts.create_key(KeyPair("", "ann", "laptop", ""))
    subject = Subject(access_key=key.access_key)
    with pytest.raises(PolicyNotFound):
        await identities.attach(subject, "none", attached=True)
    with pytest.raises(PolicyNotFound):
        await identities.attach(subject, "none", attached=False)
    with pytest.raises(PolicyNotFound):
        await identities.delete_policy("none")
    with pytest.raises(PolicyNotFound):
        await meta.accounts.create_key(KeyPair("", "ann", "laptop", "", policies=("none",)))
    for at in range(ATTACHED_MAX + 1):
        await identities.put_policy(f"p{at}", "{}")
    for at in range(ATTACHED_MAX):
        await identities.attach(subject, f"p{at}", attached=True)
    with pytest.raises(InvalidArgument):
        await identities.attach(subject, f"p{ATTACHED_MAX}", attached=True)
    with pytest.raises(InvalidArgument):
        await identities.attach(Subject("ann"), "p0", attached=True)
    with pytest.raises(InvalidArgument):
        await identities.put_policy("", "{}")
    with pytest.raises(UserNotFound):
        await identities.attach(Subject("ann", "x"), "p0", attached=True)
    with pytest.raises(KeyPairNotFound):
        await identities.attach(Subject(access_key="x"), "p0", attached=True)
