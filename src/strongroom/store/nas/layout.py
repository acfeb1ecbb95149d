"""The bytes of files that are ours: encrypted objects, parts, records of plain objects. Pure.

An encrypted object is one file that describes itself: a mark, the stored bytes in one or more segments, the annex, the
table of the segments, the record, and a tail of fixed length that says where all this lies. A part of an open upload
has the same form without the mark. A plain object is a file with nothing but its bytes; what belongs to it lies
*beside* it (in an extended attribute, or a file in the reserved folder), bound to the file as it was written.
``docs/format.md`` describes it byte by byte.
"""

from __future__ import annotations

import hashlib
import re
import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from strongroom.store.base import Record
from strongroom.store.mapping import decode_mapping, encode_mapping

MARK = b"\x89SRNAS1\n"
"""The first bytes of an encrypted object's file, and the last ones of every file with a tail."""

ALIGNMENT = 4096
"""The segments of an object made of parts begin at multiples of this, so that file systems can share their blocks."""

TAIL = 64
_TAIL = struct.Struct(">16sqIII20s8s")
_SEGMENT = struct.Struct(">QQ")
_BESIDE = struct.Struct(">4sB16sQqQHI")
_BESIDE_MARK = b"SRP1"
_OF_ANY_VERSION = re.compile(rb"\x89SRNAS[0-9A-Z]\n")
_BESIDE_OF_ANY_VERSION = re.compile(rb"SRP[0-9A-Z]")
UNKNOWN = "it is not of a format that this release knows"
_MAX_RECORD = 1024 * 1024
_MAX_SEGMENTS = 10_000
_MAX_ANNEX = 4 * 1024 * 1024  # a table of 10,000 parts has 1 MiB; limited, since it is read before it is authenticated
IDENTITY = 16


class LayoutInvalid(Exception):
    """The bytes are not what was written."""


class LayoutUnknown(LayoutInvalid):
    """The bytes are those of another release, whose format this one does not know."""


@dataclass(frozen=True, slots=True)
class Segment:
    """A run of stored bytes in a file."""

    offset: int
    length: int


@dataclass(frozen=True, slots=True)
class Trailer:
    """What follows the stored bytes in a file: the annex, which begins at ``annex_at``, and all the rest."""

    identity: bytes
    modified: int
    segments: tuple[Segment, ...]
    record: Record
    annex_at: int
    annex_length: int

    @property
    def size(self) -> int:
        """The number of stored bytes."""
        return sum(segment.length for segment in self.segments)


@dataclass(frozen=True, slots=True)
class Beside:
    """What lies beside a plain object, and the name, size, time and inode that its file had when this was written.

    ``elsewhere``: the rest is too long for the attribute; look in the reserved folder.
    """

    name: str
    size: int
    changed: int
    inode: int
    identity: bytes
    record: Record
    annex: bytes = b""
    elsewhere: bool = False


def is_marked(start: bytes) -> bool:
    """Whether a file that begins with ``start`` is that of an encrypted object. Raises LayoutUnknown."""
    if start.startswith(MARK):
        return True
    if _OF_ANY_VERSION.match(start):
        raise LayoutUnknown(UNKNOWN)
    return False


def decode_record(data: bytes) -> dict[str, bytes]:
    """Read a record. Raises LayoutInvalid."""
    try:
        return decode_mapping(data)
    except ValueError as error:
        raise LayoutInvalid(f"the record is damaged: {error}") from error


def encode_trailer(
    identity: bytes, modified: int, segments: Iterable[Segment], record: Mapping[str, bytes], annex: bytes = b""
) -> bytes:
    """All that follows the last segment."""
    table = b"".join(_SEGMENT.pack(segment.offset, segment.length) for segment in segments)
    encoded = encode_mapping(record)
    start = _TAIL.pack(identity, modified, len(table), len(annex), len(encoded), b"", b"")[: _TAIL.size - 28]
    digest = hashlib.sha256(table + encoded + start).digest()[:20]
    return annex + table + encoded + start + digest + MARK


def trailer_length(tail: bytes) -> int:
    """How many bytes at the end of a file hold table, record and ``tail`` (its last bytes).

    Raises LayoutInvalid.
    """
    if len(tail) != TAIL or tail[-len(MARK) :] != MARK:
        raise LayoutInvalid("the tail is missing: the file was cut, or not written to its end")
    _, _, table, annex, record, _, _ = _TAIL.unpack(tail)
    if table % _SEGMENT.size or table > _MAX_SEGMENTS * _SEGMENT.size or record > _MAX_RECORD or annex > _MAX_ANNEX:
        raise LayoutInvalid("the tail is damaged")
    length: int = table + record + TAIL
    return length


def decode_trailer(end: bytes, file_size: int, first: int) -> Trailer:
    """Read the last bytes of a file of ``file_size`` bytes (as many as :func:`trailer_length` says, or more).

    ``first`` is where stored bytes may begin. Raises LayoutInvalid.
    """
    tail = end[-TAIL:]
    end = end[-trailer_length(tail) :]
    identity, modified, table, annex, record, digest, _ = _TAIL.unpack(tail)
    if hashlib.sha256(end[: -TAIL + 36]).digest()[:20] != digest:
        raise LayoutInvalid("the tail does not fit what stands before it")
    annex_at = file_size - len(end) - annex
    segments = tuple(Segment(*fields) for fields in _SEGMENT.iter_unpack(end[:table]))
    at = first
    for segment in segments:
        if segment.offset < at:
            raise LayoutInvalid("the segments overlap")
        at = segment.offset + segment.length
    if at > annex_at:
        raise LayoutInvalid("the file is shorter than was recorded")
    return Trailer(identity, modified, segments, decode_record(end[table : table + record]), annex_at, annex)


def encode_beside(beside: Beside) -> bytes:
    """What lies beside a plain object, as bytes."""
    name, record = beside.name.encode(), encode_mapping(beside.record)
    fields = (beside.identity, beside.size, beside.changed, beside.inode, len(name), len(record))
    return _BESIDE.pack(_BESIDE_MARK, beside.elsewhere, *fields) + name + record + beside.annex


def decode_beside(data: bytes) -> Beside:
    """Read what :func:`encode_beside` returned. Raises LayoutInvalid, LayoutUnknown."""
    if data[: len(_BESIDE_MARK)] != _BESIDE_MARK and _BESIDE_OF_ANY_VERSION.match(data):
        raise LayoutUnknown(UNKNOWN)
    if len(data) < _BESIDE.size:
        raise LayoutInvalid("it is cut")
    mark, elsewhere, identity, size, changed, inode, name_length, record_length = _BESIDE.unpack_from(data)
    start = _BESIDE.size + name_length
    end = start + record_length
    if mark != _BESIDE_MARK or end > len(data):
        raise LayoutInvalid("it is damaged")
    name = data[_BESIDE.size : start].decode("utf-8", "replace")
    return Beside(
        name, size, changed, inode, identity, decode_record(data[start:end]), data[end:], elsewhere=elsewhere != 0
    )


def aligned(position: int) -> int:
    """The next multiple of the alignment."""
    return -(-position // ALIGNMENT) * ALIGNMENT
