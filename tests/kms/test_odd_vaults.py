"""The transit KMS before a Vault that does what a real one does seldom, or should not."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Mapping
from typing import Any

import pytest

from strongroom.kms.base import KeyDisabled, KMSDenied, KMSUnavailable, NoSuchKey, WrappedKey, WrappedKeyInvalid
from strongroom.kms.transit import PROVIDER, PROVIDER_UNBOUND
from strongroom.kms.vault_client import Answer
from tests.kms.imagined import Vault, denies, refused
from tests.kms.opened import CONTEXT
from tests.kms.standing import Clock, at_standing_clock, turns

OTHER = {"bucket": "bucket/other"}


def other_plaintext(path: str, body: Mapping[str, Any], token: str) -> Answer | None:
    """Unwraps everything, as something else."""
    if "decrypt" not in path:
        return None
    row = {"plaintext": base64.b64encode(b"x" * 32).decode()}
    return Answer(200, {"data": {"batch_results": [row] * len(body["batch_input"])}})


def test_a_kms_that_unwraps_with_any_associated_data_wraps_nothing() -> None:
    """It would open a data key for whoever asks with the context of another object."""

    async def main() -> None:
        vault = Vault()
        wrapped: dict[str, str] = {}

        def any_data(path: str, body: Mapping[str, Any], token: str) -> Answer | None:
            if "encrypt" in path:
                wrapped["plaintext"] = body["batch_input"][0]["plaintext"]
            if "decrypt" not in path:
                return None
            failed = {"error": "cipher: message authentication failed"}
            rows = [dict(wrapped) if "associated_data" in row else failed for row in body["batch_input"]]
            return Answer(200, {"data": {"batch_results": rows}})

        vault.odd = any_data
        with pytest.raises(KMSUnavailable, match="it does not unwrap what it wrapped"):
            await vault.kms().generate([CONTEXT])

    asyncio.run(main())


def test_a_kms_that_unwraps_as_something_else_wraps_nothing() -> None:
    async def main() -> None:
        vault = Vault()
        vault.odd = other_plaintext
        with pytest.raises(KMSUnavailable, match="it does not unwrap what it wrapped"):
            await vault.kms().generate([CONTEXT])

    asyncio.run(main())


def test_status_says_that_a_key_unwraps_as_another_and_why_none_is_wrapped() -> None:
    async def main(clock: Clock) -> None:
        clock.now = 1000
        vault = Vault()
        kms = vault.kms()
        status = await kms.status()
        assert status.error is None and status.seconds == 0
        vault.odd = other_plaintext
        assert (await kms.status()).error == "a key that was wrapped unwraps as another"
        vault.odd = denies("decrypt")
        assert "denies the use" in str((await kms.status()).error)
        vault.odd = denies("encrypt", "datakey")
        assert "denies the use" in str((await kms.status()).error)

    at_standing_clock(main)


@pytest.mark.parametrize("provider", ["static", "transit2", ""])
def test_what_another_kms_wrapped_is_no_matter_of_this_one(provider: str) -> None:
    async def main() -> None:
        vault = Vault()
        kms = vault.kms()
        (made,) = await kms.generate([CONTEXT])
        vault.asked.clear()
        (answer,) = await kms.unwrap([(WrappedKey(provider, "key", made.wrapped.ciphertext), CONTEXT)])
        assert isinstance(answer, NoSuchKey) and not vault.asked

    asyncio.run(main())


@pytest.mark.parametrize("name", ["../../sys/seal", "a/b", "a?b", "ä"])
def test_a_key_name_that_a_client_asks_for_cannot_lead_astray(name: str) -> None:
    async def main() -> None:
        vault = Vault()
        with pytest.raises(NoSuchKey, match="cannot have this name"):
            await vault.kms().generate([CONTEXT], name)
        assert not vault.asked

    asyncio.run(main())


def test_a_master_key_that_is_denied_spoils_no_other() -> None:
    async def main() -> None:
        vault = Vault()
        kms = vault.kms()
        (one,), (two,) = await kms.generate([CONTEXT]), await kms.generate([OTHER], "other")

        def away(path: str, body: Mapping[str, Any], token: str) -> Answer | None:
            if path.endswith("/other"):
                raise KMSUnavailable("no answer")
            return None

        for vault.odd, error in ((denies("/other"), KMSDenied), (away, KMSUnavailable)):
            answers = await kms.unwrap([(two.wrapped, OTHER), (one.wrapped, CONTEXT), (two.wrapped, OTHER)])
            assert [type(answer) for answer in answers] == [error, bytes, error]
            assert answers[1] == one.plaintext

    asyncio.run(main())


def test_the_version_in_the_settings_is_not_for_other_keys() -> None:
    async def main() -> None:
        vault = Vault()
        kms = vault.kms(version=7)
        (one,), (two,) = await kms.generate([CONTEXT]), await kms.generate([CONTEXT], "other")
        assert one.wrapped.ciphertext.startswith(b"vault:v7:") and two.wrapped.ciphertext.startswith(b"vault:v1:")

    asyncio.run(main())


def test_one_data_key_of_another_version_than_the_pinned_one_is_too_many() -> None:
    """As in a cluster of an older Vault and a newer one."""

    async def main() -> None:
        vault = Vault()
        versions = iter((7, 7, 1))

        def now_and_then(path: str, body: Any, token: str) -> Answer | None:
            if "datakey" in path:
                body["key_version"] = next(versions)
            return denies("encrypt")(path, body, token)

        vault.odd = now_and_then
        with pytest.raises(NoSuchKey, match="does not wrap with version 7"):
            await vault.kms(version=7).generate([CONTEXT, OTHER])

    asyncio.run(main())


def test_what_the_policy_grants_for_another_key_changes_nothing_for_that_of_the_settings() -> None:
    async def main() -> None:
        vault = Vault()
        kms = vault.kms()
        vault.odd = denies("encrypt/other")
        for key in ("", "other", ""):
            await kms.generate([CONTEXT], key)
        assert vault.paths(containing="datakey") == ["transit/datakey/plaintext/other"] * 2
        vault.odd = denies("encrypt")
        await kms.generate([CONTEXT])
        vault.asked.clear()
        await kms.generate([CONTEXT])
        assert vault.paths() == ["transit/datakey/plaintext/key"], "what is denied is not asked for each time"

    asyncio.run(main())


def test_only_a_denial_is_a_reason_to_make_a_key_in_the_other_way() -> None:
    async def main() -> None:
        vault = Vault()
        vault.odd = lambda path, body, token: refused(400, "key is soft-deleted") if "encrypt" in path else None
        with pytest.raises(KeyDisabled):
            await vault.kms().generate([CONTEXT])
        assert not vault.paths(containing="datakey")

    asyncio.run(main())


def test_whether_the_context_is_enforced_is_tried_once() -> None:
    async def main() -> None:
        vault = Vault()
        kms = vault.kms()
        made = await asyncio.gather(*(kms.generate([CONTEXT]) for _ in range(10)))
        made.append(await kms.generate([CONTEXT], "other"))
        assert len(vault.paths(containing="decrypt")) == 1
        assert {key.wrapped.provider for (key,) in made} == {PROVIDER}

    asyncio.run(main())


def test_a_trial_that_failed_is_made_again(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        vault = Vault()
        kms = vault.kms()
        vault.odd = lambda path, body, token: refused(400, "key is soft-deleted") if "decrypt" in path else None
        with pytest.raises(KeyDisabled):
            await kms.generate([CONTEXT])
        vault.odd = lambda path, body, token: None
        (made,) = await kms.generate([CONTEXT])
        assert made.wrapped.provider == PROVIDER

    asyncio.run(main())
    assert not caplog.records


def test_who_goes_away_during_the_trial_leaves_it_to_the_others() -> None:
    async def main() -> None:
        vault = Vault()
        kms = vault.kms()
        vault.held.clear()
        first, second = (asyncio.create_task(kms.generate([CONTEXT])) for _ in range(2))
        await turns()
        first.cancel()
        await turns()
        vault.held.set()
        (made,) = await second
        assert made.wrapped.provider == PROVIDER and first.cancelled()

    asyncio.run(main())


def test_who_comes_after_one_who_gave_the_trial_up_does_not_wait_for_that_trial(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def main() -> None:
        vault = Vault()
        kms = vault.kms()
        await kms.unwrap([(WrappedKey(PROVIDER, "key", b"vault:v1:fHw="), CONTEXT)])  # it has a token now
        vault.held.clear()
        first = asyncio.create_task(kms.generate([CONTEXT]))
        await turns()
        vault.held = asyncio.Event()
        vault.held.set()  # which the first call does not see
        first.cancel()
        await turns()
        async with asyncio.timeout(30):
            (made,) = await kms.generate([CONTEXT])
        assert made.wrapped.provider == PROVIDER
        await kms.stop()
        await turns()

    asyncio.run(main())
    assert not caplog.records


def test_who_waits_for_a_kms_waits_no_longer_than_the_settings_say() -> None:
    async def main() -> None:
        vault = Vault(timeout=0.2)
        kms = vault.kms()
        (made,) = await kms.generate([CONTEXT])
        vault.held.clear()
        with pytest.raises(KMSUnavailable, match=r"no answer within 0.2 s$"):
            await kms.generate([CONTEXT])
        async with asyncio.timeout(30):
            (answer,) = await kms.unwrap([(made.wrapped, CONTEXT)])
        assert isinstance(answer, KMSUnavailable) and "no answer within 0.2 s" in str(answer)
        vault.pace.refused("too many requests", None)
        with pytest.raises(KMSUnavailable, match=r"no answer within 0.2 s \(too many requests\)"):
            await kms.generate([CONTEXT])
        vault.held.set()
        assert await kms.unwrap([(made.wrapped, CONTEXT)]) == [made.plaintext]
        await kms.stop()

    asyncio.run(main())


def test_at_the_end_nobody_is_left_waiting() -> None:
    async def main() -> None:
        vault = Vault()
        kms = vault.kms()
        (made,) = await kms.generate([CONTEXT])
        vault.held.clear()
        waiting = [
            asyncio.ensure_future(kms.generate([CONTEXT])),
            asyncio.ensure_future(kms.unwrap([(made.wrapped, CONTEXT)])),
        ]
        await turns()
        vault.held = asyncio.Event()
        vault.held.set()  # which those under way do not see
        await kms.stop()
        async with asyncio.timeout(30):
            answers = await asyncio.gather(*waiting, return_exceptions=True)
        assert [type(answer) for answer in answers] == [asyncio.CancelledError] * 2
        assert vault.stopped and vault.paths()[-1] == "auth/token/revoke-self"

    asyncio.run(main())


@pytest.mark.parametrize(("busy", "calls"), [(False, 8), (True, 2)])
def test_fewer_calls_are_under_way_while_the_kms_limits_their_rate(busy: bool, calls: int) -> None:
    async def main(clock: Clock) -> None:
        vault = Vault()
        kms = vault.kms()
        (made,) = await kms.generate([CONTEXT])
        if busy:
            vault.pace.refused("too many requests", 60)
        vault.held.clear()
        tasks = []
        for _ in range(12):
            tasks.append(asyncio.ensure_future(kms.unwrap([(made.wrapped, CONTEXT)])))
            await turns()
            clock.now += 1
            await turns()
        assert vault.under_way == calls
        vault.held.set()
        assert [await task for task in tasks] == [[made.plaintext]] * 12

    at_standing_clock(main)


def test_data_keys_that_the_kms_makes_one_by_one_do_not_all_use_it_at_once() -> None:
    async def main() -> None:
        vault = Vault()
        vault.odd = denies("encrypt")
        made = await vault.kms().generate([CONTEXT] * 100)
        assert len(made) == 100 and vault.most_under_way == 16

    asyncio.run(main())


@pytest.mark.parametrize("name", ["a&b", "a"])
def test_no_other_form_of_a_context_is_tried_unless_one_may_open_the_key(name: str) -> None:
    async def main() -> None:
        vault = Vault()
        kms = vault.kms()
        context = {"bucket": f"bucket/{name}"}
        (made,) = await kms.generate([OTHER])
        for provider, calls in ((PROVIDER, 1), (PROVIDER_UNBOUND, 1 + ("&" in name))):
            vault.asked.clear()
            (answer,) = await kms.unwrap([(WrappedKey(provider, "key", made.wrapped.ciphertext), context)])
            assert isinstance(answer, WrappedKeyInvalid)
            assert len(vault.paths(containing="decrypt")) == calls
        vault.odd = denies("decrypt")
        vault.asked.clear()
        (answer,) = await kms.unwrap([(WrappedKey(PROVIDER_UNBOUND, "key", made.wrapped.ciphertext), context)])
        assert isinstance(answer, KMSDenied)
        assert len(vault.paths(containing="decrypt")) == 1

    asyncio.run(main())
