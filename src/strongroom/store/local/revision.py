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
from pathlib import Path

_HEAD = 2 * 48
_VERSION = (3_007_000).to_bytes(4, sys.byteorder)
"""The head begins with it. It is that of all releases of SQLite since 2010; what others would write is not known."""


class _Mapping:
    """The head in memory. ``users``: how many revisions of this process use it."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor
        self.memory = mmap.mmap(descriptor, _HEAD, prot=mmap.PROT_READ)
        self.users = 0

    def close(self) -> None:
        self.memory.close()
        os.close(self.descriptor)


_mappings: dict[tuple[int, int], _Mapping] = {}
_guard = threading.Lock()
"""Closing any descriptor of a file drops all locks that the process has on it, those of SQLite too. So there is one
mapping of a file in a process, which is closed with its last user."""


class Revision:
    """The revision of an index. To be made when a connection to it is open, and closed when all of this store are
    closed. Raises OSError.
    """

    def __init__(self, database: Path) -> None:
        path = database.with_name(f"{database.name}-shm")
        with _guard:
            found = path.stat()
            self._file = found.st_dev, found.st_ino
            mapping = _mappings.get(self._file)
            if mapping is None:
                mapping = _mappings[self._file] = _Mapping(os.open(path, os.O_RDONLY | os.O_CLOEXEC))
            mapping.users += 1
        self._memory = mapping.memory

    def now(self) -> bytes | None:
        """Another value after each commit; None if that cannot be told."""
        head = self._memory[:_HEAD]
        return head if head.startswith(_VERSION) else None

    def close(self) -> None:
        """Let go of the file."""
        with _guard:
            mapping = _mappings[self._file]
            mapping.users -= 1
            if not mapping.users:
                del _mappings[self._file]
                mapping.close()
