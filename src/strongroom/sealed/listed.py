"""The ETag in an object's record as listings read it: sealed under the listing key of the bucket. Pure.

Bound to the object's name and to its header, as everything in the record is.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import NamedTuple

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from strongroom.sealed.keys import ObjectKey, record_key
from strongroom.store.base import ENCRYPTED

LISTED = ":listed"
"""The name among the entries of the record."""

_PURPOSE = b"strongroom v1 listed\0"
_NONCE = 12


class ListingKey:
    """Seals and opens ETags. Names are those of :func:`~strongroom.sealed.context.object_name`."""

    def __init__(self, key: ObjectKey) -> None:
        self._aead = AESGCM(record_key(key))

    def seal(self, name: str, header: bytes, etag: str) -> bytes:
        """The entry for an object's record."""
        nonce = os.urandom(_NONCE)
        return nonce + self._aead.encrypt(nonce, etag.encode(), _associated(name, header))

    def open(self, name: str, record: Mapping[str, bytes]) -> str | None:
        """The ETag of an object; None where the record has no entry, or one of another key, name or header."""
        header, entry = record.get(ENCRYPTED), record.get(LISTED)
        if header is None or entry is None:
            return None
        try:
            return self._aead.decrypt(entry[:_NONCE], entry[_NONCE:], _associated(name, header)).decode()
        except (InvalidTag, ValueError):
            return None


class Listed(NamedTuple):
    """What the ETag of one new object is to be sealed with."""

    key: ListingKey
    name: str

    def entry(self, header: bytes, etag: str) -> bytes:
        """The entry for the object's record."""
        return self.key.seal(self.name, header, etag)


def _associated(name: str, header: bytes) -> bytes:
    return _PURPOSE + name.encode() + b"\0" + header
