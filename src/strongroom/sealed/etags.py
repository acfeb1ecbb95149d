"""The ETags and sizes of objects, for listings and conditions: from records, in batches, remembered.

Knows nothing of bytes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import NamedTuple

from strongroom.kms.base import KMSError
from strongroom.sealed.context import object_name
from strongroom.sealed.envelope import EnvelopeInvalid
from strongroom.sealed.errors import LegacyNotCovered, NoKMS
from strongroom.sealed.keyholder import Keyholder
from strongroom.sealed.keys import ObjectKey, record_key
from strongroom.sealed.legacy import AnyHeader, Inherited, headed
from strongroom.sealed.listed import LISTED, Shown
from strongroom.sealed.listing_keys import Asker, ListingKeys
from strongroom.sealed.metadata import Metadata
from strongroom.sealed.objects import Summary, guessed, stand_in_etag
from strongroom.sealed.record import open_record, read_plain
from strongroom.sealed.remembered import Remembered
from strongroom.store.base import FOUND, Stored
from strongroom.store.errors import Damaged

_BATCH = 128
"""Objects that are read at one go: some milliseconds of the event loop, and one call to the KMS."""


class _Sealed(NamedTuple):
    """An object whose ETag is sealed, and its place in the batch."""

    place: int
    stored: Stored
    legacy: Inherited | None
    header: AnyHeader


def plain_metadata(stored: Stored) -> Metadata:
    """The metadata of a plain object, guessed where it was put into the store by others. Raises EnvelopeInvalid."""
    if FOUND in stored.record:
        return guessed(stored.key, stored.identity)
    return read_plain(stored.record)


class ETags:
    """Reads ETags: with the listing key of the bucket, or, where that does not open one, with the object's own key."""

    def __init__(self, keyholder: Keyholder, listing_keys: ListingKeys) -> None:
        self._keyholder = keyholder
        self._listing_keys = listing_keys
        self._remembered = Remembered()

    async def of(self, bucket: str, stored: Stored) -> str:
        """The ETag of an object, from its own record, for conditions: never a stand-in for one that the KMS denies.

        Raises KMSError, NoKMS, EnvelopeInvalid if it cannot be read.
        """
        (summary,) = self._remembered.find(bucket, [stored])
        if summary is None:
            (summary,) = await self._read(bucket, [stored])
        return summary.etag

    async def page(self, bucket: str, objects: Sequence[Stored]) -> Sequence[Summary]:
        """What a listing shows of objects, with a stand-in for an ETag that cannot be read.

        Those that are not remembered are read in batches, between which other tasks run. While one batch waits for the
        KMS, the next is begun.
        """
        found = self._remembered.find(bucket, objects)
        missing = [stored for stored, summary in zip(objects, found, strict=True) if summary is None]
        listing_key = self._listing_keys.asker(bucket)
        batches = [missing[start : start + _BATCH] for start in range(0, len(missing), _BATCH)]
        async with asyncio.TaskGroup() as group:
            tasks = []
            for batch in batches:
                tasks.append(group.create_task(self._read(bucket, batch, listing_key)))
                await asyncio.sleep(0)
        read = (summary for task in tasks for summary in task.result())
        return [summary or next(read) for summary in found]

    async def _read(self, bucket: str, objects: Sequence[Stored], listing_key: Asker | None = None) -> list[Summary]:
        """What is shown of objects. Those that the listing key does not open need their own keys, which take one call
        to the KMS for all of them.

        With a ``listing_key``, an ETag that cannot be read is replaced by a stand-in; without, this raises.
        """
        shown: list[Shown | None] = [None] * len(objects)
        if listing_key is not None and any(LISTED in stored.record for stored in objects):
            key = await listing_key.ask()
            if key is not None:
                shown = [key.open(object_name(bucket, stored.key), stored.record) for stored in objects]
        others = [stored for stored, found in zip(objects, shown, strict=True) if found is None]
        read = iter(await self._read_each(bucket, others, strict=listing_key is None) if others else ())
        return [
            self._summary(bucket, stored, *(found or next(read))) for stored, found in zip(objects, shown, strict=True)
        ]

    async def _read_each(
        self, bucket: str, objects: Sequence[Stored], strict: bool
    ) -> Sequence[tuple[str | None, int]]:
        """The ETag (None if it cannot be read) and the size of each object, from its own record.

        If ``strict``, raises where it is the KMS that does not let an ETag be read.
        """
        found: list[tuple[str | None, int]] = []
        sealed: list[_Sealed] = []
        for place, stored in enumerate(objects):
            etag, size = None, stored.size
            try:
                legacy, header = headed(bucket, stored)
                if header is None:
                    etag = legacy.document.etag if legacy else plain_metadata(stored).etag
                else:
                    etag, size = header.etag or None, header.size
                    if etag is None:
                        sealed.append(_Sealed(place, stored, legacy, header))
            except (EnvelopeInvalid, Damaged, LegacyNotCovered):
                pass  # reading the object will say so
            found.append((etag, size))
        if sealed:
            unsealed = await self._unseal(bucket, sealed, strict)
            for (place, _, _, header), etag in zip(sealed, unsealed, strict=True):
                found[place] = etag, header.size
        return found

    async def _unseal(self, bucket: str, sealed: Sequence[_Sealed], strict: bool) -> list[str | None]:
        """Sealed ETags, None for those that cannot be read; raises if ``strict``."""
        try:
            keys = await self._keyholder.open_many(bucket, [(one.stored.key, one.header) for one in sealed])
        except NoKMS:
            if strict:
                raise
            return [None] * len(sealed)
        etags: list[str | None] = []
        for one, object_key in zip(sealed, keys, strict=True):
            try:
                etags.append(_open(one, object_key))
            except (KMSError, EnvelopeInvalid):
                if strict:
                    raise
                etags.append(None)
        return etags

    def _summary(self, bucket: str, stored: Stored, etag: str | None, size: int) -> Summary:
        """What is shown of an object; it is remembered, unless its ETag is a stand-in."""
        if etag is None:
            return Summary(stored.key, size, stored.modified, stand_in_etag(stored.identity))
        summary = Summary(stored.key, size, stored.modified, etag)
        self._remembered.keep(bucket, stored, summary)
        return summary


def _open(sealed: _Sealed, object_key: ObjectKey | Exception) -> str:
    """A sealed ETag. Raises KMSError, EnvelopeInvalid."""
    if isinstance(object_key, Exception):
        raise object_key
    if sealed.legacy is not None:
        return sealed.legacy.metadata(object_key).etag
    return open_record(sealed.stored.record, record_key(object_key)).etag
