"""Whether the index has been written to: seen in memory that SQLite's processes share, without a statement.

While the index is open, SQLite keeps the "WAL index" in ``index.db-shm``. Its head is replaced at each commit of any
process, before the commit returns, and says which snapshot a reader gets. SQLite itself compares it to decide whether
the pages that it keeps in memory are valid, so what was read from the index is valid as long as the head is the same.

The format: https://sqlite.org/walformat.html#the_wal_index_header (two copies of 48 bytes, each with a checksum, a
counter of the transactions and the end of the log).
"""

from __future__ import annotations

import mmap
import os
import sys
import threading
from contextlib import suppress
from pathlib import Path

_HEAD = 2 * 48
_VERSION = (3_007_000).to_bytes(4, sys.byteorder)
"""The head begins with it. It is that of all releases of SQLite since 2010; what others would write is not known."""


class _Shared:
    """The head, for all of this process that look at it. ``users``: how many these are."""

    def __init__(self, path: Path) -> None:
        self.users = 0
        self._descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        self.memory = mmap.mmap(self._descriptor, _HEAD, prot=mmap.PROT_READ)

    def close(self) -> None:
        self.memory.close()
        os.close(self._descriptor)


_known: dict[tuple[int, int], _Shared] = {}
_guard = threading.Lock()
"""A process that closes any descriptor of a file loses all its locks on it, those of SQLite too. So it opens the file
once, and closes it when its last user goes."""


class Revision:
    """The revision of an index. To be made once a connection to it is open, and to be closed after all connections that
    its maker has.
    """

    def __init__(self, database: Path) -> None:
        path = database.with_name(f"{database.name}-shm")
        self._memory: mmap.mmap | bytes = b""
        with _guard, suppress(OSError, ValueError):  # a file system on which there is no WAL
            found = path.stat()
            self._file = found.st_dev, found.st_ino
            if self._file not in _known:
                _known[self._file] = _Shared(path)
            _known[self._file].users += 1
            self._memory = _known[self._file].memory

    def now(self) -> bytes | None:
        """Another value after each commit; None if that cannot be told."""
        head = self._memory[:_HEAD]
        return head if head.startswith(_VERSION) else None

    def close(self) -> None:
        """Let go of the file."""
        if not self._memory:
            return
        with _guard:
            shared = _known[self._file]
            shared.users -= 1
            if not shared.users:
                del _known[self._file]
                shared.close()
