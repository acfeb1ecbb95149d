"""The Reader of the local store: bytes from the index, from one open blob, or from many blobs under a lease."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from concurrent.futures import Executor

from strongroom.buffers import Buffer
from strongroom.store.base import Stored
from strongroom.store.errors import Damaged, ObjectChanged
from strongroom.store.local.blobs import Blobs, OpenFile
from strongroom.store.local.index import Row

CHUNK = 1024 * 1024


class LocalReader:
    """The Reader of the protocol. ``held``: the open blob if there is one; if there are many, a lease on them."""

    comparable = True

    def __init__(
        self,
        row: Row,
        blobs: Blobs,
        pool: Executor,
        read_annex: Callable[[int], bytes | None],
        held: OpenFile | None,
    ) -> None:
        self.row = row
        self._blobs = blobs
        self._pool = pool
        self._read_annex = read_annex
        self._held = held

    @property
    def stored(self) -> Stored:
        """What was opened."""
        return self.row.stored

    @property
    def _inline(self) -> bytes | None:
        """All stored bytes, if they lie in the index."""
        return self.row.inline if self.row.inline is not None else None if self.row.extents else b""

    async def annex(self) -> bytes:
        """The annex of the object. Raises ObjectChanged if it is large and the object was replaced meanwhile."""
        if self.row.annex is None or self.row.small_annex is not None:
            return self.row.small_annex or b""
        annex = await asyncio.get_running_loop().run_in_executor(self._pool, self._read_annex, self.row.annex)
        if annex is None:
            raise ObjectChanged(f"{self.stored.key!r} was written anew while it was being opened")
        return annex

    async def stream(self, start: int, length: int) -> AsyncIterator[bytes]:
        """Stored bytes from ``start`` on. Raises Damaged."""
        loop, end = asyncio.get_running_loop(), start + length
        while start < end:
            size = min(CHUNK, end - start)
            yield await loop.run_in_executor(self._pool, self.read, start, size)
            start += size

    def read(self, start: int, length: int) -> bytes:
        """Stored bytes from ``start`` on; blocks. Raises Damaged."""
        inline = self._inline
        if inline is not None:
            pieces = [inline[start : start + length]]
        else:
            pieces = []
            for extent, first, size in self.row.extents.within(start, length):
                blob = self._open(extent.blob)
                while size and (piece := blob.read(size, first)):
                    pieces.append(piece)
                    first += len(piece)
                    size -= len(piece)
        found = pieces[0] if len(pieces) == 1 else b"".join(pieces)
        if len(found) != length:
            raise Damaged(f"{self.stored.key!r} has fewer stored bytes than were recorded")
        return found

    def cached(self, start: int, length: int, room: bytearray | None = None) -> Buffer | None:
        """Stored bytes from ``start`` on if they are in memory and in one blob (or the index), else None."""
        inline = self._inline
        if inline is not None:
            found = inline[start : start + length]
            return found if len(found) == length else None  # read() raises what is wrong
        places = list(self.row.extents.within(start, length))
        if len(places) != 1:
            return None
        extent, first, size = places[0]
        return self._open(extent.blob).cached(size, first, room) if size == length else None

    async def check(self) -> None:
        """Check that all bytes are there, in the index or in the blobs, by their lengths. Raises Damaged."""
        inline = self._inline
        if inline is not None and len(inline) != self.stored.size:
            raise Damaged(f"{self.stored.key!r} has another length than was recorded")
        if self.row.extents:
            await asyncio.get_running_loop().run_in_executor(self._pool, self._check)

    def _check(self) -> None:
        for extent in self.row.extents:
            if self._open(extent.blob).size != extent.size:
                raise Damaged(f"a blob of {self.stored.key!r} has another length than was recorded")

    async def close(self) -> None:
        """Release it."""
        self._held = None

    def _open(self, blob: bytes) -> OpenFile:
        held = self._held
        if held is None:
            raise ValueError("the object was closed")
        if len(self.row.extents) == 1:
            return held
        try:
            return self._blobs.open(blob)
        except FileNotFoundError as error:
            raise Damaged(f"a blob of {self.stored.key!r} is missing") from error
