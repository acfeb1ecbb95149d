"""Reading an object: from stored bytes to authenticated plaintext, whole or in ranges. Knows nothing of keys'
origin.
"""

from __future__ import annotations

import asyncio
from bisect import bisect_right
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field
from functools import partial
from itertools import accumulate

from strongroom.sealed.dare import PAYLOAD, Opener, StreamInvalid, package_range, sealed_size
from strongroom.sealed.keys import ObjectKey, part_key
from strongroom.sealed.parts import PartEntry, PartTable
from strongroom.store.base import Buffer, Damaged, Reader

Read = Callable[[int, int], Buffer]
"""As Reader.read has it."""


UNIT = 16 * PAYLOAD
"""Bytes of plaintext that a thread reads and opens at a time."""

AT_ONCE = PAYLOAD
"""Bytes up to which a range of what is in memory is opened on the event loop; they lie in at most two packages."""


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


class Layout:
    """Where the streams of an encrypted object lie: one a part, or one in all where it was not uploaded in parts."""

    def __init__(self, object_key: ObjectKey, size: int, parts: Sequence[PartEntry] | None) -> None:
        self._object_key = object_key
        self._parts = parts
        if parts is None:
            self._sizes: Sequence[int] = (size,)
        else:
            self._sizes = parts.sizes if isinstance(parts, PartTable) else [part.size for part in parts]
        stored = {size: sealed_size(size) for size in set(self._sizes)}
        self._ends = list(accumulate(self._sizes))
        self._stored_ends = list(accumulate(map(stored.__getitem__, self._sizes)))

    @property
    def stored_size(self) -> int:
        """Stored bytes of all streams."""
        return self._stored_ends[-1] if self._stored_ends else 0

    def within(self, start: int, length: int) -> Iterator[tuple[Extent, int, int]]:
        """The streams that hold the ``length`` bytes from ``start``: each with where in it they begin, and how many."""
        index, end = bisect_right(self._ends, start), start + length
        while start < end and index < len(self._ends):
            extent = self._extent(index)
            first = start - (self._ends[index] - extent.size)
            taken = min(extent.size - first, end - start)
            yield extent, first, taken
            start += taken
            index += 1

    def _extent(self, index: int) -> Extent:
        size = self._sizes[index]
        offset = self._stored_ends[index] - sealed_size(size)
        if self._parts is None:
            return Extent(offset, size, self._object_key)
        part = self._parts[index]
        return Extent(offset, size, self._object_key, part.number, part.nonce or None)


class PlainBody:
    """The bytes of an object that is not encrypted."""

    def __init__(self, pool: Executor, reader: Reader) -> None:
        self._pool = pool
        self._reader = reader

    def stream(self, start: int, length: int) -> AsyncIterator[Buffer]:
        """The ``length`` bytes from ``start``, in chunks. Raises Damaged."""
        read = self._reader.read
        if read is None:
            return _ahead(self._reader.stream(start, length))
        end = start + length
        units = (partial(read, at, min(UNIT, end - at)) for at in range(start, end, UNIT))
        return _in_threads(self._pool, units)

    def at_once(self, start: int, length: int) -> Buffer | None:
        """The same as one buffer, where it is little and in memory; else None."""
        return self._reader.cached(start, length) if length <= UNIT else None


class SealedBody:
    """The bytes of an encrypted object. Nothing is given out that was not authenticated."""

    def __init__(self, pool: Executor, reader: Reader, layout: Layout, name: str) -> None:
        self._pool = pool
        self._reader = reader
        self._layout = layout
        self._name = name
        if layout.stored_size != reader.stored.size:
            raise Damaged(f"{name!r} has {reader.stored.size} stored bytes and {layout.stored_size} were recorded")

    def stream(self, start: int, length: int) -> AsyncIterator[Buffer]:
        """The ``length`` bytes of plaintext from ``start``, in chunks. Raises Damaged at the first that is not
        right.
        """
        read = self._reader.read
        if read is None:
            return _ahead(self._stream(start, length))
        return _in_threads(self._pool, self._units(read, start, length))

    def at_once(self, start: int, length: int) -> Buffer | None:
        """The same as one buffer, where it is little and in memory; else None. Raises Damaged."""
        if length > AT_ONCE:
            return None
        if not length:
            return b""
        extent, first, size = next(self._layout.within(start, length))
        if size != length:
            return None
        package, offset, stored = package_range(first, length, extent.size)
        data = self._reader.cached(extent.offset + offset, stored)
        if data is None:
            return None
        plaintext = self._guard(self._opener(extent, package).open, data)
        skip = first - package * PAYLOAD
        return plaintext if length == len(plaintext) else memoryview(plaintext)[skip : skip + length]

    def _units(self, read: Read, start: int, length: int) -> Iterator[Callable[[], Buffer]]:
        """What threads do, one after the other: each gives the next bytes, of a few whole packages of one stream."""
        for extent, first, size in self._layout.within(start, length):
            opener = self._opener(extent, first // PAYLOAD)
            end = first + size
            while first < end:
                taken = min(UNIT - first % PAYLOAD, end - first)
                yield partial(self._unit, read, extent, opener, first, taken)
                first += taken

    def _unit(self, read: Read, extent: Extent, opener: Opener, start: int, length: int) -> Buffer:
        package, offset, stored = package_range(start, length, extent.size)
        plaintext = self._guard(opener.open, read(extent.offset + offset, stored))
        skip = start - package * PAYLOAD
        return plaintext if length == len(plaintext) else memoryview(plaintext)[skip : skip + length]

    async def _stream(self, start: int, length: int) -> AsyncIterator[Buffer]:
        for extent, first, size in self._layout.within(start, length):
            async for chunk in self._extent(extent, first, size):
                yield chunk

    async def _extent(self, extent: Extent, start: int, length: int) -> AsyncIterator[Buffer]:
        package, offset, stored = package_range(start, length, extent.size)
        opener = self._opener(extent, package)
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

    def _opener(self, extent: Extent, package: int) -> Opener:
        return Opener(extent.key, extent.size, package, extent.nonce)

    def _guard(self, step: Callable[[Buffer], bytearray], data: Buffer) -> bytearray:
        try:
            return step(data)
        except StreamInvalid as error:
            raise Damaged(f"{self._name!r}: {error}") from error


async def _in_threads(pool: Executor, units: Iterator[Callable[[], Buffer]]) -> AsyncIterator[Buffer]:
    """Give what each unit of work gives, which a thread does while the one before is being used."""
    loop = asyncio.get_running_loop()

    def following() -> asyncio.Future[Buffer] | None:
        unit = next(units, None)
        return None if unit is None else loop.run_in_executor(pool, unit)

    coming = following()
    try:
        while coming is not None:
            chunk = await coming
            coming = following()
            yield chunk
    finally:
        if coming is not None and not coming.cancel() and not coming.cancelled():
            coming.exception()  # seen: whoever reads no further does not care


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
