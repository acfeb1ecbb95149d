"""Time that stands still, for tests of who waits for what."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Coroutine
from concurrent.futures import Executor
from typing import TypeVar, TypeVarTuple

_T = TypeVar("_T")
_Ts = TypeVarTuple("_Ts")


class Clock(asyncio.SelectorEventLoop):
    """An event loop whose time passes only when a test says so, and where what is for a thread is done at once."""

    now = 0.0

    def time(self) -> float:
        return self.now

    def run_in_executor(self, executor: Executor | None, func: Callable[[*_Ts], _T], *args: *_Ts) -> asyncio.Future[_T]:
        done: asyncio.Future[_T] = self.create_future()
        try:
            done.set_result(func(*args))
        except Exception as error:
            done.set_exception(error)
        return done


def at_standing_clock(main: Callable[[Clock], Coroutine[None, None, None]]) -> None:
    """Run a test whose time stands still."""
    with contextlib.closing(Clock()) as loop:
        loop.run_until_complete(main(loop))


async def turns() -> None:
    """All that can be done now is done; no timer is waited for."""
    for _ in range(20):
        await asyncio.sleep(0)


async def come(so: Callable[[], bool]) -> None:
    """Go on until it is so, with what can be done now."""
    for _ in range(50):
        if so():
            return
        await turns()
    raise AssertionError("it does not come")
