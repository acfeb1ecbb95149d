"""The ETag in an object's record as listings read it: sealed under the listing key of the bucket. Pure.

Bound to the object's name and to its header, as everything in the record is.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from strongroom.sealed.envelope import EnvelopeInvalid, open_with, seal_with, size_in
from strongroom.sealed.keys import ObjectKey, record_key
from strongroom.store.base import ENCRYPTED

LISTED = ":listed"
"""The name among the entries of the record."""

_PURPOSE = b"listed"


class Shown(NamedTuple):
    """What a listing shows of an object, as its own header and entry say it."""

    etag: str
    size: int


class ListingKey:
    """Opens ETags. Names are those of :func:`~strongroom.sealed.context.object_name`."""

    def __init__(self, key: ObjectKey) -> None:
        self.aead = AESGCM(record_key(key))

    def open(self, name: str, record: Mapping[str, bytes]) -> Shown | None:
        """The ETag and size of an object; None where the record has no entry, or one of another key, name or header.

        The entry is bound to the header: once it opens, the header is known to be genuine, and its size with it.
        """
        header, entry = record.get(ENCRYPTED), record.get(LISTED)
        if header is None or entry is None:
            return None
        try:
            return Shown(open_with(self.aead, _PURPOSE, _bound(name, header), entry).decode(), size_in(header))
        except (EnvelopeInvalid, ValueError):
            return None


class Listed(NamedTuple):
    """What the ETag of one new object is to be sealed with."""

    key: ListingKey
    name: str

    def entry(self, header: bytes, etag: str) -> bytes:
        """The entry for the object's record."""
        return seal_with(self.key.aead, _PURPOSE, _bound(self.name, header), etag.encode())


def _bound(name: str, header: bytes) -> bytes:
    return name.encode() + b"\0" + header
