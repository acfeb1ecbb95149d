"""The part table of a multipart object, and the record of one part: as bytes and back. Pure.

The table says of each part where it lies in the object, the nonce of its stream, its ETag and its checksum. It is
sealed as one box, the record's annex (that of a plain object is in the clear).
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import overload

_HEAD = struct.Struct(">BI")  # length of the checksums, number of parts
_ROW = struct.Struct(">HQ12s16s")


@dataclass(frozen=True, slots=True)
class PartEntry:
    """One part: its number, its size in plaintext bytes, the nonce of its stream (zeros if it is plain).

    ``md5`` is the digest behind the part's ETag (16 random bytes if ETags are opaque), ``checksum`` the raw checksum.
    """

    number: int
    size: int
    nonce: bytes
    md5: bytes
    checksum: bytes = b""

    @property
    def etag(self) -> str:
        """The ETag of the part, without quotes."""
        return self.md5.hex()


def encode_parts(parts: Sequence[PartEntry]) -> bytes:
    """A part table as bytes. All parts have checksums of one length."""
    width = len(parts[0].checksum) if parts else 0
    rows = [_HEAD.pack(width, len(parts))]
    for part in parts:
        if len(part.checksum) != width:
            raise ValueError("the checksums of the parts differ in length")
        rows.append(_ROW.pack(part.number, part.size, part.nonce, part.md5) + part.checksum)
    return b"".join(rows)


class PartTable(Sequence[PartEntry]):
    """A part table as :func:`encode_parts` gave it. A row is decoded when it is asked for: a range of an object needs
    few of them, and there may be 10,000.

    Raises ValueError for what :func:`encode_parts` cannot have made.
    """

    __slots__ = ("_data", "_row", "sizes")

    def __init__(self, data: bytes) -> None:
        if len(data) < _HEAD.size:
            raise ValueError("the part table is damaged")
        width, count = _HEAD.unpack_from(data)
        self._data = data
        self._row = struct.Struct(f"{_ROW.format}{width}s")
        if len(data) != _HEAD.size + count * self._row.size:
            raise ValueError("the part table is damaged")
        sizes = struct.Struct(f">2xQ{self._row.size - 10}x")
        self.sizes: Sequence[int] = [size for (size,) in sizes.iter_unpack(memoryview(data)[_HEAD.size :])]
        """The plaintext's bytes of each part."""

    def __len__(self) -> int:
        return len(self.sizes)

    @overload
    def __getitem__(self, index: int) -> PartEntry: ...

    @overload
    def __getitem__(self, index: slice) -> list[PartEntry]: ...

    def __getitem__(self, index: int | slice) -> PartEntry | list[PartEntry]:
        if isinstance(index, slice):
            return [self[number] for number in range(*index.indices(len(self)))]
        if not 0 <= index < len(self):
            raise IndexError(index)
        return PartEntry(*self._row.unpack_from(self._data, _HEAD.size + index * self._row.size))


def sizes_of(parts: Sequence[PartEntry]) -> Sequence[int]:
    """The size of each part in plaintext bytes; decodes no row of a table."""
    return parts.sizes if isinstance(parts, PartTable) else [part.size for part in parts]
