"""Blob files: the bytes of large objects and of parts. Knows names and files, not what refers to them.

A blob lies in ``blobs/XX/ID``; an extent is a blob's id and length, and the bytes of an object are a list of them.

**After a crash.** A blob is written before the index knows it. Each process has a session directory under
``sessions/``, on which it holds a lock as long as it lives; for each blob that it begins it leaves an empty marker
there, before the blob, and removes it when the index knows the blob (or the blob is gone). Whoever gets the lock of
a session knows that its process is gone, and removes the blobs that its markers name and the index does not. No scan
over all blobs is ever needed.

**Removal.** An object that goes away may still be read, here or in another process. The blob of an object with one
extent is opened when the object is, and stays readable when it is unlinked. An object with many extents is not
opened at once: its reader holds a shared lock on a lease file, and its blobs are removed by whoever gets that lock
alone; until then they stay in the index's trash.
"""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import struct
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from strongroom.store.base import Damaged, StoreFull

ID = 16
_EXTENT = struct.Struct(f">{ID}sQ")
_FILE = 0o600
_DIRECTORY = 0o700


@dataclass(frozen=True, slots=True)
class Extent:
    """``size`` bytes: the whole of a blob."""

    blob: bytes
    size: int


def encode_extents(extents: Iterable[Extent]) -> bytes:
    """Extents as one value for the index."""
    return b"".join(_EXTENT.pack(extent.blob, extent.size) for extent in extents)


def decode_extents(data: bytes) -> list[Extent]:
    """Read what :func:`encode_extents` gave. Raises Damaged."""
    try:
        return [Extent(*fields) for fields in _EXTENT.iter_unpack(data)]
    except struct.error as error:
        raise Damaged("a list of blobs is damaged") from error


class Blobs:
    """The blob files of a directory. Methods block: they are for threads."""

    def __init__(self, directory: Path) -> None:
        self._blobs = directory / "blobs"
        self._sessions = directory / "sessions"
        self._leases = directory / "leases"
        for made in (self._blobs, self._sessions, self._leases):
            make_directory(made)
        self._session, self._lock = self._begin_session()

    def _begin_session(self) -> tuple[Path, int]:
        while True:
            session = self._sessions / os.urandom(8).hex()
            make_directory(session)
            try:
                lock = os.open(session, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            except FileNotFoundError:
                continue  # another process's sweep was faster, and removed it
            fcntl.flock(lock, fcntl.LOCK_EX)
            if session.is_dir():
                return session, lock
            os.close(lock)  # the same, between the opening and the lock

    def close(self) -> None:
        """End the session: what is still marked (a process that stops amid uploads) is swept by the next one."""
        with suppress(OSError):
            self._session.rmdir()
        os.close(self._lock)

    def path(self, blob: bytes) -> Path:
        """Where a blob lies."""
        name = blob.hex()
        return self._blobs / name[:2] / name

    def create(self) -> tuple[bytes, int]:
        """Begin a blob: its id, and a descriptor to write to. Raises StoreFull."""
        blob = os.urandom(ID)
        path = self.path(blob)
        try:
            _touch(self._session / blob.hex())
            if not path.parent.is_dir():
                make_directory(path.parent)
            return blob, os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, _FILE)
        except OSError as error:
            raise full(error) from error

    def finish(self, blob: bytes, descriptor: int) -> None:
        """Make a blob durable: its bytes and its name. Closes the descriptor. Raises StoreFull."""
        try:
            os.fdatasync(descriptor)
            sync_directory(self.path(blob).parent)
        except OSError as error:
            raise full(error) from error
        finally:
            os.close(descriptor)

    def known(self, blob: bytes) -> None:
        """The index knows this blob, or it is gone: forget its marker."""
        with suppress(FileNotFoundError):
            (self._session / blob.hex()).unlink()

    def remove(self, blob: bytes) -> None:
        """Remove a blob that nothing refers to."""
        with suppress(FileNotFoundError):
            self.path(blob).unlink()

    def sweep(self, is_known: Callable[[bytes], bool]) -> int:
        """Remove what processes that are gone left behind; how many blobs that was."""
        removed = 0
        for session in self._sessions.iterdir():
            if session == self._session:
                continue
            with suppress(FileNotFoundError, NotADirectoryError):
                removed += self._sweep_session(session, is_known)
        return removed

    def _sweep_session(self, session: Path, is_known: Callable[[bytes], bool]) -> int:
        lock = os.open(session, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        removed = 0
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            for marker in session.iterdir():
                blob = bytes.fromhex(marker.name)
                if not is_known(blob):
                    self.remove(blob)
                    removed += 1
                marker.unlink(missing_ok=True)
            session.rmdir()
        except BlockingIOError:
            pass  # its process lives
        finally:
            os.close(lock)
        return removed

    # -- leases ----------------------------------------------------------------------------------------------------

    def lease(self, data: int) -> int:
        """Hold the blobs of ``data`` as long as the returned descriptor is open."""
        descriptor = os.open(self._leases / str(data), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, _FILE)
        fcntl.flock(descriptor, fcntl.LOCK_SH)
        return descriptor

    def remove_leased(self, data: int, blobs: Iterable[bytes]) -> bool:
        """Remove the blobs of ``data``, unless somebody holds them: False then."""
        lease = self._leases / str(data)
        try:
            descriptor = os.open(lease, os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
            descriptor = -1
        try:
            if descriptor >= 0:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            for blob in blobs:
                self.remove(blob)
            lease.unlink(missing_ok=True)
        except BlockingIOError:
            return False
        finally:
            if descriptor >= 0:
                os.close(descriptor)
        return True


def make_directory(path: Path) -> None:
    """Make a directory, durably, where it is not there."""
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


def full(error: OSError) -> Exception:
    """The error of the protocol for one of the system."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return StoreFull(f"no space is left: {os.strerror(error.errno)}")
    return error


def free_bytes(directory: Path) -> int:
    """Bytes that are free where ``directory`` lies."""
    return shutil.disk_usage(directory).free


def _touch(path: Path) -> None:
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, _FILE))
