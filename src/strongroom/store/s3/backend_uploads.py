"""Multipart uploads of the backend: opened, completed, dropped; and :class:`LargePut`, which writes an object with one.

Knows nothing of the uploads that clients open (see :mod:`strongroom.store.s3.uploads`).
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeGuard

from strongroom.buffers import Buffer
from strongroom.store.base import Condition
from strongroom.store.errors import ConditionFailed, NoSuchObject, NoSuchUpload, StoreError, Unavailable
from strongroom.store.s3 import names, xml
from strongroom.store.s3.client import Client
from strongroom.store.s3.encryption import BackendEncryption
from strongroom.store.s3.errors import meaning, status_behind, undecided
from strongroom.store.s3.messages import Answer, Request
from strongroom.store.s3.metadata import BACKEND_ID, HiddenRecord, pointing_headers, unquoted
from strongroom.store.s3.putting import (
    UNSEEN,
    Seen,
    check_condition,
    condition_headers,
    etag_in,
    is_anothers,
    see,
    seen_or_anothers,
)
from strongroom.store.s3.records import remove_hidden


async def open_backend_upload(client: Client, bucket: str, key: str, headers: dict[str, str]) -> str:
    """Open a multipart upload of the backend. Returns its id. Raises StoreError."""
    request = Request("POST", bucket, key, [("uploads", "")], headers, again=False)
    answer = await client.send(request)
    try:
        upload_id = xml.read(answer.body).text("UploadId")
    except xml.BadAnswer as error:
        raise Unavailable(f"{request}: the backend's answer to CreateMultipartUpload: {error}") from error
    if not upload_id:
        raise Unavailable(f"{request}: the backend gives no upload id")
    return upload_id


@dataclass(frozen=True, slots=True)
class Completion:
    """The completion of a multipart upload of the backend.

    ``parts``: the number and the ETag of each. ``headers`` carry the condition and the client's key. The object that is
    made is recognised by its ``object_id``.
    """

    client: Client
    bucket: str
    key: str
    backend_id: str
    parts: Sequence[tuple[int, str]]
    headers: Mapping[str, str]
    object_id: str

    async def run(self, *, sure: bool = True) -> str:
        """Complete the upload. Returns the object's ETag. ``sure``: whether an answer of success can be relied on.

        An answer with status 200 may hold an error, as S3 documents. If the answer is an error, was lost, or belongs to
        a repeated request, the object itself is looked at. Raises StoreError.
        """
        before = None if sure else await self._seen()
        query, body = [("uploadId", self.backend_id)], xml.completion(self.parts)
        request = Request("POST", self.bucket, self.key, query, dict(self.headers), body)
        try:
            await check_condition(self.client, request)
            answer = await self.client.send(request)
            told = unquoted(_document(answer, request).text("ETag"))
        except StoreError as error:
            return await self._made_despite(error, request)
        if answer.earlier is None and sure:
            return told
        # versitygw also reports success for an upload that is gone, and for a repeated request if it was killed while
        # it worked on the first one, so that the object never appears.
        now = await self._seen()
        if now is UNSEEN:
            return told
        if self._is_made(now):
            return now.etag
        if answer.earlier is None and now != before:
            return told  # it was there: somebody has replaced or removed it since
        raise Unavailable(f"{request}: the backend says that it was done, and the object is not there")

    async def _seen(self) -> Seen | None:
        """The object that has the name now; UNSEEN if it is under another client's key. Raises Unavailable."""
        return await seen_or_anothers(self.client, self.bucket, self.key, self.headers)

    async def _made_despite(self, error: StoreError, request: Request) -> str:
        """The ETag of the object if it was made despite an error. Raises StoreError.

        The first attempt may have made it and its answer may have been lost, whatever the answer to the last one is.
        """
        try:
            etag = await self._found()
        except Unavailable as unseen:
            # Without its key, an object under a client's key cannot be seen, now or later.
            if undecided(error) or not is_anothers(unseen, self.headers):
                raise
            if "if-none-match" in self.headers:  # backends themselves may answer like this
                raise ConditionFailed(f"{self.bucket}/{self.key} is there, under a client's key") from error
            etag = None
        if etag is not None:
            return etag
        if not isinstance(error, NoSuchObject):
            raise error
        if "if-match" in self.headers:
            raise ConditionFailed(f"{self.bucket}/{self.key} is not there any more") from error
        raise Unavailable(f"{request}: there is nothing of this name, says whoever answers") from error

    async def _found(self) -> str | None:
        """The ETag of the object; None if it is not there, or not made of these parts. Raises Unavailable if neither
        can be found out.
        """
        found = await see(self.client, self.bucket, self.key, self.headers)
        return found.etag if self._is_made(found) else None

    def _is_made(self, found: Seen | None) -> TypeGuard[Seen]:
        """Whether what has the name is the object that this completion makes."""
        return found is not None and found.object_id == self.object_id and _is_of(self.parts, found.etag)


async def abort_backend_upload(client: Client, bucket: str, key: str, backend_id: str) -> None:
    """Drop an upload of the backend; it is no error if it is gone already. Raises StoreError."""
    with contextlib.suppress(NoSuchUpload, NoSuchObject):
        await client.send(Request("DELETE", bucket, key, [("uploadId", backend_id)]))


async def ask(client: Client, request: Request) -> xml.Node:
    """The document that answers a request which may take long; it has an ETag. Raises StoreError, also for an error
    that comes with status 200.
    """
    return _document(await client.send(request), request)


def _document(answer: Answer, request: Request) -> xml.Node:
    try:
        root = xml.read(answer.body)
        if root.name == "Error":
            code = root.text("Code")
            said = request.without_keys(root.text("Message", ""))
            raise meaning(status_behind(code), code, said, str(request)) from answer.earlier
        root.text("ETag")
    except xml.BadAnswer as error:
        raise Unavailable(f"{request}: the backend's answer: {error}") from error
    return root


def _is_of(parts: Sequence[tuple[int, str]], etag: str) -> bool:
    """Whether an object with this ETag can consist of these parts: as many and, if ETags are MD5s, the same ones."""
    total, dash, count = etag.rpartition("-")
    if not dash or not count.isdigit():
        return True  # the backend uses another kind of ETags
    if int(count) != len(parts):
        return False
    try:
        joined = b"".join(bytes.fromhex(part) for _, part in parts)
    except ValueError:
        return True
    return len(joined) != 16 * len(parts) or hashlib.md5(joined, usedforsecurity=False).hexdigest() == total


class LargePut:
    """A PUT or a copy done as a multipart upload of the backend. While one part is sent, the next one is gathered."""

    def __init__(self, client: Client, bucket: str, key: str, object_id: str, encryption: BackendEncryption) -> None:
        self._client = client
        self._bucket = bucket
        self._key = key
        self._id = object_id
        self._encryption = encryption
        self._backend_id = ""
        self._etags: list[str] = []
        self._sending: asyncio.Task[None] | None = None
        self._over = False

    async def begin(self, headers: Mapping[str, str] | None = None) -> None:
        """Open the upload, and leave a marker by which the sweep finds it if this process ends before the upload does.

        ``headers`` hold what is recorded of the object; by default they say that its record is a hidden one.
        """
        described = {**(pointing_headers(self._id) if headers is None else headers), **self._encryption.creating}
        self._backend_id = await open_backend_upload(self._client, self._bucket, self._key, described)
        marker = HiddenRecord(self._key, time.time_ns(), {BACKEND_ID: self._backend_id.encode()})
        await self._client.send(Request("PUT", self._bucket, names.put_name(self._id), body=marker.encode()))

    async def send(self, part: bytearray) -> None:
        """Start to send the next part, once the previous one is sent. Raises the error of the previous one."""
        await self.finish()
        self._sending = asyncio.create_task(self._send(part, len(self._etags) + 1))

    async def _send(self, part: bytearray, number: int) -> None:
        request = self._part(number, self._encryption.reading, part)
        self._etags.append(etag_in(await self._client.send(request), str(request)))

    async def copy(self, headers: Mapping[str, str], ask: Callable[[Request], Awaitable[xml.Node]]) -> None:
        """Have the backend make the next part from bytes that it has; ``ask`` returns its answer. Raises StoreError."""
        request = self._part(len(self._etags) + 1, {**headers, **self._encryption.reading})
        self._etags.append(unquoted((await ask(request)).text("ETag")))

    def _part(self, number: int, headers: Mapping[str, str], body: Buffer = b"") -> Request:
        query = [("partNumber", str(number)), ("uploadId", self._backend_id)]
        return Request("PUT", self._bucket, self._key, query, headers, body)

    async def finish(self) -> None:
        """Wait for the part that is under way. Raises StoreError."""
        if self._sending is not None:
            await self._sending
            self._sending = None

    async def complete(self, when: Condition) -> str:
        """Make the object. Returns its ETag. The record must have been written already. Raises StoreError."""
        parts = list(enumerate(self._etags, 1))
        headers = {**condition_headers(when), **self._encryption.reading}
        self._over = True  # unless the backend clearly refuses: the object may still appear, and then needs its record
        try:
            etag = await Completion(
                self._client, self._bucket, self._key, self._backend_id, parts, headers, self._id
            ).run()
        except StoreError as error:
            self._over = undecided(error)
            if isinstance(error, NoSuchUpload):  # clients know no upload; perhaps it was completed, and replaced since
                raise Unavailable(f"{self._bucket}/{self._key}: the backend has its upload no more") from error
            raise
        with contextlib.suppress(StoreError):  # the sweep finds what stays behind
            await self._client.send(Request("DELETE", self._bucket, names.put_name(self._id)))
        return etag

    async def abort(self) -> None:
        """Drop the upload and its parts; the sweep finds what cannot be dropped now."""
        if self._sending is not None:
            self._sending.cancel()
            await asyncio.wait([self._sending])
            if not self._sending.cancelled():
                self._sending.exception()
            self._sending = None
        if self._over or not self._backend_id:
            return
        self._over = True
        with contextlib.suppress(StoreError):
            await abort_backend_upload(self._client, self._bucket, self._key, self._backend_id)
            await remove_hidden(self._client, self._bucket, self._id)
            await self._client.send(Request("DELETE", self._bucket, names.put_name(self._id)))
