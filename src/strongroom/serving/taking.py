"""Whether a client takes what is sent to it: one that takes nothing for a while is cut off."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import struct
import termios

_COUNT = struct.Struct("i")


class Taking:
    """Watches one connection, from :meth:`watch` on: aborts it where nothing is taken for ``seconds``."""

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop, seconds: float) -> None:
        self._transport = transport
        self._loop = loop
        self._seconds = seconds
        self._timer: asyncio.TimerHandle | None = None
        self._left = 0

    def watch(self) -> None:
        """Begin, unless it has begun."""
        if self._timer is None:
            self._left = self._not_taken()
            self._timer = self._loop.call_later(self._seconds, self._look)

    def stop(self) -> None:
        """Look no more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _not_taken(self) -> int:
        """Bytes that the client has not taken: those that the transport holds, and those that the kernel does, which
        may be as many as a slow client takes in minutes.
        """
        held = self._transport.get_write_buffer_size()
        connection = self._transport.get_extra_info("socket")
        with contextlib.suppress(OSError, AttributeError):
            (kernel,) = _COUNT.unpack(fcntl.ioctl(connection.fileno(), termios.TIOCOUTQ, bytes(_COUNT.size)))
            held += kernel
        return held

    def _look(self) -> None:
        left = self._not_taken()
        if left >= self._left:
            self._transport.abort()
            return
        self._left = left
        self._timer = self._loop.call_later(self._seconds, self._look)
