"""Multipart uploads of the S3 store: uploads of the backend, with a record of ours beside each under the hidden prefix.

The record of a part is kept in the name of an empty hidden object, together with the backend's ETag of the part. From a
listing of these names and one of the backend's parts any gateway knows which parts there are: those in both. A gateway
that ended between writing the two leaves a part that was never acknowledged and is not listed.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from strongroom.store.base import Condition, Part, PartPage, Record, Stored, Upload, UploadPage
from strongroom.store.concurrently import each
from strongroom.store.errors import (
    Damaged,
    NoSuchObject,
    NoSuchUpload,
    StoreError,
    Unavailable,
)
from strongroom.store.mapping import decode_mapping, encode_mapping
from strongroom.store.paging import order_of, page_of_uploads
from strongroom.store.recent import Recent, weight_of
from strongroom.store.s3 import names, xml
from strongroom.store.s3.backend_listing import hidden_names
from strongroom.store.s3.backend_uploads import Completion, abort_backend_upload, open_backend_upload
from strongroom.store.s3.client import Client
from strongroom.store.s3.completing import CompletionLock
from strongroom.store.s3.encryption import BackendEncryption
from strongroom.store.s3.errors import undecided
from strongroom.store.s3.known import KnownBuckets
from strongroom.store.s3.messages import Request
from strongroom.store.s3.metadata import (
    BACKEND_ID,
    HiddenRecord,
    decode_hidden,
    pointing_headers,
    to_milliseconds,
    unquoted,
)
from strongroom.store.s3.names import PartName
from strongroom.store.s3.putting import condition_headers, made_by
from strongroom.store.s3.records import remove_hidden, remove_names, write_or_replace_hidden
from strongroom.store.s3.writing import S3PartWriter

_REMEMBERED = 16 * 1024**2  # bytes of memory: 10,000 uploads with short names and few headers
_COMPLETION_MOST = 780.0
"""Seconds after which a completion gives up, however often it was tried and however many blanks the backend sends
meanwhile: well before another completion takes it for dead."""
_PAGE = 1000
_LAST_PART = 10_000


@dataclass(frozen=True, slots=True)
class OpenUpload:
    """An open upload, with the backend's own id of it."""

    upload: Upload
    backend_id: str


class Uploads:
    """The open uploads of a backend."""

    def __init__(self, client: Client, buckets: KnownBuckets) -> None:
        self._client = client
        self._buckets = buckets
        self._known: Recent[tuple[str, str], OpenUpload] = Recent(_REMEMBERED)
        self._lock = CompletionLock(client)

    def stop(self) -> None:
        """End what goes on outside of requests."""
        self._lock.stop()

    async def create(
        self, bucket: str, key: str, record: Record, token: bytes, encryption: BackendEncryption
    ) -> Upload:
        """Open an upload."""
        names.check_writable(key, self._client.endpoint.exact)
        upload_id = names.id_of(token)
        headers = {**pointing_headers(upload_id, record), **encryption.creating}
        backend_id = await open_backend_upload(self._client, bucket, key, headers)
        started = to_milliseconds(time.time_ns())
        document = HiddenRecord(key, started, {**record, BACKEND_ID: backend_id.encode()}).encode()
        try:
            await self._client.send(Request("PUT", bucket, names.upload_name(upload_id), body=document))
        except BaseException:
            with contextlib.suppress(StoreError):
                await abort_backend_upload(self._client, bucket, key, backend_id)
            raise
        opened = OpenUpload(Upload(key, upload_id, started, dict(record)), backend_id)
        self._remember(bucket, opened)
        return opened.upload

    async def find(self, bucket: str, key: str, upload_id: str) -> OpenUpload:
        """An upload that was opened. It may have ended since: only the backend knows. Raises NoSuchUpload."""
        opened = await self._read(bucket, upload_id)
        if opened is None or opened.upload.key != key:
            await self._buckets.require(bucket)
            raise NoSuchUpload(f"{bucket}/{key} has no upload {upload_id[:64]!r}")
        return opened

    async def _read(self, bucket: str, upload_id: str) -> OpenUpload | None:
        known = self._known.get((bucket, upload_id))
        if known is not None:
            return known
        if not names.is_id(upload_id):
            return None
        try:
            answer = await self._client.send(Request("GET", bucket, names.upload_name(upload_id)))
        except NoSuchObject:
            return None
        try:
            hidden = decode_hidden(answer.body)
            record = dict(hidden.record)
            backend_id = record.pop(BACKEND_ID).decode()
        except (ValueError, KeyError):
            return None
        opened = OpenUpload(Upload(hidden.key, upload_id, hidden.modified, record), backend_id)
        self._remember(bucket, opened)
        return opened

    def _remember(self, bucket: str, opened: OpenUpload) -> None:
        upload = opened.upload  # it never changes
        weight = weight_of(upload.key, upload.record) + len(opened.backend_id)
        self._known.keep((bucket, upload.upload_id), opened, weight)

    # -- parts -----------------------------------------------------------------------------------------------------

    async def part_writer(
        self, bucket: str, key: str, upload_id: str, number: int, size: int | None, encryption: BackendEncryption
    ) -> S3PartWriter:
        """Begin a part."""
        opened = await self.find(bucket, key, upload_id)
        request = self._part_request(bucket, opened, number, encryption.reading)

        async def keep(etag: str, stored: int, record: Record) -> Part:
            now = to_milliseconds(time.time_ns())
            name = PartName(number, etag, stored, now, encode_mapping(record))
            await self._client.send(Request("PUT", bucket, name.encode(upload_id)))
            return _part(name, record)

        return S3PartWriter(self._client, request, size, keep)

    def _part_request(self, bucket: str, opened: OpenUpload, number: int, headers: dict[str, str]) -> Request:
        query = [("partNumber", str(number)), ("uploadId", opened.backend_id)]
        return Request("PUT", bucket, opened.upload.key, query, headers)

    async def parts(self, bucket: str, key: str, upload_id: str, after: int, limit: int) -> PartPage:
        """One page of parts."""
        opened = await self.find(bucket, key, upload_id)
        try:
            return await self._page(bucket, opened, after, limit)
        except NoSuchUpload:
            # versitygw has an upload no more as soon as it begins to put its parts together.
            await self._lock.wait(bucket, upload_id, partial(self._is_complete, bucket, opened.upload, {}))
            raise

    async def _is_complete(self, bucket: str, upload: Upload, headers: Mapping[str, str]) -> bool:
        """Whether the object of an upload is there, with ``headers`` as :func:`made_by` has them; False if that cannot
        be seen, as without a client's key.
        """
        with contextlib.suppress(Unavailable):
            return await made_by(self._client, bucket, upload.key, upload.upload_id, headers) is not None
        return False

    async def _page(self, bucket: str, opened: OpenUpload, after: int, limit: int) -> PartPage:
        found: list[Part] = []
        start, count = after, min(_PAGE, limit + 1)
        while True:
            (there, following), recorded = await asyncio.gather(
                self._backend_parts(bucket, opened, after, count),
                self._recorded_parts(bucket, opened.upload.upload_id, after, count),
            )
            if after and after == start and not there and self._client.is_minio:
                after, count = 0, _PAGE  # MinIO lists nothing after a number that no part has
                continue
            for number, etag, size in there:
                name = recorded.get((number, etag))
                if name is not None and name.size == size and number > start:
                    found.append(_part(name, _record_of(name)))
            if {(number, etag) for number, etag, _ in there} != recorded.keys():
                await self._backend_parts(bucket, opened, 0, 1)  # raises if the upload ended while either was listed
            if len(found) > limit:
                return PartPage(found[:limit], found[limit - 1].number)
            if following is None:
                return PartPage(found, None)
            after = following

    async def _backend_parts(
        self, bucket: str, opened: OpenUpload, after: int, limit: int
    ) -> tuple[list[tuple[int, str, int]], int | None]:
        """Number, ETag and size of parts that the backend has, and the number to go on after.

        Raises NoSuchUpload when the backend's upload has ended.
        """
        query = [
            ("uploadId", opened.backend_id),
            ("max-parts", str(limit)),
            ("part-number-marker", str(after)),
        ]
        request = Request("GET", bucket, opened.upload.key, query)
        try:
            answer = await self._client.send(request)
        except NoSuchObject as error:
            raise NoSuchUpload(str(error)) from error
        try:
            root = xml.read(answer.body)
            parts = [
                (node.number("PartNumber"), unquoted(node.text("ETag")), node.number("Size"))
                for node in root.all("Part")
            ]
            following = parts[-1][0] if parts and root.text("IsTruncated", "false") == "true" else None
            if following is not None and not after < following <= _LAST_PART:
                raise xml.BadAnswer("it does not get on")
            return parts, following
        except xml.BadAnswer as error:
            raise Unavailable(f"{request}: the backend's list of parts: {error}") from error

    async def _recorded_parts(
        self, bucket: str, upload_id: str, after: int, count: int
    ) -> dict[tuple[int, str], PartName]:
        """What is recorded of the first ``count`` parts after number ``after``, and perhaps of some more."""
        first = names.first_part_name(upload_id, after + 1)
        found: dict[tuple[int, str], PartName] = {}
        numbers: set[int] = set()
        async for key in hidden_names(self._client, bucket, names.part_folder(upload_id), first):
            name = names.decode_part(key)
            if name is not None:
                found[name.number, name.etag] = name
                numbers.add(name.number)
            if len(numbers) > count:
                break
        return found

    # -- the end of an upload --------------------------------------------------------------------------------------

    async def complete(
        self,
        bucket: str,
        key: str,
        upload_id: str,
        parts: Sequence[Part],
        record: Record,
        annex: bytes,
        when: Condition,
        encryption: BackendEncryption,
    ) -> Stored:
        """Make one object of parts. Its record is written before the backend completes."""
        opened = await self.find(bucket, key, upload_id)
        modified = to_milliseconds(time.time_ns())
        hidden = HiddenRecord(key, modified, record, annex)
        chosen = [(part.number, etag_of_part(part)) for part in parts]
        headers = {**condition_headers(when), **encryption.reading}
        over = partial(self._is_complete, bucket, opened.upload, encryption.reading)
        own = await self._lock.take(bucket, upload_id, over)
        try:
            async with asyncio.timeout(_COMPLETION_MOST):
                await self._backend_parts(bucket, opened, 0, 1)  # raises if the upload ended while this one waited
                etag = await self._complete(bucket, opened, chosen, headers, hidden)
            with contextlib.suppress(StoreError):  # the sweep finds what stays behind
                await self._forget(bucket, upload_id)
        except TimeoutError as error:
            raise Unavailable(f"{bucket}/{key}: the backend takes too long to put its parts together") from error
        finally:
            await asyncio.shield(self._lock.release(bucket, upload_id, own))
        size = sum(part.size for part in parts)
        return Stored(key, size, modified, record, f"{etag} {upload_id}")

    async def _complete(
        self,
        bucket: str,
        opened: OpenUpload,
        chosen: list[tuple[int, str]],
        headers: dict[str, str],
        hidden: HiddenRecord,
    ) -> str:
        """Write the record, and have the backend complete the upload. Returns the ETag of the object."""
        # If the upload is aborted meanwhile, versitygw reports success all the same.
        upload_id, sure = opened.upload.upload_id, self._client.software != "VERSITYGW"
        first = await write_or_replace_hidden(self._client, bucket, upload_id, hidden)
        try:
            completion = Completion(self._client, bucket, hidden.key, opened.backend_id, chosen, headers, upload_id)
            return await completion.run(sure=sure)
        except StoreError as error:
            # It stays if this completion or an earlier one may have been, or may yet be, carried out, even after an
            # abort: otherwise it is removed here, since nobody does so later.
            if first and not undecided(error):
                with contextlib.suppress(StoreError):
                    await remove_hidden(self._client, bucket, upload_id)
            raise

    async def abort(self, bucket: str, key: str, upload_id: str) -> None:
        """End an upload. If a completion failed without a clear answer, its record stays for the sweep."""
        self._known.forget((bucket, upload_id))
        opened = await self.find(bucket, key, upload_id)
        await abort_backend_upload(self._client, bucket, key, opened.backend_id)
        await self._forget(bucket, upload_id)

    async def _forget(self, bucket: str, upload_id: str) -> None:
        """Remove what is recorded of an upload, its own record last."""
        self._known.forget((bucket, upload_id))
        folder = names.part_folder(upload_id)
        await remove_names(self._client, bucket, [name async for name in hidden_names(self._client, bucket, folder)])
        await self._client.send(Request("DELETE", bucket, names.upload_name(upload_id)))

    # -- listing ---------------------------------------------------------------------------------------------------

    async def all(self, bucket: str) -> list[OpenUpload]:
        """All open uploads of a bucket, ordered by key, then by time of start, then by id."""
        ids = [
            name.split("/")[2]
            async for name in hidden_names(self._client, bucket, names.UPLOADS)
            if name.endswith("/record")
        ]
        found = [opened for opened in await each(ids, lambda upload: self._read(bucket, upload)) if opened is not None]
        return sorted(found, key=lambda opened: order_of(opened.upload))

    async def list(self, bucket: str, prefix: str, delimiter: str, after: tuple[str, str], limit: int) -> UploadPage:
        """One page of open uploads."""
        uploads = [opened.upload for opened in await self.all(bucket)]
        return page_of_uploads(uploads, prefix, delimiter, after, limit)


def _part(name: PartName, record: Record) -> Part:
    return Part(name.number, name.size, name.modified, record, name.etag)


def _record_of(name: PartName) -> Record:
    try:
        return decode_mapping(name.record)
    except ValueError as error:
        raise Damaged(f"what is recorded of part {name.number}: {error}") from error


def etag_of_part(part: Part) -> str:
    """The backend's ETag of a part."""
    return part.identity
