"""Copies of the S3 store: made by the backend, with a record of their own. No byte comes through the gateway."""

from __future__ import annotations

import contextlib
from urllib.parse import quote

from strongroom.store.base import ALWAYS, Condition, Stored
from strongroom.store.errors import ConditionFailed, NoSuchObject, ObjectChanged, Refused, StoreError, Unavailable
from strongroom.store.s3 import names, xml
from strongroom.store.s3.client import Client, Request
from strongroom.store.s3.encryption import BackendEncryption
from strongroom.store.s3.errors import meaning, undecided
from strongroom.store.s3.metadata import HiddenRecord, etag_of, inline_headers, pointing_headers, unquoted
from strongroom.store.s3.reading import S3Reader
from strongroom.store.s3.records import remove_hidden, write_hidden
from strongroom.store.s3.writing import LargePut, made_by, put_object

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
                etag = await self._at_once(source, bucket, hidden.key, headers, encryption, object_id)
        except StoreError as error:
            if not undecided(error):
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
            # Perhaps the answer to the first attempt was lost, and the second met what that had made.
            etag = await made_by(self._client, bucket, key, object_id, encryption.creating)
            if etag is None:
                raise
            return etag
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
        put = LargePut(self._client, bucket, key, object_id, encryption)
        try:
            await put.begin(headers)
            for start in range(0, source.stored.size, _PART):
                end = min(start + _PART, source.stored.size) - 1
                span = {"x-amz-copy-source-range": f"bytes={start}-{end}"}
                await put.copy({**_source_headers(source), **span}, lambda request: self._ask(request, source))
            return await put.complete(when)
        except BaseException:
            await put.abort()
            raise

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
