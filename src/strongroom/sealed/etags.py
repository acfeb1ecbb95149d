"""The ETags of objects, for listings and conditions: from records, in batches, remembered. Knows nothing of bytes.

What is remembered is ETags, never keys.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

from strongroom.kms.base import KMSError
from strongroom.sealed.envelope import EnvelopeInvalid
from strongroom.sealed.errors import LegacyNotCovered
from strongroom.sealed.keyholder import AnyHeader, Keyholder
from strongroom.sealed.keys import ObjectKey, record_key
from strongroom.sealed.legacy import inherited
from strongroom.sealed.metadata import Metadata
from strongroom.sealed.objects import guessed, stand_in_etag
from strongroom.sealed.record import header_of, open_record, read_plain
from strongroom.store.base import FOUND, Damaged, Stored

_REMEMBERED = 100_000


def plain_metadata(stored: Stored) -> Metadata:
    """The metadata of a plain object, guessed where it was put into the store by others. Raises EnvelopeInvalid."""
    if FOUND in stored.record:
        return guessed(stored.key, stored.identity)
    return read_plain(stored.record)


class ETags:
    """Reads ETags, with the keys that a keyholder gets."""

    def __init__(self, keyholder: Keyholder) -> None:
        self._keyholder = keyholder
        self._remembered: OrderedDict[tuple[str, str, str], str] = OrderedDict()

    async def of(self, bucket: str, stored: Stored) -> str:
        """The ETag of an object. Raises KMSError, NoKMS, EnvelopeInvalid where it cannot be read."""
        (etag,) = await self.page(bucket, [stored], strict=True)
        return etag

    async def page(self, bucket: str, objects: Sequence[Stored], strict: bool = False) -> Sequence[str]:
        """The ETags of objects, with one call to the KMS for all that are sealed and not remembered.

        An ETag that cannot be read is a stand-in, or raises if ``strict``.
        """
        etags: list[str] = []
        sealed: list[tuple[int, AnyHeader]] = []
        for index, stored in enumerate(objects):
            known = self._known(bucket, stored)
            if not isinstance(known, str):
                sealed.append((index, known))
            etags.append(known if isinstance(known, str) else stand_in_etag(stored.identity))
        if not sealed:
            return etags
        try:
            keys = await self._keyholder.open_many(bucket, [(objects[i].key, header) for i, header in sealed])
        except (KMSError, EnvelopeInvalid):
            if strict:
                raise
            return etags
        for (index, _), object_key in zip(sealed, keys, strict=True):
            etag = self._open(bucket, objects[index], object_key, strict)
            etags[index] = etag or etags[index]
        return etags

    def _known(self, bucket: str, stored: Stored) -> str | AnyHeader:
        """An ETag that stands in the clear or is remembered; else the header of the envelope that holds it."""
        remembered = self._remembered.get((bucket, stored.key, stored.identity))
        if remembered is not None:
            return remembered
        try:
            legacy = inherited(bucket, stored)
            if legacy is not None:
                return (legacy.header.etag or legacy.header) if legacy.header else legacy.document.etag
            header = header_of(stored.record)
            if header is None:
                return plain_metadata(stored).etag
        except (EnvelopeInvalid, Damaged, LegacyNotCovered):
            return stand_in_etag(stored.identity)
        return header.etag or header

    def _open(self, bucket: str, stored: Stored, object_key: ObjectKey | Exception, strict: bool) -> str | None:
        try:
            if isinstance(object_key, Exception):
                raise object_key
            legacy = inherited(bucket, stored)
            if legacy is not None:
                etag = legacy.metadata(object_key).etag
            else:
                etag = open_record(stored.record, record_key(object_key)).etag
        except (KMSError, EnvelopeInvalid):
            if strict:
                raise
            return None
        self._remembered[bucket, stored.key, stored.identity] = etag
        if len(self._remembered) > _REMEMBERED:
            self._remembered.popitem(last=False)
        return etag
