"""Bringing a file to the disk while it is still being written, so that the sync at its end has little to wait for."""

from __future__ import annotations

import ctypes
import mmap

SPAN = 4 * 1024**2
"""Bytes that are handed to the disk at a time."""

PIECE = 512 * 1024
"""Bytes to be written in one call, at most.

What one call writes, Linux may keep in one page as large. Those of a MiB and more come from the large spans of free
memory that a virtual machine gives back to its host, and getting it again can take longer than all of the upload.
"""

_WRITE = 2  # SYNC_FILE_RANGE_WRITE: begin, and do not wait
_sync_file_range = getattr(ctypes.CDLL(None), "sync_file_range", None)  # Linux has it


class Writeback:
    """The way of one file's bytes to the disk. It makes nothing durable: that is the sync's part, as without it."""

    def __init__(self) -> None:
        self._begun = 0

    def reached(self, descriptor: int, position: int) -> None:
        """All bytes before ``position`` are written. Where they are many, let the kernel begin with them."""
        end = position - position % mmap.PAGESIZE  # the page that is being filled would be written twice
        if end - self._begun < SPAN:
            return
        if _sync_file_range is not None:
            begin, length = ctypes.c_int64(self._begun), ctypes.c_int64(end - self._begun)
            _sync_file_range(descriptor, begin, length, _WRITE)  # an error is the sync's to find
        self._begun = end
