"""Room that is kept free for what makes room: to remove an object is to write to the index, and on a disk that is full
to its last byte nothing could be removed any more.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

from strongroom.store.errors import StoreFull

KEPT = 128 * 1024**2
"""Bytes that uploads leave free: the index's log can be that long, and is then copied into the index. On a small file
system, a quarter of it.
"""

KEPT_FILES = 256
"""Files (inodes) that they leave free, likewise: a process cannot start without some. Of a small number, a quarter."""

_FILES = 3  # files that one object may take: a blob, its marker, and the directory that it may be the first in
_ENTRY = 16 * 1024  # bytes that are reckoned for what the index is to hold of an object beside its content
_SHARE = 16  # other processes write, too: the part of what is free that is used before looking again
_SECONDS = 1.0


class Room:
    """What is free below a directory. It asks the file system now and then, and the more often the less there is.

    ``reusable`` says how many bytes the index has in pages that hold nothing any more: those never go back to the file
    system, and what comes to lie in the index takes them first.
    """

    def __init__(self, directory: Path, reusable: Callable[[], int]) -> None:
        self._directory = directory
        self._reusable = reusable
        self._known = self._known_files = 0
        self._until = 0.0

    def take(self, size: int) -> None:
        """Say that so many bytes are about to be written to a file; in any thread. Raises StoreFull."""
        if not self._is_there(size, _FILES):
            raise StoreFull("no space is left but what is kept for removing objects")

    def take_in_index(self, size: int) -> None:
        """Say that about so many bytes are to be put into the index; on the event loop. Raises StoreFull."""
        size += _ENTRY
        if not self._is_there(size) and self._reusable() < size:
            raise StoreFull("no space is left in the index but what is kept for removing objects")

    def _is_there(self, size: int, files: int = 0) -> bool:
        now = time.monotonic()
        if size > self._known or files > self._known_files or now >= self._until:
            found = os.statvfs(self._directory)
            kept = min(KEPT, found.f_blocks * found.f_frsize // 4)
            room = found.f_bavail * found.f_frsize - kept
            # Where none are counted (btrfs), there is no end of them.
            room_files = found.f_favail - min(KEPT_FILES, found.f_files // 4) if found.f_files else sys.maxsize
            if size > room or files > room_files:
                self._known = self._known_files = 0
                return False
            self._known, self._known_files, self._until = room // _SHARE, room_files // _SHARE, now + _SECONDS
        self._known -= size
        self._known_files -= files
        return True
