"""Blocking steps in threads, which go on to their end even where nobody waits for them any more."""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Callable, Iterator
from concurrent.futures import Executor
from contextlib import contextmanager
from typing import ParamSpec, TypeVar

from strongroom.store.errors import Forbidden, Unavailable, unwritable

P = ParamSpec("P")
T = TypeVar("T")

_LOST = (
    *(errno.EIO, errno.EREMOTEIO, errno.ENODEV, errno.ENOTCONN, errno.ECONNABORTED, errno.ESHUTDOWN),
    *(errno.ESTALE, errno.ETIMEDOUT, errno.EHOSTDOWN, errno.EHOSTUNREACH, errno.ENOLINK),
)
"""What is said of a disk that is gone, a FUSE whose program ended, a NAS that does not answer (a soft mount of NFS) or
has no such share any more.
"""


async def in_thread(pool: Executor, step: Callable[P, T], *args: P.args, **named: P.kwargs) -> T:
    """What a step comes to. A caller that is cancelled leaves it running: it cleans up after itself.

    Raises what the step raises; of what the system says, what :func:`understood` does.
    """
    future = asyncio.get_running_loop().run_in_executor(pool, lambda: step(*args, **named))
    try:
        with understood():
            return await asyncio.shield(future)
    except asyncio.CancelledError:
        future.add_done_callback(_seen)
        raise


@contextmanager
def understood() -> Iterator[None]:
    """Say what an error of the system comes to: Forbidden, StoreFull where there is no space, Unavailable where nothing
    can be written or the storage is lost. Any other is raised as it is.
    """
    try:
        yield
    except PermissionError as error:
        raise Forbidden(f"the system says of {error.filename!r}: {error.strerror}") from error
    except OSError as error:
        if error.errno in _LOST:  # here, at last: on the way, NFS may be asked again
            raise Unavailable(f"the shared folder does not answer: {error.strerror}") from error
        said = unwritable(error)  # wherever it comes up: NFS says so at any sync, too
        if said is error:
            raise
        raise said from error


def _seen(future: asyncio.Future[T]) -> None:
    """Look at an error, so that asyncio does not complain that nobody did."""
    if not future.cancelled():
        future.exception()
