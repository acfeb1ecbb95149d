"""Open files: how many the process may have, and how many of these may be connections."""

from __future__ import annotations

import resource

LEAST = 128
"""The fewest open files with which a process can serve: the store alone has some dozens open."""

_OTHERS = 32
"""Descriptors that are open in any case: the index, pipes, listening sockets."""


def raise_limit() -> int:
    """Raise the soft limit of open files to the hard limit. Returns that limit.

    The usual soft limit of 1,024 is there for programs that call select(2); connections and files need more.
    """
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    return most


def for_connections(limit: int) -> int:
    """How many connections a process accepts that may have ``limit`` files open: half, since each request needs a file
    of the store, or a connection to the backend, as well. So however many connections strangers open, requests on those
    that were accepted find descriptors.
    """
    return (limit - _OTHERS) // 2
