"""Writing to the index: the writes that are asked for at the same time go into one transaction, and one sync.

Between processes, a lock file is held around the transaction: whoever waits for it sleeps in the kernel and is woken at
once, whereas SQLite waits by sleeping and looking again. What waits (for the lock, for the disk) and what takes long is
done in a thread. The statements of ordinary writes are not: they change pages in memory, in some microseconds each, and
two threads that hand Python's lock to each other at every statement take longer than the statements.

A write is a function of a connection. It checks its conditions before it changes anything, so a write that raises a
StoreError does not affect the others of its group. After any other error the group is rolled back, and its writes are
tried one by one. But if the commit itself failed, and not for lack of space, all writes of the group fail with its
error: the commit may count after a crash (see blobs.py), so none may be reported as having changed nothing.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import sqlite3
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar, TypeVarTuple

from strongroom.store.errors import StoreError, StoreFull
from strongroom.store.local.schema import connect, has_room
from strongroom.store.local.trash import is_there_trash
from strongroom.threads import Threads

T = TypeVar("T")
P = TypeVarTuple("P")
Write = Callable[[sqlite3.Connection], T]

_MAX_GROUP = 256
_TURN = 0.02  # seconds that the writes of a group may take on the event loop at a time: some overwrite 10,000 parts
_PATIENCE = 60.0  # seconds that a program which does not use the lock file may keep the index locked
_LOOK_AGAIN = 0.01


@dataclass(slots=True)
class _Pending:
    write: Write[Any]
    long: bool
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


def write(database: Path, lock: Path, step: Write[None]) -> None:
    """Do a write on a separate connection. Blocks; the write is durable when this returns."""
    with locked(lock), closing(connect(database)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        step(connection)
        connection.execute("COMMIT")


class Committer:
    """Does all regular writes to the index in this process. ``on_trash`` is called when there is trash to remove after
    a group.
    """

    def __init__(self, database: Path, lock: Path, on_trash: Callable[[], None]) -> None:
        self._on_trash = on_trash
        self._directory = database.parent
        self._trash = False
        self._loop = asyncio.get_running_loop()
        self._connection = connect(database)
        self._connection.execute("PRAGMA busy_timeout = 0")  # the event loop must not wait for another program
        self._lock = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self._waiting: deque[_Pending] = deque()
        self._working: asyncio.Task[None] | None = None
        self._last = 0  # how many writes the last transaction had
        self._thread = Threads(1, "commits")

    async def commit(self, write: Write[T], *, long: bool = False) -> T:
        """Do a write; it is durable when this returns. ``long``: it takes more than a few statements.

        Raises what the write raises, and StoreFull.
        """
        pending = _Pending(write, long, self._loop.create_future())
        self._waiting.append(pending)
        if self._working is None:
            self._working = self._loop.create_task(self._work())
        result: T = await pending.future
        return result

    async def close(self) -> None:
        """Finish what was asked for, and end the thread."""
        if self._working is not None:
            await self._working
        self._thread.shutdown()
        self._connection.close()
        os.close(self._lock)

    async def _work(self) -> None:
        while self._waiting:
            begun = None
            try:
                if self._last > 1:
                    await asyncio.sleep(0)  # where several come at a time, more of them join the transaction meanwhile
                if not self._begin_at_once():
                    await self._in_thread(self._begin)
            except Exception as error:
                begun = error
            group = [self._waiting.popleft() for _ in range(min(len(self._waiting), _MAX_GROUP))]
            self._last = len(group)
            if begun is not None:
                named = await self._named(begun)
                for pending in group:
                    pending.error = named
            else:
                await self._commit(group)
            self._settle(group)
            if self._trash:
                self._on_trash()
        self._working = None

    async def _commit(self, group: list[_Pending]) -> None:
        try:
            await self._transaction(group)
        except Exception as error:
            if len(group) == 1:
                group[0].error = await self._named(error)
                return
            for pending in group:
                pending.error = None
                try:
                    await self._in_thread(self._begin)
                    await self._transaction([pending])
                except Exception as own:
                    pending.error = await self._named(own)

    async def _transaction(self, group: list[_Pending]) -> None:
        """Do writes in the transaction that was begun, and commit it; roll it back if this fails."""
        turn = time.monotonic() + _TURN
        try:
            for pending in group:
                if time.monotonic() > turn:
                    await asyncio.sleep(0)  # other tasks get a turn
                    turn = time.monotonic() + _TURN
                changes = self._connection.total_changes
                try:
                    if pending.long:
                        pending.result = await self._in_thread(pending.write, self._connection)
                    else:
                        pending.result = pending.write(self._connection)
                except StoreError as error:
                    if self._connection.total_changes != changes:
                        raise  # it stopped halfway: all is rolled back, and the others are done without it
                    pending.error = error
            self._trash = is_there_trash(self._connection)
        except BaseException:
            await self._in_thread(self._end, "ROLLBACK")
            raise
        try:
            await self._committed(group)
        except Exception as error:
            if isinstance(await self._named(error), StoreFull):
                raise  # the end of the transaction is written to the log last, so it cannot be there
            for pending in group:
                pending.error = error

    async def _committed(self, group: list[_Pending]) -> None:
        """Commit. Those who wait are told as soon as the thread is done, without another turn of the event loop."""
        commit = self._thread.start(self._end, "COMMIT")
        commit.then(lambda commit: None if commit.error else self._settle(group))
        await commit.result()

    async def _in_thread(self, step: Callable[[*P], T], *arguments: *P) -> T:
        return await self._thread.start(step, *arguments).result()

    def _begin_at_once(self) -> bool:
        """Begin a transaction unless that has to wait for somebody. Returns whether it is begun."""
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        begun = False
        try:
            begun = self._is_begun()
        finally:
            if not begun:
                fcntl.flock(self._lock, fcntl.LOCK_UN)
        return begun

    def _begin(self) -> None:
        """Begin a transaction; blocks until nobody else writes, but not for longer than another program may take."""
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        try:
            until = time.monotonic() + _PATIENCE
            while not self._is_begun(give_up=time.monotonic() > until):
                time.sleep(_LOOK_AGAIN)
        except BaseException:
            fcntl.flock(self._lock, fcntl.LOCK_UN)
            raise

    def _is_begun(self, give_up: bool = False) -> bool:
        """Whether the transaction could be begun; False if a program that does not use the lock file is writing."""
        try:
            self._connection.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError as error:
            if give_up or error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY:
                raise
            return False
        return True

    def _end(self, how: str) -> None:
        try:
            try:
                if how == "COMMIT":
                    self._connection.execute("COMMIT")
            finally:
                if self._connection.in_transaction:  # SQLite itself rolls back after some errors
                    self._connection.execute("ROLLBACK")
        finally:
            fcntl.flock(self._lock, fcntl.LOCK_UN)

    def _settle(self, group: list[_Pending]) -> None:
        """Tell those who wait, unless they were told before, or do not wait any more."""
        for pending in group:
            if pending.future.done():
                continue
            if pending.error is not None:
                pending.future.set_exception(pending.error)
                pending.future.exception()  # retrieved, even if nobody waits for it any more
            else:
                pending.future.set_result(pending.result)

    async def _named(self, error: Exception) -> Exception:
        """StoreFull if there is no room for what was to be written; any other error as it is."""
        if not isinstance(error, sqlite3.OperationalError):
            return error
        full = error.sqlite_errorcode == sqlite3.SQLITE_FULL
        failed = error.sqlite_errorcode == sqlite3.SQLITE_IOERR_WRITE  # this is also what SQLite says of a quota
        if not full and not (failed and not await self._in_thread(has_room, self._directory)):
            return error
        named = StoreFull("no space is left for the index")
        named.__cause__ = error
        return named
