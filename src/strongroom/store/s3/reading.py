"""The Reader of the S3 store: reads one answer of the backend, or ranges of an object that is pinned by its ETag."""

from __future__ import annotations

from collections.abc import AsyncIterator

from strongroom.store.base import Stored
from strongroom.store.errors import ConditionFailed, Damaged, NoSuchObject, ObjectChanged, Refused, Unavailable
from strongroom.store.s3.client import Client
from strongroom.store.s3.encryption import BackendEncryption
from strongroom.store.s3.messages import Download, Request
from strongroom.store.s3.metadata import Described, HiddenRecord, sealed_by_minio, unquoted

CHUNK = 256 * 1024
INLINE = 128 * 1024
"""Objects of up to so many stored bytes are read when they are opened as a whole."""

_RESUMED = 3
_WORTH = 5 * 1024 * 1024
"""Bytes after which an answer that breaks off does not count as a failure: while a large object is read, many may."""


class S3Reader:
    """The Reader of the protocol. ``download``: an answer with the whole object; ``inline``: all its bytes."""

    read = None

    def __init__(
        self,
        client: Client,
        bucket: str,
        described: Described,
        stored: Stored,
        hidden: HiddenRecord | None,
        encryption: BackendEncryption,
        download: Download | None = None,
        inline: bytes | None = None,
    ) -> None:
        self._client = client
        self._stored = stored
        self._hidden = hidden
        self._download = download
        self._inline = inline
        self.bucket = bucket
        self.described = described
        self.encryption = encryption

    @property
    def stored(self) -> Stored:
        """What was opened."""
        return self._stored

    @property
    def comparable(self) -> bool:
        """Not if the backend has it under a client's key: without that key it does not compare, or not at all."""
        return self.encryption.customer_key is None

    @property
    def at_hand(self) -> bool:
        """Whether the whole object can be read without asking the backend again."""
        return self._inline is not None or self._download is not None

    def cached(self, start: int, length: int, room: bytearray | None = None) -> bytes | None:
        """Stored bytes from ``start`` on if the object is small."""
        return None if self._inline is None else self._inline[start : start + length]

    async def annex(self) -> bytes:
        """The annex of the object."""
        return self._hidden.annex if self._hidden else b""

    async def stream(self, start: int, length: int) -> AsyncIterator[bytes]:
        """Stored bytes from ``start`` on. Raises Damaged, ObjectChanged, Unavailable."""
        if self._inline is not None:
            yield self._inline[start : start + length]
            return
        position, end, resumed = start, start + length, 0
        while position < end:
            download, begun = await self._from(position, end), position
            try:
                while chunk := await download.read(min(CHUNK, end - position)):
                    position += len(chunk)
                    yield chunk
            except Unavailable:
                if resumed == _RESUMED and position - begun < _WORTH:
                    raise
            finally:
                download.close()
            if position < end:
                resumed = 1 if position - begun >= _WORTH else resumed + 1
                if resumed > _RESUMED:
                    raise Damaged(f"the backend sends fewer bytes of {self._stored.key!r} than it announced")

    async def _from(self, start: int, end: int) -> Download:
        """The bytes from ``start`` up to ``end``: from the answer at hand if they are its first ones."""
        download, self._download = self._download, None
        if download is not None:
            if start == 0:
                return download
            download.close()
        headers = {
            "range": f"bytes={start}-{end - 1}",
            "if-match": f'"{self.described.etag}"',
            **self.encryption.reading,
        }
        name = f"{self.bucket}/{self._stored.key}"
        try:
            request = Request("GET", self.bucket, self._stored.key, headers=headers)
            answer = await self._client.open(request, lasting=end - start > CHUNK)
        except (ConditionFailed, NoSuchObject) as error:
            raise ObjectChanged(f"{name} was replaced while it was being read") from error
        except Refused as error:
            if error.status == 416:
                raise ObjectChanged(f"{name} is shorter than it was") from error
            raise
        etag = unquoted(answer.headers.get("etag", ""))
        told = etag == self.described.etag or sealed_by_minio(self._stored.key, self.described.etag)
        if not told:  # some backends, or caches in front of them, ignore the condition
            answer.close()
            raise ObjectChanged(f"{name} was replaced while it was being read")
        if answer.status != 206 or answer.length != end - start:
            answer.close()
            raise Unavailable(f"{name}: the backend sent another range than was asked for")
        return answer

    async def check(self) -> None:
        """Nothing more: the backend said how many bytes it has when the object was opened."""

    async def close(self) -> None:
        """Release it."""
        download, self._download = self._download, None
        if download is not None:
            download.close()
