"""LeftStore: the store protocol over another store that holds what MinIO's S3 gateway left."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import suppress
from typing import cast

from strongroom.legacy.document import MAX_DOCUMENT, read_document
from strongroom.legacy.errors import LegacyDamaged, NotCovered
from strongroom.legacy.package import looks_sealed
from strongroom.secret import Secret
from strongroom.store.base import (
    ALWAYS,
    LEFT,
    Bucket,
    Condition,
    EncryptingStore,
    Page,
    Part,
    PartPage,
    PartWriter,
    Reader,
    Record,
    Store,
    Stored,
    Upload,
    UploadPage,
    Writer,
)
from strongroom.store.concurrently import each
from strongroom.store.errors import (
    ConditionFailed,
    Damaged,
    NameRefused,
    NoSuchObject,
    ObjectIsFolder,
    Refused,
    StoreError,
)
from strongroom.store.left.listing import Merge, Wanted
from strongroom.store.left.names import DATA, DOCUMENT, MARK, can_be_left, is_hidden, is_unfinished, left_object
from strongroom.store.left.reading import LeftReader
from strongroom.store.left.writing import LeftWriter
from strongroom.store.recent import Recent, weight_of

CLEAN = "left"
"""The setting of a bucket that says, with :data:`NONE`, that MinIO left nothing there."""

NONE = b"none"
_LOOK_AGAIN = 60.0  # seconds after which it is looked again whether a bucket is clean
_CLEAN_SECONDS = 300.0  # the same if it was clean: others may remove it and make one anew with what MinIO left in it
_IDENTITY = "left "
_PAGE = 1000
_START = 16  # bytes at the beginning of a stream by which it is told from other data
_REMEMBERED = 32 * 1024**2  # bytes of memory: 20,000 objects with short names and few headers
_SMALL = 4096  # bytes: longer documents are not remembered


class LeftStore(Store):
    """The objects of ``inner``, and what MinIO's S3 gateway left among them."""

    def __init__(self, inner: Store) -> None:
        self.inner = inner
        self._documents = inner  # MinIO did not have the storage encrypt them
        self._clean: dict[str, tuple[bool, float]] = {}
        self._remembered: Recent[tuple[str, str], Stored] = Recent(_REMEMBERED)

    def encrypted(self, *, sse_s3: bool = False, customer_key: Secret | None = None) -> LeftStore:
        """The same store, but the storage below encrypts what is written, and decrypts what is read, in the given way.

        Only if the store below is an EncryptingStore.
        """
        other = object.__new__(LeftStore)
        inner = cast(EncryptingStore, self.inner).encrypted(sse_s3=sse_s3, customer_key=customer_key)
        other.__dict__.update(self.__dict__, inner=inner)
        return other

    async def start(self) -> None:
        """Start the store below."""
        await self.inner.start()

    async def stop(self) -> None:
        """Stop it."""
        await self.inner.stop()

    # -- buckets ---------------------------------------------------------------------------------------------------

    async def create_bucket(self, name: str) -> Bucket:
        """Make a bucket, which is clean."""
        made = await self.inner.create_bucket(name)
        await self.inner.set_bucket(name, CLEAN, NONE)
        return made

    async def bucket(self, name: str) -> Bucket:
        """The bucket of this name."""
        return await self.inner.bucket(name)

    async def buckets(self) -> Sequence[Bucket]:
        """All buckets."""
        return await self.inner.buckets()

    async def set_bucket(self, name: str, setting: str, document: bytes | None) -> None:
        """Store or remove a setting."""
        await self.inner.set_bucket(name, setting, document)

    async def leave_setting(self, name: str, setting: str, document: bytes) -> bytes:
        """Store a setting unless there is one."""
        return await self.inner.leave_setting(name, setting, document)

    async def delete_bucket(self, name: str) -> None:
        """Remove an empty bucket."""
        self._clean.pop(name, None)
        await self.inner.delete_bucket(name)

    async def is_clean(self, bucket: str) -> bool:
        """Whether MinIO left nothing in a bucket. Raises NoSuchBucket."""
        known, asked = self._clean.get(bucket, (False, -_LOOK_AGAIN))
        if time.monotonic() - asked >= (_CLEAN_SECONDS if known else _LOOK_AGAIN):
            try:
                known = (await self.inner.bucket(bucket)).settings.get(CLEAN) == NONE
            except StoreError:
                if not known:
                    raise
                return True  # as before: an error here would deny an object that has just been written
            self._clean[bucket] = (known, time.monotonic())
        return known

    async def tidy(self, bucket: str, since: int) -> bool:
        """Remove what MinIO left of uploads that were not completed, and of objects that a process adopted or wrote
        over but did not remove before it died; only what is older than ``since`` (nanoseconds).

        If nothing of MinIO's is left then, the bucket is marked clean. Returns whether it is clean.
        """
        if await self.is_clean(bucket):
            return True  # whatever the names in it look like, they are those of our clients' objects
        after: str | None = ""
        clean, ended = True, ""
        while after is not None:
            page = await self.inner.list(bucket, "", "", after, _PAGE)
            for stored in page.objects:
                if is_hidden(stored.key) and stored.key != ended:
                    removed = await self._remove_old(bucket, stored, since)
                    ended = stored.key.removesuffix(DOCUMENT) + DATA if removed else ended
                    clean = clean and removed
            if self.inner.hides_below:
                own = [stored.key for stored in page.objects if not is_hidden(stored.key)]
                clean = all(await each(own, lambda key: self._tidy_below(bucket, key, since))) and clean
            after = page.next
        if clean:
            await self.inner.set_bucket(bucket, CLEAN, NONE)
            self._clean.pop(bucket, None)
        return clean

    async def _remove_old(self, bucket: str, stored: Stored, since: int) -> bool:
        """Remove one of MinIO's own if nobody can need it any more. Returns whether it is gone."""
        if await self._is_replaced(bucket, stored, since):
            await self._end(bucket, stored.key.removesuffix(DOCUMENT))
        elif stored.modified < since and (is_unfinished(stored.key) or await self._is_orphan(bucket, stored)):
            await self.inner.delete(bucket, stored.key)
        else:
            return False
        return True

    async def _tidy_below(self, bucket: str, key: str, since: int) -> bool:
        """The same for what MinIO left under the key of an object of ours, which no listing shows."""
        if not can_be_left(key):
            return True
        try:
            data = await self.inner.head(bucket, key + DATA)  # which goes last
        except (NoSuchObject, NameRefused):
            return True
        except Refused:
            data = None  # the backend keeps it under a client's key
        if data is not None and await self._remove_old(bucket, data, since):
            return True
        with suppress(NoSuchObject, Refused):
            return await self._remove_old(bucket, await self.inner.head(bucket, key + DOCUMENT), since)
        return False

    async def _is_replaced(self, bucket: str, document: Stored, since: int) -> bool:
        """Whether the object of this document was replaced by a later one under its own key, and that before ``since``.

        Not later: whoever is adopting the object just now would take its removal for a deletion (see :meth:`rewrite`).
        """
        key = left_object(document.key)
        if key is None:
            return False
        with suppress(NoSuchObject, NameRefused, Damaged, Refused):
            return document.modified < (await self.inner.head(bucket, key)).modified < since
        return False

    async def _is_orphan(self, bucket: str, data: Stored) -> bool:
        """Whether these are streams without a document, which nobody can open. (MinIO left some when it deleted.)"""
        key = data.key.removesuffix(DATA)
        if key == data.key or await self._read(bucket, key) is not None:
            return False
        reader = await self.inner.open(bucket, data.key)
        try:
            start = b"".join([chunk async for chunk in reader.stream(0, min(data.size, _START))])
        finally:
            await reader.close()
        return looks_sealed(start, data.size)

    # -- what was left ---------------------------------------------------------------------------------------------

    async def _left(self, bucket: str, key: str, identity: str = "") -> Stored | None:
        """What MinIO left under a key, or None; ``identity``: that of its document, if known."""
        remembered = self._remembered.get((bucket, key))
        if remembered is not None and remembered.identity == _IDENTITY + identity:
            return remembered
        stored = await self._read(bucket, key)
        if stored is not None and len(stored.record[LEFT]) <= _SMALL:
            self._remembered.keep((bucket, key), stored, weight_of(key, stored.record))
        return stored

    async def _read(self, bucket: str, key: str) -> Stored | None:
        if not can_be_left(key):
            return None
        try:
            reader = await self._documents.open(bucket, key + DOCUMENT)
        except (NoSuchObject, NameRefused):
            return None
        try:
            length = min(reader.stored.size, MAX_DOCUMENT + 1)
            document = b"".join([chunk async for chunk in reader.stream(0, length)])
            modified, identity = reader.stored.modified, _IDENTITY + reader.stored.identity
        finally:
            await reader.close()
        size = 0
        with suppress(LegacyDamaged, NotCovered):  # raised again when somebody opens it
            described = read_document(document)
            size, modified = described.stored or 0, described.modified or modified
        return Stored(key, size, modified, {LEFT: document}, identity)

    async def _end(self, bucket: str, key: str) -> bool:
        """Remove what MinIO left under a key. Returns whether there was anything."""
        if not can_be_left(key) or await self.is_clean(bucket) or not await self.inner.delete(bucket, key + DOCUMENT):
            return False
        await self.inner.delete(bucket, key + DATA)
        return True

    async def allowed(self, bucket: str, key: str, when: Condition) -> Condition:
        """The condition that the store below has to check. Raises ConditionFailed if what MinIO left (or an object of
        ours in its place) already violates ``when``.
        """
        if when == ALWAYS or await self.is_clean(bucket):
            return when
        if when.identity is not None and not when.identity.startswith(_IDENTITY):
            return when
        with suppress(NoSuchObject):
            found = await self.inner.head(bucket, key)
            if when.absent or found.identity != when.identity:
                raise ConditionFailed(f"{bucket}/{key}")
        left = await self._left(bucket, key)
        if (left.identity if left else None) != when.identity:
            raise ConditionFailed(f"{bucket}/{key}")
        return Condition(absent=True)

    async def _check(self, bucket: str, key: str) -> None:
        """Raises NameRefused for what cannot be written in a bucket that is not clean.

        MinIO's gateway kept the object ``a`` below ``a/``, beside ``a/b``. If the backend is a MinIO, an object at
        ``a`` hides everything below it, so what was left there would no longer be found, nor adopted.
        """
        if await self.is_clean(bucket):
            return
        if is_hidden(key):
            raise NameRefused("names of this kind are those of MinIO's gateway in this bucket")
        if self.inner.hides_below and not key.endswith("/"):
            page = await self.inner.list(bucket, key + "/", "/", "", 2)
            if page.objects or any(prefix != key + MARK for prefix in page.prefixes):
                raise ObjectIsFolder(f"{key!r} has objects below it, which the backend would not list any more")

    # -- objects ---------------------------------------------------------------------------------------------------

    async def writer(self, bucket: str, key: str, size: int | None, encrypted: bool = False) -> Writer:
        """Begin an object."""
        await self._check(bucket, key)
        return LeftWriter(self, bucket, key, await self.inner.writer(bucket, key, size, encrypted))

    async def written(self, bucket: str, key: str, stored: Stored) -> Stored:
        """Remove what MinIO left under a key that has been written."""
        await self._end(bucket, key)
        return stored

    async def head(self, bucket: str, key: str) -> Stored:
        """The object under this key."""
        if is_hidden(key) and not await self.is_clean(bucket):
            raise NoSuchObject(f"{bucket}/{key}")
        try:
            return await self.inner.head(bucket, key)
        except NoSuchObject:
            if await self.is_clean(bucket):
                raise
        return await self._left(bucket, key) or await self.inner.head(bucket, key)  # adopted meanwhile

    async def open(self, bucket: str, key: str, *, whole: bool = True) -> Reader:
        """Open the object under this key."""
        if is_hidden(key) and not await self.is_clean(bucket):
            raise NoSuchObject(f"{bucket}/{key}")
        try:
            return await self.inner.open(bucket, key, whole=whole)
        except NoSuchObject:
            if await self.is_clean(bucket):
                raise
        left = await self._left(bucket, key)
        if left is not None:
            with suppress(NoSuchObject):
                data = await self.inner.open(bucket, key + DATA, whole=whole)
                return LeftReader(Stored(key, data.stored.size, left.modified, left.record, left.identity), data)
        return await self.inner.open(bucket, key, whole=whole)  # adopted meanwhile

    async def copy(
        self, source: Reader, bucket: str, key: str, record: Record, annex: bytes, when: Condition = ALWAYS
    ) -> Stored:
        """Put the bytes of an opened object under a name."""
        return await self.written(bucket, key, await self._copy(source, bucket, key, record, annex, when))

    async def _copy(
        self, source: Reader, bucket: str, key: str, record: Record, annex: bytes, when: Condition
    ) -> Stored:
        await self._check(bucket, key)
        data = source.data if isinstance(source, LeftReader) else source
        return await self.inner.copy(data, bucket, key, record, annex, await self.allowed(bucket, key, when))

    async def rewrite(self, bucket: str, key: str, record: Record, annex: bytes | None, when: Condition) -> Stored:
        """Replace the record of an object; one that MinIO left is thereby moved to its own key."""
        if when.identity is None or not when.identity.startswith(_IDENTITY):
            return await self.inner.rewrite(bucket, key, record, annex, when)
        source = await self.open(bucket, key)
        try:
            if source.stored.identity != when.identity:
                raise ConditionFailed(f"{bucket}/{key}")
            stored = await self._copy(source, bucket, key, record, annex or b"", when)
        finally:
            await source.close()
        if not await self._end(bucket, key):
            # Somebody else removed it meanwhile, perhaps without seeing the copy, which must not undo a deletion.
            with suppress(ConditionFailed):
                await self.inner.delete(bucket, key, Condition(identity=stored.identity))
            raise ConditionFailed(f"{bucket}/{key}")
        return stored

    async def delete(self, bucket: str, key: str, when: Condition = ALWAYS) -> bool:
        """Remove an object, and what MinIO left under its key.

        What MinIO left is removed first: then a copy that :meth:`rewrite` makes meanwhile is removed here or there.
        """
        if is_hidden(key) and not await self.is_clean(bucket):
            return False
        if when.identity is not None and when.identity.startswith(_IDENTITY):
            await self.allowed(bucket, key, when)
            if not await self._end(bucket, key):
                raise ConditionFailed(f"{bucket}/{key}")
            return True
        if when.identity is not None and not await self.is_clean(bucket):
            await self._require(bucket, key, when.identity)
        ended = await self._end(bucket, key)
        return await self.inner.delete(bucket, key, when) or ended

    async def _require(self, bucket: str, key: str, identity: str) -> None:
        """Raises ConditionFailed unless an object of ours with this identity is there."""
        with suppress(NoSuchObject, Damaged):
            if (await self.inner.head(bucket, key)).identity == identity:
                return
        raise ConditionFailed(f"{bucket}/{key}")

    async def list(self, bucket: str, prefix: str, delimiter: str, after: str, limit: int) -> Page:
        """One page of a listing."""
        if await self.is_clean(bucket):
            return await self.inner.list(bucket, prefix, delimiter, after, limit)

        async def find(key: str, identity: str) -> Stored | None:
            return await self._left(bucket, key, identity)

        return await Merge(self.inner, Wanted(bucket, prefix, delimiter, after, limit), find).page()

    # -- multipart uploads -----------------------------------------------------------------------------------------

    async def create_upload(self, bucket: str, key: str, record: Record, token: bytes) -> Upload:
        """Open a multipart upload."""
        await self._check(bucket, key)
        return await self.inner.create_upload(bucket, key, record, token)

    async def upload(self, bucket: str, key: str, upload_id: str) -> Upload:
        """The open upload."""
        return await self.inner.upload(bucket, key, upload_id)

    async def part_writer(self, bucket: str, key: str, upload_id: str, number: int, size: int | None) -> PartWriter:
        """Begin a part."""
        return await self.inner.part_writer(bucket, key, upload_id, number, size)

    async def parts(self, bucket: str, key: str, upload_id: str, after: int, limit: int) -> PartPage:
        """One page of parts."""
        return await self.inner.parts(bucket, key, upload_id, after, limit)

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
        allowed = await self.allowed(bucket, key, when)
        stored = await self.inner.complete(bucket, key, upload_id, parts, record, annex, allowed)
        return await self.written(bucket, key, stored)

    async def abort_upload(self, bucket: str, key: str, upload_id: str) -> None:
        """End an upload."""
        await self.inner.abort_upload(bucket, key, upload_id)

    async def uploads(self, bucket: str, prefix: str, delimiter: str, after: tuple[str, str], limit: int) -> UploadPage:
        """One page of open uploads, without those that MinIO's gateway left open."""
        return await self.inner.uploads(bucket, prefix, delimiter, after, limit)
