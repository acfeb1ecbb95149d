"""Writers of the local store: a small object is kept for the index, a large one goes to a blob file as it comes."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from strongroom.buffers import Buffer
from strongroom.store.base import ALWAYS, Condition, Part, Record, Stored
from strongroom.store.errors import StoreError, unwritable
from strongroom.store.local import index
from strongroom.store.local.blobs import Blobs, Extent
from strongroom.store.local.commits import Committer
from strongroom.store.local.index import NewObject
from strongroom.store.local.room import Room
from strongroom.store.writeback import PIECE, Writeback
from strongroom.threads import Steps, Threads

T = TypeVar("T")

INLINE = 128 * 1024
"""Stored bytes up to which an object lies in the index, where it needs no file, and no two syncs of its own."""


class BlobWriter:
    """Writes one blob file, in threads."""

    def __init__(self, blobs: Blobs, room: Room, pool: Threads) -> None:
        self._blobs = blobs
        self._room = room
        self._steps = Steps(pool)
        self._blob: bytes | None = None
        self._descriptor = -1
        self._writeback = Writeback()
        self.size = 0
        """Bytes written so far."""

    async def write(self, data: Buffer) -> None:
        """Append. Raises StoreFull."""
        await self._steps.do(self.append, data, False)

    def append(self, data: Buffer, last: bool) -> None:
        """Append; with ``last``, also make the blob durable. Blocks. Raises StoreFull."""
        self._room.take(len(data))
        if self._blob is None:
            self._blob, self._descriptor = self._blobs.create()
        view = memoryview(data)
        try:
            while view:
                view = view[os.write(self._descriptor, view[:PIECE]) :]
        except OSError as error:
            raise unwritable(error) from error
        self.size += len(data)
        if last:
            self._sync()
        else:
            self._writeback.reached(self._descriptor, self.size)

    async def finish(self) -> Extent | None:
        """Make the blob durable if it is not yet. Returns its extent, None if nothing was written. Raises StoreFull."""
        if self._blob is None:
            return None
        if self._descriptor >= 0:
            await self._steps.do(self._sync)
        return Extent(self._blob, self.size)

    async def known_by(self, commit: Coroutine[Any, Any, T]) -> T:
        """Wait for a commit that makes the blob known to the index. Returns its result.

        If it raises a StoreError, the blob is left to :meth:`abort`; after any other error, when it may count all the
        same (see blobs.py), to the sweep.
        """
        try:
            done = await commit
        except StoreError:
            raise
        except BaseException:
            self._hand(self._blobs.leave)
            raise
        self._hand(self._blobs.known)
        return done

    def _hand(self, over: Callable[[bytes], None]) -> None:
        blob, self._blob = self._blob, None
        if blob is not None:
            over(blob)

    async def abort(self) -> None:
        """Remove the blob, unless :meth:`known_by` has handed it over to the index or the sweep."""
        await self._steps.ended()
        if self._blob is not None:
            await self._steps.do(self._drop)

    def _sync(self) -> None:
        assert self._blob is not None
        descriptor, self._descriptor = self._descriptor, -1
        self._blobs.finish(self._blob, descriptor)

    def _drop(self) -> None:
        blob, self._blob = self._blob, None
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
        if blob is not None:
            self._blobs.remove(blob)
            self._blobs.known(blob)


class LocalWriter:
    """The Writer of the protocol."""

    def __init__(self, committer: Committer, blob: BlobWriter, room: Room, bucket: str, key: str) -> None:
        self._committer = committer
        self._blob = blob
        self._room = room
        self._bucket = bucket
        self._key = key
        self._small: bytes | bytearray = b""
        self._large = False
        self._handed = False  # to commit(), which cleans up after itself

    async def write(self, data: Buffer) -> None:
        """Append. Raises StoreFull."""
        if not self._keep_small(data):
            await self._blob.write(self._with_small(data))

    def append(self, data: Buffer, last: bool) -> None:
        """Append; blocks. Raises StoreFull."""
        if not self._keep_small(data):
            self._blob.append(self._with_small(data), last)

    def _keep_small(self, data: Buffer) -> bool:
        if self._large or len(self._small) + len(data) > INLINE:
            return False
        self._small = bytearray(self._small) + data if self._small else bytes(data)
        return True

    def _with_small(self, data: Buffer) -> Buffer:
        self._large = True
        small, self._small = self._small, b""
        return b"".join((small, data)) if small else data

    async def commit(self, record: Record, annex: bytes = b"", when: Condition = ALWAYS) -> Stored:
        """Make the object whole, durable and visible."""
        self._handed = True
        new = NewObject(self._bucket, self._key, record, annex, when)
        if self._large:
            return await to_the_end(self._commit(new))
        content = bytes(self._small)
        self._room.take_in_index(len(content) + len(annex))
        return await self._committer.commit(lambda connection: index.put_inline(connection, new, content))

    async def _commit(self, new: NewObject) -> Stored:
        try:
            self._room.take_in_index(len(new.annex))
            extent = await self._blob.finish()
            assert extent is not None
            commit = self._committer.commit(lambda connection: index.put_blob(connection, new, extent))
            return await self._blob.known_by(commit)
        except BaseException:
            await self._blob.abort()
            raise

    async def abort(self) -> None:
        """Forget what was written."""
        if not self._handed:
            await self._blob.abort()


class LocalPartWriter:
    """The PartWriter of the protocol; parts are always blobs, so that completion never moves a byte."""

    def __init__(
        self,
        committer: Committer,
        blob: BlobWriter,
        upload: tuple[str, str, str],
        number: int,
    ) -> None:
        self._committer = committer
        self._blob = blob
        self._upload = upload
        self._number = number
        self._handed = False

    async def write(self, data: Buffer) -> None:
        """Append. Raises StoreFull."""
        await self._blob.write(data)

    def append(self, data: Buffer, last: bool) -> None:
        """Append; blocks. Raises StoreFull."""
        self._blob.append(data, last)

    async def commit(self, record: Record) -> Part:
        """Make the part durable."""
        self._handed = True
        return await to_the_end(self._commit(record))

    async def _commit(self, record: Record) -> Part:
        try:
            extent = await self._blob.finish()
            commit = self._committer.commit(
                lambda connection: index.put_part(connection, self._upload, self._number, record, extent)
            )
            return await self._blob.known_by(commit)
        except BaseException:
            await self._blob.abort()
            raise

    async def abort(self) -> None:
        """Forget what was written."""
        if not self._handed:
            await self._blob.abort()


_ending: set[asyncio.Task[Any]] = set()


async def to_the_end(work: Coroutine[Any, Any, T]) -> T:
    """Do work that must not stop halfway: if the task that waits for it is cancelled, it goes on alone."""
    task = asyncio.create_task(work)
    _ending.add(task)
    task.add_done_callback(_ending.discard)
    return await asyncio.shield(task)
