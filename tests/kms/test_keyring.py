"""A static key, and several in a keyring: which one answers for what, and what nobody else is asked about."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from strongroom.kms.base import Context, DataKey, KeyDisabled, KMSError, NoSuchKey, WrappedKey, WrappedKeyInvalid
from strongroom.kms.keyring import Keyring
from strongroom.kms.static import StaticKMS
from strongroom.secret import Secret
from tests.kms.elsewhere import KMSElsewhere

HERE: Context = {"b": "b/o"}


def static(name: str, key: bytes = bytes(32)) -> StaticKMS:
    return StaticKMS(name, Secret(key))


def made(kms: StaticKMS) -> DataKey:
    return asyncio.run(kms.generate([HERE]))[0]


def opened(kms: StaticKMS | Keyring, *wrapped: WrappedKey, context: Context = HERE) -> Sequence[bytes | KMSError]:
    return asyncio.run(kms.unwrap([(one, context) for one in wrapped]))


def test_a_static_key_knows_what_it_wrapped_from_what_others_of_its_name_did() -> None:
    ours, wrapped = static("key"), made(static("key")).wrapped
    assert ours.in_memory(wrapped) and ours.in_memory(wrapped._replace(provider="minio"))
    for other in (
        wrapped._replace(key_id="other"),
        wrapped._replace(key_id="other", provider="minio"),
        wrapped._replace(provider="transit"),
        wrapped._replace(provider="transit-context"),
    ):
        assert not ours.in_memory(other), "a key that is in a Vault may be denied there"
        assert isinstance(opened(ours, other)[0], NoSuchKey), "another of the keyring is asked"


def test_a_static_key_opens_what_it_wrapped_as_it_wrapped_it_and_nothing_else() -> None:
    data_key = made(static("key"))
    wrapped = data_key.wrapped
    assert opened(static("key"), wrapped) == [data_key.plaintext]
    cut = [wrapped._replace(ciphertext=wrapped.ciphertext[:end]) for end in range(60)]
    refused = opened(static("key"), *cut, wrapped._replace(ciphertext=wrapped.ciphertext + b"\0"))
    refused = [*refused, *opened(static("key", b"\1" * 32), wrapped)]
    refused = [*refused, *opened(static("key"), wrapped, context={"b": "b/other"})]
    assert {type(answer) for answer in refused} == {WrappedKeyInvalid}


def test_a_static_key_wraps_for_its_own_name_alone() -> None:
    for key_id in ("", "key"):
        assert asyncio.run(static("key").generate([HERE], key_id))[0].wrapped.key_id == "key"
    with pytest.raises(NoSuchKey):
        asyncio.run(Keyring(static("key"), [static("other")]).generate([HERE], "other"))
    for length in (0, 16, 31, 33):
        with pytest.raises(ValueError, match="32 bytes"):
            static("key", bytes(length))


def test_each_of_a_keyring_is_asked_for_what_those_before_it_do_not_have() -> None:
    members = [KMSElsewhere(name) for name in ("one", "two", "three")]
    keys = [made(member) for member in (members[2], members[0], members[1], KMSElsewhere("nobody's"), members[2])]
    answers = opened(Keyring(members[0], members[1:]), *(key.wrapped for key in keys))
    assert isinstance(answers[3], NoSuchKey)
    assert [*answers[:3], answers[4]] == [key.plaintext for key in (*keys[:3], keys[4])]
    assert [member.unwrapped for member in members] == [[5], [4], [3]]
    assert opened(Keyring(members[0], members[1:]), keys[1].wrapped) == [keys[1].plaintext]
    assert [len(member.unwrapped) for member in members] == [2, 1, 1], "nobody is asked about what was found"


def test_of_a_key_that_nobody_has_the_active_one_says_so() -> None:
    class Named(KMSElsewhere):
        async def unwrap(self, keys: Sequence[tuple[WrappedKey, Context]]) -> Sequence[bytes | KMSError]:
            return [NoSuchKey(f"not at {self.key_id}")] * len(keys)

    (answer,) = opened(Keyring(Named("one"), [Named("two"), Named("three")]), made(static("key")).wrapped)
    assert str(answer) == "not at one"


def test_a_key_that_any_of_a_keyring_has_in_memory_is_in_memory() -> None:
    """Whichever of them it is: nobody can withdraw it while the server runs."""
    ours, elsewhere = static("static"), KMSElsewhere("vault")
    for keyring in (Keyring(ours, [elsewhere]), Keyring(elsewhere, [ours])):
        assert keyring.in_memory(made(ours).wrapped)
        assert not keyring.in_memory(made(elsewhere).wrapped)


def test_a_keyring_wraps_with_the_key_that_was_asked_for_and_is_called_after_the_active_one() -> None:
    keyring = Keyring(static("active"), [static("other")])
    assert keyring.key_id == "active"
    for key_id in ("", "active"):
        assert asyncio.run(keyring.generate([HERE], key_id))[0].wrapped.key_id == "active"


def test_all_of_a_keyring_begin_and_end_with_it_and_say_how_they_are() -> None:
    class Living(KMSElsewhere):
        lives = ""

        async def start(self) -> None:
            self.lives += "started "

        async def stop(self) -> None:
            self.lives += "stopped"

    async def main() -> None:
        members = [Living(name) for name in ("one", "two", "three")]
        keyring = Keyring(members[0], members[1:])
        await keyring.start()
        assert [member.lives for member in members] == ["started "] * 3
        assert [status.key_id for status in await keyring.statuses()] == ["one", "two", "three"]
        assert (await keyring.status()).key_id == "one"
        await keyring.stop()
        assert [member.lives for member in members] == ["started stopped"] * 3

    asyncio.run(main())


def test_what_is_denied_by_the_one_that_has_the_key_no_other_opens() -> None:
    class Disabled(KMSElsewhere):
        async def unwrap(self, keys: Sequence[tuple[WrappedKey, Context]]) -> Sequence[bytes | KMSError]:
            return [KeyDisabled("it is disabled") for _ in keys]

    (answer,) = opened(Keyring(Disabled("key"), [static("key")]), made(static("key")).wrapped)
    assert isinstance(answer, KeyDisabled)
