"""Writers of the S3 store. An object that fits into a small buffer is one PUT, repeated if the backend fails; a larger
one becomes a multipart upload of the backend with a hidden record, since that is known only after the last byte.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine, Mapping
from typing import Any

from strongroom.buffers import Buffer
from strongroom.store.base import ALWAYS, Condition, Part, Record, Stored
from strongroom.store.errors import Unavailable
from strongroom.store.s3 import names
from strongroom.store.s3.backend_uploads import LargePut
from strongroom.store.s3.client import Client
from strongroom.store.s3.encryption import BackendEncryption
from strongroom.store.s3.messages import Answer, Request
from strongroom.store.s3.metadata import HiddenRecord, to_milliseconds
from strongroom.store.s3.putting import etag_in, put_object
from strongroom.store.s3.records import write_hidden
from strongroom.store.s3.streaming import StreamedBody, is_taken

BUFFER = 6 * 1024**2
"""Stored bytes that are held back: larger objects go to the backend in parts of this size (S3 wants 5 MiB)."""


class Gathering:
    """Bytes of an object for the backend: held back while there are few, sent in parts as they come if there are more.

    ``headers`` are those of an upload in parts; by default they say that the object's record is a hidden one.
    """

    append = None

    def __init__(
        self,
        client: Client,
        bucket: str,
        key: str,
        encryption: BackendEncryption,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        self._client = client
        self._bucket = bucket
        self._key = key
        self._encryption = encryption
        self._headers = headers
        self._id = names.new_id()
        self._buffer = bytearray()
        self._large: LargePut | None = None

    async def write(self, data: Buffer) -> None:
        """Append. Raises StoreError."""
        view = memoryview(data)
        while len(self._buffer) + len(view) > BUFFER:
            room = BUFFER - len(self._buffer)
            self._buffer += view[:room]
            view = view[room:]
            await self._spill()
        self._buffer += view

    async def _spill(self) -> None:
        if self._large is None:
            self._large = LargePut(self._client, self._bucket, self._key, self._id, self._encryption)
            await self._large.begin(self._headers)
        part, self._buffer = self._buffer, bytearray()
        await self._large.send(part)

    async def _sent(self, large: LargePut) -> None:
        """Send what is left, and wait until the backend has all parts."""
        if self._buffer:
            await self._spill()
        await large.finish()

    async def abort(self) -> None:
        """Forget what was written."""
        if self._large is not None:
            await self._large.abort()


class S3Writer(Gathering):
    """The Writer of the protocol."""

    def __init__(self, client: Client, bucket: str, key: str, encryption: BackendEncryption) -> None:
        super().__init__(client, bucket, key, encryption)
        self._size = 0

    async def write(self, data: Buffer) -> None:
        """Append. Raises StoreError."""
        self._size += len(data)
        await super().write(data)

    async def commit(self, record: Record, annex: bytes = b"", when: Condition = ALWAYS) -> Stored:
        """Make the object visible."""
        modified = to_milliseconds(time.time_ns())
        hidden = HiddenRecord(self._key, modified, record, annex)
        if self._large is None:
            etag = await put_object(
                self._client, self._bucket, self._id, hidden, self._buffer, self._encryption.creating, when
            )
        else:
            await self._sent(self._large)
            await write_hidden(self._client, self._bucket, self._id, hidden)
            etag = await self._large.complete(when)
        return Stored(self._key, self._size, modified, record, f"{etag} {self._id}")


PartDone = Callable[[str, int, Record], Coroutine[Any, Any, Part]]
"""Records a part that the backend has. Arguments: its ETag there, its stored bytes, its record."""


class S3PartWriter:
    """The PartWriter of the protocol: a small part is sent when it is complete, a large one as it comes."""

    append = None

    def __init__(self, client: Client, request: Request, size: int | None, done: PartDone) -> None:
        self._client = client
        self._request = request
        self._done = done
        self._buffer = bytearray()
        self._stream = StreamedBody(size) if size is not None and size > BUFFER else None
        self._sending: asyncio.Task[Answer] | None = None
        self._size = 0

    async def write(self, data: Buffer) -> None:
        """Append. Raises StoreError."""
        self._size += len(data)
        if self._stream is None:
            self._buffer += data
            return
        if self._sending is None:
            self._sending = asyncio.create_task(self._client.send(self._with(self._stream)))
        await self._feed(self._stream.put(data))

    async def _feed(self, feeding: Coroutine[Any, Any, None]) -> None:
        """Feed the request. If it ends meanwhile, raises its error, or Unavailable."""
        assert self._sending is not None
        if not await is_taken(feeding, self._sending):
            await self._sending
            raise Unavailable(f"{self._request}: the backend answered before the part was sent")

    def _with(self, body: Buffer | StreamedBody) -> Request:
        request = self._request
        return Request(request.method, request.bucket, request.key, request.query, request.headers, body)

    async def commit(self, record: Record) -> Part:
        """Make the part durable. Raises NoSuchUpload."""
        if self._stream is None or self._sending is None:
            answer = await self._client.send(self._with(self._buffer))
        else:
            if self._size != self._stream.length:
                raise Unavailable(f"{self._request}: {self._size} bytes came, not {self._stream.length}")
            await self._feed(self._stream.end())
            answer = await self._sending
        return await self._done(etag_in(answer, str(self._request)), self._size, record)

    async def abort(self) -> None:
        """Forget what was written."""
        if self._sending is not None and not self._sending.done():
            self._sending.cancel()
            await asyncio.wait([self._sending])
        if self._sending is not None and self._sending.done() and not self._sending.cancelled():
            self._sending.exception()
