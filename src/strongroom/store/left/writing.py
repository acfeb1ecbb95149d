"""The Writer over another store: once the object is written, it removes what MinIO left under the same key."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from strongroom.buffers import Buffer
from strongroom.store.base import ALWAYS, Condition, Record, Stored, Writer

if TYPE_CHECKING:
    from strongroom.store.left.store import LeftStore


class LeftWriter:
    """The Writer of the protocol: it removes what MinIO left under the key once the object is there."""

    def __init__(self, store: LeftStore, bucket: str, key: str, inner: Writer) -> None:
        self._store = store
        self._bucket = bucket
        self._key = key
        self._inner = inner

    @property
    def append(self) -> Callable[[Buffer, bool], None] | None:
        """The blocking append function of the store below, if it has one."""
        return self._inner.append

    async def write(self, data: Buffer) -> None:
        """Append."""
        await self._inner.write(data)

    async def commit(self, record: Record, annex: bytes = b"", when: Condition = ALWAYS) -> Stored:
        """Make the object whole, durable and visible."""
        try:
            allowed = await self._store.allowed(self._bucket, self._key, when)
        except BaseException:
            await self._inner.abort()
            raise
        stored = await self._inner.commit(record, annex, allowed)
        return await self._store.written(self._bucket, self._key, stored)

    async def abort(self) -> None:
        """Forget what was written."""
        await self._inner.abort()
