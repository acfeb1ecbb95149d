"""Blocking work in threads: it runs to its end, even if nobody waits for it any more, and goes on if the system allows
this process no more threads.
"""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Generic, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


class Threads(ThreadPoolExecutor):
    """Up to ``most`` threads. The first is started at once; if no more can be started (a limit of the container or the
    service), work waits for those that there are. Raises OSError if not even one can be started.

    The standard library's pool queues the work and then starts a thread. If that fails, it raises, and yet an existing
    thread does the work later: it might write to a file that was given up meanwhile, or end another transaction.
    """

    def __init__(self, most: int, name: str) -> None:
        super().__init__(most, thread_name_prefix=name)
        try:
            self.submit(bool).result()
        except RuntimeError as error:
            raise OSError(errno.EAGAIN, "no thread can be started") from error

    def start(self, work: Callable[P, T], *args: P.args, **named: P.kwargs) -> Step[T]:
        """Begin a step, for a task of the running event loop."""
        step: Step[T] = Step()
        self.submit(step.run, work, *args, **named)
        return step

    def _adjust_thread_count(self) -> None:
        """Start a thread, unless one is idle or there are enough. The standard library calls this for each task."""
        try:
            super()._adjust_thread_count()
        except RuntimeError:
            if not self._threads:
                raise


class Step(Generic[T]):
    """A step in a thread, for which tasks can wait. If a task that waits is cancelled, the step goes on.

    A future for work in a thread, as event loops have it, is cancelled with the task; to shield it takes another one,
    and another turn of the event loop, in which everybody else's requests come first.
    """

    __slots__ = ("_loop", "_then", "_waiting", "error", "is_over", "returned")

    returned: T
    """What it returned, once it is over without an error."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._waiting: list[asyncio.Future[None]] = []
        self._then: Callable[[Step[T]], None] | None = None
        self.error: BaseException | None = None
        """What it raised, once it is over."""
        self.is_over = False

    def run(self, work: Callable[P, T], /, *args: P.args, **named: P.kwargs) -> None:
        """Do the work. For the thread. (The step does not keep it, nor the data in it.)"""
        try:
            self.returned = work(*args, **named)
        except BaseException as error:
            self.error = error
        self._loop.call_soon_threadsafe(self._end)

    async def result(self) -> T:
        """Wait for what it returns. Raises what it raises."""
        if not self.is_over:
            await self._end_of_it()
        if self.error is not None:
            raise self.error
        return self.returned

    async def ended(self) -> None:
        """Wait until it is over, whether it returns or raises."""
        if not self.is_over:
            await self._end_of_it()

    def then(self, call: Callable[[Step[T]], None]) -> None:
        """Have a function called with the step when it is over, before the tasks that wait are told."""
        if self.is_over:
            call(self)
        else:
            self._then = call

    def _end_of_it(self) -> asyncio.Future[None]:
        waiting = self._loop.create_future()
        self._waiting.append(waiting)
        return waiting

    def _end(self) -> None:
        self.is_over = True
        try:
            if self._then is not None:
                self._then(self)  # first, so that whoever is told by it goes on before the tasks that wait
        finally:
            for waiting in self._waiting:
                if not waiting.done():
                    waiting.set_result(None)


class Steps:
    """The steps of one writer or reader, one after the other."""

    def __init__(self, pool: Threads) -> None:
        self._pool = pool
        self._last: Step[Any] | None = None

    async def do(self, work: Callable[P, T], *args: P.args, **named: P.kwargs) -> T:
        """Do a step. Raises what it raises."""
        self._last = step = self._pool.start(work, *args, **named)
        return await step.result()

    async def ended(self) -> None:
        """Wait for a step whose task was cancelled, so that nothing is under way any more."""
        if self._last is not None:
            await self._last.ended()
