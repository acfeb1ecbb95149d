"""The part table of a multipart object, and the record of one part: as bytes and back. Pure.

The table is what tells where in the object each part lies, with which nonce its stream begins, and its ETag and
checksum. It is sealed as one box in the record's annex (in the clear where the object is plain).
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass

_HEAD = struct.Struct(">BI")  # length of the checksums, number of parts
_ROW = struct.Struct(">HQ12s16s")


@dataclass(frozen=True, slots=True)
class PartEntry:
    """One part: its number, the plaintext's bytes, the nonce of its stream (zeros where it is plain).

    ``md5`` is the digest behind the part's ETag (16 random bytes where ETags are opaque), ``checksum`` the raw
    checksum.
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


def decode_parts(data: bytes) -> list[PartEntry]:
    """Read a part table. Raises ValueError for what :func:`encode_parts` cannot have made."""
    if len(data) < _HEAD.size:
        raise ValueError("the part table is damaged")
    width, count = _HEAD.unpack_from(data)
    row = struct.Struct(f"{_ROW.format}{width}s")
    if len(data) != _HEAD.size + count * row.size:
        raise ValueError("the part table is damaged")
    return [PartEntry(*fields) for fields in row.iter_unpack(data[_HEAD.size :])]
