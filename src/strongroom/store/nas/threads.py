"""Blocking steps in threads, which run to their end even if nobody waits for them any more."""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import ParamSpec, TypeVar

from strongroom.store.errors import Forbidden, Unavailable, unwritable
from strongroom.threads import Threads

P = ParamSpec("P")
T = TypeVar("T")

_LOST = (
    *(errno.EIO, errno.EREMOTEIO, errno.ENODEV, errno.ENOTCONN, errno.ECONNABORTED, errno.ESHUTDOWN),
    *(errno.ESTALE, errno.ETIMEDOUT, errno.EHOSTDOWN, errno.EHOSTUNREACH, errno.ENOLINK),
)
"""The errors for a disk that is gone, a FUSE whose program ended, or a NAS that does not answer (NFS with a soft mount)
or no longer has the share.
"""


async def in_thread(pool: Threads, step: Callable[P, T], *args: P.args, **named: P.kwargs) -> T:
    """The result of a step. If the caller is cancelled, the step runs on: it cleans up after itself.

    Raises what the step raises; errors of the system as :func:`understood` translates them.
    """
    with understood():
        return await pool.start(step, *args, **named).result()


@contextmanager
def understood() -> Iterator[None]:
    """Translate an error of the system: Forbidden if access is denied, StoreFull if there is no space, Unavailable if
    nothing can be written or the storage is lost. Any other is raised as it is.
    """
    try:
        yield
    except PermissionError as error:
        raise Forbidden(f"the system says of {error.filename!r}: {error.strerror}") from error
    except OSError as error:
        if error.errno in _LOST:  # translated only here: before, a step may be repeated (ESTALE of NFS)
            raise Unavailable(f"the shared folder does not answer: {error.strerror}") from error
        said = unwritable(error)  # wherever the error comes from: NFS may report it at any sync, too
        if said is error:
            raise
        raise said from error
