"""Receiving a request's body: bounded, with a timeout if nothing comes, decoded on the way.

Knows nothing of what the bytes are for.
"""

from __future__ import annotations

import asyncio
from typing import Protocol

from strongroom.buffers import Buffer
from strongroom.s3.body import BodyDecoder
from strongroom.s3.errors import S3Error
from strongroom.s3.request import Exchange, Piece

_AT_ONCE = 64 * 1024
"""Bytes that are hashed before other tasks run."""


class Target(Protocol):
    """Where the decoded bytes go."""

    async def write(self, data: Buffer, /) -> None:
        """Take the next bytes."""
        ...


class BodyReceiver:
    """The body of one request; ``idle_timeout``: how many seconds may pass without any of it arriving."""

    def __init__(self, exchange: Exchange, idle_timeout: float) -> None:
        self._exchange = exchange
        self._idle_timeout = idle_timeout

    async def next(self) -> Piece:
        """The next piece as it came; b"" at the end. Raises RequestTimeout, ClientGone."""
        if self._exchange.ready:
            return await self._exchange.receive()  # nothing to wait for, so no timer
        loop = asyncio.get_running_loop()
        until = loop.time() + self._idle_timeout
        while True:
            try:
                async with asyncio.timeout_at(until):
                    return await self._exchange.receive()
            except TimeoutError:
                until = self._exchange.heard + self._idle_timeout
                if until <= loop.time():
                    raise S3Error("RequestTimeout") from None

    async def read(self, decoder: BodyDecoder, limit: int) -> tuple[bytes, dict[str, str]]:
        """The whole decoded body and its trailing headers. Raises MaxMessageLengthExceeded if over ``limit`` bytes."""
        if (decoder.decoded_length or 0) > limit:
            raise S3Error("MaxMessageLengthExceeded")
        pieces: list[Buffer] = []
        size = 0
        while data := await self.next():
            for piece in decoder.feed(data):
                size += len(piece)
                if size > limit:
                    raise S3Error("MaxMessageLengthExceeded")
                pieces.append(piece)
                await _show(decoder, piece)
        return b"".join(pieces), decoder.finish()

    async def pump(self, decoder: BodyDecoder, target: Target) -> dict[str, str]:
        """Write the decoded body to ``target``. Returns its trailing headers. Raises as next, BodyDecoder.finish do."""
        while data := await self.next():
            for piece in decoder.feed(data):
                await _show(decoder, piece)
                await target.write(piece)
        return decoder.finish()


async def _show(decoder: BodyDecoder, piece: Buffer) -> None:
    """Let the decoder hash what came out of it, if it has to: a little at a time, so that other tasks can run."""
    if decoder.hasher is None:
        return
    view = memoryview(piece)
    for start in range(0, len(view), _AT_ONCE):
        if start:
            await asyncio.sleep(0)
        decoder.hasher.update(view[start : start + _AT_ONCE])
