"""Ranges over pieces that lie one behind the other: the parts of an object, the blobs of its bytes. Pure."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence


def within(ends: Sequence[int], start: int, length: int) -> Iterator[tuple[int, int, int]]:
    """The pieces that hold the ``length`` bytes from ``start``; ``ends`` says where each ends, in order.

    Of each: its index, where in it they begin, and how many bytes of it they are. What lies behind the last piece is
    left out.
    """
    index, end = bisect_right(ends, start), start + length
    while start < end and index < len(ends):
        taken = min(ends[index], end) - start
        yield index, start - (ends[index - 1] if index else 0), taken
        start += taken
        index += 1
