"""The Reader of the shared folder: one open file, whose segments it reads as one sequence of stored bytes."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable
from typing import ParamSpec

from strongroom.store.base import Stored
from strongroom.store.errors import Damaged
from strongroom.store.nas.finding import Found, read_annex
from strongroom.store.nas.threads import understood
from strongroom.threads import Steps, Threads

P = ParamSpec("P")

CHUNK = 1024 * 1024


class NasReader:
    """The Reader of the protocol."""

    read = None
    comparable = True

    def __init__(self, pool: Threads, descriptor: int, found: Found) -> None:
        self._steps = Steps(pool)
        self.descriptor = descriptor
        self.found = found

    @property
    def stored(self) -> Stored:
        """What was opened."""
        return self.found.stored

    @property
    def _inline(self) -> bytes | None:
        """All stored bytes, if the file was small enough to be read when it was opened."""
        whole = self.found.whole
        if whole is None:
            return None
        if len(self.found.segments) == 1:
            (segment,) = self.found.segments
            return whole[segment.offset : segment.offset + segment.length]
        return b"".join(whole[segment.offset : segment.offset + segment.length] for segment in self.found.segments)

    def cached(self, start: int, length: int, room: bytearray | None = None) -> bytes | None:
        """Stored bytes from ``start`` on if the object is small."""
        inline = self._inline
        return None if inline is None else inline[start : start + length]

    async def annex(self) -> bytes:
        """The annex of the object. Raises Damaged."""
        if self.found.trailer is None:
            return self.found.annex
        annex = await self._in_thread(read_annex, self.descriptor, self.found)
        if len(annex) != self.found.trailer.annex_length:
            raise self._shorter()
        return annex

    async def stream(self, start: int, length: int) -> AsyncIterator[bytes]:
        """Stored bytes from ``start`` on. Raises Damaged."""
        inline = self._inline
        if inline is not None:
            yield inline[start : start + length]
            return
        position, end = 0, start + length
        for segment in self.found.segments:
            first, last = max(start, position), min(end, position + segment.length)
            offset = segment.offset - position
            while first < last:
                chunk = await self._in_thread(os.pread, self.descriptor, min(CHUNK, last - first), offset + first)
                if not chunk:
                    raise self._shorter()
                first += len(chunk)
                yield chunk
            position += segment.length
            if position >= end:
                return
        raise self._shorter()

    async def check(self) -> None:
        """Nothing more: the length of the file was checked when it was opened."""

    async def close(self) -> None:
        """Release it."""
        await self._steps.ended()  # a thread may still be reading from the descriptor
        if self.descriptor >= 0:
            os.close(self.descriptor)
            self.descriptor = -1

    async def _in_thread(self, step: Callable[P, bytes], *args: P.args, **named: P.kwargs) -> bytes:
        with understood():
            return await self._steps.do(step, *args, **named)

    def _shorter(self) -> Damaged:
        return Damaged(f"{self.stored.key!r} has fewer stored bytes than were recorded")
