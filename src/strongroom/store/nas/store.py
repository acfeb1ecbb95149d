"""NasStore: the store protocol on a shared folder. Runs the blocking steps of the other modules in threads."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import ParamSpec, TypeVar

from strongroom.store.base import (
    ALWAYS,
    MAX_CHECK,
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
from strongroom.store.errors import NameRefused, NoSuchObject
from strongroom.store.nas.beside import BesideStore, write_whole
from strongroom.store.nas.buckets import Buckets
from strongroom.store.nas.finding import Found
from strongroom.store.nas.folder import FILE, Folder
from strongroom.store.nas.left import Left
from strongroom.store.nas.listing import Listings
from strongroom.store.nas.names import Place, place_of
from strongroom.store.nas.objects import NewObject, Objects
from strongroom.store.nas.probe import Traits, probe
from strongroom.store.nas.reading import NasReader
from strongroom.store.nas.sweep import Sweep
from strongroom.store.nas.threads import in_thread, understood
from strongroom.store.nas.uploads import OpenUpload, Uploads
from strongroom.store.nas.writing import SMALL, NasPartWriter, NasWriter
from strongroom.store.paging import page_of_uploads
from strongroom.threads import Step, Threads

P = ParamSpec("P")
T = TypeVar("T")

_THREADS = 32  # many: they wait for a slow mount, and compute nothing
_READERS = 16
_SWEEP_SECONDS = 3600.0
_CHECK = "kms-check.json"
DEFAULT_SWEEP_AGE = 24 * 3600


class NasStore(Store):
    """Objects in a folder that others may use, too. ``mask``: the umask for objects and their folders; ``sweeps``:
    whether this one sweeps; ``sweep_age``: seconds for which nobody may have used what is swept. ``traits`` replaces
    the probe in tests.
    """

    place = "nas"
    """The name of this place for check values: the same for all gateways, wherever they mount the folder."""

    def __init__(
        self,
        directory: Path,
        *,
        mask: int = 0o022,
        sweep_age: int = DEFAULT_SWEEP_AGE,
        sweeps: bool = True,
        traits: Traits | None = None,
    ) -> None:
        self._folder = Folder(directory, mask)
        self._sweep_age = sweep_age
        self._sweeps = sweeps
        self._traits = traits

    async def start(self) -> None:
        """Open the folder, and find out what its file system can do. Raises StoreError."""
        self._pool = Threads(_THREADS, "store")
        self._readers = Threads(_READERS, "listing")
        await self._run(self._folder.open)
        given = self._traits
        traits = given if given is not None else await self._run(probe, self._folder)
        beside = BesideStore(self._folder, traits)
        self._left = Left(self._folder)
        await self._run(self._left.open)
        self._stand_ins = traits.stand_ins
        self._objects = Objects(self._folder, traits, beside, self._left)
        self._buckets = Buckets(self._folder)
        self._uploads = Uploads(self._folder, self._objects)
        self._listings = Listings(self._folder, traits, self._objects, self._pool, self._readers)
        self._sweep = Sweep(self._folder, self._uploads, beside, self._left, self._sweep_age)
        self._sweeping = asyncio.create_task(self._sweep_regularly())

    async def stop(self) -> None:
        """Finish what was acknowledged and release everything."""
        self._sweeping.cancel()
        await asyncio.wait([self._sweeping])
        self._readers.shutdown(wait=True)
        self._pool.shutdown(wait=True)
        self._left.close()
        self._folder.close()

    async def _run(self, step: Callable[P, T], *args: P.args, **named: P.kwargs) -> T:
        return await in_thread(self._pool, step, *args, **named)

    # -- buckets ---------------------------------------------------------------------------------------------------

    async def create_bucket(self, name: str) -> Bucket:
        """Make a bucket."""
        return await self._run(self._buckets.create, name)

    async def bucket(self, name: str) -> Bucket:
        """The bucket of this name."""
        return await self._run(self._buckets.get, name)

    async def buckets(self) -> Sequence[Bucket]:
        """All buckets."""
        return await self._run(self._buckets.all)

    async def closed_folders(self, buckets: Sequence[str]) -> Sequence[tuple[str, str]]:
        """As :meth:`Buckets.closed`."""
        return await self._run(self._buckets.closed, buckets)

    async def damaged_uploads(self, bucket: str) -> Sequence[str]:
        """What is wrong with the open uploads that :meth:`uploads` leaves out. Raises NoSuchBucket."""
        return await self._run(self._uploads.damaged, bucket)

    async def set_bucket(self, name: str, setting: str, document: bytes | None) -> None:
        """Store or remove a setting."""
        await self._run(self._buckets.set, name, setting, document)

    async def leave_setting(self, name: str, setting: str, document: bytes) -> bytes:
        """Store a setting unless there is one."""
        return await self._run(self._buckets.leave, name, setting, document)

    async def delete_bucket(self, name: str) -> None:
        """Remove an empty bucket."""
        await self._run(self._buckets.delete, name)

    # -- objects ---------------------------------------------------------------------------------------------------

    async def writer(self, bucket: str, key: str, size: int | None, encrypted: bool = False) -> NasWriter:
        """Begin an object."""
        place = self._place(bucket, key)
        if size is None or size > SMALL:  # for fewer bytes, the commit finds out whether there is such a bucket
            await self._run(self._buckets.get, bucket)
        return NasWriter(self._folder, self._pool, self._objects, place, encrypted)

    def _place(self, bucket: str, key: str) -> Place:
        return place_of(bucket, key, self._stand_ins)

    async def head(self, bucket: str, key: str) -> Stored:
        """The object under this key."""
        return await self._run(self._head, bucket, key)

    def _head(self, bucket: str, key: str) -> Stored:
        descriptor, found = self._objects.finder.open(bucket, key)
        os.close(descriptor)
        return found.stored

    async def open(self, bucket: str, key: str, *, whole: bool = True) -> Reader:
        """Open the object under this key."""
        opening = self._pool.start(self._objects.finder.open, bucket, key, SMALL)
        try:
            with understood():
                descriptor, found = await opening.result()
        except asyncio.CancelledError:
            opening.then(_close_opened)
            raise
        return NasReader(self._pool, descriptor, found)

    async def copy(
        self, source: Reader, bucket: str, key: str, record: Record, annex: bytes, when: Condition = ALWAYS
    ) -> Stored:
        """Put the bytes of an opened object under a name."""
        assert isinstance(source, NasReader)
        new = NewObject(self._place(bucket, key), record, annex, when)
        # The thread needs its own descriptor: a caller that gives up closes the source's, and its number is reused.
        own, found = os.dup(source.descriptor), source.found
        return await self._run(self._copy, own, found, new)

    def _copy(self, descriptor: int, found: Found, new: NewObject) -> Stored:
        try:
            return self._objects.copy(descriptor, found, new)
        finally:
            os.close(descriptor)

    async def rewrite(self, bucket: str, key: str, record: Record, annex: bytes | None, when: Condition) -> Stored:
        """Replace the record of an object."""
        try:
            place = self._place(bucket, key)
        except NameRefused:
            raise NoSuchObject(f"{bucket}/{key}") from None
        new = NewObject(place, record, annex or b"", when)
        return await self._run(self._objects.rewrite, new, annex is None)

    async def delete(self, bucket: str, key: str, when: Condition = ALWAYS) -> bool:
        """Remove an object."""
        try:
            place = self._place(bucket, key)
        except NameRefused:
            await self.bucket(bucket)
            return False
        return await self._run(self._objects.remove, place, when)

    async def tidy(self, bucket: str) -> None:
        """Remove what MinIO left beside objects of ours: the process that put those in place was killed."""
        await self._run(self._objects.tidy, bucket)

    async def list(self, bucket: str, prefix: str, delimiter: str, after: str, limit: int) -> Page:
        """One page of a listing."""
        return await self._listings.page(bucket, prefix, delimiter, after, limit)

    # -- multipart uploads -----------------------------------------------------------------------------------------

    async def create_upload(self, bucket: str, key: str, record: Record, token: bytes) -> Upload:
        """Open a multipart upload. Raises NameRefused at once, not when all parts are there."""
        return await self._run(self._uploads.create, self._place(bucket, key), record, token)

    async def upload(self, bucket: str, key: str, upload_id: str) -> Upload:
        """The open upload."""
        return await self._run(self._uploads.get, bucket, key, upload_id)

    async def part_writer(self, bucket: str, key: str, upload_id: str, number: int, size: int | None) -> NasPartWriter:
        """Begin a part."""
        await self._run(self._uploads.get, bucket, key, upload_id)
        return NasPartWriter(self._folder, self._pool, OpenUpload(self._folder, bucket, upload_id), number)

    async def parts(self, bucket: str, key: str, upload_id: str, after: int, limit: int) -> PartPage:
        """One page of parts."""
        return await self._run(self._uploads.parts, bucket, key, upload_id, after, limit)

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
        new = NewObject(self._place(bucket, key), record, annex, when)
        return await self._run(self._uploads.complete, new, upload_id, parts)

    async def abort_upload(self, bucket: str, key: str, upload_id: str) -> None:
        """End an upload."""
        await self._run(self._uploads.abort, bucket, key, upload_id)

    async def uploads(self, bucket: str, prefix: str, delimiter: str, after: tuple[str, str], limit: int) -> UploadPage:
        """One page of open uploads."""
        found = await self._run(self._uploads.all, bucket)
        return page_of_uploads(found, prefix, delimiter, after, limit)

    # -- the check value -------------------------------------------------------------------------------------------

    async def read_check(self) -> bytes | None:
        """The check value that the first gateway left here, None if there is none."""
        return await self._run(self._read_check)

    async def leave_check(self, document: bytes) -> bytes:
        """Store a check value unless there is one. Returns the one that is there now."""
        return await self._run(self._leave_check, document)

    async def replace_check(self, document: bytes) -> None:
        """Replace the check value."""
        await self._run(self._replace_check, document)

    def _read_check(self) -> bytes | None:
        try:
            descriptor = os.open(_CHECK, FILE, dir_fd=self._folder.reserved)
        except FileNotFoundError:
            return None
        with os.fdopen(descriptor, "rb") as file:
            return file.read(MAX_CHECK)

    def _leave_check(self, document: bytes) -> bytes:
        with self._folder.locked("check"):
            there = self._read_check()
            if there is None:
                write_whole(self._folder, self._folder.reserved, _CHECK, document)
            return document if there is None else there

    def _replace_check(self, document: bytes) -> None:
        with self._folder.locked("check"):
            write_whole(self._folder, self._folder.reserved, _CHECK, document)

    # -- keeping house ---------------------------------------------------------------------------------------------

    async def _sweep_regularly(self) -> None:
        while self._sweeps:
            await self._run(self._sweep.run)
            await asyncio.sleep(_SWEEP_SECONDS)


def _close_opened(opening: Step[tuple[int, Found]]) -> None:
    if opening.error is None:
        os.close(opening.returned[0])
