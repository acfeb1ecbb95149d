"""Writers: a few bytes wait in memory for the commit, more go to a draft as they come."""

from __future__ import annotations

import os
import time

from strongroom.buffers import Buffer
from strongroom.store.base import ALWAYS, Condition, Part, Record, Stored
from strongroom.store.errors import StoreError
from strongroom.store.nas.drafts import Draft
from strongroom.store.nas.folder import Folder
from strongroom.store.nas.layout import IDENTITY, MARK, Segment
from strongroom.store.nas.names import Place
from strongroom.store.nas.objects import NewObject, Objects
from strongroom.store.nas.threads import in_thread, understood
from strongroom.store.nas.uploads import OpenUpload
from strongroom.threads import Steps, Threads

SMALL = 128 * 1024
"""Stored bytes up to which a Writer takes one hop to a thread in all, and an object is read when it is opened."""

_TOUCH_SECONDS = 60.0


class Pending:
    """Bytes on their way into a draft, which is made when there are more than a few."""

    def __init__(self, folder: Folder, pool: Threads, head: bytes) -> None:
        self._folder = folder
        self._steps = Steps(pool)
        self._small = bytearray(head)
        self._draft: Draft | None = None

    async def write(self, data: Buffer) -> None:
        """Append. Raises StoreFull."""
        if self._draft is None and len(self._small) + len(data) <= SMALL:
            self._small += data
            return
        with understood():
            await self._steps.do(self._append, data)

    def draft(self) -> Draft:
        """The draft with all bytes in it, which belongs to the caller now. For a thread. Raises StoreFull."""
        draft = self._draft or Draft(self._folder)
        self._draft = None
        if self._small:
            try:
                draft.append(self._small)
            except BaseException:
                draft.drop()
                raise
            self._small = bytearray()
        return draft

    async def abort(self) -> None:
        """Drop everything, unless :meth:`draft` was called."""
        await self._steps.ended()  # a thread may still be writing
        if self._draft is not None:
            draft, self._draft = self._draft, None
            with understood():
                await self._steps.do(draft.drop)

    def _append(self, data: Buffer) -> None:
        if self._draft is None:
            self._draft = Draft(self._folder)
        if self._small:
            self._draft.append(self._small)
            self._small = bytearray()
        self._draft.append(data)


class NasWriter:
    """The Writer of the protocol."""

    append = None  # a slow mount would hold up the few threads that hash; the store has many that may wait

    def __init__(self, folder: Folder, pool: Threads, objects: Objects, place: Place, encrypted: bool) -> None:
        self._head = MARK if encrypted else b""
        self._pending = Pending(folder, pool, self._head)
        self._pool = pool
        self._objects = objects
        self._place = place
        self._size = 0
        self._handed = False  # to the commit, which cleans up after itself

    async def write(self, data: Buffer) -> None:
        """Append. Raises StoreFull."""
        await self._pending.write(data)
        self._size += len(data)

    async def commit(self, record: Record, annex: bytes = b"", when: Condition = ALWAYS) -> Stored:
        """Make the object whole, durable and visible."""
        new = NewObject(self._place, record, annex, when)
        if new.encrypted != bool(self._head):
            await self.abort()
            raise StoreError(f"{self._place.name!r} was begun with another kind of record in view")
        self._handed = True
        return await in_thread(self._pool, self._commit, new)

    def _commit(self, new: NewObject) -> Stored:
        return self._objects.put(self._pending.draft(), new, (Segment(len(self._head), self._size),))

    async def abort(self) -> None:
        """Forget what was written."""
        if not self._handed:
            await self._pending.abort()


class NasPartWriter:
    """The PartWriter of the protocol. While it writes, it keeps its upload from looking abandoned."""

    append = None  # as NasWriter

    def __init__(self, folder: Folder, pool: Threads, upload: OpenUpload, number: int) -> None:
        self._pending = Pending(folder, pool, b"")
        self._pool = pool
        self._upload = upload
        self._number = number
        self._size = 0
        self._touched = time.monotonic()
        self._handed = False

    async def write(self, data: Buffer) -> None:
        """Append. Raises StoreFull."""
        if time.monotonic() - self._touched > _TOUCH_SECONDS:
            self._touched = time.monotonic()
            await in_thread(self._pool, self._upload.touch)
        await self._pending.write(data)
        self._size += len(data)

    async def commit(self, record: Record) -> Part:
        """Make the part durable. Raises NoSuchUpload."""
        self._handed = True
        return await in_thread(self._pool, self._commit, record)

    def _commit(self, record: Record) -> Part:
        identity, modified = os.urandom(IDENTITY), time.time_ns()
        return self._upload.put_part(self._pending.draft(), self._number, self._size, record, identity, modified)

    async def abort(self) -> None:
        """Forget what was written."""
        if not self._handed:
            await self._pending.abort()
