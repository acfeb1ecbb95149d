"""Browser uploads on their way to the backend: each becomes an object as any client of the backend would put it, with
the headers that the form asks for, and no record of ours.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from concurrent.futures import Executor

from strongroom.sealed.keys import Kind
from strongroom.sealed.objects import ObjectInfo
from strongroom.sealed.pipeline import BodyPipeline, Hasher
from strongroom.sealed.policy import Protection
from strongroom.sealed.writing import Description
from strongroom.store.base import ALWAYS, Buffer
from strongroom.store.s3 import names
from strongroom.store.s3.client import Client, Request
from strongroom.store.s3.encryption import NOT_ENCRYPTED
from strongroom.store.s3.writing import BUFFER, LargePut, etag_in


class FormWriter:
    """Takes the file of a form, and hashes it. Nothing is seen of it before :meth:`commit` returns."""

    protection = Protection(Kind.PLAIN)

    def __init__(
        self,
        pool: Executor,
        client: Client,
        name: tuple[str, str],
        headers: Mapping[str, str],
        md5: bool,
        hashers: Sequence[Hasher],
    ) -> None:
        self._key = name[1]
        self._backend = _Backend(client, *name, headers)
        self._pipeline = BodyPipeline(pool, self._backend, None, md5, hashers)

    @property
    def size(self) -> int:
        """Bytes taken so far."""
        return self._pipeline.size

    @property
    def md5(self) -> bytes | None:
        """The MD5, after :meth:`finish`, where it was asked for."""
        return self._pipeline.md5

    async def write(self, data: Buffer) -> None:
        """Take the next piece. Raises StoreError."""
        await self._pipeline.write(data)

    async def finish(self) -> None:
        """No more comes; all digests are known when this returns."""
        await self._pipeline.finish()

    async def commit(self, description: Description) -> ObjectInfo:
        """Make the object; its ETag is the backend's. Raises StoreError."""
        etag = await self._backend.commit()
        now = time.time_ns()
        return ObjectInfo(
            self._key, self.size, now, etag, Kind.PLAIN, etag, description.headers, checksum=description.checksum
        )

    async def abort(self) -> None:
        """Forget what was written. Harmless after commit."""
        await self._pipeline.abort()
        await self._backend.abort()


class _Backend:
    """An object of the backend that is being put: at once where it is small, in parts where it is not."""

    append = None

    def __init__(self, client: Client, bucket: str, key: str, headers: Mapping[str, str]) -> None:
        self._client = client
        self._bucket = bucket
        self._key = key
        self._headers = headers
        self._buffer = bytearray()
        self._large: LargePut | None = None

    async def write(self, data: Buffer) -> None:
        self._buffer += data
        while len(self._buffer) > BUFFER:
            part = self._buffer[:BUFFER]
            del self._buffer[:BUFFER]
            if self._large is None:
                self._large = LargePut(self._client, self._bucket, self._key, names.new_id(), NOT_ENCRYPTED)
                await self._large.begin(self._headers)
            await self._large.send(part)

    async def commit(self) -> str:
        if self._large is None:
            request = Request("PUT", self._bucket, self._key, headers=self._headers, body=self._buffer)
            return etag_in(await self._client.send(request), str(request))
        await self._large.send(self._buffer)
        await self._large.finish()
        return await self._large.complete(ALWAYS)

    async def abort(self) -> None:
        if self._large is not None:
            await self._large.abort()
