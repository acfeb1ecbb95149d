"""Whether the store answers, for those who ask again and again, as load balancers do.

A store that hangs does not keep them waiting, nor does each of them send another request to it: one is under way at a
time, and all share its outcome. If it gets no answer, it is given up and the next caller sends a new one, so that one
lost request to a backend does not count for long.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from strongroom.sealed.faults import Unavailable

_LATE = 3.0
"""Seconds after which the store counts as unavailable: load balancers wait for about five."""

_LOST = 10.0
"""Seconds after which a request to the store is given up. Not sooner, since each holds a thread if a folder hangs."""


class Readiness:
    """Asks the store with ``ask``, which raises if the store cannot be read."""

    def __init__(self, ask: Callable[[], Awaitable[object]]) -> None:
        self._ask = ask
        self._question: asyncio.Task[Exception | None] | None = None
        self._since = 0.0

    async def check(self) -> None:
        """Raises what the store raises, or Unavailable if it does not answer in time."""
        loop = asyncio.get_running_loop()
        if self._question is None or self._question.done():
            self._question, self._since = loop.create_task(self._outcome()), loop.time()
        question = self._question
        await asyncio.wait((question,), timeout=max(0.0, self._since + _LATE - loop.time()))
        if not question.done():
            raise Unavailable(f"the store has not answered in {_LATE:.0f} seconds")
        if (error := question.result()) is not None:
            raise error

    async def _outcome(self) -> Exception | None:
        """What is wrong, or None. Errors are returned, not raised: maybe nobody waits for them any more."""
        try:
            async with asyncio.timeout(_LOST):
                await self._ask()
        except TimeoutError:
            return Unavailable(f"the store has not answered in {_LOST:.0f} seconds")
        except Exception as error:
            return error
        return None
