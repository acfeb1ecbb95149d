"""Reads of many rows of the index: on the event loop if all they need is in memory, else in a thread.

A thread does not help a scan that waits for nothing: it hands the interpreter's lock back and forth with the event loop
at each row, which costs more than reading the rows.
"""

from __future__ import annotations

import asyncio
import sqlite3
import threading
import time
from collections.abc import Callable
from concurrent.futures import Executor
from pathlib import Path
from typing import TypeVar

from strongroom.store.local import schema

T = TypeVar("T")

PATIENCE = 0.005
"""Seconds that a scan may hold the event loop: several times what a page of 1,000 rows in memory takes."""

_STEPS = 1000  # SQLite's instructions between two looks at the clock: those for some 50 rows


class Scans:
    """Connections for scans: one for the event loop, and one for each thread that was needed."""

    def __init__(self, database: Path, pool: Executor) -> None:
        """Raises StoreError."""
        self._database = database
        self._pool = pool
        self._threads = threading.local()
        self._until = 0.0
        self._here = self._connect()
        self._here.set_progress_handler(lambda: time.monotonic() > self._until, _STEPS)
        self._others: list[sqlite3.Connection] = []

    async def read(self, scan: Callable[[sqlite3.Connection], T]) -> T:
        """What ``scan`` returns. If it takes too long, it is begun anew in a thread."""
        self._until = time.monotonic() + PATIENCE
        try:
            return scan(self._here)
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_INTERRUPT:
                raise
        return await self.in_thread(scan)

    async def in_thread(self, scan: Callable[[sqlite3.Connection], T]) -> T:
        """What ``scan`` returns; it runs in a thread from the start."""
        return await asyncio.get_running_loop().run_in_executor(self._pool, lambda: scan(self.of_thread()))

    def of_thread(self) -> sqlite3.Connection:
        """The connection of the calling thread, which is one of the pool's."""
        connection: sqlite3.Connection | None = getattr(self._threads, "connection", None)
        if connection is None:
            connection = self._threads.connection = self._connect()
            self._others.append(connection)
        return connection

    def close(self) -> None:
        """Close all connections. The pool must have ended."""
        for connection in (self._here, *self._others):
            connection.close()

    def _connect(self) -> sqlite3.Connection:
        return schema.connect(self._database, read_only=True, cache=schema.SCAN_CACHE)
