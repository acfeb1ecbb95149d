"""Whether the store answers, for those who ask again and again, as load balancers do.

A store that hangs does not keep them waiting, and not each of them asks it once more: one question at a time is under
way, and all share what comes of it. Where nothing does, it is given up, and the next who comes asks anew: what was lost
on the way to a backend says nothing of it for long.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from strongroom.sealed.faults import Unavailable

_LATE = 3.0
"""Seconds after which having no answer is the answer: load balancers wait for about five."""

_LOST = 10.0
"""Seconds after which a question is given up. A folder that hangs holds a thread for each, so it is not sooner."""


class Readiness:
    """Asks with ``ask``, which raises where the store cannot be read."""

    def __init__(self, ask: Callable[[], Awaitable[object]]) -> None:
        self._ask = ask
        self._question: asyncio.Task[Exception | None] | None = None
        self._since = 0.0

    async def check(self) -> None:
        """Raises what the store raises, Unavailable where it is late."""
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
        """What is wrong; returned and not raised, as there may be nobody left who waits for it."""
        try:
            async with asyncio.timeout(_LOST):
                await self._ask()
        except TimeoutError:
            return Unavailable(f"the store has not answered in {_LOST:.0f} seconds")
        except Exception as error:
            return error
        return None
