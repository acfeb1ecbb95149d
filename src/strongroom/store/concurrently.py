"""Many questions to the storage at the same time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")

_AT_ONCE = 128


async def each(items: Sequence[T], ask: Callable[[T], Awaitable[R]], at_once: int = _AT_ONCE) -> list[R]:
    """The results of ``ask`` for each item, in order; up to ``at_once`` calls run at a time."""
    results: list[R | None] = [None] * len(items)
    remaining = iter(enumerate(items))

    async def work() -> None:
        for index, item in remaining:
            results[index] = await ask(item)

    workers = [asyncio.ensure_future(work()) for _ in range(min(at_once, len(items)))]
    try:
        await asyncio.gather(*workers)
    finally:
        for worker in workers:
            worker.cancel()
        await asyncio.gather(*workers, return_exceptions=True)
    return results  # type: ignore[return-value]
