"""Space that is kept free so that objects can be removed: this takes a write to the index, which a disk that is full to
its last byte would not allow.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

from strongroom.store.errors import StoreFull
from strongroom.store.local.reserve import Reserve

KEPT = 128 * 1024**2
"""Bytes that uploads leave free: the index's log can get that long, and is then copied into the index. On a small file
system, a quarter of its size.
"""

KEPT_FILES = 256
"""Files (inodes) that uploads leave free: a process cannot start without some. If there are few in all, a quarter."""

_FILES = 3  # files that one object may take: a blob, its marker, and the directory if the blob is the first in it
_ENTRY = 16 * 1024  # bytes counted for what the index stores of an object besides its content
_SHARE = 16  # one part in so many of the free space is used before looking again, since other processes write, too
_SECONDS = 1.0


class Room:
    """The free space of a directory. It asks the file system now and then, the more often the less there is.

    ``reusable`` returns how many bytes the index has in unused pages: those never go back to the file system, and are
    used first for what is put into the index. While the ``reserve`` is given up, nothing else is there.
    """

    def __init__(self, directory: Path, reserve: Reserve, reusable: Callable[[], int]) -> None:
        self._directory = directory
        self._reserve = reserve
        self._reusable = reusable
        self._known = self._known_files = 0
        self._until = 0.0

    def take(self, size: int) -> None:
        """Announce that so many bytes will be written to a file; in any thread. Raises StoreFull."""
        if not self._is_there(size, _FILES):
            raise StoreFull("no space is left but what is kept for removing objects")

    def take_in_index(self, size: int) -> None:
        """Announce that about so many bytes will be put into the index; on the event loop. Raises StoreFull."""
        size += _ENTRY
        if not self._is_there(size) and self._reusable() < size:
            raise StoreFull("no space is left in the index but what is kept for removing objects")

    def use_reserve(self) -> bool:
        """Leave what is kept for removing objects to that. Returns whether anything was; until it is there again, there
        is no room for anything else.
        """
        self._known = self._known_files = 0
        return self._reserve.give_up()

    def _is_there(self, size: int, files: int = 0) -> bool:
        now = time.monotonic()
        if size > self._known or files > self._known_files or now >= self._until:
            found = os.statvfs(self._directory)
            kept = min(KEPT, found.f_blocks * found.f_frsize // 4)
            room = found.f_bavail * found.f_frsize - kept
            # If the file system does not count files (btrfs), there is no limit.
            room_files = found.f_favail - min(KEPT_FILES, found.f_files // 4) if found.f_files else sys.maxsize
            if size > room or files > room_files or self._reserve.is_given_up:
                self._known = self._known_files = 0
                return False
            self._known, self._known_files, self._until = room // _SHARE, room_files // _SHARE, now + _SECONDS
        self._known -= size
        self._known_files -= files
        return True
