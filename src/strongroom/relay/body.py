"""The body of a request on its way to the backend: its digests and signatures are verified before its end is sent."""

from __future__ import annotations

import asyncio
import base64
import hashlib
from collections.abc import Coroutine
from typing import Any

from strongroom.buffers import Buffer
from strongroom.s3.body import decoder_for, require_length
from strongroom.s3.call import Call
from strongroom.s3.checksums import Algorithm
from strongroom.s3.upload import Integrity
from strongroom.store.s3.messages import Download
from strongroom.store.s3.streaming import StreamedBody, is_taken

BUFFER = 6 * 1024**2
"""Up to how many bytes a body is read whole before it is sent, so that it can be sent again if the backend fails."""

MAX_DOCUMENT = 8 * 1024**2

_CHECKSUM = "x-amz-checksum-"
_WIDTHS = {algorithm.header: -(-algorithm.size // 3) * 4 for algorithm in Algorithm}
"""Characters in a trailer's value, which is base64."""


async def whole_body(call: Call, operation: str, limit: int) -> tuple[bytes, dict[str, str]]:
    """A small body, verified, and the headers to add for it (checksums from trailers, or Content-MD5). Raises S3Error.

    ``limit``: bytes that it may have.
    """
    headers = call.request.headers
    document, trailers = await call.body.read(decoder_for(call.payload, headers), limit)
    if operation != "CompleteMultipartUpload":  # whose checksum headers are the whole object's
        Integrity(headers).check_document(document, trailers)
    added = {name: value for name, value in trailers.items() if name.startswith(_CHECKSUM)}
    if document and not added and not any(name.startswith(_CHECKSUM) for name in headers):
        digest = hashlib.md5(document, usedforsecurity=False).digest()
        added["content-md5"] = base64.b64encode(digest).decode()
    return document, added


def streamed_body(call: Call) -> StreamedBody | None:
    """The body of an upload that is too large to be read whole; None for a smaller one. Raises S3Error."""
    length = require_length(decoder_for(call.payload, call.request.headers))
    if length <= BUFFER:
        return None
    name = call.request.headers.get("x-amz-trailer", "").strip().lower()
    width = _WIDTHS.get(name)
    return StreamedBody(length, (name, width) if width is not None else None)


class Feeder:
    """Feeds the streamed body from the client's. Its last chunk is sent only when everything has been verified."""

    def __init__(self, body: StreamedBody, integrity: Integrity, sending: asyncio.Task[Download]) -> None:
        self._body = body
        self._hashers = integrity.hashers
        self._md5 = hashlib.md5(usedforsecurity=False) if integrity.wants_md5 else None
        self._sending = sending

    @property
    def md5(self) -> bytes | None:
        """The MD5 of the body, if the client sent one to compare it with."""
        return self._md5.digest() if self._md5 else None

    async def write(self, data: Buffer) -> None:
        """Take the next bytes. Raises what ended the request to the backend, if it has ended."""
        if self._hashers or self._md5:
            await asyncio.to_thread(self._hash, data)
        await self._unless_over(self._body.put(data))

    async def finish(self) -> None:
        """The client's body has ended."""

    async def end(self, trailing: str) -> None:
        """Everything was verified: send the end of the body. ``trailing``: the value of its trailer, if it has one."""
        await self._unless_over(self._body.end(trailing))

    def _hash(self, data: Buffer) -> None:
        for hasher in self._hashers:
            hasher.update(data)
        if self._md5:
            self._md5.update(data)

    async def _unless_over(self, feeding: Coroutine[Any, Any, None]) -> None:
        if not await is_taken(feeding, self._sending):
            await self._sending  # raises, or the answer came early
            raise ConnectionAbortedError("the backend answered before the body was sent")
