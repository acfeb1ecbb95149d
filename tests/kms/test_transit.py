"""The transit KMS on a real OpenBao: what binds what, with which rights, and what each refusal is."""

from __future__ import annotations

import asyncio
import base64
import os
import re
from collections.abc import Callable

import pytest

from strongroom.kms.base import (
    KeyDisabled,
    KMSDenied,
    KMSError,
    KMSUnavailable,
    NoSuchKey,
    WrappedKey,
    WrappedKeyInvalid,
    context_bytes,
)
from strongroom.kms.transit import PROVIDER, PROVIDER_UNBOUND
from strongroom.kms.transit_wire import Item, refusal, results
from strongroom.kms.vault_client import Answer
from strongroom.legacy.context import context_forms
from strongroom.sealed.check import make_check, verify_check
from tests.kms.opened import CONTEXT, made, opened, unwrapped
from tests.openbao import POLICY, OpenBao, Refused
from tests.proxy import Proxy

OTHER = {"bucket": "bucket/other"}


def without(operation: str) -> str:
    return "\n".join(line for line in POLICY.splitlines() if f"transit/{operation}" not in line)


def test_a_data_key_opens_with_its_context_and_no_other(bao: OpenBao, key: str) -> None:
    async def main() -> None:
        async with opened(bao.role(key, key).settings()) as kms:
            one, two = await kms.generate([CONTEXT, OTHER])
            assert (one.wrapped.provider, one.wrapped.key_id) == (PROVIDER, key)
            assert len(one.plaintext) == 32 and one.plaintext != two.plaintext
            answers = await kms.unwrap([(one.wrapped, CONTEXT), (one.wrapped, OTHER), (two.wrapped, OTHER)])
            assert answers[::2] == [one.plaintext, two.plaintext]
            assert isinstance(answers[1], WrappedKeyInvalid)

    asyncio.run(main())


def test_the_context_is_enforced_by_the_kms_itself(bao: OpenBao, key: str) -> None:
    async def main() -> WrappedKey:
        async with opened(bao.role(key, key).settings()) as kms:
            return (await made(kms)).wrapped

    ciphertext = asyncio.run(main()).ciphertext.decode()
    with pytest.raises(Refused, match="authentication failed"):
        bao.api("POST", f"transit/decrypt/{key}", {"ciphertext": ciphertext})
    bound = base64.b64encode(context_bytes(CONTEXT)).decode()
    assert bao.api("POST", f"transit/decrypt/{key}", {"ciphertext": ciphertext, "associated_data": bound})


# -- rights --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("missing", ["encrypt", "datakey"])
def test_one_of_encrypt_and_datakey_is_enough(bao: OpenBao, key: str, missing: str) -> None:
    async def main() -> None:
        async with opened(bao.role(key, key, policy=without(missing)).settings()) as kms:
            one, two = await kms.generate([CONTEXT, OTHER])
            assert one.wrapped.provider == PROVIDER, "the context is bound either way"
            assert await unwrapped(kms, one.wrapped) == one.plaintext
            assert await unwrapped(kms, two.wrapped, OTHER) == two.plaintext
            bao.write_policy(key, key, without("encrypt" if missing == "datakey" else "datakey"))
            again = await made(kms)
            assert await unwrapped(kms, again.wrapped) == again.plaintext

    asyncio.run(main())


def test_without_both_nothing_is_wrapped(bao: OpenBao, key: str) -> None:
    async def main() -> None:
        async with opened(bao.role(key, key, policy='path "transit/decrypt/{key}" {{ capabilities = ["update"] }}')
                          .settings()) as kms:  # fmt: skip
            with pytest.raises(KMSDenied, match=f"denies the use of the master key '{key}'.*permission denied"):
                await made(kms)

    asyncio.run(main())


def test_many_that_are_denied_do_not_wait_for_each_other(bao: OpenBao, key: str) -> None:
    async def main() -> None:
        with Proxy(bao.port) as proxy:
            async with opened(bao.role(key, key).settings(proxy.endpoint)) as kms:
                await made(kms)
                bao.api("DELETE", f"sys/policies/acl/{key}")
                denied = await asyncio.gather(*(made(kms) for _ in range(50)), return_exceptions=True)
                assert all(isinstance(error, KMSDenied) for error in denied)
                assert proxy.requests[f"transit/datakey/plaintext/{key}"] <= 5

    asyncio.run(main())


# -- keys ----------------------------------------------------------------------------------------------------------


def test_all_versions_of_a_key_unwrap_and_a_pinned_one_wraps(bao: OpenBao, key: str) -> None:
    async def main() -> None:
        role = bao.role(key, key)
        async with opened(role.settings()) as kms:
            old = await made(kms)
            bao.api("POST", f"transit/keys/{key}/rotate", {})
            new = await made(kms)
            assert old.wrapped.ciphertext.startswith(b"vault:v1:") and new.wrapped.ciphertext.startswith(b"vault:v2:")
            assert await unwrapped(kms, old.wrapped) == old.plaintext
            assert await unwrapped(kms, new.wrapped) == new.plaintext
        async with opened(role.settings(MINIO_SSE_VAULT_KEY_VERSION="1")) as kms:
            assert (await made(kms)).wrapped.ciphertext.startswith(b"vault:v1:")

    asyncio.run(main())


def test_a_version_that_is_not_there_is_no_reason_to_try_again(bao: OpenBao, key: str) -> None:
    async def main() -> None:
        async with opened(bao.role(key, key).settings(MINIO_SSE_VAULT_KEY_VERSION="2")) as kms:
            with pytest.raises(NoSuchKey, match="does not have this version"):
                await made(kms)

    asyncio.run(main())


def test_a_version_that_may_no_longer_wrap_is_disabled_and_unwraps_all_the_same(bao: OpenBao, key: str) -> None:
    async def main() -> None:
        async with opened(bao.role(key, key).settings(MINIO_SSE_VAULT_KEY_VERSION="1")) as kms:
            old = await made(kms)
            bao.api("POST", f"transit/keys/{key}/rotate", {})
            bao.api("POST", f"transit/keys/{key}/config", {"min_encryption_version": 2})
            with pytest.raises(KeyDisabled, match="is disabled for this version"):
                await made(kms)
            assert await unwrapped(kms, old.wrapped) == old.plaintext

    asyncio.run(main())


def test_a_version_that_the_kms_does_not_heed_wraps_nothing(bao: OpenBao, key: str) -> None:
    """Vault's ``datakey`` has not always known versions, and would wrap with one that is not the pinned one."""

    async def main() -> None:
        role = bao.role(key, key, policy=without("encrypt"))
        with Proxy(bao.port, lambda data: data.replace(b'"key_version"', b'"unheard_of_"')) as proxy:
            async with opened(role.settings(proxy.endpoint, MINIO_SSE_VAULT_KEY_VERSION="1")) as kms:
                assert (await made(kms)).wrapped.ciphertext.startswith(b"vault:v1:")
                bao.api("POST", f"transit/keys/{key}/rotate", {})
                with pytest.raises(NoSuchKey, match=r"does not wrap with version 1 .* grant transit/encrypt"):
                    await made(kms)

    asyncio.run(main())


def test_a_key_that_derives_works_too(bao: OpenBao, key: str) -> None:
    bao.api("POST", f"transit/keys/{key}", {"derived": True})

    async def main() -> None:
        async with opened(bao.role(key, key).settings()) as kms:
            one = await made(kms)
            assert await unwrapped(kms, one.wrapped) == one.plaintext
            with pytest.raises(WrappedKeyInvalid):
                await unwrapped(kms, one.wrapped, OTHER)

    asyncio.run(main())


@pytest.mark.parametrize("name", ["a&b", 'a"b', 'a&"b'])
def test_what_minio_wrapped_with_a_key_that_derives_opens_however_its_releases_wrote_the_name(
    bao: OpenBao, key: str, name: str
) -> None:
    bao.api("POST", f"transit/keys/{key}", {"derived": True})
    context = {"bucket": f"bucket/{name}"}

    async def main() -> None:
        async with opened(bao.role(key, key).settings()) as kms:
            for form in context_forms(context):
                body = {"context": base64.b64encode(form).decode()}
                given = bao.api("POST", f"transit/datakey/plaintext/{key}", body)["data"]
                wrapped = WrappedKey(PROVIDER_UNBOUND, key, given["ciphertext"].encode())
                assert await unwrapped(kms, wrapped, context) == base64.b64decode(given["plaintext"])
                with pytest.raises(WrappedKeyInvalid):
                    await unwrapped(kms, wrapped, {"bucket": "bucket/a"})

    asyncio.run(main())


@pytest.mark.parametrize("kind", ["ed25519", "rsa-2048"])
def test_a_key_of_a_type_that_wraps_nothing_is_said_to_be_one(bao: OpenBao, key: str, kind: str) -> None:
    bao.api("POST", f"transit/keys/{key}", {"type": kind})

    async def main() -> None:
        async with opened(bao.role(key, key).settings()) as kms:
            with pytest.raises(NoSuchKey, match=f"'{key}' .* is of a type that wraps no data keys: .*{kind}"):
                await made(kms)

    asyncio.run(main())


def test_another_transit_key_unwraps_where_the_policy_grants_it(bao: OpenBao, key: str) -> None:
    async def main() -> None:
        old, new = bao.role(f"{key}-old", f"{key}-old"), bao.role(f"{key}-new", f"{key}-new")
        async with opened(old.settings()) as kms:
            wrapped = await made(kms)
        async with opened(new.settings()) as kms:
            with pytest.raises(KMSDenied):
                await unwrapped(kms, wrapped.wrapped)
            bao.write_policy(new.name, new.key, POLICY + POLICY.replace("{key}", f"{key}-old"))
            assert await unwrapped(kms, wrapped.wrapped) == wrapped.plaintext

    asyncio.run(main())


def test_what_was_wrapped_without_associated_data_opens_only_as_such(bao: OpenBao, key: str) -> None:
    """As MinIO's 2019 release did, which knew only ``context``."""
    role, secret = bao.role(key, key), os.urandom(32)
    ciphertext = bao.wrap(key, secret).encode()

    async def main() -> None:
        async with opened(role.settings()) as kms:
            assert await unwrapped(kms, WrappedKey(PROVIDER_UNBOUND, key, ciphertext)) == secret
            with pytest.raises(WrappedKeyInvalid):
                await unwrapped(kms, WrappedKey(PROVIDER, key, ciphertext))

    asyncio.run(main())


@pytest.mark.parametrize(("ignores", "policy"), [("", POLICY), ("datakey", without("encrypt"))])
def test_a_vault_that_ignores_associated_data_is_found_out_before_a_key_is_wrapped(
    bao: OpenBao, key: str, ignores: str, policy: str
) -> None:
    """Vault's ``datakey`` does, and everything before Vault 1.13; else those keys would never open again."""

    def rewrite(data: bytes) -> bytes:
        if ignores and not re.match(rb"POST /v1/transit/" + ignores.encode(), data):
            return data
        return data.replace(b"associated_data", b"unheard_of_name")

    async def main() -> None:
        with Proxy(bao.port, rewrite) as proxy:
            async with opened(bao.role(key, key, policy=policy).settings(proxy.endpoint)) as kms:
                for _ in range(2):
                    wrapped = await made(kms)
                    assert wrapped.wrapped.provider == PROVIDER_UNBOUND
                    assert await unwrapped(kms, wrapped.wrapped) == wrapped.plaintext
        async with opened(bao.role(key, key).settings()) as kms:  # a newer one
            assert await unwrapped(kms, wrapped.wrapped) == wrapped.plaintext

    asyncio.run(main())


# -- refusals ------------------------------------------------------------------------------------------------------


def soft_delete(bao: OpenBao, key: str) -> None:
    bao.api("DELETE", f"transit/keys/{key}/soft-delete")


def undelete(bao: OpenBao, key: str) -> None:
    bao.api("POST", f"transit/keys/{key}/soft-delete-restore", {})


def raise_version(bao: OpenBao, key: str) -> None:
    bao.api("POST", f"transit/keys/{key}/rotate", {})
    bao.api("POST", f"transit/keys/{key}/config", {"min_decryption_version": 2})


def lower_version(bao: OpenBao, key: str) -> None:
    bao.api("POST", f"transit/keys/{key}/config", {"min_decryption_version": 1})


def take_policy(bao: OpenBao, key: str) -> None:
    bao.api("DELETE", f"sys/policies/acl/{key}")


def give_policy(bao: OpenBao, key: str) -> None:
    bao.write_policy(key, key)


Switch = Callable[[OpenBao, str], None]


@pytest.mark.parametrize(
    ("disable", "enable", "error", "says"),
    [
        (soft_delete, undelete, KeyDisabled, "disabled"),
        (raise_version, lower_version, KeyDisabled, "min_decryption_version"),
        (take_policy, give_policy, KMSDenied, "permission denied"),
    ],
)
def test_each_way_to_disable_a_key_is_told_apart_and_ends_at_once(
    bao: OpenBao, key: str, disable: Switch, enable: Switch, error: type[KMSError], says: str
) -> None:
    async def main() -> None:
        # The version is pinned: raising the least version means new keys too, then.
        async with opened(bao.role(key, key).settings(MINIO_SSE_VAULT_KEY_VERSION="1")) as kms:
            wrapped = await made(kms)
            for _ in range(2):
                disable(bao, key)
                with pytest.raises(error, match=says):
                    await unwrapped(kms, wrapped.wrapped)
                with pytest.raises(error):
                    await made(kms)
                enable(bao, key)
                assert await unwrapped(kms, wrapped.wrapped) == wrapped.plaintext
                await made(kms)

    asyncio.run(main())


@pytest.mark.parametrize(
    ("status", "reason", "error"),
    [
        (400, "encryption key not found", NoSuchKey),
        (400, "message encryption not supported for key type ecdsa-p256", NoSuchKey),
        (404, "no handler for route 'transit/encrypt/key'", NoSuchKey),
        (404, "1 error occurred: * unsupported path", NoSuchKey),
        (400, "requested version for encryption is higher than the latest key version", NoSuchKey),
        (400, "requested version for encryption is less than the minimum encryption key version", KeyDisabled),
        (400, "ciphertext or signature version is disallowed by policy (too old)", KeyDisabled),
        (400, "invalid ciphertext: no prefix", WrappedKeyInvalid),
        (400, "cipher: message authentication failed", WrappedKeyInvalid),
        (403, "permission denied", KMSDenied),
        (400, "something that nobody has foreseen", KMSUnavailable),
    ],
)
def test_what_a_vault_says_of_a_whole_call_and_of_one_data_key_means_the_same(
    status: int, reason: str, error: type[KMSError]
) -> None:
    found = refusal(Answer(status, {"errors": [reason]}), "key", "https://kms")
    assert type(found) is error and "'key'" in str(found) and reason in str(found)
    if status != 403:  # which is not said of one
        rows = {"data": {"batch_results": [{"error": reason}]}}
        (row,) = results(Answer(400, rows), [Item("key", b"{}", True, secret=bytes(32))], "https://kms")
        assert type(row) is error and str(row) == str(found)


def test_a_deleted_key_is_not_there_and_a_restored_one_is(bao: OpenBao, key: str) -> None:
    async def main() -> None:
        async with opened(bao.role(key, key).settings()) as kms:
            wrapped = await made(kms)
            bao.api(
                "POST",
                f"transit/keys/{key}/config",
                {"exportable": True, "allow_plaintext_backup": True, "deletion_allowed": True},
            )
            backup = bao.api("GET", f"transit/backup/{key}")["data"]["backup"]
            bao.api("DELETE", f"transit/keys/{key}")
            with pytest.raises(NoSuchKey, match="does not exist"):
                await unwrapped(kms, wrapped.wrapped)
            with pytest.raises(NoSuchKey):
                await made(kms)
            assert key not in bao.api("LIST", "transit/keys")["data"]["keys"], "no new key in its place"
            bao.restore(key, backup)
            assert await unwrapped(kms, wrapped.wrapped) == wrapped.plaintext

    asyncio.run(main())


@pytest.mark.parametrize(
    "ciphertext",
    [
        b"",
        b"vault:v1:",
        b"vault:v1:AAAA",
        b"vault:v9:" + b"A" * 80,
        b'vault:v1:"}',
        b"\xff",
        b"vault:v1:" + b"A" * 70_000,
    ],
)
def test_a_damaged_wrapped_key_is_invalid_and_does_not_spoil_the_others(
    bao: OpenBao, key: str, ciphertext: bytes
) -> None:
    async def main() -> None:
        async with opened(bao.role(key, key).settings()) as kms:
            good = await made(kms)
            damaged = WrappedKey(PROVIDER, key, ciphertext)
            answers = await kms.unwrap([(good.wrapped, CONTEXT), (damaged, CONTEXT), (good.wrapped, CONTEXT)])
            assert answers[::2] == [good.plaintext] * 2
            assert isinstance(answers[1], WrappedKeyInvalid)

    asyncio.run(main())


@pytest.mark.parametrize("name", ["../../sys/seal", "a/b", "a?b", "", "ä", "a" * 300])
def test_a_key_name_from_the_storage_cannot_lead_astray(bao: OpenBao, key: str, name: str) -> None:
    async def main() -> None:
        with Proxy(bao.port) as proxy:
            async with opened(bao.role(key, key).settings(proxy.endpoint)) as kms:
                good = await made(kms)
                asked = proxy.requests.total()
                with pytest.raises(NoSuchKey):
                    await unwrapped(kms, WrappedKey(PROVIDER, name, good.wrapped.ciphertext))
                assert proxy.requests.total() == asked

    asyncio.run(main())


def test_a_thousand_keys_take_eight_calls(bao: OpenBao, key: str) -> None:
    async def main() -> None:
        with Proxy(bao.port) as proxy:
            async with opened(bao.role(key, key).settings(proxy.endpoint)) as kms:
                keys = await kms.generate([{"bucket": f"bucket/{number}"} for number in range(1000)])
                proxy.requests.clear()
                asked = [(made.wrapped, {"bucket": f"bucket/{number}"}) for number, made in enumerate(keys)]
                assert await kms.unwrap(asked) == [made.plaintext for made in keys]
                assert proxy.requests == {f"transit/decrypt/{key}": 8}

    asyncio.run(main())


def test_a_disabled_key_says_nothing_of_whose_the_objects_of_a_place_are(bao: OpenBao, key: str) -> None:
    async def main() -> None:
        async with opened(bao.role(key, key).settings()) as kms:
            document = await make_check(kms, "place")
            await verify_check(kms, "place", document)
            soft_delete(bao, key)
            with pytest.raises(KeyDisabled):
                await verify_check(kms, "place", document)

    asyncio.run(main())


def test_status_wraps_and_unwraps_and_says_why_not(bao: OpenBao, key: str) -> None:
    async def main() -> None:
        async with opened(bao.role(key, key).settings()) as kms:
            status = await kms.status()
            assert (status.error, status.endpoint, status.key_id) == (None, bao.endpoint, key)
            assert status.token_seconds is not None and 0 < status.token_seconds <= 300
            assert status.seconds is not None and status.seconds > 0
            soft_delete(bao, key)
            assert "disabled" in str((await kms.status()).error)

    asyncio.run(main())
