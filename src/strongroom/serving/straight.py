"""The rest of a long body of known length: received straight into the blocks that the application gets.

There is nothing to parse in it, and passing through the parser would copy every byte. Blocks end at multiples of their
size, where packages end too, so that an object's bytes can be sealed without being moved.

Knows nothing of connections.
"""

from __future__ import annotations

from collections.abc import Callable

from strongroom.buffers import unfilled

BLOCK = 256 * 1024
"""Bytes of a block: four packages, which are still in the processor's cache when they are hashed and sealed."""

WORTH = 64 * 1024
"""The fewest bytes still to come for which this pays."""


class StraightBody:
    """The remaining ``left`` bytes of a body, after ``seen`` bytes of it; each full block is given to ``take``."""

    __slots__ = ("_block", "_filled", "_left", "_room", "_take")

    def __init__(self, seen: int, left: int, take: Callable[[bytearray], None]) -> None:
        self._take = take
        self._left = left  # bytes for which no block has been allocated yet
        self._room = BLOCK - seen % BLOCK
        self._block: bytearray | None = None
        self._filled = 0

    def buffer(self) -> memoryview:
        """The room for the next bytes: what is left of the block."""
        if self._block is None:
            self._block = unfilled(min(self._room, self._left))
            self._filled, self._room = 0, BLOCK
            self._left -= len(self._block)
        return memoryview(self._block)[self._filled :]

    def updated(self, count: int) -> bool:
        """So many bytes have been put into the buffer. Returns True if they were the last."""
        block = self._block
        assert block is not None
        self._filled += count
        if self._filled < len(block):
            return False
        self._block = None
        self._take(block)
        return not self._left
