"""The Reader of the local store: bytes from the index, from one open blob, or from many blobs under a lease."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from concurrent.futures import Executor

from strongroom.store.base import Damaged, Stored
from strongroom.store.local.blobs import Blobs, Extent
from strongroom.store.local.index import Row

CHUNK = 1024 * 1024


class LocalReader:
    """The Reader of the protocol. ``descriptor`` is that of the blob, where there is one; ``lease`` as Blobs has it."""

    def __init__(
        self,
        row: Row,
        blobs: Blobs,
        pool: Executor,
        read_annex: Callable[[int | None], bytes],
        descriptor: int = -1,
        lease: int = -1,
    ) -> None:
        self.row = row
        self._blobs = blobs
        self._pool = pool
        self._read_annex = read_annex
        self._descriptor = descriptor
        self._lease = lease
        self._busy: asyncio.Future[bytes] | None = None

    @property
    def stored(self) -> Stored:
        """What was opened."""
        return self.row.stored

    @property
    def inline(self) -> bytes | None:
        """All stored bytes, where they lie in the index."""
        return self.row.inline if self.row.inline is not None else None if self.row.extents else b""

    async def annex(self) -> bytes:
        """The annex of the object."""
        if self.row.annex is None:
            return b""
        return await asyncio.get_running_loop().run_in_executor(self._pool, self._read_annex, self.row.annex)

    async def stream(self, start: int, length: int) -> AsyncIterator[bytes]:
        """Stored bytes from ``start``. Raises Damaged."""
        if self.inline is not None:
            yield self.inline[start : start + length]
            return
        position, end = 0, start + length
        for extent in self.row.extents:
            first, last = max(start, position), min(end, position + extent.size)
            if first < last:
                async for chunk in self._blob(extent, first - position, last - position):
                    yield chunk
            position += extent.size
            if position >= end:
                return
        raise Damaged(f"{self.stored.key!r} has fewer stored bytes than were recorded")

    async def close(self) -> None:
        """Let go of it."""
        if self._busy is not None and not self._busy.done():
            await asyncio.wait([self._busy])  # a thread is still reading from the descriptor
        for descriptor in (self._descriptor, self._lease):
            if descriptor >= 0:
                os.close(descriptor)
        self._descriptor = self._lease = -1

    async def _blob(self, extent: Extent, start: int, end: int) -> AsyncIterator[bytes]:
        loop = asyncio.get_running_loop()
        owned = -1
        descriptor = self._descriptor
        try:
            if descriptor < 0:
                descriptor = owned = os.open(self._blobs.path(extent.blob), os.O_RDONLY | os.O_CLOEXEC)
            position = start
            while position < end:
                wanted = min(CHUNK, end - position)
                self._busy = loop.run_in_executor(self._pool, os.pread, descriptor, wanted, position)
                chunk = await asyncio.shield(self._busy)
                if not chunk:
                    raise Damaged(f"a blob of {self.stored.key!r} is shorter than was recorded")
                position += len(chunk)
                yield chunk
        except FileNotFoundError as error:
            raise Damaged(f"a blob of {self.stored.key!r} is missing") from error
        finally:
            if owned >= 0:
                if self._busy is not None and not self._busy.done():
                    await asyncio.wait([self._busy])
                os.close(owned)
