"""S3Store: the store protocol on another S3. Puts together the client, the writers, the readers and the listings.

It has no state except caches that save requests: any number of S3Stores can share a backend.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Sequence

from strongroom.secret import Secret
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
from strongroom.store.errors import ConditionFailed, Damaged, NoSuchObject, ObjectChanged, Refused, StoreError
from strongroom.store.s3 import names
from strongroom.store.s3.buckets import Buckets
from strongroom.store.s3.client import Client
from strongroom.store.s3.copying import Copier
from strongroom.store.s3.encryption import NOT_ENCRYPTED, BackendEncryption
from strongroom.store.s3.errors import undecided
from strongroom.store.s3.known import KnownBuckets
from strongroom.store.s3.listing import Listings
from strongroom.store.s3.messages import Answer, Request, length_in
from strongroom.store.s3.metadata import HiddenRecord, describe, to_milliseconds
from strongroom.store.s3.putting import condition_headers
from strongroom.store.s3.reading import INLINE, S3Reader
from strongroom.store.s3.records import Unrecorded, complete, remove_hidden
from strongroom.store.s3.uploads import Uploads
from strongroom.store.s3.writing import S3PartWriter, S3Writer

_LOOKS = 16
"""The most looks at an object that is another one each time."""


class S3Store(Store):
    """Objects on another S3. ``encryption``: how the backend encrypts them on top (see :meth:`encrypted`)."""

    def __init__(self, client: Client, encryption: BackendEncryption = NOT_ENCRYPTED) -> None:
        self.client = client
        self._encryption = encryption
        self._known = KnownBuckets(client)
        self._uploads = Uploads(client, self._known)
        self._buckets = Buckets(client, self._uploads)
        self._listings = Listings(client, self.head)
        self._copier = Copier(client)

    def encrypted(self, *, sse_s3: bool = False, customer_key: Secret | None = None) -> S3Store:
        """The same store, but the backend encrypts what is written, and decrypts what is read, in the given way."""
        other = object.__new__(S3Store)
        other.__dict__.update(self.__dict__, _encryption=BackendEncryption(sse_s3, customer_key))
        return other

    async def start(self) -> None:
        """Open the pool of connections. Raises StoreError."""
        try:
            await self.client.start()
        except OSError as error:
            raise StoreError(f"the backend's certificates cannot be checked: {error}") from error

    async def stop(self) -> None:
        """Close all connections."""
        self._uploads.stop()
        await self.client.stop()

    @property
    def hides_below(self) -> bool:
        """Whether the backend is MinIO, which lists nothing below an object."""
        return self.client.is_minio

    # -- buckets ---------------------------------------------------------------------------------------------------

    async def create_bucket(self, name: str) -> Bucket:
        """Make a bucket."""
        return await self._buckets.create(name)

    async def bucket(self, name: str) -> Bucket:
        """The bucket of this name."""
        return await self._buckets.find(name)

    async def buckets(self) -> Sequence[Bucket]:
        """All buckets."""
        return await self._buckets.all()

    async def set_bucket(self, name: str, setting: str, document: bytes | None) -> None:
        """Store or remove a setting."""
        await self._buckets.set(name, setting, document)

    async def leave_setting(self, name: str, setting: str, document: bytes) -> bytes:
        """Store a setting unless there is one."""
        return await self._buckets.leave(name, setting, document)

    async def delete_bucket(self, name: str) -> None:
        """Remove an empty bucket."""
        self._known.forget(name)
        await self._buckets.delete(name)

    async def read_check(self, bucket: str) -> bytes | None:
        """The check value of the KMS in a bucket."""
        return await self._buckets.read_check(bucket)

    async def leave_check(self, bucket: str, document: bytes) -> bool:
        """Store a check value unless there is one; False if there is."""
        return await self._buckets.leave_check(bucket, document)

    async def replace_check(self, bucket: str, document: bytes) -> None:
        """Replace the check value."""
        await self._buckets.replace_check(bucket, document)

    # -- objects ---------------------------------------------------------------------------------------------------

    async def writer(self, bucket: str, key: str, size: int | None, encrypted: bool = False) -> S3Writer:
        """Begin an object."""
        names.check_writable(key, self.client.endpoint.exact)
        await self._known.require(bucket)
        return S3Writer(self.client, bucket, key, self._encryption)

    async def head(self, bucket: str, key: str) -> Stored:
        """The object under this key."""
        return (await self.open(bucket, key, whole=False)).stored

    async def open(self, bucket: str, key: str, *, whole: bool = True) -> Reader:
        """Open the object under this key. If all its bytes are wanted, this already requests them."""
        names.check_readable(key, self.client.endpoint.exact)
        # A HEAD gives the ETag that conditions need; MinIO may give another one to a GET (see sealed_by_minio).
        return await self._open(bucket, key, whole=whole and not key.endswith("/"))

    async def _open(self, bucket: str, key: str, *, whole: bool) -> S3Reader:
        looks, seen = 0, ""
        while True:
            try:
                return await (self._open_whole(bucket, key) if whole else self._open_pinned(bucket, key))
            except Unrecorded as error:
                # Perhaps the object was replaced before its record was read: then another one is there now.
                looks += 1
                if error.identity == seen or looks == _LOOKS:
                    raise
                seen = error.identity

    async def _open_pinned(self, bucket: str, key: str) -> S3Reader:
        request = Request("HEAD", bucket, key, headers=self._encryption.reading)
        answer = await self._named(request)
        described = describe(key, length_in(answer.headers, str(request)), answer.headers)
        stored, hidden = await complete(self.client, bucket, described)
        return S3Reader(self.client, bucket, described, stored, hidden, self._encryption)

    async def _open_whole(self, bucket: str, key: str) -> S3Reader:
        request = Request("GET", bucket, key, headers=self._encryption.reading)
        try:
            download = await self.client.open(request)
        except NoSuchObject:
            raise NoSuchObject(f"{bucket}/{key} is not there") from None
        try:
            described = describe(key, download.length, download.headers)
            inline = None
            if download.length <= INLINE:
                inline = await download.read(download.length + 1)
                if len(inline) != described.size:
                    raise ObjectChanged(f"{bucket}/{key}: the backend's answer is cut short")
                download.close()
            stored, hidden = await complete(self.client, bucket, described)
        except BaseException:
            download.close()
            raise
        rest = None if inline is not None else download
        return S3Reader(self.client, bucket, described, stored, hidden, self._encryption, rest, inline)

    async def copy(
        self, source: Reader, bucket: str, key: str, record: Record, annex: bytes, when: Condition = ALWAYS
    ) -> Stored:
        """Put the bytes of an opened object under a name: the backend copies them, if it still has them."""
        assert isinstance(source, S3Reader)
        names.check_writable(key, self.client.endpoint.exact)
        hidden = HiddenRecord(key, to_milliseconds(time.time_ns()), record, annex)
        try:
            return await self._copier.copy(source, bucket, hidden, self._encryption, when)
        except ObjectChanged:
            if not source.at_hand:
                raise
        return await self._copy_bytes(source, bucket, hidden, when)

    async def _copy_bytes(self, source: S3Reader, bucket: str, hidden: HiddenRecord, when: Condition) -> Stored:
        """Copy an object that the backend no longer has, but whose bytes are here or on their way."""
        writer = await self.writer(bucket, hidden.key, source.stored.size)
        try:
            async for chunk in source.stream(0, source.stored.size):
                await writer.write(chunk)
            return await writer.commit(hidden.record, hidden.annex, when)
        except BaseException:
            await writer.abort()
            raise

    async def rewrite(self, bucket: str, key: str, record: Record, annex: bytes | None, when: Condition) -> Stored:
        """Replace the record of an object: the backend copies it onto itself. The new record has a new id.

        Always under the condition that nobody has replaced the object meanwhile: the record is for no other.
        """
        names.check_writable(key, self.client.endpoint.exact)
        source = await self._open(bucket, key, whole=False)
        if when.absent or when.identity not in (None, source.stored.identity):
            raise ConditionFailed(f"{bucket}/{key} was written meanwhile")
        if annex is None:
            annex = await source.annex()
        hidden = HiddenRecord(key, source.stored.modified, record, annex)
        unchanged = Condition(identity=source.stored.identity)
        try:
            stored = await self._copier.copy(source, bucket, hidden, self._encryption, unchanged)
        except ObjectChanged as error:
            raise ConditionFailed(str(error)) from error
        await self._forget_hidden(source, bucket)
        return stored

    async def _forget_hidden(self, source: S3Reader, bucket: str) -> None:
        if source.described.record is None:
            with contextlib.suppress(StoreError):  # the sweep finds it
                await remove_hidden(self.client, bucket, source.described.object_id)

    async def delete(self, bucket: str, key: str, when: Condition = ALWAYS) -> bool:
        """Remove an object, and then its record if that is hidden."""
        names.check_writable(key, self.client.endpoint.exact)
        answer: Answer | None
        try:
            answer = await self._named(Request("HEAD", bucket, key, headers=self._encryption.reading))
        except NoSuchObject:
            if when.identity is not None:
                raise ConditionFailed(f"{bucket}/{key} is not there") from None
            return False
        except Refused as error:
            if error.status != 400:
                raise
            answer = None  # looking at it takes a client's key, removing it does not
        described = None
        with contextlib.suppress(Damaged):
            described = describe(key, 0, answer.headers) if answer is not None else None
        if when.absent or (when.identity is not None and (described is None or described.identity != when.identity)):
            raise ConditionFailed(f"{bucket}/{key} was written meanwhile")
        try:
            await self.client.send(Request("DELETE", bucket, key, headers=condition_headers(when)))
        except (ConditionFailed, NoSuchObject) as error:
            # Perhaps the answer to the first attempt was lost, and the second one found the object gone; or somebody
            # else removes it at this moment, which versitygw tells.
            may_be_done = undecided(error) or (when == ALWAYS and isinstance(error, NoSuchObject))
            if not may_be_done or await self._is_there(bucket, key):
                raise
        if described is not None and described.record is None and names.is_id(described.object_id):
            with contextlib.suppress(StoreError):
                # Raises if the record is another object's: of a copy that somebody made at the backend with its id.
                await complete(self.client, bucket, described)
                await remove_hidden(self.client, bucket, described.object_id)
        return True

    async def _is_there(self, bucket: str, key: str) -> bool:
        try:
            await self._named(Request("HEAD", bucket, key, headers=self._encryption.reading))
        except NoSuchObject:
            return False
        return True

    async def _named(self, request: Request) -> Answer:
        """The answer to a HEAD of an object. After a 404 the bucket is asked for: NoSuchBucket, or NoSuchObject."""
        try:
            return await self.client.send(request)
        except NoSuchObject:
            await self.client.send(Request("HEAD", request.bucket))
            raise NoSuchObject(f"{request.bucket}/{request.key} is not there") from None

    async def list(self, bucket: str, prefix: str, delimiter: str, after: str, limit: int) -> Page:
        """One page of a listing."""
        return await self._listings.page(bucket, prefix, delimiter, after, limit)

    # -- multipart uploads -----------------------------------------------------------------------------------------

    async def create_upload(self, bucket: str, key: str, record: Record, token: bytes) -> Upload:
        """Open a multipart upload."""
        return await self._uploads.create(bucket, key, record, token, self._encryption)

    async def upload(self, bucket: str, key: str, upload_id: str) -> Upload:
        """The open upload."""
        return (await self._uploads.find(bucket, key, upload_id)).upload

    async def part_writer(self, bucket: str, key: str, upload_id: str, number: int, size: int | None) -> S3PartWriter:
        """Begin a part."""
        return await self._uploads.part_writer(bucket, key, upload_id, number, size, self._encryption)

    async def parts(self, bucket: str, key: str, upload_id: str, after: int, limit: int) -> PartPage:
        """One page of parts."""
        return await self._uploads.parts(bucket, key, upload_id, after, limit)

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
        return await self._uploads.complete(bucket, key, upload_id, parts, record, annex, when, self._encryption)

    async def abort_upload(self, bucket: str, key: str, upload_id: str) -> None:
        """End an upload."""
        await self._uploads.abort(bucket, key, upload_id)

    async def uploads(self, bucket: str, prefix: str, delimiter: str, after: tuple[str, str], limit: int) -> UploadPage:
        """One page of open uploads."""
        return await self._uploads.list(bucket, prefix, delimiter, after, limit)
