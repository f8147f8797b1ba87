"""Access keys kept at hand: for how long, how many, and none that only a forger would send."""

from __future__ import annotations

from meta.protocol.accounts import KeyPair
from node.errors import KeyPairNotFound
from s3.identity import ACCESS_KEY_CHARACTERS_MAX, KEY_AGE_S_MAX, KEYS_CACHED_MAX, UNKNOWN_AGE_S_MAX, Keyring


class Accounts:
    """Knows one key, and what it was asked for."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    async def key(self, access_key: str) -> KeyPair:
        self.asked.append(access_key)
        if access_key != "known":
            raise KeyPairNotFound("no such key")
        return KeyPair("known", "account", "name", "user", secret="secret")


def keyring() -> tuple[Keyring, Accounts, list[float]]:
    accounts, now = Accounts(), [0.0]
    return Keyring(accounts, lambda: now[0]), accounts, now  # type: ignore[arg-type]


async def test_keys_are_looked_for_again_after_a_while() -> None:
    ring, accounts, now = keyring()
    for _ in range(2):
        assert (await ring.find("known")).secret == "secret"
        assert (await ring.find("other")).secret is None
    assert accounts.asked == ["known", "other"]
    now[0] = UNKNOWN_AGE_S_MAX + 0.1
    await ring.find("known")
    await ring.find("other")
    assert accounts.asked == ["known", "other", "other"]
    now[0] = KEY_AGE_S_MAX + 0.1
    await ring.find("known")
    assert accounts.asked[-1] == "known"


async def test_a_key_that_is_too_long_for_one_is_neither_looked_for_nor_remembered() -> None:
    ring, accounts, _ = keyring()
    assert (await ring.find("k" * (ACCESS_KEY_CHARACTERS_MAX + 1))).secret is None
    assert accounts.asked == []
    assert repr(ring) == "<Keyring known=0>"


async def test_only_so_many_are_remembered() -> None:
    ring, _, _ = keyring()
    for number in range(KEYS_CACHED_MAX + 10):
        await ring.find(f"key {number}")
    assert repr(ring) == f"<Keyring known={KEYS_CACHED_MAX}>"
