"""Buckets that are known to exist, so that not every upload has to ask first whether its bucket is there."""

from __future__ import annotations

from strongroom.store.s3.client import Client
from strongroom.store.s3.messages import Request

_MOST = 10_000


class KnownBuckets:
    """Remembers buckets. If one was removed since, the request that follows finds out."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._names: set[str] = set()

    async def require(self, bucket: str) -> None:
        """Raises NoSuchBucket if the bucket is not there (unless it was seen before)."""
        if bucket not in self._names:
            await self._client.send(Request("HEAD", bucket))
            self.add(bucket)

    def add(self, bucket: str) -> None:
        """Note that the bucket is there."""
        if len(self._names) >= _MOST:
            self._names.clear()
        self._names.add(bucket)

    def forget(self, bucket: str) -> None:
        """Note that the bucket may be gone."""
        self._names.discard(bucket)
