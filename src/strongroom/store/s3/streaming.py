"""Bodies that are passed on as they come: in signed chunks, so that over plain HTTP nobody can alter them unnoticed.

Source: "Transferring Payload in Multiple Chunks (Chunked Upload)" in the Amazon S3 API reference.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine
from hashlib import sha256
from typing import Any

from strongroom.buffers import Buffer
from strongroom.sigv4.chunks import STREAMING_SIGNED, STREAMING_SIGNED_TRAILER, ChunkSigner, ChunkSigning

CHUNK = 256 * 1024
_IN_THREAD = 64 * 1024
_QUEUE = 2
_TRAILER_SIGNATURE = len("x-amz-trailer-signature:") + 64
_SIGNATURE = len(";chunk-signature=") + 64


class StreamedBody:
    """A body of ``length`` bytes that a writer feeds while the request is under way.

    ``trailer``: a header that follows it, and how many characters its value has.
    """

    def __init__(self, length: int, trailer: tuple[str, int] | None = None) -> None:
        self.length = length
        self.trailer = trailer
        self.trailing = ""
        self.begun = False
        """Whether some of it was taken to be sent, so that it cannot be sent again."""
        self._queue: asyncio.Queue[bytes | None] = asyncio.Queue(_QUEUE)

    @property
    def headers(self) -> dict[str, str]:
        """The headers that describe such a body, apart from its coding."""
        headers = {"x-amz-decoded-content-length": str(self.length)}
        return headers if self.trailer is None else {**headers, "x-amz-trailer": self.trailer[0]}

    @property
    def kind(self) -> str:
        """The value of ``x-amz-content-sha256`` for it."""
        return STREAMING_SIGNED if self.trailer is None else STREAMING_SIGNED_TRAILER

    async def put(self, data: Buffer) -> None:
        """Add the next bytes; waits while the backend is slow. They are copied."""
        view = memoryview(data)
        for start in range(0, len(view), CHUNK):
            await self._queue.put(bytes(view[start : start + CHUNK]))

    async def end(self, trailing: str = "") -> None:
        """End the body; ``trailing`` is the value of the header that follows, if one was announced."""
        self.trailing = trailing
        await self._queue.put(None)

    async def pieces(self) -> AsyncIterator[bytes]:
        """The bytes, in pieces of CHUNK bytes except the last one."""
        held = bytearray()
        self.begun = True
        while (piece := await self._queue.get()) is not None:
            held += piece
            while len(held) >= CHUNK:
                yield bytes(held[:CHUNK])
                del held[:CHUNK]
        if held:
            yield bytes(held)


async def is_taken(feeding: Coroutine[Any, Any, None], sending: asyncio.Task[Any]) -> bool:
    """Await ``feeding``, a ``put`` or the ``end`` of a streamed body. Returns False if the request, ``sending``, ended
    meanwhile: nobody takes the body's bytes any more.
    """
    task = asyncio.ensure_future(feeding)
    try:
        await asyncio.wait([task, sending], return_when=asyncio.FIRST_COMPLETED)
        return task.done()
    finally:
        if not task.done():
            task.cancel()
            await asyncio.wait([task])


class SignedBody:
    """A streamed body as it goes over the wire: chunks with their signatures."""

    def __init__(self, body: StreamedBody, signing: ChunkSigning) -> None:
        self._body = body
        self._signer = ChunkSigner(signing)
        full, rest = divmod(body.length, CHUNK)
        self.length = full * _framed(CHUNK) + (_framed(rest) if rest else 0) + _framed(0)
        if body.trailer is not None:
            name, width = body.trailer
            self.length += len(f"{name}:") + width + 2 + _TRAILER_SIGNATURE + 2
        """Bytes on the wire."""

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for piece in self._body.pieces():
            digest = await asyncio.to_thread(sha256, piece) if len(piece) > _IN_THREAD else sha256(piece)
            yield b"%x;chunk-signature=%s\r\n%s\r\n" % (
                len(piece),
                self._signer.chunk(digest.hexdigest()).encode(),
                piece,
            )
        yield b"0;chunk-signature=%s\r\n" % self._signer.chunk(sha256(b"").hexdigest()).encode()
        if self._body.trailer is not None:
            line = f"{self._body.trailer[0]}:{self._body.trailing}"
            signature = self._signer.trailer(sha256(f"{line}\n".encode()).hexdigest())
            yield f"{line}\r\nx-amz-trailer-signature:{signature}\r\n".encode()
        yield b"\r\n"


def _framed(length: int) -> int:
    return len(f"{length:x}") + _SIGNATURE + 2 + length + 2
