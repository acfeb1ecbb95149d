"""The rest of a long body of known length: received straight into the blocks that the application gets.

The parser has nothing to find in it, and each pass through it costs a copy of every byte. Blocks end at multiples of
their size, where packages end, too: so that an object's bytes can be sealed as they lie.

Knows nothing of connections.
"""

from __future__ import annotations

from collections.abc import Callable

from strongroom.buffers import unfilled

BLOCK = 256 * 1024
"""Bytes of a block: four packages, and still in the processor's cache when they are hashed and sealed."""

WORTH = 64 * 1024
"""Bytes that are to come where this is worth its while."""


class StraightBody:
    """``left`` bytes of a body of which ``seen`` have come; each full block is given to ``take``."""

    __slots__ = ("_block", "_filled", "_left", "_room", "_take")

    def __init__(self, seen: int, left: int, take: Callable[[bytearray], None]) -> None:
        self._take = take
        self._left = left  # of those that no block was made for
        self._room = BLOCK - seen % BLOCK
        self._block: bytearray | None = None
        self._filled = 0

    def buffer(self) -> memoryview:
        """Where the next bytes belong."""
        if self._block is None:
            self._block = unfilled(min(self._room, self._left))
            self._filled, self._room = 0, BLOCK
            self._left -= len(self._block)
        return memoryview(self._block)[self._filled :]

    def updated(self, count: int) -> bool:
        """So many bytes have come; True if they were the last."""
        block = self._block
        assert block is not None
        self._filled += count
        if self._filled < len(block):
            return False
        self._block = None
        self._take(block)
        return not self._left
