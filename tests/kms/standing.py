"""Time that stands still, for tests of who waits for what."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Coroutine


class Clock(asyncio.SelectorEventLoop):
    """An event loop whose time passes only when a test says so."""

    now = 0.0

    def time(self) -> float:
        return self.now


def at_standing_clock(main: Callable[[Clock], Coroutine[None, None, None]]) -> None:
    """Run a test whose time stands still."""
    with contextlib.closing(Clock()) as loop:
        loop.run_until_complete(main(loop))


async def turns() -> None:
    """All that can be done now is done; no timer is waited for."""
    for _ in range(20):
        await asyncio.sleep(0)


async def come(so: Callable[[], bool]) -> None:
    """Wait until it is so; threads may have a part in it, the clock has none."""
    until = time.monotonic() + 60
    while not so():
        assert time.monotonic() < until, "it does not come"
        await asyncio.sleep(0)
