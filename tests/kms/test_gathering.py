"""Gathering: what goes out together, and who waits for whom."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from strongroom.kms.gathering import Gatherer


class Asked:
    """Answers each question with itself; keeps the sizes of the calls. Calls are stuck while ``stuck`` is not 0."""

    def __init__(self) -> None:
        self.calls: list[int] = []
        self.stuck = 0
        self.fails = False
        self.called = asyncio.Event()
        self.gatherer: Gatherer[int, int] = Gatherer(self.send, lambda error: type(error)(str(error)), most=100)

    async def send(self, questions: Sequence[int]) -> Sequence[int]:
        self.calls.append(len(questions))
        self.called.set()
        if self.stuck:
            self.stuck -= 1
            await asyncio.Event().wait()
        await asyncio.sleep(0.001)
        if self.fails:
            raise OSError("failed")
        return questions

    async def ask(self, *questions: int) -> Sequence[int]:
        return tuple(await self.gatherer.ask(questions))


def test_a_single_client_gets_a_call_for_each_of_its_questions() -> None:
    async def main() -> None:
        asked = Asked()
        for number in range(20):
            assert await asked.ask(number) == (number,)
        assert asked.calls == [1] * 20

    asyncio.run(main())


def test_questions_at_the_same_time_go_out_together_and_each_gets_its_answer() -> None:
    async def main() -> None:
        asked = Asked()

        async def client(number: int) -> None:
            for step in range(20):
                assert await asked.ask(number, step) == (number, step)

        await asyncio.gather(*map(client, range(40)))
        assert sum(asked.calls) == 1600
        assert len(asked.calls) <= 800 / 8
        assert max(asked.calls) <= 100

    asyncio.run(main())


def test_a_stuck_call_holds_up_only_those_that_went_out_with_it() -> None:
    async def main() -> None:
        asked = Asked()
        asked.stuck = 1
        stuck = asyncio.create_task(asked.ask(0))
        await asked.called.wait()
        async with asyncio.timeout(30):
            for number in range(1, 50):
                assert await asked.ask(number) == (number,)
        assert not stuck.done()
        await asked.gatherer.stop()
        assert (await asyncio.gather(stuck, return_exceptions=True))[0].__class__ is asyncio.CancelledError

    asyncio.run(main())


def test_nothing_is_asked_where_there_is_no_question() -> None:
    async def main() -> None:
        asked = Asked()
        assert await asked.ask() == ()
        assert asked.calls == []

    asyncio.run(main())


def test_more_than_fits_goes_out_in_several_calls() -> None:
    async def main() -> None:
        asked = Asked()
        assert list(await asked.ask(*range(250))) == list(range(250))
        assert max(asked.calls) == 100 and sum(asked.calls) == 250

    asyncio.run(main())


def test_a_failure_reaches_everybody_in_the_call_and_nobody_after_it() -> None:
    async def main() -> None:
        asked = Asked()
        asked.fails = True
        failed = await asyncio.gather(*map(asked.ask, range(10)), return_exceptions=True)
        assert all(isinstance(error, OSError) for error in failed)
        assert len({id(error) for error in failed}) == 10, "each has an exception of its own"
        asked.fails = False
        assert await asked.ask(1) == (1,)

    asyncio.run(main())


def test_who_goes_away_leaves_the_others_their_answers() -> None:
    async def main() -> None:
        asked = Asked()
        tasks = [asyncio.create_task(asked.ask(number)) for number in range(10)]
        await asyncio.sleep(0)
        tasks[3].cancel()
        answers = await asyncio.gather(*tasks, return_exceptions=True)
        assert isinstance(answers.pop(3), asyncio.CancelledError)
        assert answers == [(number,) for number in (0, 1, 2, 4, 5, 6, 7, 8, 9)]

    asyncio.run(main())


def test_when_everybody_but_one_has_gone_that_one_is_answered() -> None:
    async def main() -> None:
        asked = Asked()
        for _ in range(5):
            await asyncio.gather(*map(asked.ask, range(50)))
        asked.calls.clear()
        async with asyncio.timeout(30):
            for number in range(10):
                await asked.ask(number)
        assert asked.calls == [1] * 10

    asyncio.run(main())


def test_calls_on_their_way_are_bounded() -> None:
    async def main() -> None:
        asked = Asked()
        asked.stuck = 100
        tasks = [asyncio.create_task(asked.ask(number)) for number in range(12)]
        for _ in range(60):
            await asyncio.sleep(0.005)
            tasks.append(asyncio.create_task(asked.ask(99)))
        assert len(asked.calls) <= 8
        await asked.gatherer.stop()
        await asyncio.gather(*tasks, return_exceptions=True)

    asyncio.run(main())


def test_a_question_that_finds_no_room_waits_no_longer_than_its_asker() -> None:
    async def main() -> None:
        asked = Asked()
        asked.stuck = 1
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await asked.ask(1)
        assert await asked.ask(2) == (2,)
        await asked.gatherer.stop()

    asyncio.run(main())
