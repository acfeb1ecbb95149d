"""Browser uploads on their way to the backend: each becomes an object as any client of the backend would write it, with
the headers that the form asks for, and without a record of ours.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence

from strongroom.sealed.keys import Kind
from strongroom.sealed.objects import ObjectInfo
from strongroom.sealed.pipeline import BodyPipeline, Hasher
from strongroom.sealed.policy import Protection
from strongroom.sealed.writing import AnyObjectWriter, Description
from strongroom.store.base import ALWAYS
from strongroom.store.s3.client import Client
from strongroom.store.s3.encryption import NOT_ENCRYPTED
from strongroom.store.s3.messages import Request
from strongroom.store.s3.putting import etag_in
from strongroom.store.s3.writing import Gathering
from strongroom.threads import Threads


class FormWriter(AnyObjectWriter):
    """Takes the file of a form, and hashes it."""

    protection = Protection(Kind.PLAIN)
    _writer: _BackendObject

    def __init__(
        self,
        pool: Threads,
        client: Client,
        name: tuple[str, str],
        headers: Mapping[str, str],
        md5: bool,
        hashers: Sequence[Hasher],
    ) -> None:
        self._key = name[1]
        self._writer = _BackendObject(client, *name, NOT_ENCRYPTED, headers)
        self._pipeline = BodyPipeline(pool, self._writer, None, md5, hashers)

    async def commit(self, description: Description) -> ObjectInfo:
        """Make the object; its ETag is the backend's. Raises StoreError."""
        etag = await self._writer.commit()
        now = time.time_ns()
        return ObjectInfo(
            self._key, self.size, now, etag, Kind.PLAIN, etag, description.headers, checksum=description.checksum
        )


class _BackendObject(Gathering):
    """A plain object that is being written to the backend."""

    async def commit(self) -> str:
        """Make the object. Returns its ETag. Raises StoreError."""
        if self._large is None:
            request = Request("PUT", self._bucket, self._key, headers=self._headers or {}, body=self._buffer)
            return etag_in(await self._client.send(request), str(request))
        await self._sent(self._large)
        return await self._large.complete(ALWAYS)
