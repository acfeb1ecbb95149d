"""The locks of names: bytes of one file, which hold against every thread, process and machine that locks them too.

Whoever waits for a lock occupies a thread that all other names need as well, and whoever holds it may hang for ever. So
many may wait for a short time, few for a long one, and nobody without end. Those of this process get a lock in the
order in which they came. Functions and methods block: they are for threads.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import struct
import threading
import time
from collections import deque

from strongroom.store.errors import Unavailable

_FLOCK = struct.Struct("@hhqqi4x")
_SHORT_WAIT = 5.0  # seconds that any number of threads may wait while nobody in the line gets the lock
_NEXT_WAIT = 1.0  # the same for those behind the first in the line, once that has waited for _SHORT_WAIT
_LONG_WAIT = 30.0  # seconds that anybody may wait in all; the first in the line even if nobody gets the lock
_LONG_WAITERS = 16  # how many may wait so long as the first of their lines: half of the threads
_PAUSE, _LONG_PAUSE = 0.005, 0.05  # seconds between two tries; the same for all, or some would never get the lock


def lock(descriptor: int, name: str) -> bool:
    """Lock the byte of an open file that a name's hash determines, unless another holds it. Returns whether it is
    locked.

    The lock belongs to the open file, not to the process (fcntl(2), "Open file description locks"); NFS passes it on
    to the server like every byte-range lock.
    """
    place = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big") >> 2
    wanted = _FLOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, place, 1, 0)
    try:
        fcntl.fcntl(descriptor, fcntl.F_OFD_SETLK, wanted)
    except OSError as error:
        if error.errno in (errno.EAGAIN, errno.EACCES):
            return False
        raise
    return True


class _Line:
    """The threads of this process that wait for a name, in order. ``moved``: when one of them last got the lock."""

    def __init__(self, guard: threading.Lock) -> None:
        self.waiting: deque[object] = deque()
        self.moved = time.monotonic()
        self.changed = threading.Condition(guard)


class Waiters:
    """The threads that wait for locks. The first for each name tries to get it; the others wait for their turn."""

    def __init__(self) -> None:
        self._lines: dict[str, _Line] = {}
        self._long: set[str] = set()
        self._guard = threading.Lock()

    def wait(self, descriptor: int, name: str) -> None:
        """Lock a name as :func:`lock` does, once it is free. Raises Unavailable if another holds it for too long."""
        if name not in self._lines and lock(descriptor, name):
            return
        one = object()
        with self._guard:
            line = self._lines.setdefault(name, _Line(self._guard))
            line.waiting.append(one)
        try:
            self._wait_in(line, one, descriptor, name)
        finally:
            self._leave(line, one, name)

    def _wait_in(self, line: _Line, one: object, descriptor: int, name: str) -> None:
        began = time.monotonic()
        while True:
            is_first = line.waiting[0] is one
            if is_first and lock(descriptor, name):
                line.moved = time.monotonic()
                return
            now = time.monotonic()
            still = now - max(began, line.moved)
            if now - began > _LONG_WAIT or not self._may_wait(name, is_first, still):
                raise Unavailable(f"another request, or another gateway, has been at {name!r} for long")
            if is_first:
                time.sleep(_LONG_PAUSE if name in self._long else _PAUSE)
            else:
                with line.changed:
                    line.changed.wait(_LONG_PAUSE)

    def _may_wait(self, name: str, is_first: bool, still: float) -> bool:
        """Whether a thread may go on waiting that has seen nobody in its line get the lock for ``still`` seconds."""
        if not is_first:
            return still <= (_NEXT_WAIT if name in self._long else _SHORT_WAIT)
        with self._guard:
            if still > _SHORT_WAIT and len(self._long) < _LONG_WAITERS:
                self._long.add(name)
        return still <= _SHORT_WAIT or name in self._long

    def _leave(self, line: _Line, one: object, name: str) -> None:
        with self._guard:
            if line.waiting[0] is one:
                self._long.discard(name)
            line.waiting.remove(one)
            if not line.waiting:
                del self._lines[name]
            line.changed.notify_all()
