"""Ranges of bytes over consecutive pieces: the parts of an object, the blobs that hold its bytes. Pure."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence


def within(ends: Sequence[int], start: int, length: int) -> Iterator[tuple[int, int, int]]:
    """The pieces that hold the ``length`` bytes from ``start`` on; ``ends`` says where each piece ends, in order.

    For each: its index, the offset within it, and how many of its bytes belong to the range. What lies beyond the last
    piece is left out.
    """
    index, end = bisect_right(ends, start), start + length
    while start < end and index < len(ends):
        taken = min(ends[index], end) - start
        yield index, start - (ends[index - 1] if index else 0), taken
        start += taken
        index += 1
