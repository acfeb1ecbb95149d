"""The stores that the conformance suite runs over. A new store gets a line in :data:`KINDS`."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from strongroom.secret import Secret
from strongroom.sigv4 import SigningCredential
from strongroom.store.base import Bucket, Condition, Reader, Store, Stored
from strongroom.store.left import LeftStore
from strongroom.store.local import LocalStore
from strongroom.store.nas import NasStore
from strongroom.store.nas.probe import Traits
from strongroom.store.s3 import Client, S3Store, parse_endpoint
from tests.backends import ACCESS_KEY, SECRET_KEY, Backend

T = TypeVar("T")

PLAIN = {":etag": b"of plain bytes"}
SEALED = {":sse": b"a header", ":sealed": b"a box"}


@dataclass(frozen=True)
class Kind:
    """A kind of store: how one is made on a directory, and whether its keys are bound as names of files are.

    ``least_part``: bytes that each part of an upload must have but the last.
    """

    name: str
    make: Callable[[Path], Store]
    keys_like_files: bool = False
    least_part: int = 0

    def run(self, directory: Path, use: Callable[[Store], Awaitable[T]]) -> T:
        """What ``use`` comes to, with a started store that has the bucket "bucket"."""

        async def started() -> T:
            store = self.make(directory)
            await store.start()
            try:
                await store.create_bucket("bucket")
                return await use(store)
            finally:
                await store.stop()

        return asyncio.run(started())


def _bare(directory: Path) -> Store:
    """A shared folder whose file system has neither attributes nor links."""
    return NasStore(
        directory, traits=Traits(attributes=False, links=False, inodes=False, steady_times=False, fine_times=False)
    )


class _Unmarked(LeftStore):
    """A store in whose buckets MinIO may have left something, as far as is known."""

    async def create_bucket(self, name: str) -> Bucket:
        return await self.inner.create_bucket(name)


def left_over(directory: Path, inner: Callable[[Path], Store] = LocalStore) -> LeftStore:
    """The layout of MinIO's S3 gateway, over another store."""
    return _Unmarked(inner(directory))


BACKENDS: dict[Path, Backend] = {}
"""The MinIO that a test's directory stands for, where the store is another S3; it is empty when the test begins."""


def client_for(backend: Backend) -> Client:
    """The gateway's client of a backend."""
    own = SigningCredential(ACCESS_KEY, Secret(SECRET_KEY))
    return Client(parse_endpoint(backend.endpoint), "us-east-1", own, chain=False)


def _s3(directory: Path) -> S3Store:
    """Another S3: the MinIO that the directory stands for."""
    return S3Store(client_for(BACKENDS[directory]))


KINDS = [
    Kind("local", LocalStore),
    Kind("nas", NasStore, keys_like_files=True),
    Kind("nas without attributes", _bare, keys_like_files=True),
    Kind("left by a gateway", left_over),
    Kind("s3", _s3, keys_like_files=True, least_part=5 * 1024**2),
]


async def put(
    store: Store, key: str, content: bytes, record: dict[str, bytes] = PLAIN, when: Condition | None = None,
    annex: bytes = b"", bucket: str = "bucket",
) -> Stored:  # fmt: skip
    """Put an object."""
    writer = await store.writer(bucket, key, len(content), encrypted=":sse" in record)
    await writer.write(content)
    return await writer.commit(record, annex, when or Condition())


async def content_of(reader: Reader) -> bytes:
    """All stored bytes of an open object."""
    return b"".join([chunk async for chunk in reader.stream(0, reader.stored.size)])


async def get(store: Store, key: str, bucket: str = "bucket") -> bytes:
    """The stored bytes of an object."""
    reader = await store.open(bucket, key)
    try:
        return await content_of(reader)
    finally:
        await reader.close()
