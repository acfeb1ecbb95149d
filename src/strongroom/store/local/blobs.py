"""Blob files: the bytes of large objects and of parts. Knows names and files, not what refers to them.

A blob lies in ``blobs/XX/ID``; an extent is a blob's id and length, and the bytes of an object are a list of them.

**After a crash.** A blob is written before the index knows it. Each process has a session directory under
``sessions/``, on which it holds a lock as long as it lives. Before it begins a blob, it leaves an empty marker there;
when the index knows the blob (or the blob is gone), the marker is renamed for the next one. Whoever gets the lock of a
session knows that its process is gone, and has those blobs put into the index's trash that the markers name and the
index does not know. No scan over all blobs is ever needed. After a power cut that holds because a marker is durable
before its blob: where the file system does not see to that by itself, the session directory is synced first.

**A commit that failed**, or whose process was killed during it, may be complete in SQLite's log, after the valid part,
and become valid after a crash, unless another commit was written over it. So the blob of such a commit is not removed
but left to the sweep; and the sweep removes nothing before a commit of its own, which puts the blob into the trash.

**Removal.** An object that is removed may still be read, here or in another process. The blob of an object with one
extent is opened when the object is, and stays readable when it is unlinked. The blobs of an object with many extents
are not all opened then: its reader holds a shared lock on a lease file, and the blobs are removed by whoever gets an
exclusive lock on it; until then they stay in the index's trash. (If there is no room for that file, the lock is on the
directory of all lease files.)
"""

from __future__ import annotations

import errno
import fcntl
import os
import re
import stat
import struct
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import overload

from strongroom.buffers import Buffer, unfilled
from strongroom.spans import within
from strongroom.store.errors import Damaged, StoreFull, unwritable
from strongroom.store.file_system import file_system

ID = 16
_EXTENT = struct.Struct(f">{ID}sQ")
_SIZE = struct.Struct(f">{ID}xQ")
_IN_ORDER = ("ext3", "ext4", "xfs")  # by their journals, when a name is durable, so is all done to names before
_NO_WAIT: int | None = getattr(os, "RWF_NOWAIT", None)
_MARKER = re.compile(rf"[0-9a-f]{{{2 * ID}}}")
_FILE = 0o600
_DIRECTORY = 0o700


@dataclass(frozen=True, slots=True)
class Extent:
    """``size`` bytes: the whole of a blob."""

    blob: bytes
    size: int


def encode_extents(extents: Iterable[Extent]) -> bytes:
    """Extents encoded as one value for the index."""
    return b"".join(_EXTENT.pack(extent.blob, extent.size) for extent in extents)


class Extents(Sequence[Extent]):
    """Extents from the value of :func:`encode_extents`. Each is decoded when it is needed: a range of an object touches
    few of its blobs. Raises Damaged.
    """

    __slots__ = ("_data", "_ends")

    def __init__(self, data: bytes) -> None:
        if len(data) % _EXTENT.size:
            raise Damaged("a list of blobs is damaged")
        self._data = data
        self._ends: list[int] | None = None

    def __len__(self) -> int:
        return len(self._data) // _EXTENT.size

    @overload
    def __getitem__(self, index: int) -> Extent: ...

    @overload
    def __getitem__(self, index: slice) -> list[Extent]: ...

    def __getitem__(self, index: int | slice) -> Extent | list[Extent]:
        if isinstance(index, slice):
            return [self[number] for number in range(*index.indices(len(self)))]
        if not 0 <= index < len(self):
            raise IndexError(index)
        return Extent(*_EXTENT.unpack_from(self._data, index * _EXTENT.size))

    def within(self, start: int, length: int) -> Iterator[tuple[Extent, int, int]]:
        """The blobs that hold ``length`` bytes from ``start`` on: for each, where in it they begin, and how many."""
        if self._ends is None:
            self._ends = list(accumulate(size for (size,) in _SIZE.iter_unpack(self._data)))
        for index, first, taken in within(self._ends, start, length):
            yield self[index], first, taken


class OpenFile:
    """A file that is closed when nothing refers to it any more, so never while a thread still reads from it.

    If somebody has put something else in its place, it is opened without following a link or waiting (for a pipe, say).
    """

    __slots__ = ("_descriptor",)

    def __init__(self, path: str, flags: int) -> None:
        self._descriptor = os.open(path, flags | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK, _FILE)

    def __del__(self) -> None:
        with suppress(AttributeError):  # it could not be opened
            os.close(self._descriptor)

    @property
    def size(self) -> int:
        """Its length in bytes."""
        return os.fstat(self._descriptor).st_size

    @property
    def is_regular(self) -> bool:
        """Whether it is a regular file, and not a pipe, say."""
        return stat.S_ISREG(os.fstat(self._descriptor).st_mode)

    def read(self, size: int, at: int) -> bytes:
        """Up to ``size`` bytes from ``at`` on."""
        return os.pread(self._descriptor, size, at)

    def cached(self, size: int, at: int, room: bytearray | None = None) -> Buffer | None:
        """``size`` bytes from ``at`` on if they are in memory, else None. Never waits for the disk.

        ``room``: as for Reader.cached.
        """
        found = unfilled(size) if room is None else memoryview(room)[:size]
        try:
            whole = _NO_WAIT is not None and os.preadv(self._descriptor, [found], at, _NO_WAIT) == size
        except OSError:
            return None  # it would have to wait, or the file system does not support this
        return found if whole else None

    def lock(self, kind: int) -> None:
        """As flock(2)."""
        fcntl.flock(self._descriptor, kind)


class Blobs:
    """The blob files of a directory. Methods block: they are for threads."""

    def __init__(self, directory: Path) -> None:
        self._blobs = directory / "blobs"
        self._sessions = directory / "sessions"
        self._leases = directory / "leases"
        for made in (self._blobs, self._sessions, self._leases):
            make_directory(made)
        self._session, self._lock = self._begin_session()
        self._in_order = file_system(directory) in _IN_ORDER
        self._spent: deque[bytes] = deque()
        self._left: deque[bytes] = deque()

    def _begin_session(self) -> tuple[Path, int]:
        while True:
            session = self._sessions / os.urandom(8).hex()
            make_directory(session)
            try:
                lock = os.open(session, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            except FileNotFoundError:
                continue  # another process's sweep has already removed it
            fcntl.flock(lock, fcntl.LOCK_EX)
            if session.is_dir():
                return session, lock
            os.close(lock)  # the sweep has removed it between the opening and the lock

    def close(self) -> None:
        """End the session. If blobs are still marked (the process stops amid uploads), the next sweep finds them."""
        with suppress(OSError):
            for blob in self._spent:
                (self._session / blob.hex()).unlink()
            self._session.rmdir()
        os.close(self._lock)

    def path(self, blob: bytes) -> Path:
        """Where a blob lies."""
        return Path(self._path(blob))

    def _path(self, blob: bytes) -> str:
        name = blob.hex()
        return f"{self._blobs}/{name[:2]}/{name}"

    def open(self, blob: bytes) -> OpenFile:
        """Open a blob for reading. Raises FileNotFoundError, Damaged."""
        try:
            opened = OpenFile(self._path(blob), os.O_RDONLY)
        except OSError as error:
            if error.errno not in (errno.ELOOP, errno.ENXIO):
                raise
        else:
            if opened.is_regular:
                return opened
        raise Damaged(f"the blob {blob.hex()} is no file")

    def create(self) -> tuple[bytes, int]:
        """Begin a blob. Returns its id and a descriptor to write to. Raises StoreFull."""
        blob = os.urandom(ID)
        path, flags = self._path(blob), os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        try:
            self._mark(blob)
            try:
                return blob, os.open(path, flags, _FILE)
            except FileNotFoundError:
                make_directory(self.path(blob).parent)
                return blob, os.open(path, flags, _FILE)
        except OSError as error:
            self.known(blob)  # there is no blob, so its marker can be used for the next one
            raise unwritable(error) from error

    def _mark(self, blob: bytes) -> None:
        marker = self._session / blob.hex()
        with suppress(IndexError, FileNotFoundError):  # there is no spent marker, or somebody has removed it
            (self._session / self._spent.pop().hex()).rename(marker)
            return
        _touch(marker)

    def finish(self, blob: bytes, descriptor: int) -> None:
        """Make a blob durable: its bytes and its name. Closes the descriptor. Raises StoreFull."""
        try:
            if not self._in_order:
                sync_directory(self._session)  # with the marker
            os.fdatasync(descriptor)
            sync_directory(self.path(blob).parent)
        except OSError as error:
            raise unwritable(error) from error
        finally:
            os.close(descriptor)

    def known(self, blob: bytes) -> None:
        """Note that the index knows this blob, or that it is gone: its marker can be used for the next blob. Does not
        block.
        """
        self._spent.append(blob)

    def leave(self, blob: bytes) -> None:
        """Leave a blob to the sweep, since the index may still come to know it. Does not block."""
        self._left.append(blob)

    def remove(self, blob: bytes) -> None:
        """Remove a blob that nothing refers to."""
        with suppress(FileNotFoundError):
            self.path(blob).unlink()

    def forget(self, blobs: Iterable[bytes]) -> None:
        """Make the removal of blobs durable: once the index no longer names them, nobody looks for them again."""
        for directory in {self.path(blob).parent for blob in blobs}:
            with suppress(FileNotFoundError):  # none of its blobs was ever made
                sync_directory(directory)

    def sweep(self, discard: Callable[[Sequence[bytes]], None]) -> None:
        """Pass to ``discard`` the blobs that were left here, and those left by processes that are gone; the index may
        know them or not. When it returns, the index knows them all, if only as trash.
        """
        left = [self._left.popleft() for _ in range(len(self._left))]
        try:
            discard(left)
        except BaseException:
            self._left.extend(left)
            raise
        self._spent.extend(left)
        for session in self._sessions.iterdir():
            if session == self._session:
                continue
            with suppress(FileNotFoundError, NotADirectoryError):
                self._sweep_session(session, discard)

    def _sweep_session(self, session: Path, discard: Callable[[Sequence[bytes]], None]) -> None:
        lock = os.open(session, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            markers = [marker for marker in session.iterdir() if _MARKER.fullmatch(marker.name)]
            discard([bytes.fromhex(marker.name) for marker in markers])
            with suppress(OSError):  # if others put something there, it stays, and does not keep a server from starting
                for marker in markers:
                    marker.unlink(missing_ok=True)
                session.rmdir()
        except BlockingIOError:
            pass  # its process is alive
        finally:
            os.close(lock)

    # -- leases ----------------------------------------------------------------------------------------------------

    def _lease(self, data: int) -> str:
        """The lease file of a data row. Raises Damaged: a column of integers holds whatever somebody put there, such as
        a path.
        """
        if not isinstance(data, int):
            raise Damaged("the index holds something else than the id of a data row")
        return f"{self._leases}/{data}"

    def lease(self, data: int) -> OpenFile:
        """A file that keeps the blobs of ``data`` (the id of a data row) once its lock is shared, as long as something
        refers to it. Raises Damaged.
        """
        path = self._lease(data)
        try:
            return OpenFile(path, os.O_RDWR | os.O_CREAT)
        except OSError as error:
            if not isinstance(unwritable(error), StoreFull):
                raise
            return OpenFile(str(self._leases), os.O_RDONLY | os.O_DIRECTORY)  # no room for a file: hold all blobs

    def remove_leased(self, data: int, blobs: Iterable[bytes]) -> bool:
        """Remove the blobs of ``data``, unless somebody holds a lease on them: False then. Raises Damaged."""
        lease = Path(self._lease(data))
        locks = [OpenFile(str(self._leases), os.O_RDONLY | os.O_DIRECTORY)]
        with suppress(FileNotFoundError):
            locks.append(OpenFile(str(lease), os.O_RDWR))
        try:
            for lock in locks:
                lock.lock(fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        for blob in blobs:
            self.remove(blob)
        lease.unlink(missing_ok=True)
        return True


def make_directory(path: Path) -> None:
    """Make a directory, durably, if it does not exist."""
    try:
        path.mkdir(mode=_DIRECTORY)
    except FileExistsError:
        return
    sync_directory(path.parent)


def sync_directory(path: Path) -> None:
    """Make the names in a directory durable."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _touch(path: Path) -> None:
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, _FILE))
