"""An answer as it comes over a connection: its head, and its body in a buffer that stays small.

Knows no sockets: the connection feeds it, and is asked to pause while nobody reads.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Protocol

BUFFER = 512 * 1024
"""Bytes of a body that are held before the server has to wait (more if a reader asks for more at once)."""


class Source(Protocol):
    """Where an answer comes from."""

    def pause(self) -> None:
        """Make the server wait."""
        ...

    def resume(self) -> None:
        """Let more come."""
        ...

    def abort(self) -> None:
        """End the connection: nobody wants the rest."""
        ...


class Response:
    """An answer. Header names are in lower case, values Latin-1 text standing for bytes.

    ``repeated``: the request had been sent before, over a connection that ended without an answer.
    """

    __slots__ = (
        "_error",
        "_pieces",
        "_size",
        "_source",
        "_waiter",
        "_wanted",
        "_whole",
        "headers",
        "repeated",
        "status",
    )

    def __init__(self, source: Source) -> None:
        self.status = 0
        self.repeated = False
        self.headers: dict[str, str] = {}
        self._source = source
        self._pieces: deque[bytes] = deque()
        self._size = 0
        self._wanted = 0
        self._whole = False
        self._error: Exception | None = None
        self._waiter: asyncio.Future[None] | None = None

    # -- for whoever reads ---------------------------------------------------------------------------------------------

    @property
    def whole(self) -> bool:
        """Whether all of the body has come."""
        return self._whole

    async def read(self, most: int, least: int | None = None) -> bytes:
        """The next ``most`` bytes of the body, or all that are left; with ``least``, those that have come as soon as
        they are at least so many.

        Raises what the connection failed with: OSError, TimeoutError.
        """
        least = most if least is None else least
        while self._size < least and not self._whole:
            if self._error is not None:
                raise self._error
            self._wanted = least
            self._waiter = asyncio.get_running_loop().create_future()
            self._source.resume()
            try:
                await self._waiter
            finally:
                self._waiter = None
                self._wanted = 0
        return self._take(most)

    def _take(self, most: int) -> bytes:
        if self._size <= most and len(self._pieces) <= 1:
            self._size = 0
            return self._pieces.popleft() if self._pieces else b""
        taken, size = [], 0
        while self._pieces and size < most:
            piece = self._pieces.popleft()
            if size + len(piece) > most:
                self._pieces.appendleft(piece[most - size :])
                piece = piece[: most - size]
            taken.append(piece)
            size += len(piece)
        self._size -= size
        return b"".join(taken)

    def close(self) -> None:
        """Release the connection, which ends if the body did not come in full."""
        self._pieces.clear()
        self._size = 0
        if not self._whole and self._error is None:
            self._source.abort()

    # -- for the connection --------------------------------------------------------------------------------------------

    def feed(self, piece: bytes) -> None:
        """Take a piece of the body that has come."""
        self._pieces.append(piece)
        self._size += len(piece)
        if self._size >= max(BUFFER, self._wanted):
            self._source.pause()
        if self._size >= self._wanted:
            self._wake()

    def finish(self) -> None:
        """Note that the body is complete."""
        self._whole = True
        self._wake()

    def fail(self, error: Exception) -> None:
        """No more will come: raise ``error`` to whoever reads on."""
        self._error = error
        self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
