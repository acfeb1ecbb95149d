"""Open files: as many as the process may have, and how many of them connections may take."""

from __future__ import annotations

import resource

LEAST = 128
"""Below which a process could not serve: the store alone has some dozens open."""

_OTHERS = 32
"""Of all descriptors, what is open in any case: the index, pipes, sockets that listen."""


def raise_limit() -> int:
    """Take as many as the hard limit allows; how many that is.

    The usual soft limit of 1,024 is there for programs that call select(2); connections and files need more.
    """
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    return most


def for_connections(limit: int) -> int:
    """How many connections a process takes that may have ``limit`` files open: a request has a file of the store open,
    or a connection to the backend. However many strangers open, that is left for those that were let in.
    """
    return (limit - _OTHERS) // 2
