"""A board in shared memory, on which workers leave short texts for each other."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence

PLACE = 64 * 1024
"""Bytes for each worker."""

_HEAD = struct.Struct("<II")  # length, CRC-32, which does not match a text that was read while it was being written
_ATTEMPTS = 3


class Board:
    """The board as worker ``own`` of ``count`` sees it: it writes its own place and reads those of the others.

    ``memory`` has :data:`PLACE` bytes for each worker, zero at first.
    """

    def __init__(self, memory: memoryview, count: int, own: int) -> None:
        self._places = [memory[start : start + PLACE] for start in range(0, count * PLACE, PLACE)]
        self._own = own

    def leave(self, text: bytes) -> bool:
        """Replace this worker's text. Returns False if the new one is too long; then the former one stays."""
        if len(text) > PLACE - _HEAD.size:
            return False
        place = self._places[self._own]
        place[: _HEAD.size] = bytes(_HEAD.size)
        place[_HEAD.size : _HEAD.size + len(text)] = text
        _HEAD.pack_into(place, 0, len(text), zlib.crc32(text))
        return True

    def found(self) -> bytes:
        """The text in this worker's own place, which the worker that it replaces has left; empty if there is none."""
        return _read(self._places[self._own])

    def others(self) -> Sequence[bytes]:
        """The latest text of each other worker that has left one."""
        texts = [_read(place) for number, place in enumerate(self._places) if number != self._own]
        return [text for text in texts if text]


def _read(place: memoryview) -> bytes:
    for _ in range(_ATTEMPTS):
        length, checksum = _HEAD.unpack_from(place)
        text = bytes(place[_HEAD.size : _HEAD.size + length])
        if length and len(text) == length and zlib.crc32(text) == checksum:
            return text
    return b""
