"""Buckets of the backend, their settings, and the check value in each."""

from __future__ import annotations

import asyncio
import base64
import json
import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress

from strongroom.store.base import Bucket, Condition
from strongroom.store.concurrently import each
from strongroom.store.errors import (
    BucketNotEmpty,
    ConditionFailed,
    Damaged,
    NoSuchBucket,
    NoSuchObject,
    StoreError,
    Unavailable,
)
from strongroom.store.s3 import names, xml
from strongroom.store.s3.backend_listing import hidden_names, list_names
from strongroom.store.s3.backend_uploads import abort_backend_upload
from strongroom.store.s3.client import Client
from strongroom.store.s3.messages import Request
from strongroom.store.s3.putting import condition_headers, etag_in, without_quotes
from strongroom.store.s3.records import remove_names
from strongroom.store.s3.uploads import Uploads

_log = logging.getLogger("strongroom.store.s3")

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
        """The bucket with its settings. One request tells whether it exists and what they are."""
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
        """Store or remove a setting. Gateways that do this at the same time do not undo each other's changes."""

        def changed(settings: Mapping[str, bytes]) -> Mapping[str, bytes]:
            others = {key: value for key, value in settings.items() if key != setting}
            return others if document is None else {**others, setting: document}

        await self._change(name, changed)

    async def leave(self, name: str, setting: str, document: bytes) -> bytes:
        """Store a setting unless there is one. Returns the one that is stored now."""
        settings = await self._change(name, lambda settings: {setting: document, **settings})
        return settings[setting]

    async def _change(
        self, name: str, changed: Callable[[Mapping[str, bytes]], Mapping[str, bytes]]
    ) -> Mapping[str, bytes]:
        """Replace the settings by what ``changed`` makes of them. Returns the new ones."""
        refused = None
        for _ in range(_MAX_ATTEMPTS):
            etag, before = await self._settings(name)
            settings = changed(before)
            if settings == before:
                return before
            encoded = {key: base64.b64encode(value).decode() for key, value in settings.items()}
            when = condition_headers(Condition(identity=etag) if etag else Condition(absent=True))
            if etag and etag == refused:  # although it is the right one
                when = without_quotes(etag)
            request = Request("PUT", name, names.SETTINGS, headers=when, body=json.dumps(encoded).encode())
            try:
                await self._client.send(request)
            except (ConditionFailed, NoSuchObject):
                refused = etag
                continue
            return settings
        raise Unavailable(f"the settings of the bucket {name!r} are being changed too often")

    async def _settings(self, name: str) -> tuple[str, Mapping[str, bytes]]:
        """The backend's ETag of the settings ("" if there are none), and the settings. Raises NoSuchBucket."""
        request = Request("GET", name, names.SETTINGS)
        try:
            answer = await self._client.send(request)
        except NoSuchObject:
            return "", {}
        return etag_in(answer, str(request)), _decode(name, answer.body)

    async def delete(self, name: str) -> None:
        """Remove a bucket that has no objects but ours; its open uploads go with it."""
        for after in ("", names.LAST_HIDDEN):
            page = await list_names(self._client, name, "", "", after, 1)
            if any(not names.is_hidden(listed.key) for listed in page.objects):
                raise BucketNotEmpty(f"the bucket {name!r} holds objects")
        uploads = await self._uploads.all(name)
        await each(uploads, lambda one: abort_backend_upload(self._client, name, one.upload.key, one.backend_id))
        hidden = [key async for key in hidden_names(self._client, name, names.HIDDEN)]
        kept = await self._documents(name, hidden)
        try:
            last = [key for key in hidden if key in (names.SETTINGS, names.CHECK)]  # how the bucket encrypts
            await remove_names(self._client, name, [key for key in hidden if key not in last])
            await remove_names(self._client, name, last)
            await self._client.send(Request("DELETE", name))
        except BaseException:  # an object may have come meanwhile, its record been removed: the bucket stays as it was
            await asyncio.shield(self._put_back(name, kept))
            raise

    async def _documents(self, name: str, hidden: Sequence[str]) -> Mapping[str, bytes]:
        """What is recorded in a bucket: its settings, its check value, and the records of objects."""
        kept: dict[str, bytes] = {}

        async def keep(key: str) -> None:
            with suppress(NoSuchObject):
                kept[key] = (await self._client.send(Request("GET", name, key))).body

        documents = [key for key in hidden if key in (names.SETTINGS, names.CHECK) or key.startswith(names.RECORDS)]
        await each(documents, keep)
        return kept

    async def _put_back(self, name: str, kept: Mapping[str, bytes]) -> None:
        """Write again what was removed, except what others have written since."""
        for key, body in kept.items():
            try:
                await self._lay(name, key, body)
            except NoSuchBucket:
                return
            except StoreError as error:
                _log.error("the bucket %r was not removed, and %s could not be put back: %s", name, key, error)

    async def _lay(self, name: str, key: str, body: bytes) -> None:
        absent = condition_headers(Condition(absent=True))
        try:
            await self._client.send(Request("PUT", name, key, headers=absent, body=body))
        except ConditionFailed:
            if key == names.SETTINGS:  # an upload has stored a listing key there, but not how the bucket encrypts
                before = _decode(name, body)
                await self._change(name, lambda settings: {**before, **settings})

    # -- the check value -------------------------------------------------------------------------------------------

    async def read_check(self, name: str) -> bytes | None:
        """The check value in a bucket, None if there is none. Raises NoSuchBucket."""
        try:
            return (await self._client.send(Request("GET", name, names.CHECK))).body
        except NoSuchObject:
            return None

    async def leave_check(self, name: str, document: bytes) -> bool:
        """Store a check value unless there is one; False if there is."""
        headers = condition_headers(Condition(absent=True))
        try:
            await self._client.send(Request("PUT", name, names.CHECK, headers=headers, body=document))
        except ConditionFailed:
            return False
        return True

    async def replace_check(self, name: str, document: bytes) -> None:
        """Replace the check value."""
        await self._client.send(Request("PUT", name, names.CHECK, body=document))


def _decode(name: str, body: bytes) -> Mapping[str, bytes]:
    """The settings of a bucket, read from their document. Raises Damaged."""
    try:
        document = json.loads(body)
        return {str(key): base64.b64decode(value, validate=True) for key, value in document.items()}
    except (ValueError, AttributeError, TypeError, RecursionError) as error:
        raise Damaged(f"the settings of the bucket {name!r} are damaged") from error
