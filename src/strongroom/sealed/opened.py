"""What was found when objects were opened: objects that are read again and again then need less work.

Metadata are remembered for all objects but those of clients' keys (SSE-C), under the bytes of the header and of the box
that holds them. They are given only to a request for which the KMS has just given the object key that opens this header
under this name: no answer of the KMS is remembered, and a key that is disabled denies the metadata like the rest.

The object key is remembered as well, if its master key lies in this process's memory anyway (a static one). It is found
under the object's name and the same bytes, which are all that it was computed from. Nobody can deny that master key
while the process runs, and whoever reads its memory needs no object keys
(``docs/decisions/0042-keys-that-are-remembered.md``).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from sys import getsizeof

from strongroom.sealed.envelope import Header
from strongroom.sealed.keys import Kind, ObjectKey, record_key
from strongroom.sealed.metadata import Metadata
from strongroom.sealed.record import SEALED, Record, open_record
from strongroom.sealed.remembered import Generations
from strongroom.store.base import ENCRYPTED, LEFT

MOST = 24 * 1024**2
"""Bytes of memory, about: 10,000 objects with few headers."""

_VALUES = 1400  # bytes that an entry takes beside the record and the object's headers, about
_HEADER = 128  # bytes that a header takes beside its text, about

Sealing = tuple[Header, ObjectKey]
"""What opens an object of our own format: its header, and the object key behind it."""

_Sealed = tuple[bytes, bytes]


@dataclass(slots=True)
class Opened:
    """What a record was found to hold; and, if it may be kept, what opens it, for the object of this name (bucket,
    key).
    """

    metadata: Metadata
    name: tuple[str, str] | None = None
    sealing: Sealing | None = field(default=None, repr=False)


class OpenedRecords(Generations[_Sealed, Opened]):
    """What records were found to hold."""

    def __init__(self, most: int = MOST) -> None:
        super().__init__(most)

    def weigh(self, key: _Sealed, value: Opened) -> int:
        """The bytes of memory that an entry takes, about."""
        header, box = key
        weight = len(header) + 2 * len(box) + len(value.metadata.headers) * _HEADER + _VALUES
        if value.name is not None and value.sealing is not None:  # texts that clients can make long, of wide characters
            weight += getsizeof(value.name[1]) + getsizeof(value.sealing[0].context)
        return weight

    def find(self, bucket: str, key: str, record: Record) -> tuple[Metadata, Sealing] | None:
        """The metadata and the sealing of the object of this name, if both are remembered."""
        header = record.get(ENCRYPTED)
        if header is None or LEFT in record:
            return None
        found = self.get((header, record.get(SEALED, b"")))
        if found is None or found.sealing is None or found.name != (bucket, key):
            return None
        return found.metadata, found.sealing

    def metadata(self, bucket: str, key: str, record: Record, sealing: Sealing, key_may_be_kept: bool) -> Metadata:
        """The metadata in the record of an encrypted object, as open_record gives them. Raises EnvelopeInvalid.

        Nothing is kept of SSE-C objects: their clients lend a key for one request.
        """
        header, object_key = sealing
        if header.kind is Kind.SSE_C:
            return open_record(record, record_key(object_key))
        sealed = record[ENCRYPTED], record.get(SEALED, b"")
        found = self.get(sealed)
        metadata = found.metadata if found else open_record(record, record_key(object_key))
        if key_may_be_kept:
            self.add(sealed, Opened(metadata, (bucket, key), sealing))
        elif found is None:
            self.add(sealed, Opened(metadata))
        return metadata
