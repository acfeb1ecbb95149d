"""Writers of the S3 store. An object that fits into a small buffer is one PUT, repeated where the backend stumbles; a
larger one becomes a multipart upload of the backend, its record hidden, since it is known only after the last byte.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import time
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from typing import Any

from strongroom.store.base import ALWAYS, Buffer, Condition, Part, Record, Stored
from strongroom.store.errors import ConditionFailed, NoSuchObject, NoSuchUpload, Refused, StoreError, Unavailable
from strongroom.store.s3 import names, xml
from strongroom.store.s3.client import Answer, Client, Request
from strongroom.store.s3.encryption import BackendEncryption
from strongroom.store.s3.errors import meaning, status_behind, undecided
from strongroom.store.s3.metadata import (
    BACKEND_ID,
    ID,
    HiddenRecord,
    etag_of,
    inline_headers,
    pointing_headers,
    to_milliseconds,
    unquoted,
)
from strongroom.store.s3.records import remove_hidden, write_hidden
from strongroom.store.s3.streaming import StreamedBody

BUFFER = 6 * 1024**2
"""Stored bytes that are held back: what is larger goes to the backend in parts of this size (S3 wants 5 MiB)."""


_LOOK_FIRST = 64 * 1024
"""Bytes of a conditional PUT above which one looks first whether something is there: versitygw refuses it before it has
the body, and closes the connection, so that its answer is often lost."""


class Gathering:
    """Bytes of an object for the backend: held back while they are few, sent in parts as they come where they are not.

    ``headers`` are those of an upload in parts; by default they say that the object's record lies in its place.
    """

    append = None

    def __init__(
        self,
        client: Client,
        bucket: str,
        key: str,
        encryption: BackendEncryption,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        self._client = client
        self._bucket = bucket
        self._key = key
        self._encryption = encryption
        self._headers = headers
        self._id = names.new_id()
        self._buffer = bytearray()
        self._large: LargePut | None = None

    async def write(self, data: Buffer) -> None:
        """Append. Raises StoreError."""
        view = memoryview(data)
        while len(self._buffer) + len(view) > BUFFER:
            room = BUFFER - len(self._buffer)
            self._buffer += view[:room]
            view = view[room:]
            await self._spill()
        self._buffer += view

    async def _spill(self) -> None:
        if self._large is None:
            self._large = LargePut(self._client, self._bucket, self._key, self._id, self._encryption)
            await self._large.begin(self._headers)
        part, self._buffer = self._buffer, bytearray()
        await self._large.send(part)

    async def _sent(self, large: LargePut) -> None:
        """All parts are with the backend when this returns."""
        if self._buffer:
            await self._spill()
        await large.finish()

    async def abort(self) -> None:
        """Forget what was written."""
        if self._large is not None:
            await self._large.abort()


class S3Writer(Gathering):
    """The Writer of the protocol."""

    def __init__(self, client: Client, bucket: str, key: str, encryption: BackendEncryption) -> None:
        super().__init__(client, bucket, key, encryption)
        self._size = 0

    async def write(self, data: Buffer) -> None:
        """Append. Raises StoreError."""
        self._size += len(data)
        await super().write(data)

    async def commit(self, record: Record, annex: bytes = b"", when: Condition = ALWAYS) -> Stored:
        """Make the object visible."""
        modified = to_milliseconds(time.time_ns())
        hidden = HiddenRecord(self._key, modified, record, annex)
        if self._large is None:
            etag = await put_object(
                self._client, self._bucket, self._id, hidden, self._buffer, self._encryption.creating, when
            )
        else:
            await self._sent(self._large)
            await write_hidden(self._client, self._bucket, self._id, hidden)
            etag = await self._large.complete(when)
        return Stored(self._key, self._size, modified, record, f"{etag} {self._id}")


async def put_object(
    client: Client,
    bucket: str,
    object_id: str,
    hidden: HiddenRecord,
    body: Buffer,
    encryption: dict[str, str],
    when: Condition,
) -> str:
    """Put an object with its record, which is hidden only where it must be; the backend's ETag. Raises StoreError."""
    if when.absent and len(body) > _LOOK_FIRST and await _is_there(client, bucket, hidden.key):
        raise ConditionFailed(f"PUT {bucket}/{hidden.key}: an object is there")
    headers = None if hidden.annex else inline_headers(object_id, hidden.record, hidden.modified)
    if headers is None:
        headers = pointing_headers(object_id, hidden.record)
        await write_hidden(client, bucket, object_id, hidden)
    request = Request(
        "PUT", bucket, hidden.key, headers={**headers, **encryption, **condition_headers(when)}, body=body
    )
    try:
        return etag_in(await client.send(request), str(request))
    except (ConditionFailed, NoSuchObject) as error:
        etag = None
        if when != ALWAYS:
            # Perhaps the answer to the first attempt was lost, and the second met what it had made.
            try:
                etag = await made_by(client, bucket, hidden.key, object_id, encryption)
            except Unavailable as unseen:
                if undecided(error) or not _is_anothers(unseen, encryption):
                    raise
        if etag is None:
            raise ConditionFailed(f"{request}: the object is not as the condition asks") from error
        return etag
    except Refused as error:
        # MinIO says so of a key before it says that something is there.
        if when.absent and error.status == 400 and await _is_there(client, bucket, hidden.key):
            raise ConditionFailed(f"{request}: an object is there, under another key") from error
        raise


async def made_by(client: Client, bucket: str, key: str, object_id: str, headers: Mapping[str, str]) -> str | None:
    """The ETag of the object of this name where it has this id, None where it has another or there is none; ``headers``
    are those that it was written with. Raises Unavailable where that cannot be seen.
    """
    keys = {name: value for name, value in headers.items() if "-customer-" in name}
    try:
        answer = await client.send(Request("HEAD", bucket, key, headers=keys))
    except NoSuchObject:
        return None
    except StoreError as error:
        raise Unavailable(f"whether {bucket}/{key} was written cannot be seen: {error}") from error
    return unquoted(answer.headers.get("etag", "")) if answer.headers.get(ID) == object_id else None


def _is_anothers(unseen: Unavailable, headers: Mapping[str, str]) -> bool:
    """Whether an object could not be seen with ``headers`` since it is under another key, or under one at all."""
    refused = unseen.__cause__
    wrong = (400, 403) if any("-customer-" in name for name in headers) else (400,)
    return isinstance(refused, Refused) and refused.status in wrong


async def _is_there(client: Client, bucket: str, key: str) -> bool:
    """Whether there is an object of this name, also one that is not shown without a client's key. Raises StoreError."""
    try:
        await client.send(Request("HEAD", bucket, key))
    except NoSuchObject:
        return False
    except Refused as error:
        if error.status != 400:
            raise
    return True


def condition_headers(when: Condition) -> dict[str, str]:
    """The headers that make the backend decide a condition."""
    if when.absent:
        return {"if-none-match": "*"}
    if when.identity is not None:
        return {"if-match": f'"{etag_of(when.identity)}"'}
    return {}


def etag_in(answer: Answer, what: str) -> str:
    """The ETag in the headers of an answer. Raises Unavailable where there is none."""
    etag = unquoted(answer.headers.get("etag", ""))
    if not etag:
        raise Unavailable(f"{what}: the backend's answer has no ETag")
    return etag


async def open_backend_upload(client: Client, bucket: str, key: str, headers: dict[str, str]) -> str:
    """Open a multipart upload of the backend; its id. Raises StoreError."""
    request = Request("POST", bucket, key, [("uploads", "")], headers, again=False)
    answer = await client.send(request)
    try:
        upload_id = xml.read(answer.body).text("UploadId")
    except xml.BadAnswer as error:
        raise Unavailable(f"{request}: the backend's answer to CreateMultipartUpload: {error}") from error
    if not upload_id:
        raise Unavailable(f"{request}: the backend gives no upload id")
    return upload_id


async def complete_backend_upload(
    client: Client,
    bucket: str,
    key: str,
    backend_id: str,
    parts: list[tuple[int, str]],
    headers: dict[str, str],
    object_id: str,
    *,
    sure: bool = True,
) -> str:
    """Complete a multipart upload of the backend; the object's ETag. Raises StoreError.

    An answer of 200 may hold an error, as S3 has it. Where the answer is an error, or was lost, whether the object came
    to be is seen by its id. ``sure``: that the upload was there can be relied on.
    """
    request = Request("POST", bucket, key, [("uploadId", backend_id)], headers, xml.completion(parts))
    try:
        answer = await client.send(request)
        told = unquoted(_document(answer, request).text("ETag"))
        if answer.earlier is None and sure:
            return told
    except StoreError as error:
        # Whatever the last attempt was answered: the first may have made the object, and its answer have been lost.
        try:
            etag = await made_by(client, bucket, key, object_id, headers)
        except Unavailable as unseen:
            # An object under a client's key is not seen without it, at no later time either.
            if undecided(error) or not _is_anothers(unseen, headers):
                raise
            if "if-none-match" in headers:  # which backends themselves may answer so
                raise ConditionFailed(f"{bucket}/{key} is there, under a client's key") from error
            etag = None
        if etag is not None and _is_of(parts, etag):
            return etag
        if not isinstance(error, NoSuchObject):
            raise
        if "if-match" in headers:
            raise ConditionFailed(f"{bucket}/{key} is not there any more") from error
        raise Unavailable(f"{request}: there is nothing of this name, says whoever answers") from error
    # versitygw says so, too, of an upload that is gone, and to a repeated request where it was killed in the midst of
    # the first one, whose object never comes.
    try:
        etag = await made_by(client, bucket, key, object_id, headers)
    except Unavailable as unseen:
        if not _is_anothers(unseen, headers):
            raise
        return told  # it is not seen without the client's key
    if etag is None or not _is_of(parts, etag):
        raise Unavailable(f"{request}: the backend says that it was done, and the object is not there")
    return etag


async def ask(client: Client, request: Request) -> xml.Node:
    """The document that answers a request which may take long, with an ETag in it. It may be an error although the
    status is 200. Raises StoreError.
    """
    return _document(await client.send(request), request)


def _document(answer: Answer, request: Request) -> xml.Node:
    try:
        root = xml.read(answer.body)
        if root.name == "Error":
            code = root.text("Code")
            raise meaning(status_behind(code), code, root.text("Message", ""), str(request)) from answer.earlier
        root.text("ETag")
    except xml.BadAnswer as error:
        raise Unavailable(f"{request}: the backend's answer: {error}") from error
    return root


def _is_of(parts: list[tuple[int, str]], etag: str) -> bool:
    """Whether an object with this ETag can be made of these parts: as many, and, where ETags are MD5s, the same."""
    total, dash, count = etag.rpartition("-")
    if not dash or not count.isdigit():
        return True  # the backend has another kind of ETags
    if int(count) != len(parts):
        return False
    try:
        joined = b"".join(bytes.fromhex(part) for _, part in parts)
    except ValueError:
        return True
    return len(joined) != 16 * len(parts) or hashlib.md5(joined, usedforsecurity=False).hexdigest() == total


class LargePut:
    """A PUT or a copy that is a multipart upload of the backend. While one part is sent, the next one is gathered."""

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
        """Open the upload, and leave a marker for the sweep should this process end before it does.

        ``headers`` say of the object what is recorded of it; by default that its record lies in its place.
        """
        described = {**(pointing_headers(self._id) if headers is None else headers), **self._encryption.creating}
        self._backend_id = await open_backend_upload(self._client, self._bucket, self._key, described)
        marker = HiddenRecord(self._key, time.time_ns(), {BACKEND_ID: self._backend_id.encode()})
        await self._client.send(Request("PUT", self._bucket, names.put_name(self._id), body=marker.encode()))

    async def send(self, part: bytearray) -> None:
        """Send the next part, behind the one that is under way. Raises what became of that."""
        await self.finish()
        self._sending = asyncio.create_task(self._send(part, len(self._etags) + 1))

    async def _send(self, part: bytearray, number: int) -> None:
        request = self._part(number, self._encryption.reading, part)
        self._etags.append(etag_in(await self._client.send(request), str(request)))

    async def copy(self, headers: Mapping[str, str], ask: Callable[[Request], Awaitable[xml.Node]]) -> None:
        """Have the backend make the next part of bytes that it has; ``ask`` gives its answer. Raises StoreError."""
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
        """Make the object; its ETag. The record has to lie there already. Raises StoreError."""
        parts = list(enumerate(self._etags, 1))
        headers = {**condition_headers(when), **self._encryption.reading}
        self._over = True  # until the backend says no: its object may come to be, and then needs its record
        try:
            etag = await complete_backend_upload(
                self._client, self._bucket, self._key, self._backend_id, parts, headers, self._id
            )
        except StoreError as error:
            self._over = undecided(error)
            if isinstance(error, NoSuchUpload):  # clients know of none; it was done, perhaps, and replaced since
                raise Unavailable(f"{self._bucket}/{self._key}: the backend has its upload no more") from error
            raise
        with contextlib.suppress(StoreError):  # the sweep finds what stays behind
            await self._client.send(Request("DELETE", self._bucket, names.put_name(self._id)))
        return etag

    async def abort(self) -> None:
        """Drop the upload and its parts; what cannot be dropped now, the sweep finds."""
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


async def abort_backend_upload(client: Client, bucket: str, key: str, backend_id: str) -> None:
    """Drop an upload of the backend; that it is gone already is no error. Raises StoreError."""
    with contextlib.suppress(NoSuchUpload, NoSuchObject):
        await client.send(Request("DELETE", bucket, key, [("uploadId", backend_id)]))


PartDone = Callable[[str, int, Record], Coroutine[Any, Any, Part]]
"""Keeps what is recorded of a part that the backend has: its ETag there, its stored bytes, its record."""


class S3PartWriter:
    """The PartWriter of the protocol: a small part is sent when it is whole, a large one as it comes."""

    append = None

    def __init__(self, client: Client, request: Request, size: int | None, done: PartDone) -> None:
        self._client = client
        self._request = request
        self._done = done
        self._buffer = bytearray()
        self._stream = StreamedBody(size) if size is not None and size > BUFFER else None
        self._sending: asyncio.Task[Answer] | None = None
        self._size = 0

    async def write(self, data: Buffer) -> None:
        """Append. Raises StoreError."""
        self._size += len(data)
        if self._stream is None:
            self._buffer += data
            return
        if self._sending is None:
            self._sending = asyncio.create_task(self._client.send(self._with(self._stream)))
        await self._feed(self._stream.put(data))

    async def _feed(self, feeding: Coroutine[Any, Any, None]) -> None:
        """Feed the request, unless it ended: its error is raised then."""
        assert self._sending is not None
        task = asyncio.ensure_future(feeding)
        await asyncio.wait([task, self._sending], return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            task.cancel()
            await asyncio.wait([task])
            await self._sending
            raise Unavailable(f"{self._request}: the backend answered before the part was sent")

    def _with(self, body: Buffer | StreamedBody) -> Request:
        request = self._request
        return Request(request.method, request.bucket, request.key, request.query, request.headers, body)

    async def commit(self, record: Record) -> Part:
        """Make the part durable. Raises NoSuchUpload."""
        if self._stream is None or self._sending is None:
            answer = await self._client.send(self._with(self._buffer))
        else:
            if self._size != self._stream.length:
                raise Unavailable(f"{self._request}: {self._size} bytes came, not {self._stream.length}")
            await self._feed(self._stream.end())
            answer = await self._sending
        return await self._done(etag_in(answer, str(self._request)), self._size, record)

    async def abort(self) -> None:
        """Forget what was written."""
        if self._sending is not None and not self._sending.done():
            self._sending.cancel()
            await asyncio.wait([self._sending])
        if self._sending is not None and self._sending.done() and not self._sending.cancelled():
            self._sending.exception()
