"""Copies in the S3 store: made by the backend, with their own records. Most need no bytes to go through the gateway."""

from __future__ import annotations

import contextlib
import hashlib
import random
from collections.abc import Iterator
from urllib.parse import quote

from strongroom.store.base import ALWAYS, Condition, Stored
from strongroom.store.errors import ConditionFailed, NoSuchObject, ObjectChanged, Refused, StoreError
from strongroom.store.s3 import names, xml
from strongroom.store.s3.backend_uploads import LargePut, ask
from strongroom.store.s3.client import Client
from strongroom.store.s3.encryption import BackendEncryption
from strongroom.store.s3.errors import undecided
from strongroom.store.s3.messages import Request
from strongroom.store.s3.metadata import HiddenRecord, etag_of, inline_headers, pointing_headers, unquoted
from strongroom.store.s3.putting import made_by, put_object, see
from strongroom.store.s3.reading import S3Reader
from strongroom.store.s3.records import remove_hidden, write_hidden
from strongroom.store.s3.writing import BUFFER

LARGEST_COPY = 5 * 1024**3
"""The most stored bytes that the backend copies in one request (S3 API reference, "CopyObject"). An object of 5 GiB has
more once it is sealed."""

_PART = 1024**3
_LEAST_PART = 5 * 1024**2


class Copier:
    """Copies objects at the backend."""

    def __init__(self, client: Client) -> None:
        self._client = client

    async def copy(
        self, source: S3Reader, bucket: str, hidden: HiddenRecord, encryption: BackendEncryption, when: Condition
    ) -> Stored:
        """Put the bytes of ``source`` under a name, with this record. Raises ObjectChanged if it was replaced."""
        object_id = names.new_id()
        # Under a condition a multipart upload is used: few backends check conditions of a copy. Where not even the one
        # that the source is still the same may be checked, small objects are read and put, and others copied in parts:
        # then the source can be looked at before what was copied is visible.
        checked = self._client.checks_copies
        in_parts = source.stored.size > LARGEST_COPY or when != ALWAYS or not checked
        try:
            is_read = not checked and when == ALWAYS and source.stored.size <= BUFFER
            body = await (_whole(source) if is_read else _body_to_put(source, hidden.key, when))
            if body is not None:
                etag = await put_object(self._client, bucket, object_id, hidden, body, encryption.creating, when)
            else:
                headers = await self._recorded(bucket, object_id, hidden)
                if in_parts:
                    put = LargePut(self._client, bucket, hidden.key, object_id, encryption)
                    etag = await self._in_parts(source, put, headers, when, checked)
                else:
                    etag = await self._at_once(source, bucket, hidden.key, headers, encryption, object_id)
        except StoreError as error:
            if not undecided(error):
                with contextlib.suppress(StoreError):
                    await remove_hidden(self._client, bucket, object_id)
            raise
        identity = f"{etag} {object_id}"
        return Stored(hidden.key, source.stored.size, hidden.modified, hidden.record, identity)

    async def _recorded(self, bucket: str, object_id: str, hidden: HiddenRecord) -> dict[str, str]:
        """The headers that hold a record; or those that point to it, once it is written as a hidden one."""
        headers = None if hidden.annex else inline_headers(object_id, hidden.record, hidden.modified)
        if headers is None:
            headers = pointing_headers(object_id, hidden.record)
            await write_hidden(self._client, bucket, object_id, hidden)
        return headers

    async def _at_once(
        self,
        source: S3Reader,
        bucket: str,
        key: str,
        headers: dict[str, str],
        encryption: BackendEncryption,
        object_id: str,
    ) -> str:
        request = Request(
            "PUT",
            bucket,
            key,
            headers={
                "x-amz-metadata-directive": "REPLACE",
                **headers,
                **_source_headers(source),
                **encryption.creating,
            },
        )
        try:
            answer = await self._ask(request, source)
        except StoreError:
            # Perhaps the answer to the first attempt was lost, and the second met the object that it had made.
            etag = await made_by(self._client, bucket, key, object_id, encryption.creating)
            if etag is None:
                raise
            return etag
        return unquoted(answer.text("ETag"))

    async def _in_parts(
        self, source: S3Reader, put: LargePut, headers: dict[str, str], when: Condition, checked: bool
    ) -> str:
        try:
            await put.begin(headers)
            if source.stored.size == 0 or source.stored.key.endswith("/"):  # MinIO makes no parts of the latter
                await _send(source, put)
            else:
                for start, end in _spans(source.stored.size):
                    span = {"x-amz-copy-source-range": f"bytes={start}-{end}"}
                    await put.copy({**_source_headers(source), **span}, lambda request: self._ask(request, source))
            if not checked:
                await self._check_source(source)
            return await put.complete(when)
        except BaseException:
            await put.abort()
            raise

    async def _check_source(self, source: S3Reader) -> None:
        """Raises ObjectChanged if the source was replaced while parts of it were copied."""
        found = await see(self._client, source.bucket, source.stored.key, source.encryption.reading)
        if found is None or found.etag != etag_of(source.stored.identity):
            raise ObjectChanged(f"{source.bucket}/{source.stored.key} was replaced while it was copied")

    async def _ask(self, request: Request, source: S3Reader) -> xml.Node:
        """The answer to a request that copies. Raises ObjectChanged if the source was replaced."""
        try:
            return await ask(self._client, request)
        except (ConditionFailed, NoSuchObject, Refused) as error:
            if isinstance(error, Refused) and not _is_out_of_range(error):
                raise
            raise ObjectChanged(f"{source.bucket}/{source.stored.key} was replaced while it was copied") from error


async def _send(source: S3Reader, put: LargePut) -> None:
    part = bytearray()
    async for chunk in source.stream(0, source.stored.size):
        part += chunk
        if len(part) >= BUFFER:
            await put.send(part)
            part = bytearray()
    if part or source.stored.size == 0:
        await put.send(part)
    await put.finish()


async def _body_to_put(source: S3Reader, key: str, when: Condition) -> bytes | None:
    """All bytes of a source that is to be put in one piece; None if the backend copies it.

    An object written under a condition needs another ETag than the condition's, or whoever read the old object would
    take the new one for it. The ETag of a small object depends on whether it is put, or uploaded as one part. Objects
    whose names end in a slash are always put (under a condition): MinIO and versitygw refuse uploads under such names.
    """
    size = source.stored.size
    etag = etag_of(when.identity) if when.identity is not None else ""
    is_folder = key.endswith("/") and when != ALWAYS
    if size == 0:
        return None if etag == _md5(b"") and not is_folder else b""
    if size > BUFFER or not (is_folder or etag.endswith("-1")):
        return None
    body = await _whole(source)
    return body if is_folder or f"{_md5(bytes.fromhex(_md5(body)))}-1" == etag else None


async def _whole(source: S3Reader) -> bytes:
    return b"".join([chunk async for chunk in source.stream(0, source.stored.size)])


def _md5(data: bytes) -> str:
    return hashlib.md5(data, usedforsecurity=False).hexdigest()


def _spans(size: int) -> Iterator[tuple[int, int]]:
    """The first and the last byte of each part of a copy; all have the same length, except the last one. Unless the
    source is small, the length differs from copy to copy, so that the ETag does, too.
    """
    most = max(min(size, _PART), 1)
    least = max(_LEAST_PART, most - most // 4)
    length = random.randint(least, most) if size > BUFFER else most  # noqa: S311
    return ((start, min(start + length, size) - 1) for start in range(0, size, length))


def _is_out_of_range(error: Refused) -> bool:
    """Whether a range was refused: some backends check it before the ETag. AWS uses its code for other errors, too."""
    return error.code == "InvalidRange" or error.message.startswith(
        ("Range specified is not valid", "The specified copy range is invalid")
    )


def _source_headers(source: S3Reader) -> dict[str, str]:
    return {
        "x-amz-copy-source": f"/{source.bucket}/{quote(source.stored.key, safe='/~')}",
        "x-amz-copy-source-if-match": f'"{etag_of(source.stored.identity)}"',
        **source.encryption.copying,
    }
