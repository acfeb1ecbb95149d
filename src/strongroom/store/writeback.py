"""Writing a file back to the disk while more is still being written, so that the sync at its end waits for little."""

from __future__ import annotations

import ctypes
import mmap

SPAN = 4 * 1024**2
"""Bytes that are handed to the disk at a time."""

PIECE = 512 * 1024
"""Bytes that may be written in one call.

Linux may keep what one call writes in a single page of that size. Pages of 1 MiB and more come from the large spans of
free memory that a virtual machine gives back to its host, and getting these again can take longer than the whole
upload.
"""

_WRITE = 2  # SYNC_FILE_RANGE_WRITE: begin, and do not wait
_sync_file_range = getattr(ctypes.CDLL(None), "sync_file_range", None)  # Linux has it


class Writeback:
    """Starts the writeback of one file. It makes nothing durable: the sync does that, as it would without this."""

    def __init__(self) -> None:
        self._begun = 0

    def reached(self, descriptor: int, position: int) -> None:
        """All bytes before ``position`` are written. Once there are many, have the kernel begin to write them back."""
        end = position - position % mmap.PAGESIZE  # the page that is being filled would be written twice
        if end - self._begun < SPAN:
            return
        if _sync_file_range is not None:
            begin, length = ctypes.c_int64(self._begun), ctypes.c_int64(end - self._begun)
            _sync_file_range(descriptor, begin, length, _WRITE)  # errors are found by the sync
        self._begun = end
