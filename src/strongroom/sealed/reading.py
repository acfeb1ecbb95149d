"""Reading an object: from stored bytes to authenticated plaintext, whole or in ranges. Knows nothing of where keys come
from.

Unless the nonce of a stream is known, packages of a range could have changed places without a trace (see
:mod:`strongroom.sealed.dare`). A part table records it. The nonce of an object without one is derived from the object
key if Strongroom wrote it. For streams that MinIO left, the last package is opened as well, which proves the nonce.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Sequence
from concurrent.futures import Executor
from contextlib import aclosing
from dataclasses import dataclass, field
from itertools import accumulate

from strongroom.buffers import Buffer, unfilled
from strongroom.sealed.dare import (
    PACKAGE,
    PAYLOAD,
    TURN,
    Opener,
    StreamInvalid,
    last_package,
    open_whole,
    package_range,
    sealed_size,
)
from strongroom.sealed.keys import ObjectKey, only_nonce, part_key
from strongroom.sealed.parts import PartEntry, sizes_of
from strongroom.spans import within
from strongroom.store.base import Reader
from strongroom.store.errors import Damaged

Read = Callable[[int, int], Buffer]
"""As Reader.read has it."""


UNIT = 16 * PAYLOAD
"""Bytes that are read at a time."""

_STORED_UNIT = 16 * PACKAGE
_ROOM = 8 * PACKAGE  # for what is in memory: small enough to stay in the processor's cache until it is opened and sent

_TURN = TURN * PACKAGE

AT_ONCE = PAYLOAD
"""A range of up to so many bytes that are in memory is opened at once; it lies in at most two packages."""


@dataclass(frozen=True, slots=True)
class Extent:
    """One stream of an object: ``size`` plaintext bytes in the stored bytes from ``offset`` on.

    ``number`` is the number of the part, 0 if the object was not uploaded in parts.
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

    def in_place(self, nonce: bytes | None, end: int) -> bool:
        """Whether opened packages with this nonce in their headers, which hold the plaintext up to ``end``, are certain
        to be in their places.

        The last package proves the nonce; and if there is only one package beside it, none can have changed places.
        """
        if self.nonce is not None or self.size <= 2 * PAYLOAD or end > (self.size - 1) // PAYLOAD * PAYLOAD:
            return True
        return not self.number and nonce == only_nonce(self.object_key)


def read_package(reader: Reader, object_key: ObjectKey, size: int, name: str) -> bytes | None:
    """The plaintext of an object that is one stream of at most one package (PAYLOAD bytes); None if it is not in
    memory.

    It does what :class:`SealedBody` does for any object, faster, since most objects are small. Raises Damaged.
    """
    stored = sealed_size(size)
    _check_stored(reader, stored, name)
    data = reader.cached(0, stored)
    try:
        return None if data is None else open_whole(object_key, size, bytes(data))
    except StreamInvalid as error:
        raise Damaged(f"{name!r}: {error}") from error


def _check_stored(reader: Reader, recorded: int, name: str) -> None:
    if recorded != reader.stored.size:
        raise Damaged(f"{name!r} has {reader.stored.size} stored bytes and {recorded} were recorded")


class Layout:
    """Where the streams of an encrypted object lie: one for each part, or one in all if it was not uploaded in
    parts.
    """

    def __init__(self, object_key: ObjectKey, size: int, parts: Sequence[PartEntry] | None) -> None:
        self._object_key = object_key
        self._parts = parts
        self._sizes = (size,) if parts is None else sizes_of(parts)
        stored = {size: sealed_size(size) for size in set(self._sizes)}
        self._ends = list(accumulate(self._sizes))
        self._stored_ends = list(accumulate(map(stored.__getitem__, self._sizes)))

    @property
    def stored_size(self) -> int:
        """Stored bytes of all streams."""
        return self._stored_ends[-1] if self._stored_ends else 0

    def within(self, start: int, length: int) -> Iterator[tuple[Extent, int, int]]:
        """The streams that hold the ``length`` bytes from ``start``, each with the first byte in it and the number of
        bytes.
        """
        for index, first, taken in within(self._ends, start, length):
            yield self._extent(index), first, taken

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

    def stream(self, start: int, length: int) -> AsyncGenerator[Buffer]:
        """The ``length`` bytes from ``start``, in chunks. Raises Damaged."""
        read = self._reader.read
        return _ahead(self._reader.stream(start, length)) if read is None else self._units(read, start, length)

    def at_once(self, start: int, length: int) -> Buffer | None:
        """The same as one buffer, if it is small and in memory; else None."""
        return self._reader.cached(start, length) if length <= UNIT else None

    async def _units(self, read: Read, start: int, length: int) -> AsyncGenerator[Buffer]:
        stored = _Stored(self._pool, self._reader, read, start, length, UNIT)
        try:
            while (unit := await stored.next()) is not None:
                yield unit
        finally:
            stored.close()


class SealedBody:
    """The bytes of an encrypted object. Nothing is given out that was not authenticated."""

    def __init__(self, pool: Executor, reader: Reader, layout: Layout, name: str) -> None:
        self._pool = pool
        self._reader = reader
        self._layout = layout
        self._name = name
        _check_stored(reader, layout.stored_size, name)

    def stream(self, start: int, length: int) -> AsyncGenerator[Buffer]:
        """The ``length`` bytes of plaintext from ``start``, in chunks. Raises Damaged in place of the first chunk that
        is not authentic.
        """
        read = self._reader.read
        return self._stream(start, length) if read is None else self._units(read, start, length)

    def at_once(self, start: int, length: int) -> Buffer | None:
        """The same as one buffer, if it is small and in memory; else None. Raises Damaged."""
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
        opener = self._opener(extent, package)
        plaintext = self._guard(opener.open_packages, data)
        if not extent.in_place(opener.nonce, first + size):
            _, offset, stored = last_package(extent.size)
            last = self._reader.cached(extent.offset + offset, stored)
            if last is None:
                return None
            self._prove(extent, opener.nonce, last)
        skip = first - package * PAYLOAD
        self._check_complete(skip + length - len(plaintext))
        return plaintext if length == len(plaintext) else memoryview(plaintext)[skip : skip + length]

    async def _units(self, read: Read, start: int, length: int) -> AsyncGenerator[Buffer]:
        """As :meth:`stream`, from a file. Packages are opened on the event loop, some at a time. (A thread would have
        to wait for the interpreter's lock after each package, which costs several times what opening one does.)
        """
        for extent, first, size in self._layout.within(start, length):
            package, offset, packages = package_range(first, size, extent.size)
            opener = self._opener(extent, package)
            skip, left = first - package * PAYLOAD, size
            room = unfilled(min(packages, _ROOM))  # shared by all units: each is used up before the next is asked for
            stored = _Stored(self._pool, self._reader, read, extent.offset + offset, packages, _STORED_UNIT, room)
            try:
                while (unit := await stored.next()) is not None:
                    opened = self._guard(opener.open_packages, unit)
                    if left == size:
                        await self._check_in_place(extent, opener.nonce, first + size)
                    piece = memoryview(opened)[skip : skip + left]
                    skip = 0
                    left -= len(piece)
                    yield piece
                    if left:
                        await asyncio.sleep(0)  # other tasks run now that the piece was sent and needs no cache
            finally:
                stored.close()
            self._check_complete(left)

    async def _stream(self, start: int, length: int) -> AsyncGenerator[Buffer]:
        """As :meth:`stream`, from what is not a file: a chunk is opened on the event loop while the next one arrives.

        The stored bytes of all parts are asked for at once: otherwise each part would be a request to the backend.
        """
        if not length:
            return
        begin, end = self._stored_range(start, length)
        async with aclosing(_ahead(self._reader.stream(begin, end - begin))) as chunks:
            chunk = memoryview(b"")
            for extent, first, size in self._layout.within(start, length):
                package, _, packages = package_range(first, size, extent.size)
                opener = self._opener(extent, package)
                skip, left = first - package * PAYLOAD, size
                while packages:
                    if chunk:
                        await asyncio.sleep(0)  # other tasks run
                    else:
                        following = await anext(chunks, None)
                        if following is None:
                            break
                        chunk = memoryview(following)
                    taken = chunk[: min(_TURN, packages)]
                    chunk = chunk[len(taken) :]
                    packages -= len(taken)
                    plaintext = self._guard(opener.open, taken)
                    if plaintext and left == size:
                        await self._check_in_place(extent, opener.nonce, first + size)
                    piece = memoryview(plaintext)[skip : skip + left]
                    skip = max(0, skip - len(plaintext))
                    left -= len(piece)
                    if piece:
                        yield piece
                self._check_complete(left)

    def _stored_range(self, start: int, length: int) -> tuple[int, int]:
        """Where the stored packages that hold the ``length`` bytes from ``start`` begin and end."""
        (begin, _), (_, end) = map(self._stored_package, (start, start + length - 1))
        return begin, end

    def _stored_package(self, at: int) -> tuple[int, int]:
        """Where the stored package that holds this byte of the plaintext begins and ends."""
        extent, first, _ = next(self._layout.within(at, 1))
        _, offset, stored = package_range(first, 1, extent.size)
        return extent.offset + offset, extent.offset + offset + stored

    def _check_complete(self, missing: int) -> None:
        if missing > 0:
            raise Damaged(f"{self._name!r} ends {missing} bytes early")

    async def _check_in_place(self, extent: Extent, nonce: bytes | None, end: int) -> None:
        """Raises Damaged unless packages that show this nonce and hold the plaintext up to ``end`` are in their
        places.
        """
        if extent.in_place(nonce, end):
            return
        _, offset, stored = last_package(extent.size)
        read, at = self._reader.read, extent.offset + offset
        if read is None:
            chunks = [bytes(chunk) async for chunk in self._reader.stream(at, stored)]
            self._prove(extent, nonce, b"".join(chunks))
        else:
            self._prove(extent, nonce, await asyncio.get_running_loop().run_in_executor(self._pool, read, at, stored))

    def _prove(self, extent: Extent, nonce: bytes | None, last: Buffer) -> None:
        """Raises Damaged unless the ``last`` package of a stream proves that this is its nonce."""
        package, _, stored = last_package(extent.size)
        self._check_complete(stored - len(last))
        self._guard(Opener(extent.key, extent.size, package, nonce).open_packages, last)

    def _opener(self, extent: Extent, package: int) -> Opener:
        return Opener(extent.key, extent.size, package, extent.nonce)

    def _guard(self, step: Callable[[Buffer], bytearray], data: Buffer) -> bytearray:
        try:
            return step(data)
        except StreamInvalid as error:
            raise self._damaged(error) from error

    def _damaged(self, error: StreamInvalid) -> Damaged:
        return Damaged(f"{self._name!r}: {error}")


class _Stored:
    """Reads stored bytes in units of ``unit`` bytes. What is not in memory is read by a thread, which begins the next
    unit while the last is being used. What is in memory is copied into ``room``, if given: each unit overwrites the
    last.
    """

    def __init__(
        self,
        pool: Executor,
        reader: Reader,
        read: Read,
        start: int,
        length: int,
        unit: int,
        room: bytearray | None = None,
    ) -> None:
        self._pool = pool
        self._reader = reader
        self._read = read
        self._at = start
        self._end = start + length
        self._unit = unit
        self._room = room
        self._coming: Buffer | asyncio.Future[Buffer] | None = None

    async def next(self) -> Buffer | None:
        """The next unit; None after the last. Raises Damaged."""
        coming, self._coming = self._coming or self._begin(), None
        if not isinstance(coming, asyncio.Future):
            return coming
        unit = await coming
        self._coming = self._begin()
        return unit

    def close(self) -> None:
        """Drop the unit that is being read, if any."""
        coming = self._coming
        if isinstance(coming, asyncio.Future) and not coming.cancel() and not coming.cancelled():
            coming.exception()  # seen: whoever reads no further does not care

    def _begin(self) -> Buffer | asyncio.Future[Buffer] | None:
        start, left = self._at, self._end - self._at
        if not left:
            return None
        length = min(left, self._unit if self._room is None else len(self._room))
        found: Buffer | asyncio.Future[Buffer] | None = self._reader.cached(start, length, self._room)
        if found is None:
            length = min(left, self._unit)
            found = asyncio.get_running_loop().run_in_executor(self._pool, self._read, start, length)
        self._at += length
        return found


async def _ahead(source: AsyncIterator[Buffer]) -> AsyncGenerator[Buffer]:
    """Yields what ``source`` yields, and fetches the next chunk while the last one is being used."""

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
