"""Receiving a request's body: bounded, with a time limit on silence, decoded on the way.

Knows nothing of what the bytes are for.
"""

from __future__ import annotations

import asyncio
from typing import Protocol

from strongroom.s3.body import BodyDecoder
from strongroom.s3.errors import S3Error
from strongroom.s3.request import Buffer, Exchange

_GATHER = 512 * 1024
"""Bytes that are collected before a signed body is hashed in a thread: fewer hops, and still little memory."""


class Target(Protocol):
    """Where the decoded bytes go."""

    async def write(self, data: Buffer, /) -> None:
        """Take the next bytes."""
        ...


class BodyReceiver:
    """The body of one request; ``idle_timeout`` is in seconds between two pieces of it."""

    def __init__(self, exchange: Exchange, idle_timeout: float) -> None:
        self._exchange = exchange
        self._idle_timeout = idle_timeout
        self._over = False

    async def next(self) -> bytes:
        """The next piece as it came, b"" at the end. Raises RequestTimeout, ClientGone."""
        try:
            async with asyncio.timeout(self._idle_timeout):
                piece = await self._exchange.receive()
        except TimeoutError:
            raise S3Error("RequestTimeout") from None
        self._over = not piece
        return piece

    async def read(self, decoder: BodyDecoder, limit: int) -> tuple[bytes, dict[str, str]]:
        """The whole decoded body and its trailing headers. Raises MaxMessageLengthExceeded over ``limit`` bytes."""
        if (decoder.decoded_length or 0) > limit:
            raise S3Error("MaxMessageLengthExceeded")
        pieces: list[Buffer] = []
        size = 0
        while data := await self.next():
            for piece in decoder.feed(data):
                size += len(piece)
                pieces.append(piece)
            if size > limit:
                raise S3Error("MaxMessageLengthExceeded")
        return b"".join(pieces), decoder.finish()

    async def pump(self, decoder: BodyDecoder, target: Target) -> dict[str, str]:
        """Write the decoded body to ``target``; its trailing headers. Raises as BodyDecoder.finish does."""
        if decoder.hashes:
            return await self._pump_hashing(decoder, target)
        while data := await self.next():
            for piece in decoder.feed(data):
                await target.write(piece)
        return decoder.finish()

    async def _pump_hashing(self, decoder: BodyDecoder, target: Target) -> dict[str, str]:
        """As :meth:`pump`, where the decoder hashes: in a thread, while what it hashes goes on to the target."""
        verifying: asyncio.Future[None] | None = None
        try:
            while data := await self._gather():
                if verifying is not None:
                    await verifying
                pieces = decoder.feed(data)
                if len(data) > _INLINE:
                    verifying = asyncio.ensure_future(asyncio.to_thread(decoder.verify))
                for piece in pieces:
                    await target.write(piece)
        finally:
            if verifying is not None:
                await asyncio.wait([verifying])
        if verifying is not None:
            verifying.result()
        return decoder.finish()

    async def _gather(self) -> bytes:
        first = await self.next()
        if len(first) >= _GATHER or self._over:
            return first
        pieces, size = [first], len(first)
        while size < _GATHER and (data := await self.next()):
            pieces.append(data)
            size += len(data)
        return b"".join(pieces)


_INLINE = 64 * 1024
"""Bytes that are hashed at once: less work than a thread hop."""
