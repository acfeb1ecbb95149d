"""The locks of names: bytes of one file, which hold against every thread, process and machine that locks them too.

Whoever waits for one has a thread that all other names need as well, and who holds it may stand still for ever. So many
wait for a short time, few for a long one, and nobody without end. Functions and methods block: they are for threads.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import struct
import threading
import time

from strongroom.store.errors import Unavailable

_FLOCK = struct.Struct("@hhqqi4x")
_SHORT_WAIT = 5.0  # seconds, of any number of threads
_NEXT_WAIT = 1.0  # for a name that one has waited for as long as that
_LONG_WAIT = 30.0  # of one thread for each name
_LONG_WAITERS = 16  # half of the threads
_PAUSES = (0.001, 0.05)


def lock(descriptor: int, name: str) -> bool:
    """Lock the byte of an open file that a name's hash says, unless another has it; whether it is locked.

    It is a lock of the open file, not of the process (fcntl(2), "Open file description locks"), which NFS carries to
    the server as it does every byte-range lock.
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


class Waiters:
    """Those who wait for locks."""

    def __init__(self) -> None:
        self._long: set[str] = set()
        self._guard = threading.Lock()

    def wait(self, descriptor: int, name: str) -> None:
        """Lock a name as :func:`lock` does, once it is free. Raises Unavailable where another holds it for long."""
        began, pause, long = time.monotonic(), _PAUSES[0], False
        try:
            while not lock(descriptor, name):
                waited = time.monotonic() - began
                if not long and waited > (_NEXT_WAIT if name in self._long else _SHORT_WAIT):
                    long = self._may_wait_long(name)
                    waited = waited if long else _LONG_WAIT
                if waited >= _LONG_WAIT:
                    raise Unavailable(f"another request, or another gateway, has been at {name!r} for long")
                time.sleep(pause)
                pause = min(2 * pause, _PAUSES[1])
        finally:
            if long:
                self._long.discard(name)

    def _may_wait_long(self, name: str) -> bool:
        with self._guard:
            if name in self._long or len(self._long) >= _LONG_WAITERS:
                return False
            self._long.add(name)
            return True
