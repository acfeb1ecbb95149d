"""Brings a body into a store: hashes, seals and writes it in blocks of bounded size. Knows nothing of keys or records.

A small body is hashed and sealed at once, on the event loop. A large one goes in blocks of 1 MiB: a block is sealed on
the event loop, some packages at a time, and handed to a thread that hashes and writes it while the next one arrives.
(Sealing in the thread would be slower: it would wait for the interpreter's lock after each package.) At most two blocks
and one sealed block are held at any time, which bounds the memory of an upload.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

from strongroom.buffers import Buffer, unfilled
from strongroom.sealed.dare import PAYLOAD, TURN, Sealer, sealed_size
from strongroom.threads import Step, Threads

BLOCK = 16 * PAYLOAD

_MANY = 16
"""A block of up to so many pieces is hashed and written piece by piece; more pieces are joined first."""


class Hasher(Protocol):
    """Sees all bytes of a body, in order; called from worker threads, one at a time."""

    def update(self, data: Buffer, /) -> object:
        """Take the next bytes."""
        ...


class Sink(Protocol):
    """Where the stored bytes go: a store's writer."""

    async def write(self, data: Buffer) -> None:
        """Take the next stored bytes."""
        ...

    @property
    def append(self) -> Callable[[Buffer, bool], None] | None:
        """As Writer.append has it."""
        ...


class BodyPipeline:
    """Takes a body in pieces, seals it if there is a ``sealer``, and writes it to a ``sink``.

    ``md5``: whether the MD5 of the plaintext is wanted. ``hashers`` see the plaintext too.
    """

    def __init__(
        self, pool: Threads, sink: Sink, sealer: Sealer | None, md5: bool, hashers: Sequence[Hasher] = ()
    ) -> None:
        self._pool = pool
        self._sink = sink
        self._sealer = sealer
        self._md5 = hashlib.md5(usedforsecurity=False) if md5 else None
        self._hashers = list(hashers)
        self._pending: list[Buffer] = []
        self._pending_size = 0
        self._job: Step[None] | asyncio.Task[None] | None = None  # the last full block
        self._out: bytearray | None = None
        self.size = 0
        """Bytes of plaintext taken so far."""

    @property
    def md5(self) -> bytes | None:
        """The MD5 of the plaintext, after :meth:`finish`, where it was wanted."""
        return self._md5.digest() if self._md5 else None

    def watch(self, md5: bool, hashers: Sequence[Hasher]) -> None:
        """Ask for the MD5 as well, and add hashers that see the plaintext; before the first :meth:`write`."""
        if md5 and self._md5 is None:
            self._md5 = hashlib.md5(usedforsecurity=False)
        self._hashers.extend(hashers)

    async def write(self, data: Buffer) -> None:
        """Take the next piece, of any length; it is kept, so the caller must not change it afterwards."""
        self.size += len(data)
        while self._pending_size + len(data) > BLOCK:  # a full block stays until more comes: it might be the last
            view, room = memoryview(data), BLOCK - self._pending_size
            if room:
                self._pending.append(view[:room])
            data = view[room:]
            self._pending_size = BLOCK
            await self._dispatch(final=False)
        self._pending.append(data)
        self._pending_size += len(data)

    async def finish(self) -> None:
        """The body has ended: hash, seal and write what is left of it."""
        if self._job is None and self._pending_size <= PAYLOAD:
            block = b"".join(self._pending)
            self._hash([block])
            if block:
                await self._sink.write(self._sealer.seal(block, final=True) if self._sealer else block)
            return
        await self._dispatch(final=True)
        await self._settled()

    async def abort(self) -> None:
        """Stop the work that is under way, or, as a thread cannot be stopped, wait for it."""
        if isinstance(self._job, Step):
            await self._job.ended()
        elif self._job is not None:
            self._job.cancel()
            await asyncio.wait([self._job])
            self._job.cancelled() or self._job.exception()  # seen, so that asyncio does not complain of it

    async def _settled(self) -> None:
        if isinstance(self._job, Step):
            await self._job.result()
        elif self._job is not None:
            await asyncio.shield(self._job)

    async def _dispatch(self, final: bool) -> None:
        pieces, size = self._pending, self._pending_size
        self._pending, self._pending_size = [], 0
        if len(pieces) > _MANY:
            pieces = [b"".join(pieces)]
        await self._settled()
        stored = await self._seal(pieces, size, final)
        append = self._sink.append
        if append is None:
            self._job = asyncio.create_task(self._process(pieces, stored))
        else:
            self._job = self._pool.start(self._hash_and_append, pieces, stored, append, final)

    async def _seal(self, pieces: Sequence[Buffer], size: int, final: bool) -> Sequence[Buffer]:
        if self._sealer is None:
            return pieces
        if self._out is None:
            self._out = unfilled(sealed_size(size))  # no later block is larger
        out, at, left = memoryview(self._out), 0, size
        for run in _runs(pieces):
            if at:
                await asyncio.sleep(0)  # others have their turn
            left -= len(run)
            at += self._sealer.seal_into(run, final and not left, out[at:])
        return [out[:at]]

    def _hash_and_append(
        self, pieces: Sequence[Buffer], stored: Sequence[Buffer], append: Callable[[Buffer, bool], None], last: bool
    ) -> None:
        self._hash(pieces)
        for number, piece in enumerate(stored, 1):
            append(piece, last and number == len(stored))

    async def _process(self, pieces: Sequence[Buffer], stored: Sequence[Buffer]) -> None:
        hashing = None
        if self._md5 is not None or self._hashers:
            hashing = self._pool.start(self._hash, pieces)
        try:
            for piece in stored:
                await self._sink.write(piece)
        finally:
            if hashing is not None:
                await hashing.result()

    def _hash(self, pieces: Sequence[Buffer]) -> None:
        for piece in pieces:
            if self._md5 is not None:
                self._md5.update(piece)
            for hasher in self._hashers:
                hasher.update(piece)


def _runs(pieces: Sequence[Buffer]) -> Iterator[Buffer]:
    """The pieces, cut anew into runs of up to TURN whole payloads. A run is a view if it lies within one piece."""
    parts: list[memoryview] = []
    missing = PAYLOAD
    for piece in pieces:
        view = memoryview(piece)
        while view:
            whole = 0 if parts else min(TURN, len(view) // PAYLOAD) * PAYLOAD
            part, view = view[: whole or missing], view[whole or missing :]
            if whole:
                yield part
                continue
            parts.append(part)
            missing -= len(part)
            if not missing:
                yield b"".join(parts)
                parts, missing = [], PAYLOAD
    if parts:
        yield b"".join(parts)
