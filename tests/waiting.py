"""Waiting for what nothing tells of."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable


async def until(so: Callable[[], bool]) -> None:
    """Look again and again whether it is so. Raises TimeoutError after ten seconds."""
    async with asyncio.timeout(10):
        while not so():  # noqa: ASYNC110 - nothing tells
            await asyncio.sleep(0.01)


def comes(so: Callable[[], bool], within: float = 60) -> bool:
    """Whether it is so, or comes to be so within some seconds."""
    until = time.monotonic() + within
    while not so():
        if time.monotonic() > until:
            return False
        time.sleep(0.01)
    return True
