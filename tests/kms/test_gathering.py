"""Gathering: what goes out together, and who waits for whom."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from strongroom.kms.gathering import Gatherer
from tests.kms.standing import Clock, at_standing_clock, turns


class Asked:
    """Answers each question with itself; keeps the sizes of the calls. Calls are stuck while ``stuck`` is not 0."""

    def __init__(self) -> None:
        self.calls: list[int] = []
        self.stuck = 0
        self.fails = False
        self.called = asyncio.Event()
        self.gatherer: Gatherer[int, int] = Gatherer(self.send, most=100)

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
        asked.fails = False
        assert await asked.ask(1) == (1,)

    asyncio.run(main())


def test_who_goes_away_leaves_the_others_their_answers() -> None:
    async def main() -> None:
        asked = Asked()
        alone = asyncio.create_task(asked.ask(0))
        await asyncio.sleep(0)
        alone.cancel()
        await turns()
        assert asked.calls == []
        tasks = [asyncio.create_task(asked.ask(number)) for number in range(10)]
        await asyncio.sleep(0)
        tasks[3].cancel()
        answers = await asyncio.gather(*tasks, return_exceptions=True)
        assert isinstance(answers.pop(3), asyncio.CancelledError)
        assert answers == [(number,) for number in (0, 1, 2, 4, 5, 6, 7, 8, 9)]
        assert asked.calls == [9], "nothing is asked for who has gone"

    asyncio.run(main())


@pytest.mark.parametrize("fails", [False, True])
def test_who_goes_away_while_the_call_is_on_its_way_leaves_the_others_their_answers(fails: bool) -> None:
    async def main() -> None:
        asked = Asked()
        asked.fails = fails
        tasks = [asyncio.create_task(asked.ask(number)) for number in range(10)]
        await asked.called.wait()
        tasks[0].cancel()
        async with asyncio.timeout(30):
            answers = await asyncio.gather(*tasks, return_exceptions=True)
        assert asked.calls == [10]
        assert isinstance(answers.pop(0), asyncio.CancelledError)
        if fails:
            assert [type(answer) for answer in answers] == [OSError] * 9
        else:
            assert answers == [(number,) for number in range(1, 10)]

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


class Slow:
    """Answers each question with itself, each call as soon as :meth:`answer` is called for it; keeps what was asked."""

    def __init__(self, calls: int = 8) -> None:
        self.asked: list[Sequence[int]] = []
        self.ended = 0
        self._held: list[asyncio.Future[Exception | None]] = []
        self.gatherer: Gatherer[int, int | Exception] = Gatherer(self.send, most=100, calls=lambda: calls)

    async def send(self, questions: Sequence[int]) -> Sequence[int | Exception]:
        held: asyncio.Future[Exception | None] = asyncio.get_running_loop().create_future()
        self.asked.append(questions)
        self._held.append(held)
        try:
            error = await held
        finally:
            await asyncio.sleep(0)  # as a connection is closed, or used again
            self.ended += 1
        return [error] * len(questions) if error else questions

    def answer(self, number: int, error: Exception | None = None) -> None:
        self._held[number].set_result(error)

    def ask(self, *questions: int) -> asyncio.Task[Sequence[int | Exception]]:
        return asyncio.create_task(self.gatherer.ask(questions))


def test_when_it_has_stopped_no_call_is_on_its_way_any_more() -> None:
    async def main() -> None:
        slow = Slow()
        task = slow.ask(1)
        await turns()
        assert slow.asked == [[1]]
        await slow.gatherer.stop()
        assert slow.ended == 1
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())


def test_who_asks_after_the_end_is_cancelled_and_nothing_is_sent() -> None:
    async def main() -> None:
        slow = Slow()
        await slow.gatherer.stop()
        with pytest.raises(asyncio.CancelledError):
            await slow.ask(1)
        assert not slow.asked

    asyncio.run(main())


def test_who_finds_all_calls_on_their_way_is_asked_for_when_one_of_them_returns() -> None:
    async def main(clock: Clock) -> None:
        slow = Slow(calls=1)
        first, second = slow.ask(1), slow.ask(2, 3)
        await turns()
        third = slow.ask(4)
        await turns()
        assert slow.asked == [[1, 2, 3]]
        slow.answer(0)
        await turns()
        assert slow.asked == [[1, 2, 3], [4]]
        slow.answer(1)
        assert (await first, await second, await third) == ([1], [2, 3], [4])

    at_standing_clock(main)


@pytest.mark.parametrize("sizes", [(100,), (40, 60), (1,) * 100])
def test_a_full_call_waits_for_nobody(sizes: Sequence[int]) -> None:
    async def main(clock: Clock) -> None:
        slow = Slow()
        slow.ask(0)
        await turns()
        assert len(slow.asked) == 1
        for size in sizes:
            slow.ask(*range(size))
            await turns()
        assert [len(asked) for asked in slow.asked] == [1, 100]
        await slow.gatherer.stop()

    at_standing_clock(main)


def test_a_question_goes_out_beside_a_call_that_takes_twice_as_long_as_usual_and_not_before() -> None:
    """How long it takes the KMS to refuse says nothing of that."""

    async def main(clock: Clock) -> None:
        slow = Slow()
        for number in range(100):
            task = slow.ask(number)
            await turns()
            clock.now += 0.05
            slow.answer(number)
            await task
        for number in range(100, 200):
            task = slow.ask(number)
            await turns()
            slow.answer(number, OSError())
            await task
        slow.ask(200)
        await turns()
        slow.ask(201)
        await turns()
        clock.now += 0.09
        slow.ask(202)
        await turns()
        assert slow.asked[200:] == [[200]]
        clock.now += 0.02
        await turns()
        assert slow.asked[200:] == [[200], [201, 202]]
        await slow.gatherer.stop()

    at_standing_clock(main)


def test_when_many_have_asked_lately_a_call_waits_for_most_of_them_and_then_for_as_many_as_came() -> None:
    async def main(clock: Clock) -> None:
        slow = Slow()

        async def come(many: int, waits: bool) -> None:
            calls = len(slow.asked)
            tasks = [slow.ask(number) for number in range(many)]
            await turns()
            assert (len(slow.asked) == calls) is waits
            if waits:
                clock.now += 1
                await turns()
            assert len(slow.asked[calls]) == many
            slow.answer(calls)
            await asyncio.gather(*tasks)

        await come(50, waits=False)  # nobody was expected
        await come(44, waits=False)
        await come(43, waits=True)
        await come(43, waits=False)
        await come(20, waits=True)
        await come(18, waits=False)
        await come(1, waits=True)
        for _ in range(5):
            await come(1, waits=False)

    at_standing_clock(main)


def test_who_comes_while_a_call_is_on_its_way_is_expected_with_those_of_the_call() -> None:
    async def main(clock: Clock) -> None:
        slow = Slow()
        tasks = [slow.ask(0)]
        await turns()
        tasks += [slow.ask(number) for number in range(20)]
        await turns()
        slow.answer(0)
        await turns()
        slow.answer(1)
        await asyncio.gather(*tasks)
        tasks = [slow.ask(number) for number in range(18)]
        await turns()
        assert [len(asked) for asked in slow.asked] == [1, 20]
        tasks.append(slow.ask(18))
        await turns()
        assert [len(asked) for asked in slow.asked] == [1, 20, 19]
        await slow.gatherer.stop()

    at_standing_clock(main)
