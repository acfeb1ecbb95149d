"""LocalStore: the store protocol on a directory. Puts together the index, the blobs, the writers and the readers."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import functools
import logging
import os
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from strongroom.store.base import (
    ALWAYS,
    Bucket,
    Condition,
    Page,
    Part,
    PartPage,
    Reader,
    Record,
    Store,
    Stored,
    Upload,
    UploadPage,
)
from strongroom.store.errors import Damaged, NoSuchObject, StoreError, StoreFull
from strongroom.store.local import index, listing, schema, trash
from strongroom.store.local.blobs import Blobs, OpenFile, make_directory
from strongroom.store.local.commits import LOCK, Committer, Write, locked, write
from strongroom.store.local.index import NewObject, Row
from strongroom.store.local.pages import Pages
from strongroom.store.local.reading import LocalReader
from strongroom.store.local.reserve import Reserve
from strongroom.store.local.revision import Revision
from strongroom.store.local.room import Room
from strongroom.store.local.rows import Rows
from strongroom.store.local.scans import Scans
from strongroom.store.local.writing import BlobWriter, LocalPartWriter, LocalWriter
from strongroom.store.reserved import INTERNAL
from strongroom.threads import Threads

_log = logging.getLogger("strongroom.store.local")

_SWEEP_SECONDS = 60.0
_TRASH_BATCH = 1000
_LEASED_SECONDS = 1.0
_OPEN_ATTEMPTS = 16
T = TypeVar("T")
_FAILURES = (OSError, sqlite3.Error, StoreError)


class LocalStore(Store):
    """Objects in a directory. Several processes may each have one on the same directory."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory / INTERNAL
        self._database = self._directory / "index.db"
        self._emptying: asyncio.Task[None] | None = None
        self._trash_came = False  # since it was last looked for
        self._stopping = asyncio.Event()

    async def start(self) -> None:
        """Open the directory, and sweep what processes that no longer run left behind. Raises StoreError."""
        self._pool = Threads(2 * (os.cpu_count() or 1) + 2, "store")
        try:
            make_directory(self._directory)
            # One process at a time: SQLite does not wait for others while it makes a database or sets it to WAL.
            with locked(self._directory / LOCK):
                self._reserve = Reserve(self._directory)
                self._with_reserve(lambda: schema.create(self._database))
                self._read = schema.connect(self._database, read_only=True, cache=schema.READ_CACHE)
                self._revision = Revision(self._database)
                self._rows = Rows(self._read, self._revision)
                self._scans = Scans(self._database, self._pool)
                self._pages = Pages(self._scans, self._revision)
                self._committer = Committer(self._database, self._directory / LOCK, self._empty_trash_soon)
            self._blobs = self._with_reserve(lambda: Blobs(self._directory))
            self._room = Room(self._directory, self._reserve, lambda: schema.unused_bytes(self._read))
        except OSError as error:
            raise StoreError(f"{self._directory} cannot be used: {error.strerror}") from error
        await self._try_to_sweep()
        self._sweeping = asyncio.create_task(self._sweep_regularly())

    async def stop(self) -> None:
        """Finish what was acknowledged and release everything."""
        self._stopping.set()
        self._sweeping.cancel()
        await asyncio.wait([self._sweeping, *([self._emptying] if self._emptying is not None else [])])
        await self._committer.close()
        self._pool.shutdown(wait=True)
        self._scans.close()
        self._read.close()
        self._revision.close()
        self._blobs.close()

    # -- buckets ---------------------------------------------------------------------------------------------------

    async def create_bucket(self, name: str) -> Bucket:
        """Make a bucket."""
        self._room.take_in_index(0)
        return await self._committer.commit(lambda connection: index.create_bucket(connection, name))

    async def bucket(self, name: str) -> Bucket:
        """The bucket of this name."""
        return self._rows.bucket(name)[1]

    async def buckets(self) -> Sequence[Bucket]:
        """All buckets."""
        return index.all_buckets(self._read)

    async def set_bucket(self, name: str, setting: str, document: bytes | None) -> None:
        """Store or remove a setting."""
        await self._committer.commit(lambda connection: index.set_bucket(connection, name, setting, document))

    async def leave_setting(self, name: str, setting: str, document: bytes) -> bytes:
        """Store a setting unless there is one."""
        return await self._committer.commit(lambda connection: index.leave_setting(connection, name, setting, document))

    async def delete_bucket(self, name: str) -> None:
        """Remove an empty bucket."""
        await self._commit_removal(lambda connection: index.delete_bucket(connection, name), long=True)

    # -- objects ---------------------------------------------------------------------------------------------------

    async def writer(self, bucket: str, key: str, size: int | None, encrypted: bool = False) -> LocalWriter:
        """Begin an object."""
        self._rows.bucket(bucket)
        return LocalWriter(self._committer, self._blob_writer(), self._room, bucket, key)

    async def head(self, bucket: str, key: str) -> Stored:
        """The object under this key. A point read of the index: some microseconds, so no thread."""
        return self._rows.object(bucket, key).stored

    async def open(self, bucket: str, key: str, *, whole: bool = True) -> Reader:
        """Open the object under this key."""
        for _ in range(_OPEN_ATTEMPTS):
            row = self._rows.object(bucket, key, with_data=True)
            held: OpenFile | None = None
            if len(row.extents) == 1:
                try:
                    held = self._blobs.open(row.extents[0].blob)
                except FileNotFoundError:
                    if self._same(bucket, key, row):
                        raise Damaged(f"the blob of {bucket}/{key} is missing") from None
                    continue  # the object was overwritten after the row was read
            elif row.extents:
                held = self._blobs.lease(row.data)
                await self._hold(held)
                if not self._same(bucket, key, row):
                    continue
            return LocalReader(row, self._blobs, self._pool, self._read_annex, held)
        raise StoreError(f"{bucket}/{key} is overwritten too often to be opened")

    async def _hold(self, lease: OpenFile) -> None:
        """Share the lock of a lease. While somebody removes the blobs, this has to wait: in a thread then."""
        try:
            lease.lock(fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            await self._pool.start(lease.lock, fcntl.LOCK_SH).result()

    def _same(self, bucket: str, key: str, row: Row) -> bool:
        """Whether the data that was found under a name is still there."""
        try:
            return self._rows.object(bucket, key).data == row.data
        except StoreError:
            return False

    async def copy(
        self, source: Reader, bucket: str, key: str, record: Record, annex: bytes, when: Condition = ALWAYS
    ) -> Stored:
        """Put the bytes of an opened object under a name: just another reference, unless the source is gone by now."""
        assert isinstance(source, LocalReader)
        self._room.take_in_index(len(annex))
        new, row = NewObject(bucket, key, record, annex, when), source.row
        stored = await self._committer.commit(lambda connection: index.put_shared(connection, new, row))
        if stored is None:  # the source was removed since it was opened; its bytes can still be read
            return await self._copy_bytes(source, new)
        return stored

    async def _copy_bytes(self, source: Reader, new: NewObject) -> Stored:
        writer = await self.writer(new.bucket, new.key, source.stored.size)
        try:
            async for chunk in source.stream(0, source.stored.size):
                await writer.write(chunk)
            return await writer.commit(new.record, new.annex, new.when)
        except BaseException:
            await writer.abort()
            raise

    async def rewrite(self, bucket: str, key: str, record: Record, annex: bytes | None, when: Condition) -> Stored:
        """Replace the record of an object."""
        new = NewObject(bucket, key, record, annex or b"", when)
        return await self._committer.commit(lambda connection: index.rewrite(connection, new, keep_annex=annex is None))

    async def delete(self, bucket: str, key: str, when: Condition = ALWAYS) -> bool:
        """Remove an object."""
        many = False
        try:
            many = index.find_object(self._read, bucket, key).annex is not None  # it has parts, each with a blob
        except NoSuchObject:
            if when == ALWAYS:
                return False  # nothing to make durable
        return await self._commit_removal(
            lambda connection: index.delete_object(connection, bucket, key, when), long=many
        )

    async def list(self, bucket: str, prefix: str, delimiter: str, after: str, limit: int) -> Page:
        """One page of a listing."""
        bucket_id, _ = self._rows.bucket(bucket)
        return await self._pages.page(bucket_id, prefix, delimiter, after, limit)

    # -- multipart uploads -----------------------------------------------------------------------------------------

    async def create_upload(self, bucket: str, key: str, record: Record, token: bytes) -> Upload:
        """Open a multipart upload."""
        self._room.take_in_index(0)
        return await self._committer.commit(
            lambda connection: index.create_upload(connection, bucket, key, record, token)
        )

    async def upload(self, bucket: str, key: str, upload_id: str) -> Upload:
        """The open upload."""
        return index.find_upload(self._read, bucket, key, upload_id)

    async def part_writer(
        self, bucket: str, key: str, upload_id: str, number: int, size: int | None
    ) -> LocalPartWriter:
        """Begin a part."""
        index.find_upload(self._read, bucket, key, upload_id)
        return LocalPartWriter(self._committer, self._blob_writer(), (bucket, key, upload_id), number)

    async def parts(self, bucket: str, key: str, upload_id: str, after: int, limit: int) -> PartPage:
        """One page of parts."""
        return await self._scans.read(
            lambda connection: index.list_parts(connection, bucket, key, upload_id, after, limit)
        )

    async def complete(
        self,
        bucket: str,
        key: str,
        upload_id: str,
        parts: Sequence[Part],
        record: Record,
        annex: bytes = b"",
        when: Condition = ALWAYS,
    ) -> Stored:
        """Make one object of parts."""
        new = NewObject(bucket, key, record, annex, when)
        return await self._committer.commit(
            lambda connection: index.complete(connection, new, upload_id, parts), long=True
        )

    async def abort_upload(self, bucket: str, key: str, upload_id: str) -> None:
        """End an upload."""
        await self._commit_removal(lambda connection: index.abort_upload(connection, bucket, key, upload_id), long=True)

    async def uploads(self, bucket: str, prefix: str, delimiter: str, after: tuple[str, str], limit: int) -> UploadPage:
        """One page of open uploads."""
        bucket_id, _ = self._rows.bucket(bucket)
        return await self._scans.read(
            lambda connection: listing.list_uploads(connection, bucket_id, prefix, delimiter, after, limit)
        )

    # -- keeping house ---------------------------------------------------------------------------------------------

    def _blob_writer(self) -> BlobWriter:
        return BlobWriter(self._blobs, self._room, self._pool)

    async def _commit_removal(self, write: Write[T], *, long: bool) -> T:
        """Do a write that makes room: where there is none even for that, with what was kept for it."""
        again = False
        while True:
            try:
                return await self._committer.commit(write, long=long)
            except StoreFull:
                # Another process may have given it up just now, or have filled it again.
                if not self._room.use_reserve() and again:
                    raise
                again = True
            except sqlite3.OperationalError as error:
                # SQLite says so of a quota, too, in which somebody may have made room since.
                if error.sqlite_errorcode != sqlite3.SQLITE_IOERR_WRITE or again:
                    raise
                again = True

    def _read_annex(self, annex: int) -> bytes | None:
        return index.read_annex(self._scans.of_thread(), annex)

    async def _sweep_regularly(self) -> None:
        while True:
            await asyncio.sleep(_SWEEP_SECONDS)
            await self._try_to_sweep()

    async def _try_to_sweep(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            await loop.run_in_executor(self._pool, self._blobs.sweep, self._discard)
        except _FAILURES as error:  # it will be tried again
            _log.warning("what lies about could not be swept away: %s", error)
        try:
            await loop.run_in_executor(self._pool, self._reserve.keep)
        except _FAILURES as error:
            _log.warning("no space could be kept for removing objects: %s", error)
        self._empty_trash_soon()  # even after a failure: it makes room, which may have been what was missing

    def _discard(self, blobs: Sequence[bytes]) -> None:
        if blobs:
            self._with_reserve(
                lambda: write(
                    self._database, self._directory / LOCK, lambda connection: trash.discard_unknown(connection, blobs)
                )
            )

    def _with_reserve(self, step: Callable[[], T]) -> T:
        """Do what makes room, or comes before that: where there is none even for that, with what was kept for it."""
        try:
            return step()
        except (sqlite3.OperationalError, StoreError, OSError):
            if schema.has_room(self._directory) or not self._reserve.give_up():
                raise
            return step()

    def _empty_trash_soon(self) -> None:
        """Remove what is in the trash, without delaying the request that put it there."""
        self._trash_came = True
        if not self._stopping.is_set() and (self._emptying is None or self._emptying.done()):
            self._emptying = asyncio.create_task(self._try_to_empty_trash())

    async def _try_to_empty_trash(self) -> None:
        try:
            while self._trash_came:
                self._trash_came = False
                await self._empty_trash()
                if self._reserve.is_given_up:
                    await asyncio.get_running_loop().run_in_executor(self._pool, self._reserve.keep)
        except _FAILURES as error:  # it is tried again with the next sweep, at the latest
            _log.warning("the bytes of objects that are gone could not be removed: %s", error)

    async def _empty_trash(self) -> None:
        loop = asyncio.get_running_loop()
        after, held = b"", False
        while not self._stopping.is_set():
            look = functools.partial(trash.page, after=after, limit=_TRASH_BATCH)
            found, last = await self._scans.in_thread(look)
            gone = await loop.run_in_executor(self._pool, self._remove, found)
            for start in range(0, len(gone), _TRASH_BATCH):  # an object may have 10,000: others write in between
                forgotten = gone[start : start + _TRASH_BATCH]
                await self._commit_removal(functools.partial(trash.empty_trash, blobs=forgotten), long=True)
            held = held or len(gone) < sum(map(len, found.values()))
            if last is not None:
                after = last
                continue
            if held:
                with contextlib.suppress(TimeoutError):  # somebody is reading what is to go
                    await asyncio.wait_for(self._stopping.wait(), _LEASED_SECONDS)
            elif not found and not after:
                return
            after, held = b"", False

    def _remove(self, found: Mapping[int, Sequence[bytes]]) -> Sequence[bytes]:
        """Remove blobs, except those that are being read. Returns those that are gone."""
        gone: set[bytes] = set()
        for data, blobs in found.items():
            if data == 0:
                for blob in blobs:
                    self._blobs.remove(blob)
                gone.update(blobs)
            elif self._blobs.remove_leased(data, blobs):
                gone.update(blobs)
        self._blobs.forget(gone)
        return [*gone]
