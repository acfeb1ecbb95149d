"""How workers share the listening sockets: each takes one connection at a time, and a busier one lets others go first.

Measured on two idle workers with clients that open n connections at once, as SDKs do for a large object: the share of
connections that the busier worker got, on average over 40 runs (0.50 is best), and how often it got all of them.

=====================================  =============  =============  =============
                                       n = 2          n = 8          n = 64
=====================================  =============  =============  =============
one socket, accepted from by uvloop    0.53 (2/40)    0.86 (15/40)   0.73 (4/40)
a socket for each, SO_REUSEPORT        0.70 (16/40)   0.62 (0/40)    0.55 (0/40)
one socket, as it is done here         0.50 (0/40)    0.52 (0/40)    0.50 (0/40)
=====================================  =============  =============  =============

uvloop accepts until no connection is waiting, so the worker that wakes first takes a whole burst. SO_REUSEPORT
distributes by a hash of the addresses, that is by chance; and when a worker ends, connections that wait at its socket
are lost.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Awaitable, Callable, MutableSequence

AWAY = 2**31 - 1
"""The load of a worker that takes no connections: nobody leaves one to it."""

_PATIENCE = 0.001
"""Seconds for which a busier worker leaves a connection to the others, which were woken by it as well."""

_PAUSE = 1.0
"""Seconds for which nothing is accepted if there are too many connections, or no descriptors or memory for more."""

_log = logging.getLogger("strongroom.serving")


class Load:
    """How many connections each worker has. Each writes its own number and reads those of the others.

    For a worker that is down or starting, the supervisor writes :data:`AWAY`.
    """

    def __init__(self, numbers: MutableSequence[int], own: int) -> None:
        self._numbers = numbers
        self._own = own

    def publish(self, connections: int) -> None:
        """Tell the others how many connections this worker has."""
        self._numbers[self._own] = connections

    def above_the_least(self, connections: int) -> bool:
        """Whether some worker has fewer connections than that."""
        return any(number < connections for number in self._numbers)


class Acceptor:
    """Accepts connections from one listening socket while the process has fewer than ``most``; others wait."""

    def __init__(
        self,
        listening: socket.socket,
        begin: Callable[[socket.socket], Awaitable[object]],
        connections: Callable[[], int],
        load: Load,
        most: int,
    ) -> None:
        self._listening = listening
        self._begin = begin
        self._connections = connections
        self._load = load
        self._most = most
        self._loop = asyncio.get_running_loop()
        self._beginning: set[asyncio.Task[None]] = set()
        self._closed = False
        listening.setblocking(False)
        self._listen()

    def close(self) -> None:
        """Accept those that wait, which would be reset otherwise, and no more."""
        if not self._closed:
            self._closed = True
            self._loop.remove_reader(self._listening.fileno())
            while self._take():
                pass
            self._listening.close()

    def _listen(self) -> None:
        if not self._closed:
            self._loop.add_reader(self._listening.fileno(), self._knock)

    def _later(self, seconds: float, what: Callable[[], None]) -> None:
        self._loop.remove_reader(self._listening.fileno())
        self._loop.call_later(seconds, what)

    def _knock(self) -> None:
        if self._load.above_the_least(self._count()):
            self._later(_PATIENCE, self._take_what_is_left)
        else:
            self._take()

    def _take_what_is_left(self) -> None:
        if not self._closed:
            self._listen()
            self._take()

    def _take(self) -> bool:
        """Accept a connection. Returns False if there is none, or no room for it."""
        if self._count() >= self._most:
            _log.warning("no more connections are accepted for now", extra={"connections": self._most})
            self._later(_PAUSE, self._listen)
            return False
        try:
            connection, _ = self._listening.accept()
        except (BlockingIOError, InterruptedError, ConnectionAbortedError):
            return False  # another worker was faster, or the client has left
        except OSError as error:
            _log.error("connections cannot be accepted for now", extra={"reason": error.strerror})
            self._later(_PAUSE, self._listen)
            return False
        connection.setblocking(False)
        task = self._loop.create_task(self._start(connection))
        self._beginning.add(task)
        task.add_done_callback(self._beginning.discard)
        self._load.publish(self._count())
        return True

    async def _start(self, connection: socket.socket) -> None:
        try:
            await self._begin(connection)
        except OSError:
            connection.close()  # the TLS handshake failed or took too long: the client's affair, not logged

    def _count(self) -> int:
        return self._connections() + len(self._beginning)
