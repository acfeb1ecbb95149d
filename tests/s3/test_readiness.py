"""What load balancers are told of a store that hangs."""

from __future__ import annotations

import asyncio

import pytest

from strongroom.s3 import readiness
from strongroom.s3.readiness import Readiness
from strongroom.sealed.faults import Forbidden, StoreError, Unavailable


class Store:
    """One that answers when ``answer`` is set: with that, or with nothing."""

    def __init__(self) -> None:
        self.asked = self.given_up = 0
        self.answer: asyncio.Future[StoreError | None] = asyncio.get_running_loop().create_future()

    async def ask(self) -> None:
        self.asked += 1
        try:
            error = await asyncio.shield(self.answer)
        except asyncio.CancelledError:
            self.given_up += 1
            raise
        if error is not None:
            raise error


async def told(ready: Readiness, times: int) -> list[str]:
    """What so many are told who ask at the same time."""
    came = await asyncio.gather(*(ready.check() for _ in range(times)), return_exceptions=True)
    return ["ready" if one is None else type(one).__name__ for one in came]


@pytest.fixture(autouse=True)
def seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(readiness, "_LATE", 0.1)
    monkeypatch.setattr(readiness, "_LOST", 0.5)


@pytest.mark.parametrize(("error", "word"), [(None, "ready"), (Forbidden("no"), "Forbidden")])
def test_all_who_ask_meanwhile_share_an_answer(error: StoreError | None, word: str) -> None:
    async def main() -> None:
        store = Store()
        ready = Readiness(store.ask)
        asyncio.get_running_loop().call_later(0.02, store.answer.set_result, error)
        assert await told(ready, 5) == [word] * 5
        assert store.asked == 1
        assert await told(ready, 1) == [word]
        assert store.asked == 2

    asyncio.run(main())


def test_a_store_that_hangs_is_not_waited_for_and_asked_once_only() -> None:
    async def main() -> None:
        store = Store()
        ready = Readiness(store.ask)
        async with asyncio.timeout(0.4):
            for _ in range(3):
                assert await told(ready, 5) == [Unavailable.__name__] * 5
        assert store.asked == 1
        store.answer.set_result(None)
        await asyncio.sleep(0)
        assert await told(ready, 1) == ["ready"]

    asyncio.run(main())


def test_a_question_that_was_lost_is_asked_anew() -> None:
    async def main() -> None:
        store = Store()
        ready = Readiness(store.ask)
        assert await told(ready, 1) == [Unavailable.__name__]
        await asyncio.sleep(0.6)
        assert store.given_up == 1
        asyncio.get_running_loop().call_later(0.02, store.answer.set_result, None)
        assert await told(ready, 1) == ["ready"]

    asyncio.run(main())
