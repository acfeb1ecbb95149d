"""Waiting for what nothing tells of."""

from __future__ import annotations

import asyncio
from collections.abc import Callable


async def until(so: Callable[[], bool]) -> None:
    """Look again and again whether it is so. Raises TimeoutError after ten seconds."""
    async with asyncio.timeout(10):
        while not so():  # noqa: ASYNC110 - nothing tells
            await asyncio.sleep(0.01)
