"""Tokens: whatever happens to them, no request fails for it."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

import pytest

from strongroom.kms.base import DataKey, KMSDenied, KMSUnavailable
from strongroom.kms.keyring import Keyring
from tests.kms.opened import made, opened, unwrapped
from tests.openbao import OpenBao
from tests.proxy import Proxy
from tests.waiting import comes


async def use(kms: Keyring, key: DataKey, seconds: float) -> int:
    """Unwrap a key over and over, as eight clients do, each twice at least; how often. Raises the first failure."""
    until = time.monotonic() + seconds

    async def client() -> int:
        done = 0
        while time.monotonic() < until or done < 2:
            assert await unwrapped(kms, key.wrapped) == key.plaintext
            done += 1
            await asyncio.sleep(0.005)
        return done

    return sum(await asyncio.gather(*(client() for _ in range(8))))


def test_a_token_that_is_revoked_under_load_is_replaced_and_nothing_fails(bao: OpenBao, key: str) -> None:
    async def main() -> None:
        with Proxy(bao.port) as proxy:
            async with opened(bao.role(key, key).settings(proxy.endpoint)) as kms:
                wrapped = await made(kms)
                for _ in range(3):
                    load = asyncio.create_task(use(kms, wrapped, 0.6))
                    await asyncio.sleep(0.2)
                    assert await asyncio.to_thread(bao.revoke_tokens) >= 1
                    assert await load > 8
                assert proxy.requests["auth/approle/login"] == 4, "one login for each that was lost"

    asyncio.run(main())


def test_a_token_is_renewed_at_half_its_life(bao: OpenBao, key: str) -> None:
    async def main() -> None:
        with Proxy(bao.port) as proxy:
            async with opened(bao.role(key, key, period="2s").settings(proxy.endpoint)) as kms:
                await use(kms, await made(kms), 4.5)
                assert proxy.requests["auth/approle/login"] == 1
                assert 2 <= proxy.requests["auth/token/renew-self"] <= 5

    asyncio.run(main())


@pytest.mark.parametrize(
    "settings",
    [
        {"token_period": "0s", "token_ttl": "2s", "token_max_ttl": "3s"},
        {"token_period": "0s", "token_ttl": "2s", "token_type": "batch"},
        {"token_num_uses": 25},
    ],
    ids=["no longer than", "not renewable", "so many uses"],
)
def test_a_token_that_ends_anyway_is_followed_by_another(
    bao: OpenBao, key: str, settings: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    async def main() -> None:
        with Proxy(bao.port) as proxy:
            async with opened(bao.role(key, key, **settings).settings(proxy.endpoint)) as kms:
                await use(kms, await made(kms), 4.5)
                assert proxy.requests["auth/approle/login"] >= 2

    asyncio.run(main())
    assert not caplog.records, "nothing is wrong"


def test_a_token_whose_clock_ran_out_while_the_kms_was_away_costs_no_request(bao: OpenBao, key: str) -> None:
    async def main() -> None:
        with Proxy(bao.port) as proxy:
            settings = bao.role(key, key, period="2s").settings(proxy.endpoint, STRONGROOM_VAULT_TIMEOUT="1")
            async with opened(settings) as kms:
                wrapped = await made(kms)
                proxy.hold()
                await asyncio.sleep(3.5)
                proxy.release()
                assert await unwrapped(kms, wrapped.wrapped) == wrapped.plaintext

    asyncio.run(main())


def test_a_secret_id_that_was_replaced_in_its_file_is_picked_up(bao: OpenBao, key: str, tmp_path: Path) -> None:
    async def main() -> None:
        role = bao.role(key, key)
        file = tmp_path / "secret-id"
        file.write_text(role.secret_id + "\n")
        settings = role.settings(
            MINIO_SSE_VAULT_APPROLE_SECRET=None, MINIO_SSE_VAULT_APPROLE_SECRET_FILE=str(file)
        )  # fmt: skip
        async with opened(settings) as kms:
            wrapped = await made(kms)
            file.write_text(bao.secret_id(key) + "\n")
            bao.api("POST", f"auth/approle/role/{key}/secret-id/destroy", {"secret_id": role.secret_id})
            bao.revoke_tokens()
            assert await unwrapped(kms, wrapped.wrapped) == wrapped.plaintext

    asyncio.run(main())


def test_a_secret_id_that_is_refused_is_not_tried_over_and_over_and_a_new_one_at_once(
    bao: OpenBao, key: str, tmp_path: Path
) -> None:
    async def main() -> None:
        role = bao.role(key, key)
        file = tmp_path / "secret-id"
        file.write_text(role.secret_id)
        settings = {"MINIO_SSE_VAULT_APPROLE_SECRET": None, "MINIO_SSE_VAULT_APPROLE_SECRET_FILE": str(file)}
        with Proxy(bao.port) as proxy:
            async with opened(role.settings(proxy.endpoint, **settings)) as kms:
                wrapped = await made(kms)
                bao.api("POST", f"auth/approle/role/{key}/secret-id/destroy", {"secret_id": role.secret_id})
                bao.revoke_tokens()
                with pytest.raises(KMSDenied, match="refuses the AppRole: invalid role or secret ID"):
                    await unwrapped(kms, wrapped.wrapped)
                for _ in range(20):
                    with pytest.raises(KMSDenied, match="refuses the AppRole"):
                        await made(kms)
                assert proxy.requests["auth/approle/login"] <= 4, "five failures would lock the role out"
                file.write_text(bao.secret_id(key))
                assert await unwrapped(kms, wrapped.wrapped) == wrapped.plaintext

    asyncio.run(main())


def test_a_policy_that_says_no_brings_no_new_logins(bao: OpenBao, key: str) -> None:
    async def main() -> None:
        with Proxy(bao.port) as proxy:
            async with opened(bao.role(key, key).settings(proxy.endpoint)) as kms:
                wrapped = await made(kms)
                bao.api("DELETE", f"sys/policies/acl/{key}")
                for _ in range(20):
                    with pytest.raises(KMSDenied):
                        await unwrapped(kms, wrapped.wrapped)
                assert proxy.requests["auth/approle/login"] == 1

    asyncio.run(main())


async def asked(proxy: Proxy, path: str) -> None:
    """Wait until a path was asked for."""
    assert await asyncio.to_thread(comes, lambda: proxy.requests[path] > 0, 60)


def test_a_policy_that_the_role_is_given_is_soon_had_and_no_token_is_left(bao: OpenBao, key: str) -> None:
    """A token keeps the policies that its role had when it was given, however often it is renewed."""

    async def main() -> None:
        with Proxy(bao.port) as proxy:
            role = bao.role(key, key, period="6s", token_policies="default")
            async with opened(role.settings(proxy.endpoint)) as kms:
                with pytest.raises(KMSDenied):
                    await made(kms)
                bao.api("POST", f"auth/approle/role/{key}", {"token_policies": key})
                await asked(proxy, "auth/token/revoke-self")
                wrapped = await made(kms)
                assert await unwrapped(kms, wrapped.wrapped) == wrapped.plaintext
                assert bao.revoke_tokens() == 1, "the former was given back"

    bao.revoke_tokens()
    asyncio.run(main())


def test_a_token_that_was_refused_once_is_kept_where_the_role_gives_no_other(bao: OpenBao, key: str) -> None:
    async def main() -> None:
        with Proxy(bao.port) as proxy:
            role = bao.role(key, key, period="6s")
            async with opened(role.settings(proxy.endpoint)) as kms:
                wrapped = await made(kms)
                bao.api("DELETE", f"sys/policies/acl/{key}")
                with pytest.raises(KMSDenied):
                    await made(kms)
                bao.api("POST", f"auth/approle/role/{key}/secret-id/destroy", {"secret_id": role.secret_id})
                await asked(proxy, "auth/token/renew-self")
                bao.write_policy(key, key)
                assert await unwrapped(kms, wrapped.wrapped) == wrapped.plaintext
                assert proxy.requests["auth/approle/login"] == 2

    asyncio.run(main())


def test_a_token_that_may_not_even_look_at_itself_works_and_is_replaced(bao: OpenBao, key: str) -> None:
    async def main() -> None:
        with Proxy(bao.port) as proxy:
            role = bao.role(key, key, token_no_default_policy=True)
            async with opened(role.settings(proxy.endpoint)) as kms:
                wrapped = await made(kms)
                bao.revoke_tokens()
                assert await unwrapped(kms, wrapped.wrapped) == wrapped.plaintext
                bao.api("DELETE", f"sys/policies/acl/{key}")
                for _ in range(20):
                    with pytest.raises(KMSDenied):
                        await unwrapped(kms, wrapped.wrapped)
                assert proxy.requests["auth/approle/login"] <= 4, "each of them leaves a token in the KMS"

    asyncio.run(main())


def test_the_token_is_given_back_at_the_end(bao: OpenBao, key: str) -> None:
    async def main() -> None:
        async with opened(bao.role(key, key).settings()) as kms:
            await made(kms)

    bao.revoke_tokens()
    asyncio.run(main())
    assert bao.revoke_tokens() == 0


def test_no_secret_shows_itself_in_what_is_raised(bao: OpenBao, key: str) -> None:
    async def main() -> str:
        role = bao.role(key, key)
        async with opened(role.settings(MINIO_SSE_VAULT_APPROLE_SECRET="hunter2-hunter2")) as kms:
            with pytest.raises(KMSDenied) as caught:
                await made(kms)
            return repr(caught.value) + repr(vars(kms)) + role.role_id[:0]

    assert "hunter2" not in asyncio.run(main())


def test_a_kms_that_was_away_at_the_start_is_used_when_it_comes(bao: OpenBao, key: str) -> None:
    async def main() -> None:
        with Proxy(bao.port) as proxy:
            proxy.hold()
            settings = bao.role(key, key).settings(proxy.endpoint, STRONGROOM_VAULT_TIMEOUT="1")
            async with opened(settings) as kms:
                with pytest.raises(KMSUnavailable, match="no answer within 1 s"):
                    await made(kms)
                proxy.release()
                wrapped = await made(kms)
                assert await unwrapped(kms, wrapped.wrapped) == wrapped.plaintext

    asyncio.run(main())
