"""Tokens before a Vault in memory, mostly at a clock that stands: what is logged, what rests, which is replaced."""

from __future__ import annotations

import asyncio
import gc
import logging
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from strongroom.kms import vault_token
from strongroom.kms.base import KMSDenied, KMSUnavailable
from strongroom.kms.vault_client import Answer
from strongroom.kms.vault_token import VaultSession
from strongroom.secret import Secret
from tests.kms.imagined import Vault, denies, refused
from tests.kms.standing import Clock, at_standing_clock, come, turns
from tests.waiting import until

PATH = "transit/x/key"


def away(*parts: str) -> Callable[[str, Mapping[str, Any], str], Answer | None]:
    """Does not answer for paths with one of these in them."""

    def odd(path: str, body: Mapping[str, Any], token: str) -> Answer | None:
        if any(part in path for part in parts):
            raise KMSUnavailable("no answer")
        return None

    return odd


def dead(*tokens: str) -> Callable[[str, Mapping[str, Any], str], Answer | None]:
    """Knows these tokens no more."""
    return lambda path, body, token: refused(403, "permission denied") if token in tokens else None


def logins(vault: Vault) -> int:
    return len(vault.paths(containing="login"))


def renewals(vault: Vault) -> int:
    return len(vault.paths(containing="renew-self"))


async def started(vault: Vault) -> VaultSession:
    """A session that has its first token, whose keeper rests."""
    session = vault.session()
    await session.start()
    await come(lambda: session.life_left == vault.life)
    await turns()
    return session


def test_who_goes_away_during_a_login_leaves_it_to_the_others() -> None:
    async def main() -> None:
        vault = Vault()
        session = vault.session()
        vault.held.clear()
        first, second = (asyncio.create_task(session.post(PATH, {})) for _ in range(2))
        await until(lambda: logins(vault) == 1)
        first.cancel()
        await turns()
        vault.held.set()
        assert (await second).ok and first.cancelled()
        assert logins(vault) == 1

    asyncio.run(main())


def test_a_login_that_fails_when_all_who_waited_have_gone_is_no_error_of_the_server(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def main() -> None:
        vault = Vault()
        session = vault.session()
        vault.held.clear()
        vault.odd = away("login")
        waiting = asyncio.create_task(session.post(PATH, {}))
        await until(lambda: vault.under_way == 1)
        waiting.cancel()
        await turns()
        vault.held.set()
        await turns()
        assert vault.under_way == 0 and waiting.cancelled()
        vault.odd = lambda path, body, token: None
        assert (await session.post(PATH, {})).ok
        gc.collect()  # asyncio says then what nobody has looked at

    asyncio.run(main())
    assert not caplog.records


def test_at_the_end_a_login_under_way_is_given_up(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        vault = Vault()
        session = vault.session()
        vault.held.clear()
        waiting = asyncio.create_task(session.post(PATH, {}))
        await until(lambda: vault.under_way == 1)
        async with asyncio.timeout(30):
            await session.stop()
        assert vault.under_way == 0 and vault.stopped
        with pytest.raises(asyncio.CancelledError):
            await waiting

    asyncio.run(main())
    assert not caplog.records


@pytest.mark.parametrize("how", ["away", "denied", "hanging"])
def test_a_token_that_cannot_be_given_back_is_no_reason_not_to_end(how: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vault_token, "_FAREWELL", 0.1)

    async def main() -> None:
        vault = Vault()
        session = vault.session()
        assert (await session.post(PATH, {})).ok
        if how == "hanging":
            vault.held.clear()
        else:
            vault.odd = away("revoke") if how == "away" else denies("revoke")
        async with asyncio.timeout(30):
            await session.stop()
        assert vault.paths()[-1] == "auth/token/revoke-self" and vault.stopped

    asyncio.run(main())


@pytest.mark.parametrize("error", [FileNotFoundError(2, "No such file"), ValueError("it is empty")])
def test_a_secret_id_that_cannot_be_read_is_said_to_and_is_read_again(error: Exception) -> None:
    async def main() -> None:
        vault = Vault()
        there = False

        def secret_id() -> Secret:
            if there:
                return Secret("secret")
            raise error

        session = vault.session(secret_id)
        with pytest.raises(KMSDenied, match=r"secret id cannot be read: (No such file|it is empty)"):
            await session.post(PATH, {})
        assert not vault.asked
        there = True
        assert (await session.post(PATH, {})).ok

    asyncio.run(main())


def test_a_secret_id_that_was_refused_rests_for_longer_each_time_but_never_for_more_than_five_minutes() -> None:
    async def main(clock: Clock) -> None:
        vault = Vault()
        session = vault.session()

        async def is_refused(tried: int) -> None:
            with pytest.raises(KMSDenied, match="refuses the AppRole: invalid secret id"):
                await session.post(PATH, {})
            assert logins(vault) == tried

        vault.odd = lambda path, body, token: refused(400, "invalid secret id") if "login" in path else None
        await is_refused(1)
        for tried, rest in enumerate((5, 10, 20, 40, 80, 160, 300, 300), start=1):
            clock.now += rest - 0.5
            await is_refused(tried)
            clock.now += 0.5
            await is_refused(tried + 1)
        vault.odd = lambda path, body, token: None
        clock.now += 300
        assert (await session.post(PATH, {})).ok
        vault.odd = lambda path, body, token: refused(400, "invalid secret id") if "login" in path else refused(403, "")
        await is_refused(11)
        clock.now += 5
        await is_refused(12)

    at_standing_clock(main)


def test_a_denial_that_may_be_of_a_dead_token_is_no_answer_until_a_new_one_is_denied_too() -> None:
    async def main(clock: Clock) -> None:
        vault = Vault()
        session = vault.session()
        assert (await session.post(PATH, {})).ok
        vault.odd = denies("transit", "lookup-self")
        for expected in (2, 2, 2):
            assert (await session.post(PATH, {})).status == 403
            assert logins(vault) == expected
        clock.now += 5
        assert (await session.post(PATH, {})).status == 403
        assert logins(vault) == 3
        vault.odd = dead("token-3")
        clock.now += 5
        assert (await session.post(PATH, {})).ok
        assert logins(vault) == 4

    at_standing_clock(main)


def test_a_new_token_that_ends_while_a_call_is_on_its_way_with_it_is_no_denial() -> None:
    async def main(clock: Clock) -> None:
        vault = Vault()
        session = vault.session()
        assert (await session.post(PATH, {})).ok

        def holds_what_follows_a_login(path: str, body: Mapping[str, Any], token: str) -> Answer | None:
            if "login" in path:
                vault.held.clear()
            return dead("token-1")(path, body, token)

        vault.odd = holds_what_follows_a_login
        late = asyncio.create_task(session.post(PATH, {}))
        await come(lambda: vault.under_way == 1 and not vault.held.is_set() and vault.paths()[-1] == PATH)
        await turns()
        held, vault.held = vault.held, asyncio.Event()
        vault.held.set()  # which that call does not see
        vault.odd = dead("token-1", "token-2")
        assert (await session.post(PATH, {})).ok
        held.set()
        assert (await late).ok
        assert logins(vault) == 3

    at_standing_clock(main)


@pytest.mark.parametrize("lasting", [3, None])
def test_tokens_that_end_before_they_are_used_are_no_denial(lasting: int | None) -> None:
    """As on a machine that stands still for longer than they live, each time that one is used."""

    async def main(clock: Clock) -> None:
        vault = Vault()
        vault.life = 1
        session = vault.session()

        def stands_still(path: str, body: Mapping[str, Any], token: str) -> Answer | None:
            clock.now += path == PATH
            return None if "login" in path or token == f"token-{lasting}" else refused(403, "permission denied")

        vault.odd = stands_still
        if lasting:
            assert (await session.post(PATH, {})).ok
        else:
            with pytest.raises(KMSUnavailable, match="its tokens end before they are used"):
                await session.post(PATH, {})
        assert len(vault.paths(containing=PATH)) == 3

    at_standing_clock(main)


def test_a_kms_that_is_away_is_logged_once_and_once_when_it_is_back(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "strongroom.kms")

    def said() -> list[str]:
        return [record.levelname for record in caplog.records if record.name == "strongroom.kms"]

    async def main(clock: Clock) -> None:
        vault = Vault()
        session = vault.session()
        vault.odd = away("login", "renew")
        await session.start()
        for number in range(1, 5):
            await come(lambda number=number: logins(vault) == number)  # type: ignore[misc]
            await turns()
            clock.now += 15
        vault.odd = lambda path, body, token: None
        await come(lambda: session.life_left is not None)
        assert said() == ["WARNING", "INFO"]
        vault.odd = away("login", "renew")
        clock.now += 1801
        await come(lambda: len(said()) == 3)
        vault.odd = lambda path, body, token: None
        clock.now += 15
        await come(lambda: len(said()) == 4)
        assert said() == ["WARNING", "INFO"] * 2
        await session.stop()

    at_standing_clock(main)


def test_a_token_that_was_denied_something_is_replaced_when_it_is_a_minute_old_and_the_next_is_not() -> None:
    async def main(clock: Clock) -> None:
        vault = Vault()
        session = await started(vault)
        vault.odd = denies("transit")
        assert (await session.post(PATH, {})).status == 403
        await turns()
        vault.odd = lambda path, body, token: None
        clock.now += 59
        await turns()
        assert vault.under_way == 0 and logins(vault) == 1
        clock.now += 1
        await come(lambda: "auth/token/revoke-self" in vault.paths())
        await turns()
        assert (logins(vault), renewals(vault)) == (2, 0)
        clock.now += 1800
        await come(lambda: renewals(vault) == 1)
        assert logins(vault) == 2
        await session.stop()

    at_standing_clock(main)


def test_a_token_that_was_denied_something_is_still_replaced_after_it_had_to_be_renewed() -> None:
    async def main(clock: Clock) -> None:
        vault = Vault()
        vault.life = vault.renewed_life = 60
        session = await started(vault)
        vault.odd = denies("transit")
        assert (await session.post(PATH, {})).status == 403
        await turns()
        vault.odd = lambda path, body, token: refused(400, "invalid") if "login" in path else None
        clock.now += 30
        await come(lambda: renewals(vault) == 1 and session.life_left == 60)
        await turns()
        vault.odd = lambda path, body, token: None
        clock.now += 30
        await come(lambda: "auth/token/revoke-self" in vault.paths())
        assert (logins(vault), renewals(vault)) == (3, 1)
        await session.stop()

    at_standing_clock(main)


def test_a_token_whose_renewals_give_less_and_less_is_replaced_in_time() -> None:
    async def main(clock: Clock) -> None:
        vault = Vault()
        session = await started(vault)
        for life in (2000, 1800, 1700):
            await turns()
            vault.renewed_life = life
            assert logins(vault) == 1
            clock.now += (session.life_left or 0) / 2
            await come(lambda life=life: session.life_left == life or logins(vault) == 2)  # type: ignore[misc]
        await come(lambda: session.life_left == 3600)
        await session.stop()

    at_standing_clock(main)


def test_the_life_of_a_token_counts_from_when_it_was_asked_for() -> None:
    async def main(clock: Clock) -> None:
        vault = Vault()
        session = vault.session()
        vault.held.clear()
        await session.start()
        await come(lambda: vault.under_way == 1)
        clock.now += 30
        vault.held.set()
        await come(lambda: session.life_left == 3570)
        await turns()
        vault.held.clear()
        clock.now += 1770
        await come(lambda: renewals(vault) == 1)
        clock.now += 40
        vault.held.set()
        await come(lambda: session.life_left == 3560)
        await session.stop()

    at_standing_clock(main)


def test_a_token_that_a_request_had_to_get_is_renewed_at_half_its_own_life() -> None:
    async def main(clock: Clock) -> None:
        vault = Vault()
        vault.life = 0  # it does not expire
        session = vault.session()
        await session.start()
        assert (await session.post(PATH, {})).ok and session.life_left is None
        vault.odd = dead("token-1")
        vault.life = vault.renewed_life = 1000
        assert (await session.post(PATH, {})).ok and logins(vault) == 2
        await turns()
        clock.now += 499
        await turns()
        assert renewals(vault) == 0
        clock.now += 1
        await come(lambda: renewals(vault) == 1 and session.life_left == 1000)
        await session.stop()

    at_standing_clock(main)


def test_a_token_that_says_that_it_cannot_be_renewed_is_replaced_without_asking() -> None:
    async def main(clock: Clock) -> None:
        vault = Vault()
        vault.renewable = False
        session = await started(vault)
        clock.now += 1800
        await come(lambda: session.life_left == 3600)
        assert (logins(vault), renewals(vault)) == (2, 0)
        await session.stop()

    at_standing_clock(main)


def test_a_token_that_cannot_be_renewed_is_replaced_at_once(caplog: pytest.LogCaptureFixture) -> None:
    """OpenBao answers 500 for a token past its longest life."""
    caplog.set_level(logging.INFO, "strongroom.kms")

    async def main(clock: Clock) -> None:
        vault = Vault()
        session = await started(vault)
        vault.odd = away("renew")
        clock.now += 1800
        await come(lambda: logins(vault) == 2 and session.life_left == 3600)
        await session.stop()

    at_standing_clock(main)
    assert not caplog.records


def test_a_renewal_that_comes_late_brings_no_former_token_back() -> None:
    async def main(clock: Clock) -> None:
        vault = Vault()
        session = await started(vault)
        late = vault.held
        late.clear()
        clock.now += 1800
        await come(lambda: renewals(vault) == 1)
        await turns()
        vault.held = asyncio.Event()
        vault.held.set()  # which the renewal does not see
        vault.odd = dead("token-1")
        assert (await session.post(PATH, {})).ok
        auth = {"client_token": "token-1", "lease_duration": 3600, "renewable": True}
        vault.odd = lambda path, body, token: Answer(200, {"auth": auth}) if "renew" in path else None
        late.set()
        await come(lambda: vault.under_way == 0)
        await turns()
        vault.odd = dead("token-1")
        vault.asked.clear()
        assert (await session.post(PATH, {})).ok
        assert vault.paths() == [PATH]
        await session.stop()

    at_standing_clock(main)


def test_a_kms_that_is_away_is_asked_for_a_token_ever_less_often_but_four_times_a_minute(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pauses: list[float] = []
    over, turn = asyncio.Semaphore(0), asyncio.sleep

    async def pause(seconds: float) -> None:
        if seconds:
            pauses.append(seconds)
            await over.acquire()
        await turn(0)

    async def main(clock: Clock) -> None:
        async def are(*wanted: float) -> None:
            for number in range(len(pauses) + 1, len(wanted) + 1):
                over.release()
                await come(lambda number=number: len(pauses) == number)  # type: ignore[misc]
            assert pauses == [*wanted]

        vault = Vault()
        session = vault.session()
        vault.odd = away("login", "renew")
        await session.start()
        await come(lambda: len(pauses) == 1)
        await are(1, 2, 4, 8, 15, 15)
        vault.odd = lambda path, body, token: None
        over.release()
        await come(lambda: session.life_left == 3600)
        vault.odd = away("login", "renew")
        clock.now += 1800
        await come(lambda: len(pauses) == 7)
        await are(1, 2, 4, 8, 15, 15, 1, 2)
        await session.stop()

    monkeypatch.setattr(asyncio, "sleep", pause)
    at_standing_clock(main)


def test_a_denial_that_comes_late_to_a_token_that_was_replaced_meanwhile_is_no_answer() -> None:
    """What the role has been granted since is had with the new token, though the former one still lives."""

    async def main(clock: Clock) -> None:
        vault = Vault()
        session = await started(vault)
        vault.odd = denies("transit")
        assert (await session.post(PATH, {})).status == 403
        held = vault.held
        held.clear()
        late = asyncio.create_task(session.post(PATH, {}))
        await come(lambda: vault.under_way == 1)
        await turns()
        vault.held = asyncio.Event()
        vault.held.set()  # which that call does not see
        vault.odd = lambda path, body, token: denies("transit")(path, body, token) if token == "token-1" else None
        clock.now += 60
        await come(lambda: "auth/token/revoke-self" in vault.paths())
        held.set()
        assert (await late).ok
        assert logins(vault) == 2
        await session.stop()

    at_standing_clock(main)
