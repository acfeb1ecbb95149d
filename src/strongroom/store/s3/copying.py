"""Copies of the S3 store: made by the backend, with a record of their own. No byte comes through the gateway."""

from __future__ import annotations

import contextlib
import time
from urllib.parse import quote

from strongroom.store.base import (
    ALWAYS,
    Condition,
    ConditionFailed,
    NoSuchObject,
    ObjectChanged,
    Refused,
    Stored,
    StoreError,
    Unavailable,
)
from strongroom.store.s3 import names, xml
from strongroom.store.s3.client import Client, Request
from strongroom.store.s3.encryption import BackendEncryption
from strongroom.store.s3.errors import meaning
from strongroom.store.s3.metadata import BACKEND_ID, HiddenRecord, etag_of, inline_headers, pointing_headers, unquoted
from strongroom.store.s3.reading import S3Reader
from strongroom.store.s3.records import remove_hidden, write_hidden
from strongroom.store.s3.writing import (
    abort_backend_upload,
    complete_backend_upload,
    condition_headers,
    open_backend_upload,
    put_object,
)

LARGEST_COPY = 5 * 1024**3
"""Stored bytes that the backend copies in one request (S3 API reference, "CopyObject"); sealed 5 GiB are more."""

_PART = 1024**3


class Copier:
    """Copies objects at the backend."""

    def __init__(self, client: Client) -> None:
        self._client = client

    async def copy(
        self, source: S3Reader, bucket: str, hidden: HiddenRecord, encryption: BackendEncryption, when: Condition
    ) -> Stored:
        """Put the bytes of ``source`` under a name, with this record. Raises ObjectChanged where it was replaced."""
        object_id = names.new_id()
        if source.stored.size == 0:
            etag = await put_object(self._client, bucket, object_id, hidden, b"", encryption.creating, when)
            return Stored(hidden.key, 0, hidden.modified, hidden.record, f"{etag} {object_id}")
        headers = None if hidden.annex else inline_headers(object_id, hidden.record, hidden.modified)
        # Conditions are decided with the completion of an upload: few backends decide them with a copy.
        in_parts = source.stored.size > LARGEST_COPY or when != ALWAYS
        if headers is None:
            headers = pointing_headers(object_id, hidden.record)
            await write_hidden(self._client, bucket, object_id, hidden)
        try:
            if in_parts:
                etag = await self._in_parts(source, bucket, hidden.key, headers, encryption, when, object_id)
            else:
                etag = await self._at_once(source, bucket, hidden.key, headers, encryption)
        except Unavailable:
            raise
        except StoreError:
            with contextlib.suppress(StoreError):
                await remove_hidden(self._client, bucket, object_id)
            raise
        identity = f"{etag} {object_id}"
        return Stored(hidden.key, source.stored.size, hidden.modified, hidden.record, identity)

    async def _at_once(
        self,
        source: S3Reader,
        bucket: str,
        key: str,
        headers: dict[str, str],
        encryption: BackendEncryption,
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
        answer = await self._ask(request, source)
        return unquoted(answer.text("ETag"))

    async def _in_parts(
        self,
        source: S3Reader,
        bucket: str,
        key: str,
        headers: dict[str, str],
        encryption: BackendEncryption,
        when: Condition,
        object_id: str,
    ) -> str:
        backend_id = await open_backend_upload(self._client, bucket, key, {**headers, **encryption.creating})
        marker = HiddenRecord(key, time.time_ns(), {BACKEND_ID: backend_id.encode()})
        try:
            await self._client.send(Request("PUT", bucket, names.put_name(object_id), body=marker.encode()))
            etags: list[tuple[int, str]] = []
            for number, start in enumerate(range(0, source.stored.size, _PART), 1):
                end = min(start + _PART, source.stored.size) - 1
                query = [("partNumber", str(number)), ("uploadId", backend_id)]
                span = {"x-amz-copy-source-range": f"bytes={start}-{end}"}
                part = {**_source_headers(source), **span, **encryption.reading}
                answer = await self._ask(Request("PUT", bucket, key, query, part), source)
                etags.append((number, unquoted(answer.text("ETag"))))
        except BaseException:
            with contextlib.suppress(StoreError):
                await abort_backend_upload(self._client, bucket, key, backend_id)
            raise
        completing = {**condition_headers(when), **encryption.reading}
        try:
            etag = await complete_backend_upload(self._client, bucket, key, backend_id, etags, completing, object_id)
        except Unavailable:
            raise
        except StoreError as error:
            with contextlib.suppress(StoreError):
                await abort_backend_upload(self._client, bucket, key, backend_id)
            if isinstance(error, NoSuchObject):  # If-Match, and nothing is there
                raise ConditionFailed(f"{bucket}/{key} is not there any more") from error
            raise
        with contextlib.suppress(StoreError):
            await self._client.send(Request("DELETE", bucket, names.put_name(object_id)))
        return etag

    async def _ask(self, request: Request, source: S3Reader) -> xml.Node:
        """The answer to a request that copies, which may be an error although its status is 200."""
        try:
            answer = await self._client.send(request)
            root = xml.read(answer.body)
            if root.name == "Error":
                raise meaning(500, root.text("Code"), root.text("Message", ""), str(request))
            root.text("ETag")
            return root
        except xml.BadAnswer as error:
            raise Unavailable(f"{request}: the backend's answer: {error}") from error
        except (ConditionFailed, NoSuchObject, Refused) as error:
            if isinstance(error, Refused) and not _is_out_of_range(error):
                raise
            raise ObjectChanged(f"{source.bucket}/{source.stored.key} was replaced while it was copied") from error


def _is_out_of_range(error: Refused) -> bool:
    """Whether a range was refused, which some look at before the ETag. AWS's code for it means much else, too."""
    return error.code == "InvalidRange" or (
        error.code == "InvalidArgument" and error.message.startswith("Range specified is not valid")
    )


def _source_headers(source: S3Reader) -> dict[str, str]:
    return {
        "x-amz-copy-source": f"/{source.bucket}/{quote(source.stored.key, safe='/~')}",
        "x-amz-copy-source-if-match": f'"{etag_of(source.stored.identity)}"',
        **source.encryption.copying,
    }
