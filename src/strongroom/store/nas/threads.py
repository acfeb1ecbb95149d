"""Blocking steps in threads, which go on to their end even where nobody waits for them any more."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Executor
from typing import ParamSpec, TypeVar

from strongroom.store.errors import Forbidden, unwritable

P = ParamSpec("P")
T = TypeVar("T")


async def in_thread(pool: Executor, step: Callable[P, T], *args: P.args, **named: P.kwargs) -> T:
    """What a step comes to. A caller that is cancelled leaves it running: it cleans up after itself.

    Raises what the step raises; Forbidden where the system refuses it, StoreFull where it has no space for it.
    """
    future = asyncio.get_running_loop().run_in_executor(pool, lambda: step(*args, **named))
    try:
        return await asyncio.shield(future)
    except asyncio.CancelledError:
        future.add_done_callback(_seen)
        raise
    except PermissionError as error:
        raise Forbidden(f"the system says of {error.filename!r}: {error.strerror}") from error
    except OSError as error:
        refused = unwritable(error)  # wherever it comes up: NFS says so at any sync, too
        if refused is error:
            raise
        raise refused from error


def _seen(future: asyncio.Future[T]) -> None:
    """Look at an error, so that asyncio does not complain that nobody did."""
    if not future.cancelled():
        future.exception()
