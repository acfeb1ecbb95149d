"""Batching: questions that are asked at the same time go out in one call. Knows nothing of what is asked, nor of whom.

When a question goes out, and with which others:

- If no call is on its way and no others are expected, at once: a single client waits for one call only.
- Otherwise it waits for the call that is on its way, and goes out with all questions that have come meanwhile.
- If many have been asking lately, it waits until most of that number are there, since they will ask again: requests of
  a busy server come one by one, and would otherwise cause many small calls.
- A question that has waited for the *patience*, twice what a call usually takes, goes out beside the slow call, if one
  more call is allowed. So one slow call delays nothing but what went out with it.

The number expected is the most callers seen together (those of one call, and those who came while it was on its way);
if fewer come within the patience, it falls to the number that did come. A call that is full does not wait for more.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

Q = TypeVar("Q")
A = TypeVar("A")

CALLS = 8
"""Calls that may be on their way at once, unless whoever asks says otherwise."""

_USUAL_AT_FIRST = 0.005
_LEAST_PATIENCE = 0.002
_MOST_PATIENCE = 0.250
_COMPANY = 8
"""The smallest number expected for which it waits although no call is on its way."""


@dataclass(slots=True)
class _Asked(Generic[Q, A]):
    questions: Sequence[Q]
    answers: asyncio.Future[Sequence[A]]
    since: float


class Gatherer(Generic[Q, A]):
    """Asks by ``send``, which takes many questions and gives an answer for each, in order.

    At most ``most`` questions go out in one call, and at most ``calls()`` calls are on their way at once. If ``send``
    raises, everybody whose question was in that call gets the exception.
    """

    def __init__(
        self,
        send: Callable[[Sequence[Q]], Awaitable[Sequence[A]]],
        most: int,
        calls: Callable[[], int] = lambda: CALLS,
    ) -> None:
        self._send = send
        self._most = most
        self._calls = calls
        self._waiting: deque[_Asked[Q, A]] = deque()
        self._under_way: set[asyncio.Task[None]] = set()
        self._expected = 1
        self._usual = _USUAL_AT_FIRST
        self._woken: asyncio.Handle | None = None
        self._stopped = False

    async def ask(self, questions: Sequence[Q]) -> Sequence[A]:
        """The answers to these questions, in order. Raises what ``send`` raises."""
        if not questions:
            return []
        if len(questions) > self._most:
            parts = [questions[start : start + self._most] for start in range(0, len(questions), self._most)]
            answers = await asyncio.gather(*map(self.ask, parts))
            return [answer for part in answers for answer in part]
        loop = asyncio.get_running_loop()
        asked: _Asked[Q, A] = _Asked(questions, loop.create_future(), loop.time())
        if self._stopped:
            raise asyncio.CancelledError
        self._waiting.append(asked)
        if len(self._waiting) == 1 or not self._better_wait():
            self._wake_in(0)
        return await asked.answers

    async def stop(self) -> None:
        """Cancel everything that is being asked; whoever asks later is cancelled at once."""
        self._stopped = True
        for asked in self._waiting:
            asked.answers.cancel()
        self._waiting.clear()
        for task in self._under_way:
            task.cancel()
        await asyncio.gather(*self._under_way, return_exceptions=True)

    @property
    def _patience(self) -> float:
        return min(_MOST_PATIENCE, max(_LEAST_PATIENCE, 2 * self._usual))

    def _wake_in(self, seconds: float) -> None:
        if self._woken is not None:
            self._woken.cancel()
        self._woken = asyncio.get_running_loop().call_later(seconds, self._pump)

    def _pump(self) -> None:
        """Send what should go out now; if the rest is to wait, set a timer for it."""
        while self._waiting and len(self._under_way) < self._calls():
            left = self._waiting[0].since + self._patience - asyncio.get_running_loop().time()
            if left > 0 and self._better_wait():
                self._wake_in(left)
                return
            if left <= 0:
                self._expected = len(self._waiting)
            self._launch()

    def _better_wait(self) -> bool:
        if self._full():
            return False
        if self._expected < _COMPANY:
            return bool(self._under_way)
        return len(self._waiting) < self._expected - self._expected // 8

    def _full(self) -> bool:
        room = self._most
        for asked in self._waiting:  # each has at least one question, so at most `most` are looked at
            room -= len(asked.questions)
            if room <= 0:
                return True
        return False

    def _launch(self) -> None:
        batch: list[_Asked[Q, A]] = []
        size = 0
        while self._waiting and size + len(self._waiting[0].questions) <= self._most:
            asked = self._waiting.popleft()
            if not asked.answers.done():
                batch.append(asked)
                size += len(asked.questions)
        if batch:
            task = asyncio.get_running_loop().create_task(self._call(batch))
            self._under_way.add(task)
            task.add_done_callback(self._returned)

    def _returned(self, task: asyncio.Task[None]) -> None:
        self._under_way.discard(task)
        if self._waiting:
            self._wake_in(0)

    async def _call(self, batch: Sequence[_Asked[Q, A]]) -> None:
        loop = asyncio.get_running_loop()
        begun = loop.time()
        try:
            answers = await self._send([question for asked in batch for question in asked.questions])
        except asyncio.CancelledError:
            for asked in batch:
                asked.answers.cancel()
            raise
        except Exception as error:
            for asked in batch:
                if not asked.answers.done():
                    asked.answers.set_exception(error)
            return
        if not all(isinstance(answer, Exception) for answer in answers):
            self._usual += (loop.time() - begun - self._usual) / 8  # failures do not show how long a call takes
        self._expected = max(self._expected, len(batch) + len(self._waiting))
        start = 0
        for asked in batch:
            end = start + len(asked.questions)
            if not asked.answers.done():
                asked.answers.set_result(answers[start:end])
            start = end
