"""A file that only takes up space, which is given up when removing objects needs it.

Room (:mod:`~strongroom.store.local.room`) goes by what the file system says is free. That is not all: there may be a
quota, or other programs may fill the disk. Then not even an object could be removed, since that is a write to the
index. The file holds the space that the index's log takes at most, before the pages in it are used again.

An empty file has been given up: until it can be filled again, uploads are refused, so that they do not take what
removing needs. No file: it could not be made here yet, and nothing is refused for it.
"""

from __future__ import annotations

import logging
import os
from pathlib import Path

from strongroom.store.errors import NO_SPACE
from strongroom.store.local.blobs import sync_directory

SIZE = 20 * 1024**2
"""Bytes of the file: the length at which the index's log is copied into it (16 MiB), and some more. On a small file
system, a sixteenth of its size."""

_NAME = "reserve"
_log = logging.getLogger("strongroom.store.local")


class Reserve:
    """The file in a directory, which all processes that use the directory share."""

    def __init__(self, directory: Path) -> None:
        self._path = directory / _NAME

    @property
    def is_given_up(self) -> bool:
        """Whether there is nothing left of it."""
        try:
            return self._path.stat().st_size == 0
        except OSError:
            return False

    def keep(self) -> None:
        """Fill it, if it is not filled and there is room. Blocks. Raises OSError if the directory cannot be used."""
        is_new = not self._path.exists()
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            held, found = os.fstat(descriptor).st_size, os.fstatvfs(descriptor)
            wanted = min(SIZE, found.f_blocks * found.f_frsize // 16)
            if held >= wanted > 0:
                return
            try:
                os.posix_fallocate(descriptor, 0, wanted)
            except OSError as error:
                os.ftruncate(descriptor, held)
                if is_new or error.errno not in NO_SPACE:
                    self._path.unlink(missing_ok=True)
        finally:
            os.close(descriptor)

    def give_up(self) -> bool:
        """Leave its space to others; whether it had any."""
        if self.is_given_up:
            return False
        try:
            self._empty()
        except OSError:
            return False  # there is none
        _log.warning(
            "no space is left, not even for removing objects: what was kept for that is used now, and uploads are"
            " refused until it is there again"
        )
        return True

    def _empty(self) -> None:
        """Cut the file, or put an empty one in its place: in a quota of btrfs that is used up, no file can be cut, but
        removed, and its space comes back with the next commit of the file system. Raises OSError.
        """
        try:
            os.truncate(self._path, 0)
            return
        except OSError as error:
            if error.errno not in NO_SPACE:
                raise
        self._path.unlink()
        sync_directory(self._path.parent)
        os.close(os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600))
