"""Whether a client takes what is sent to it: one that takes nothing for a while is cut off.

With TLS, uvloop's transport does not count all that it still holds: it leaves out what the connection below TLS holds,
which may be as much as was written at once. So the kernel is also asked how much has arrived, if it counts that.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import socket
import struct
import termios

GOODBYE = 2.0
"""Seconds that a client which has taken everything has left to close its side, as TLS provides."""

_COUNT = struct.Struct("i")
_TCP_INFO = getattr(socket, "TCP_INFO", -1)  # Linux only
_ARRIVED = struct.Struct("120xQ")
"""tcpi_bytes_acked in struct tcp_info (linux/tcp.h)."""


class Taking:
    """Watches one connection, from :meth:`watch` on: aborts it if nothing is taken for ``seconds``."""

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop, seconds: float) -> None:
        self._transport = transport
        self._loop = loop
        self._seconds = seconds
        self._timer: asyncio.TimerHandle | None = None
        self._farewell: asyncio.TimerHandle | None = None
        self._left = self._arrived = 0

    def watch(self) -> None:
        """Begin to watch, unless it is being watched."""
        if self._timer is None:
            self._left, self._arrived = self._not_taken(), self._has_arrived()
            self._timer = self._loop.call_later(self._seconds, self._look)

    def stop(self) -> None:
        """Stop watching."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def part(self) -> None:
        """The transport is to close: watch whether the client takes what is left, and abort the transport if it is
        still open :data:`GOODBYE` after everything was taken. Most clients have taken it at once, so the first look is
        a while later.
        """
        if self._farewell is None:
            self._farewell = self._loop.call_later(GOODBYE / 2, self._see_off, False)

    def end(self) -> None:
        """The connection is over."""
        self.stop()
        if self._farewell is not None:
            self._farewell.cancel()

    def _see_off(self, had_all: bool) -> None:
        has_all = not self._not_taken()
        if has_all and had_all:
            self._transport.abort()
            return
        if not has_all:
            self.watch()
        self._farewell = self._loop.call_later(GOODBYE / 2, self._see_off, has_all)

    def _not_taken(self) -> int:
        """Bytes that the client has not taken: those that the transport holds, and those that the kernel holds, which
        may be as many as a slow client takes in minutes.
        """
        held = self._transport.get_write_buffer_size()
        connection = self._transport.get_extra_info("socket")
        with contextlib.suppress(OSError, AttributeError):
            (kernel,) = _COUNT.unpack(fcntl.ioctl(connection.fileno(), termios.TIOCOUTQ, bytes(_COUNT.size)))
            held += kernel
        return held

    def _has_arrived(self) -> int:
        """Bytes that the client's side has acknowledged since the connection began; 0 if the kernel does not count."""
        connection = self._transport.get_extra_info("socket")
        with contextlib.suppress(OSError, AttributeError, struct.error):
            (arrived,) = _ARRIVED.unpack(connection.getsockopt(socket.IPPROTO_TCP, _TCP_INFO, _ARRIVED.size))
            return int(arrived)
        return 0

    def _look(self) -> None:
        left, arrived = self._not_taken(), self._has_arrived()
        if left >= self._left and arrived <= self._arrived:
            self._transport.abort()
            return
        self._left, self._arrived = left, arrived
        self._timer = self._loop.call_later(self._seconds, self._look)
