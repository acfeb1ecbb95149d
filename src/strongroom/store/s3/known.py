"""Buckets that were seen: so that not every upload has to ask first whether its bucket is there."""

from __future__ import annotations

from strongroom.store.s3.client import Client
from strongroom.store.s3.messages import Request

_MOST = 10_000


class KnownBuckets:
    """Remembers buckets. One that was removed since is found out by the request that comes next."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._names: set[str] = set()

    async def require(self, bucket: str) -> None:
        """Raises NoSuchBucket where the bucket was never there."""
        if bucket not in self._names:
            await self._client.send(Request("HEAD", bucket))
            self.add(bucket)

    def add(self, bucket: str) -> None:
        """The bucket is there."""
        if len(self._names) >= _MOST:
            self._names.clear()
        self._names.add(bucket)

    def forget(self, bucket: str) -> None:
        """The bucket may be gone."""
        self._names.discard(bucket)
