"""The Reader of an object that MinIO's S3 gateway left: the bytes are those of another object of the store."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable

from strongroom.buffers import Buffer
from strongroom.store.base import Reader, Stored


class LeftReader:
    """The Reader of the protocol. ``data`` is the open object with the streams."""

    def __init__(self, stored: Stored, data: Reader) -> None:
        self._stored = stored
        self.data = data

    @property
    def stored(self) -> Stored:
        """What was opened."""
        return self._stored

    @property
    def comparable(self) -> bool:
        """What the store below says of the object with the streams."""
        return self.data.comparable

    def cached(self, start: int, length: int, room: bytearray | None = None) -> Buffer | None:
        """Stored bytes from ``start`` on if they are in memory."""
        return self.data.cached(start, length, room)

    @property
    def read(self) -> Callable[[int, int], bytes] | None:
        """The blocking read function of the store below, if it has one."""
        return self.data.read

    async def annex(self) -> bytes:
        """Nothing: the document contains what an annex is for."""
        return b""

    def stream(self, start: int, length: int) -> AsyncIterator[bytes]:
        """Stored bytes from ``start``. Raises Damaged."""
        return self.data.stream(start, length)

    async def check(self) -> None:
        """Check that the stored bytes are there."""
        await self.data.check()

    async def close(self) -> None:
        """Release it."""
        await self.data.close()
