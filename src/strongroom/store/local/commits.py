"""Writing to the index: the writes that are asked for at the same time go into one transaction, and one sync.

One thread of each process writes. Between processes, a lock file is held around the transaction: whoever waits for it
sleeps in the kernel and is woken at once, while SQLite's own way of waiting is to sleep and look again.

A write is a function of a connection. It checks its conditions before it changes anything, so one that raises a
StoreError leaves the others of its group as they are. After anything else, the group is rolled back and its writes
are tried one by one.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue
from typing import Any, TypeVar

from strongroom.store.base import StoreError, StoreFull
from strongroom.store.local.schema import connect, is_there_trash

T = TypeVar("T")
Write = Callable[[sqlite3.Connection], T]

_MAX_GROUP = 256


@dataclass(slots=True)
class _Pending:
    write: Write[Any]
    future: asyncio.Future[Any]
    result: Any = None
    error: BaseException | None = None


LOCK = "lock"
"""The lock file of a store."""


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold a lock file; whoever waits for it sleeps until it is free."""
    lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)


class Committer:
    """The one that writes to the index in this process. ``on_trash`` is called when a group left something to
    remove.
    """

    def __init__(self, database: Path, lock: Path, on_trash: Callable[[], None]) -> None:
        self._on_trash = on_trash
        self._trash = False
        self._loop = asyncio.get_running_loop()
        self._connection = connect(database)
        self._lock = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self._queue: SimpleQueue[_Pending | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="commits", daemon=True)
        self._thread.start()

    async def commit(self, write: Write[T]) -> T:
        """Do a write; it is durable when this returns. Raises what the write raises, and StoreFull."""
        pending = _Pending(write, self._loop.create_future())
        self._queue.put(pending)
        result: T = await pending.future
        return result

    async def close(self) -> None:
        """Finish what was asked for, and end the thread."""
        self._queue.put(None)
        await asyncio.to_thread(self._thread.join)
        self._connection.close()
        os.close(self._lock)

    def _run(self) -> None:
        running = True
        while running:
            first = self._queue.get()
            group = [] if first is None else [first]
            running = first is not None
            while running and len(group) < _MAX_GROUP and not self._queue.empty():
                following = self._queue.get()
                if following is None:
                    running = False
                else:
                    group.append(following)
            if group:
                self._commit(group)
                self._loop.call_soon_threadsafe(self._settle, group)

    def _commit(self, group: list[_Pending]) -> None:
        try:
            self._transaction(group)
        except Exception as error:
            if len(group) == 1:
                group[0].error = _named(error)
                return
            for pending in group:
                pending.error = None
                self._commit([pending])

    def _transaction(self, group: list[_Pending]) -> None:
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                for pending in group:
                    try:
                        pending.result = pending.write(self._connection)
                    except StoreError as error:
                        pending.error = error
                self._trash = is_there_trash(self._connection)
                self._connection.execute("COMMIT")
            except BaseException:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                raise
        finally:
            fcntl.flock(self._lock, fcntl.LOCK_UN)

    def _settle(self, group: list[_Pending]) -> None:
        for pending in group:
            if pending.future.cancelled():
                continue
            if pending.error is not None:
                pending.future.set_exception(pending.error)
                pending.future.exception()  # seen, also where nobody waits any more
            else:
                pending.future.set_result(pending.result)
        if self._trash:
            self._on_trash()


def _named(error: Exception) -> Exception:
    if isinstance(error, sqlite3.OperationalError) and error.sqlite_errorcode == sqlite3.SQLITE_FULL:
        full = StoreFull("no space is left for the index")
        full.__cause__ = error
        return full
    return error
