"""The metadata of encrypted objects, opened once: those of an object that is read again and again need no key.

What is remembered is what a box was found to hold, by the bytes of the header and of the box. Whoever asks has the
object key already, which the KMS gave for this request and which opens that header under that name: so no answer of the
KMS is remembered, and a key that is disabled denies the metadata as it denies the rest.
"""

from __future__ import annotations

from strongroom.sealed.keys import Kind, ObjectKey, record_key
from strongroom.sealed.metadata import Metadata
from strongroom.sealed.record import SEALED, SSE, Record, open_record
from strongroom.sealed.remembered import Generations

MOST = 16 * 1024**2
"""Bytes of memory, about: 10,000 objects with few headers."""

_VALUES = 1024  # bytes that the metadata of an object take beside its headers, about
_HEADER = 128  # bytes that a header takes beside its text, about

_Sealed = tuple[bytes, bytes]


class OpenedRecords(Generations[_Sealed, Metadata]):
    """What records were found to hold. Of SSE-C objects nothing is kept: their clients lend a key for one request."""

    def __init__(self, most: int = MOST) -> None:
        super().__init__(most)

    def weigh(self, key: _Sealed, value: Metadata) -> int:
        """The bytes of memory that an entry takes, about."""
        header, box = key
        return len(header) + 2 * len(box) + len(value.headers) * _HEADER + _VALUES

    def metadata(self, record: Record, kind: Kind, object_key: ObjectKey) -> Metadata:
        """The metadata in the record of an encrypted object, as open_record gives them. Raises EnvelopeInvalid."""
        if kind is Kind.SSE_C:
            return open_record(record, record_key(object_key))
        sealed = record[SSE], record.get(SEALED, b"")
        metadata = self.get(sealed)
        if metadata is None:
            metadata = open_record(record, record_key(object_key))
            self.add(sealed, metadata)
        return metadata
