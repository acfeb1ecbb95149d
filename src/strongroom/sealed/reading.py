"""Reading an object: from stored bytes to authenticated plaintext, whole or in ranges. Knows nothing of keys'
origin.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field

from strongroom.sealed.dare import PAYLOAD, Opener, StreamInvalid, open_whole, package_range, sealed_size
from strongroom.sealed.keys import ObjectKey, part_key
from strongroom.sealed.parts import PartEntry
from strongroom.store.base import Buffer, Damaged, Reader


@dataclass(frozen=True, slots=True)
class Extent:
    """One stream of an object: ``size`` plaintext bytes in the stored bytes from ``offset`` on.

    ``number`` is that of the part that it is, 0 where the object was not uploaded in parts.
    """

    offset: int
    size: int
    object_key: ObjectKey = field(repr=False)
    number: int = 0
    nonce: bytes | None = None

    @property
    def key(self) -> bytes:
        """The key of the stream. Derived when it is asked for: a range of an object needs those of few parts."""
        return part_key(self.object_key, self.number) if self.number else self.object_key


def extents_of(object_key: ObjectKey, size: int, parts: Sequence[PartEntry] | None) -> list[Extent]:
    """The streams of an encrypted object: one a part, or one in all where it was not uploaded in parts."""
    if parts is None:
        return [Extent(0, size, object_key)]
    extents, offset = [], 0
    for part in parts:
        extents.append(Extent(offset, part.size, object_key, part.number, part.nonce or None))
        offset += sealed_size(part.size)
    return extents


class PlainBody:
    """The bytes of an object that is not encrypted."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader

    def stream(self, start: int, length: int) -> AsyncIterator[Buffer]:
        """The ``length`` bytes from ``start``, in chunks. Raises Damaged."""
        return _ahead(self._reader.stream(start, length))

    def at_once(self, start: int, length: int) -> Buffer | None:
        """The same as one buffer, where the store has the object at hand; else None."""
        inline = self._reader.inline
        return None if inline is None else inline[start : start + length]


class SealedBody:
    """The bytes of an encrypted object. Nothing is given out that was not authenticated."""

    def __init__(self, pool: Executor, reader: Reader, extents: Sequence[Extent], name: str) -> None:
        self._pool = pool
        self._reader = reader
        self._extents = extents
        self._name = name
        expected = sum(sealed_size(extent.size) for extent in extents)
        if expected != reader.stored.size:
            raise Damaged(f"{name!r} has {reader.stored.size} stored bytes and {expected} were recorded")

    def stream(self, start: int, length: int) -> AsyncIterator[Buffer]:
        """The ``length`` bytes of plaintext from ``start``, in chunks. Raises Damaged at the first that is not
        right.
        """
        return _ahead(self._stream(start, length))

    def at_once(self, start: int, length: int) -> Buffer | None:
        """The same as one buffer, where the object is small and at hand; else None. Raises Damaged."""
        inline = self._reader.inline
        if inline is None or len(self._extents) != 1 or self._extents[0].size > PAYLOAD:
            return None
        extent = self._extents[0]
        try:
            plaintext = open_whole(extent.key, extent.size, inline, extent.nonce)
        except StreamInvalid as error:
            raise self._damaged(error) from error
        return plaintext if length == len(plaintext) else plaintext[start : start + length]

    async def _stream(self, start: int, length: int) -> AsyncIterator[Buffer]:
        end, position = start + length, 0
        for extent in self._extents:
            first, last = max(start, position), min(end, position + extent.size)
            if first < last:
                async for chunk in self._extent(extent, first - position, last - first):
                    yield chunk
            position += extent.size
            if position >= end:
                break

    async def _extent(self, extent: Extent, start: int, length: int) -> AsyncIterator[Buffer]:
        package, offset, stored = package_range(start, length, extent.size)
        opener = Opener(extent.key, extent.size, package, extent.nonce)
        skip, left = start - package * PAYLOAD, length
        loop = asyncio.get_running_loop()
        async for chunk in self._reader.stream(extent.offset + offset, stored):
            plaintext = await loop.run_in_executor(self._pool, self._guard, opener.open, chunk)
            piece = memoryview(plaintext)[skip : skip + left]
            skip = max(0, skip - len(plaintext))
            left -= len(piece)
            if piece:
                yield piece
        if left:
            raise Damaged(f"{self._name!r} ends {left} bytes early")

    def _guard(self, step: Callable[[Buffer], bytearray], data: Buffer) -> bytearray:
        try:
            return step(data)
        except StreamInvalid as error:
            raise self._damaged(error) from error

    def _damaged(self, error: StreamInvalid) -> Damaged:
        return Damaged(f"{self._name!r}: {error}")


async def _ahead(source: AsyncIterator[Buffer]) -> AsyncIterator[Buffer]:
    """Give what ``source`` gives, and get the next chunk ready while the last one is being used."""

    async def following() -> Buffer | None:
        return await anext(source, None)

    coming = asyncio.ensure_future(following())
    try:
        while (chunk := await coming) is not None:
            coming = asyncio.ensure_future(following())
            yield chunk
    finally:
        coming.cancel()
        await asyncio.wait([coming])
        if not coming.cancelled():
            coming.exception()  # seen: whoever reads no further does not care
        close = getattr(source, "aclose", None)
        if close is not None:
            await close()
