"""The sweep: finds and removes what gateways that ended early left under the hidden prefix, and only that.

Four rules keep what may still be in use. Nothing younger than a day is touched, nor what was written anew since it was
listed: a completion may have begun, of which some backends show neither the upload nor the object. A record stays while
the object under its key names it, or while an upload or a PUT with its id is open. An upload stays while the backend
has it. What cannot be understood stays.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass, field

from strongroom.store.concurrently import each
from strongroom.store.errors import NoSuchObject, NoSuchUpload, Refused, Unavailable
from strongroom.store.s3 import names, xml
from strongroom.store.s3.backend_listing import Listed, hidden_objects
from strongroom.store.s3.backend_uploads import abort_backend_upload
from strongroom.store.s3.client import Client
from strongroom.store.s3.messages import Request
from strongroom.store.s3.metadata import BACKEND_ID, ID, HiddenRecord, decode_hidden
from strongroom.store.s3.records import remove_names

DAY = 24 * 3600.0
"""The age in seconds from which something can be an orphan."""


@dataclass(slots=True)
class Swept:
    """What a sweep found, and removed unless it only looked: hidden names, by what they were."""

    records: list[str] = field(default_factory=list)
    uploads: list[str] = field(default_factory=list)
    puts: list[str] = field(default_factory=list)

    @property
    def count(self) -> int:
        """How many orphans there were."""
        return len(self.records) + len(self.uploads) + len(self.puts)


class Sweep:
    """Sweeps one bucket. ``age``: seconds from which something can be an orphan; ``dry``: only look; ``stop``: once it
    is set, what was begun is finished and nothing more is begun. ``swept`` is what was found so far.
    """

    def __init__(
        self, client: Client, bucket: str, *, age: float = DAY, dry: bool = False, stop: asyncio.Event | None = None
    ) -> None:
        self._client = client
        self._bucket = bucket
        self._before = time.time_ns() - int(age * 1e9)
        self._dry = dry
        self._stop = stop or asyncio.Event()
        self.swept = Swept()

    async def run(self) -> Swept:
        """Sweep. Raises StoreError."""
        try:
            await self._run()
        finally:
            for found in (self.swept.records, self.swept.uploads, self.swept.puts):
                found.sort()
        return self.swept

    async def _run(self) -> None:
        # In this order: of an upload that is completed meanwhile, the record is listed before the upload ends.
        records = await self._old_records()
        uploads = await self._listed(names.UPLOADS)
        puts = await self._listed(names.PUTS)
        open_ids = {name.split("/")[2] for name in (*uploads, *puts)}
        await each([item for item in puts.values() if self._old(item)], self._put)
        folders: dict[str, list[Listed]] = {}
        for item in uploads.values():
            folders.setdefault(item.key.split("/")[2], []).append(item)
        await each([(upload, items) for upload, items in folders.items() if all(map(self._old, items))], self._upload)
        open_ids -= {name.split("/")[2] for name in self.swept.uploads}
        await each([object_id for object_id in records if object_id not in open_ids], self._record)

    async def _old_records(self) -> list[str]:
        """The ids of the old records. Each large object has a record, so nothing but ids is kept in memory."""
        return [
            _id(item) async for item in hidden_objects(self._client, self._bucket, names.RECORDS) if self._old(item)
        ]

    async def _listed(self, folder: str) -> Mapping[str, Listed]:
        return {item.key: item async for item in hidden_objects(self._client, self._bucket, folder)}

    def _old(self, item: Listed) -> bool:
        return item.modified < self._before

    async def _record(self, object_id: str) -> None:
        if self._stop.is_set():
            return
        name = names.record_name(object_id)
        hidden = await self._read(name)
        if hidden is None or await self._points(hidden.key, object_id):
            return
        self.swept.records.append(name)
        await self._remove([name])

    async def _put(self, item: Listed) -> None:
        """Remove a large PUT that never ended: its upload at the backend, its record, its marker."""
        if self._stop.is_set():
            return
        hidden = await self._read(item.key)
        if hidden is None or await self._busy(hidden):
            return
        record = await self._read(names.record_name(_id(item)))  # which is there before the upload ends
        if record is not None and record.modified >= self._before:
            return
        self.swept.puts.append(item.key)
        if self._dry:
            return
        await abort_backend_upload(self._client, self._bucket, hidden.key, _backend_id(hidden))
        gone = [item.key]
        if not await self._points(hidden.key, _id(item)):
            gone.append(names.record_name(_id(item)))
        await self._remove(gone)

    async def _upload(self, folder: tuple[str, list[Listed]]) -> None:
        """Remove an upload that the backend no longer has, or whose own record is gone."""
        if self._stop.is_set():
            return
        upload, items = folder
        record = names.upload_name(upload)
        if any(item.key == record for item in items):
            hidden = await self._read(record)
            if hidden is None or await self._parts(hidden) is not None:
                return
        async for item in hidden_objects(self._client, self._bucket, names.upload_folder(upload)):
            if not self._old(item):
                return
        self.swept.uploads.append(names.upload_folder(upload))
        await self._remove(sorted((item.key for item in items), reverse=True))

    async def _busy(self, hidden: HiddenRecord) -> bool:
        """Whether parts have come lately."""
        newest = await self._parts(hidden)
        return newest is not None and newest >= self._before

    async def _parts(self, hidden: HiddenRecord) -> int | None:
        """The time of the newest part of a backend's upload, 0 if it has none; None if there is no such upload."""
        newest, marker = 0, 0
        while True:
            query = [("uploadId", _backend_id(hidden)), ("part-number-marker", str(marker))]
            try:
                answer = await self._client.send(Request("GET", self._bucket, hidden.key, query))
            except (NoSuchUpload, NoSuchObject):
                return None
            try:
                root = xml.read(answer.body)
                newest = max([newest, *(part.moment("LastModified") for part in root.all("Part"))])
                if root.text("IsTruncated", "false") != "true":
                    return newest
                former, marker = marker, root.number("NextPartNumberMarker")
                if marker <= former:
                    raise xml.BadAnswer("it does not get on")
            except xml.BadAnswer as error:
                raise Unavailable(f"the backend's list of parts: {error}") from error

    async def _points(self, key: str, object_id: str) -> bool:
        """Whether the object under a key names this id, or cannot be looked at."""
        try:
            answer = await self._client.send(Request("HEAD", self._bucket, key))
        except NoSuchObject:
            return False
        except Refused:
            return True  # looking at it takes a client's key
        return answer.headers.get(ID) == object_id

    async def _read(self, name: str) -> HiddenRecord | None:
        """The document under a name; None if it is gone, or cannot be understood: it may be a later release's, or the
        backend's answer may be wrong.
        """
        try:
            return decode_hidden((await self._client.send(Request("GET", self._bucket, name))).body)
        except (NoSuchObject, ValueError):
            return None

    async def _remove(self, keys: list[str]) -> None:
        if not self._dry:
            await remove_names(self._client, self._bucket, keys)


def _id(item: Listed) -> str:
    return item.key.split("/")[2]


def _backend_id(hidden: HiddenRecord) -> str:
    return hidden.record.get(BACKEND_ID, b"").decode()
