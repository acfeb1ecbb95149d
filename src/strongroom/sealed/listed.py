"""The entry of an object's record that listings read: the ETag, sealed under the listing key of the bucket. Pure.

The entry is bound to the object's name and to its header, as everything in the record is.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from strongroom.sealed.envelope import EnvelopeInvalid, open_with, seal_with, size_in
from strongroom.sealed.keys import ObjectKey, record_key
from strongroom.store.base import ENCRYPTED

LISTED = ":listed"
"""The name of the entry in the record."""

_PURPOSE = b"listed"


class Shown(NamedTuple):
    """What a listing shows of an object: the ETag from the entry, the size (plaintext bytes) from the header."""

    etag: str
    size: int


class ListingKey:
    """The listing key of a bucket. Names are those of :func:`~strongroom.sealed.context.object_name`."""

    def __init__(self, key: ObjectKey) -> None:
        self.aead = AESGCM(record_key(key))

    def open(self, name: str, record: Mapping[str, bytes]) -> Shown | None:
        """The ETag and size of an object; None if the record has no entry, or one for another key, name or header.

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
    """The listing key that seals the ETag of one new object, and the object's name."""

    key: ListingKey
    name: str

    def entry(self, header: bytes, etag: str) -> bytes:
        """The entry for the object's record."""
        return seal_with(self.key.aead, _PURPOSE, _bound(self.name, header), etag.encode())


def _bound(name: str, header: bytes) -> bytes:
    return name.encode() + b"\0" + header
