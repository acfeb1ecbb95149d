"""Mappings of names to bytes as one blob, as the shared folder and the S3 store keep them. Pure.

The index of the local store has a form of its own (``store/local/schema.py``).

For each entry, in the order of the names: the length of its name (1 byte) and of its value (4 bytes), name, value.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping

from strongroom.store.errors import MetadataRefused

_ENTRY = struct.Struct(">BI")
_MAX_NAME = 255


def encoded_name(name: str) -> bytes:
    """The name of an entry, as all stores keep it: up to 255 characters, all ASCII. Raises MetadataRefused."""
    if len(name) > _MAX_NAME or not name.isascii():
        raise MetadataRefused(f"metadata names have up to {_MAX_NAME} ASCII characters, unlike {name[:40]!a}")
    return name.encode()


def encode_mapping(mapping: Mapping[str, bytes]) -> bytes:
    """A mapping as bytes. Raises MetadataRefused."""
    pieces = []
    for name in sorted(mapping):
        encoded, value = encoded_name(name), mapping[name]
        pieces += [_ENTRY.pack(len(encoded), len(value)), encoded, value]
    return b"".join(pieces)


def decode_mapping(data: bytes) -> dict[str, bytes]:
    """The mapping that :func:`encode_mapping` encoded. Raises ValueError."""
    mapping: dict[str, bytes] = {}
    at = 0
    while at < len(data):
        if at + _ENTRY.size > len(data):
            raise ValueError("it is cut short")
        name_length, length = _ENTRY.unpack_from(data, at)
        start = at + _ENTRY.size + name_length
        at = start + length
        if at > len(data):
            raise ValueError("it is cut short")
        mapping[data[start - name_length : start].decode("ascii")] = data[start:at]
    return mapping
