"""Buckets of the backend, their settings, and the check value that lies in each."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping, Sequence

from strongroom.store.base import (
    Bucket,
    BucketNotEmpty,
    Condition,
    ConditionFailed,
    NoSuchObject,
    StoreError,
    Unavailable,
)
from strongroom.store.s3 import names, xml
from strongroom.store.s3.client import Client, Request
from strongroom.store.s3.listing import hidden_names, list_names, remove_names
from strongroom.store.s3.uploads import Uploads
from strongroom.store.s3.writing import abort_backend_upload, condition_headers

_DEFAULT_REGION = "us-east-1"
_MAX_ATTEMPTS = 8


class Buckets:
    """The buckets of a backend."""

    def __init__(self, client: Client, uploads: Uploads) -> None:
        self._client = client
        self._uploads = uploads

    async def create(self, name: str) -> Bucket:
        """Make a bucket in the backend's region."""
        region = self._client.region
        body = b"" if region == _DEFAULT_REGION else xml.location(region)
        await self._client.send(Request("PUT", name, body=body, again=False))
        return Bucket(name, 0)

    async def find(self, name: str) -> Bucket:
        """The bucket with its settings: one request tells both."""
        _, settings = await self._settings(name)
        return Bucket(name, 0, settings)

    async def all(self) -> Sequence[Bucket]:
        """All buckets, by name."""
        request = Request("GET")
        answer = await self._client.send(request)
        try:
            listed = [node for group in xml.read(answer.body).all("Buckets") for node in group.all("Bucket")]
            found = [Bucket(node.text("Name"), node.moment("CreationDate")) for node in listed]
        except xml.BadAnswer as error:
            raise Unavailable(f"the backend's list of buckets: {error}") from error
        return sorted(found, key=lambda bucket: bucket.name)

    async def set(self, name: str, setting: str, document: bytes | None) -> None:
        """Keep or remove a setting. Gateways that do so at the same time do not undo each other's."""
        for _ in range(_MAX_ATTEMPTS):
            etag, settings = await self._settings(name)
            changed = {key: value for key, value in settings.items() if key != setting}
            if document is not None:
                changed[setting] = document
            encoded = {key: base64.b64encode(value).decode() for key, value in changed.items()}
            when = Condition(identity=etag) if etag else Condition(absent=True)
            request = Request(
                "PUT", name, names.SETTINGS, headers=condition_headers(when), body=json.dumps(encoded).encode()
            )
            try:
                await self._client.send(request)
            except (ConditionFailed, NoSuchObject):
                continue
            return
        raise Unavailable(f"the settings of the bucket {name!r} are being changed too often")

    async def _settings(self, name: str) -> tuple[str, Mapping[str, bytes]]:
        """The settings and the backend's ETag of them ("" where there are none). Raises NoSuchBucket."""
        try:
            answer = await self._client.send(Request("GET", name, names.SETTINGS))
        except NoSuchObject:
            return "", {}
        try:
            document = json.loads(answer.body)
            settings = {str(key): base64.b64decode(value, validate=True) for key, value in document.items()}
        except (ValueError, AttributeError, TypeError, binascii.Error) as error:
            raise StoreError(f"the settings of the bucket {name!r} are damaged") from error
        return answer.headers.get("etag", "").strip('"'), settings

    async def delete(self, name: str) -> None:
        """Remove a bucket that has no objects but ours; its open uploads go with it."""
        for after in ("", names.LAST_HIDDEN):
            page = await list_names(self._client, name, "", "", after, 1)
            if any(not names.is_hidden(listed.key) for listed in page.objects):
                raise BucketNotEmpty(f"the bucket {name!r} holds objects")
        for opened in await self._uploads.all(name):
            await abort_backend_upload(self._client, name, opened.upload.key, opened.backend_id)
        hidden = [key async for key in hidden_names(self._client, name, names.HIDDEN)]
        await remove_names(self._client, name, hidden)
        await self._client.send(Request("DELETE", name))

    # -- the check value -------------------------------------------------------------------------------------------

    async def read_check(self, name: str) -> bytes | None:
        """The check value that lies in a bucket, None where there is none. Raises NoSuchBucket."""
        try:
            return (await self._client.send(Request("GET", name, names.CHECK))).body
        except NoSuchObject:
            return None

    async def leave_check(self, name: str, document: bytes) -> bool:
        """Leave a check value; False where another was left meanwhile."""
        headers = condition_headers(Condition(absent=True))
        try:
            await self._client.send(Request("PUT", name, names.CHECK, headers=headers, body=document))
        except ConditionFailed:
            return False
        return True

    async def replace_check(self, name: str, document: bytes) -> None:
        """Put another in the place of a check value."""
        await self._client.send(Request("PUT", name, names.CHECK, body=document))
