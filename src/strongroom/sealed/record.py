"""Records: what the store keeps with the bytes of an object, made and read. Pure.

A plain object's record holds its metadata in the clear, name by name. An encrypted object's record holds ``:sse``,
the header of its envelope, and ``:sealed``, the box with the metadata. ``:tags…`` are kept apart (see
:mod:`strongroom.sealed.tags`), since they change while the object stays.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from strongroom.header_names import is_kept
from strongroom.sealed import metadata as metadata_codec
from strongroom.sealed.envelope import EnvelopeInvalid, Header, decode_header, open_box, seal_box, size_in
from strongroom.sealed.keys import RecordKey
from strongroom.sealed.listed import LISTED, Listed
from strongroom.sealed.metadata import CHECKSUM, ETAG, UPLOAD, Metadata
from strongroom.sealed.parts import PartEntry, PartTable, encode_parts
from strongroom.store.base import DAMAGED, ENCRYPTED, FOREIGN

Record = Mapping[str, bytes]

SEALED = ":sealed"
TAGS = ":tags"
MULTIPART = ":multipart"  # of a plain object: its annex holds a part table

_PLAIN = (ETAG, UPLOAD, CHECKSUM)
_NO_TEXT = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
_METADATA = b"metadata"
_PARTS = b"parts"


def header_of(record: Record) -> Header | None:
    """The header of an encrypted object's record, None for a plain one. Raises EnvelopeInvalid."""
    encoded = record.get(ENCRYPTED)
    if encoded is not None:
        return decode_header(encoded)
    if SEALED in record:
        raise EnvelopeInvalid("the record has lost its header")
    if DAMAGED in record:
        raise EnvelopeInvalid("the record is damaged")
    return None


def sealed_record(header: Header, key: RecordKey, metadata: Metadata, listed: Listed | None = None) -> dict[str, bytes]:
    """The record of an encrypted object; ``listed`` seals its ETag for listings."""
    encoded = header.encode()
    sealed = seal_box(key, _METADATA, encoded, metadata_codec.encode(metadata))
    if listed is None:
        return {ENCRYPTED: encoded, SEALED: sealed}
    # In this order, since pages of listings look for the first two only.
    return {ENCRYPTED: encoded, LISTED: listed.entry(encoded, metadata.etag), SEALED: sealed}


def open_record(record: Record, key: RecordKey, *, of_upload: bool = False) -> Metadata:
    """The metadata of an encrypted object, or ``of_upload`` that is open. Raises EnvelopeInvalid, also if the record of
    an object is that of an open upload, which looks like that of an empty object, but for the ETag.
    """
    content = open_box(key, _METADATA, record[ENCRYPTED], record.get(SEALED, b""))
    try:
        metadata = metadata_codec.decode(content)
    except (ValueError, TypeError) as error:
        raise EnvelopeInvalid("the record is damaged") from error
    if not metadata.etag and not of_upload and not size_in(record[ENCRYPTED]):
        raise EnvelopeInvalid("the record is that of an open upload")
    return metadata


def plain_record(metadata: Metadata, multipart: bool = False) -> dict[str, bytes]:
    """The record of a plain object."""
    record = {name: value.encode("latin-1") for name, value in metadata.flat().items()}
    if multipart:
        record[MULTIPART] = b""
    return record


def read_plain(record: Record) -> Metadata:
    """The metadata of a plain object. Raises EnvelopeInvalid."""
    flat = {
        name: value.decode("latin-1")
        for name, value in record.items()
        if not name.startswith(TAGS) and name not in (MULTIPART, FOREIGN)
    }
    # The record of an encrypted object that lost its header to a changed bit must not pass for that of a plain one.
    # A value that no header can have would spoil a whole listing, or look like a fault of ours. A header that does not
    # belong to an object would be shown to clients: one that says that it is encrypted, say, or has another length.
    if ETAG not in flat or not all(name in _PLAIN or is_kept(name) for name in flat):
        raise EnvelopeInvalid("the record is damaged")
    if _NO_TEXT.search("".join(flat.values())):
        raise EnvelopeInvalid("the record is damaged")
    try:
        return metadata_codec.from_flat(flat)
    except (ValueError, TypeError) as error:
        raise EnvelopeInvalid("the record is damaged") from error


def seal_parts(header: Header, key: RecordKey, parts: list[PartEntry]) -> bytes:
    """The annex of an encrypted multipart object."""
    return seal_box(key, _PARTS, header.encode(), encode_parts(parts))


def open_parts(header: Header, key: RecordKey, annex: bytes) -> PartTable:
    """The part table in the annex of an encrypted multipart object. Raises EnvelopeInvalid."""
    return read_parts(open_box(key, _PARTS, header.encode(), annex))


def read_parts(table: bytes) -> PartTable:
    """A part table that stands in the clear. Raises EnvelopeInvalid."""
    try:
        return PartTable(table)
    except ValueError as error:
        raise EnvelopeInvalid("the part table is damaged") from error
