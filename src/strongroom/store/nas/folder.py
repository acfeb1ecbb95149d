"""The shared folder: walking it without being led out of it, making and removing folders durably, locks.

Every step starts from the descriptor of the folder above and follows no symbolic link, so neither a name nor a link
that somebody puts there meanwhile leads outside. Methods block: they are for threads.
"""

from __future__ import annotations

import errno
import os
import stat
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from functools import wraps
from pathlib import Path
from typing import ParamSpec, TypeVar

from strongroom.store.errors import NameRefused, NoSuchBucket, ObjectIsFolder, ParentIsObject, StoreError, unwritable
from strongroom.store.nas.locks import Waiters, lock
from strongroom.store.nas.names import Place, is_bucket_name
from strongroom.store.reserved import RESERVED

FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
P = ParamSpec("P")
T = TypeVar("T")

NO_NAME = (errno.EINVAL, errno.EILSEQ, errno.ENAMETOOLONG)
"""The errors for a name that a file system cannot hold: on eCryptfs, for example, one longer than 143 bytes."""

_NO_WAY = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP)
_CLOCK = "clock"
_AGAIN = 64
_AT_ONCE = 8
_PAUSE = 0.05  # seconds; NFS trusts what it has cached of names for three by default (acregmin)
_MAX_DEPTH = 600  # folders within folders: more than a key has room for

LOCKS = "locks"
"""The file in the reserved folder whose bytes are the locks of names."""

AREAS = ("tmp", "uploads", "buckets", "beside")
"""The folders in the reserved folder: files being written, open uploads, settings of buckets, sidecars."""


def tries() -> Iterator[None]:
    """A limited number of attempts; after the first few, with a pause before each: a network file system gives the same
    answer from its cache at once, until it asks its server again.
    """
    for number in range(_AGAIN):
        if number >= _AT_ONCE:
            time.sleep(_PAUSE)
        yield


def retried(step: Callable[P, T]) -> Callable[P, T]:
    """Repeat a step, up to a limit, if a network file system says that a folder on its way was replaced (ESTALE)."""

    @wraps(step)
    def tried(*args: P.args, **named: P.kwargs) -> T:
        for _ in tries():
            try:
                return step(*args, **named)
            except OSError as error:
                if error.errno != errno.ESTALE:
                    raise
        return step(*args, **named)

    return tried


class Folder:
    """A shared folder. ``mask``: the umask for what others may read (objects and their folders)."""

    def __init__(self, path: Path, mask: int) -> None:
        self.path = path
        self.file_mode = 0o666 & ~mask
        self._folder_mode = 0o777 & ~mask
        self._root = self._reserved = -1
        self._areas: dict[str, int] = {}
        self._waiters = Waiters()

    def open(self) -> None:
        """Open the folder, and make the reserved one in it. Raises StoreError."""
        try:
            self._root = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            self._reserved = _made(self._root, RESERVED)
            self._areas = {name: _made(self._reserved, name) for name in AREAS}
            os.close(os.open(LOCKS, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600, dir_fd=self._reserved))
        except OSError as error:
            raise StoreError(f"{self.path} cannot be used: {error.strerror}") from error

    def close(self) -> None:
        """Close it."""
        for descriptor in (*self._areas.values(), self._reserved, self._root):
            if descriptor >= 0:
                os.close(descriptor)
        self._root = self._reserved = -1
        self._areas = {}

    @property
    def root(self) -> int:
        """The descriptor of the folder itself."""
        return self._root

    @property
    def reserved(self) -> int:
        """The descriptor of the reserved folder."""
        return self._reserved

    def area(self, name: str) -> int:
        """The descriptor of one of :data:`AREAS`."""
        return self._areas[name]

    def now(self) -> int:
        """The time by the clock that sets the times of files here: the NAS's, not this machine's."""
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        descriptor = os.open(_CLOCK, flags, 0o600, dir_fd=self._reserved)
        try:
            os.utime(descriptor)
            return os.fstat(descriptor).st_mtime_ns
        finally:
            os.close(descriptor)

    # -- walking ---------------------------------------------------------------------------------------------------

    @contextmanager
    def bucket(self, name: str) -> Iterator[int]:
        """The descriptor of a bucket's folder. Raises NoSuchBucket."""
        descriptor = self._open_bucket(name)
        try:
            yield descriptor
        finally:
            os.close(descriptor)

    def _open_bucket(self, name: str) -> int:
        if not is_bucket_name(name):
            raise NoSuchBucket(name)
        try:
            return os.open(name, FOLDER, dir_fd=self._root)
        except OSError as error:
            if error.errno in _NO_WAY:
                raise NoSuchBucket(name) from None
            raise

    def walked(self, bucket: str, folders: Sequence[bytes]) -> AbstractContextManager[int | None]:
        """The descriptor of a folder below a bucket, None if there is none. Raises NoSuchBucket."""
        return walked_from(self._open_bucket(bucket), folders)

    @contextmanager
    def made(self, place: Place) -> Iterator[int]:
        """The descriptor of the folder that a place lies in, which is made (durably) if it does not exist.

        Raises NoSuchBucket, ParentIsObject, NameRefused, StoreFull.
        """
        descriptor = self._open_bucket(place.bucket)
        try:
            self._finish(descriptor)
            for part in place.folders:
                below = self._made_below(descriptor, part, place)
                os.close(descriptor)
                descriptor = below
            yield descriptor
        finally:
            os.close(descriptor)

    def _made_below(self, above: int, part: bytes, place: Place) -> int:
        for _ in range(_AGAIN):
            below = open_below(above, part)
            if below is not None:
                self._finish(below)
                return below
            found = status(above, part)
            if found is not None and not stat.S_ISDIR(found.st_mode):
                raise_for_taken(found, place)
            try:
                os.mkdir(part, 0o700, dir_fd=above)
                made = os.open(part, FOLDER, dir_fd=above)
            except (FileExistsError, NotADirectoryError):
                continue  # another process or thread was faster
            except FileNotFoundError:
                if os.fstat(above).st_nlink == 0:
                    raise  # the folder above was removed meanwhile because it was empty: the caller begins anew
                continue
            except OSError as error:
                raise refusal(error, place.key) from error
            try:
                self._open_to_others(made)
                sync(above)
            except BaseException:
                os.close(made)
                raise
            return made
        raise StoreError(f"the folders of {place.name!r} come and go too often")

    @retried
    def prune(self, place: Place) -> None:
        """Remove the folders above a place that are empty now, from the lowest up. Others may fill one: it stays."""
        for length in range(len(place.folders), 0, -1):
            with self.walked(place.bucket, place.folders[: length - 1]) as above:
                if above is None:
                    continue
                try:
                    os.rmdir(place.folders[length - 1], dir_fd=above)
                except FileNotFoundError:
                    continue
                except OSError:
                    return

    def make_bucket(self, name: str) -> None:
        """Make a bucket's folder, durably. Raises FileExistsError."""
        os.mkdir(name, 0o700, dir_fd=self._root)
        with self.bucket(name) as made:
            self._open_to_others(made)
        sync(self._root)

    def _finish(self, descriptor: int) -> None:
        """Open a folder to others if the gateway that made it was killed before it did so: nothing is in it then."""
        found = os.fstat(descriptor)
        if stat.S_IMODE(found.st_mode) & ~stat.S_ISGID == 0o700 != self._folder_mode and found.st_uid == os.geteuid():
            with os.scandir(descriptor) as entries:
                if next(entries, None) is None:
                    self._open_to_others(descriptor)

    def _open_to_others(self, made: int) -> None:
        with suppress(PermissionError):  # file systems that have no modes
            # A folder that passes its group on to new ones (set-group-ID) has made this one do so, too: keep that.
            os.fchmod(made, self._folder_mode | os.fstat(made).st_mode & stat.S_ISGID)

    # -- locks -----------------------------------------------------------------------------------------------------

    @contextmanager
    def locked(self, name: str) -> Iterator[None]:
        """Hold the lock of a name, against every thread, process and machine that uses the folder.

        Raises Unavailable if another holds it for too long.
        """
        with self.opened_locks() as descriptor:
            self._waiters.wait(descriptor, name)
            yield

    @contextmanager
    def locked_if_free(self, name: str) -> Iterator[bool]:
        """Hold the lock of a name if nobody else does; yields whether it is held."""
        with self.opened_locks() as descriptor:
            yield lock(descriptor, name)

    @contextmanager
    def opened_locks(self) -> Iterator[int]:
        """A descriptor of the file of the locks. Closing it releases what was locked with it, as does the end of the
        process.
        """
        descriptor = os.open(LOCKS, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=self._reserved)
        try:
            yield descriptor
        finally:
            os.close(descriptor)


def open_below(above: int, part: bytes) -> int | None:
    """The descriptor of a folder in a folder; None if there is no folder of this name (but a file or a link, say)."""
    try:
        return os.open(part, FOLDER, dir_fd=above)
    except OSError as error:
        if error.errno in _NO_WAY or error.errno in NO_NAME:
            return None
        raise


@contextmanager
def walked_from(descriptor: int, parts: Iterable[bytes]) -> Iterator[int | None]:
    """The descriptor of a folder that lies below an open one, None if there is none. Both are closed."""
    found: int | None = descriptor
    try:
        for part in parts:
            if found is None:
                break
            below = open_below(found, part)
            os.close(found)
            found = below
        yield found
    finally:
        if found is not None:
            os.close(found)


@contextmanager
def opened_below(above: int, part: bytes) -> Iterator[int | None]:
    """As :func:`open_below`; the folder is closed at the end."""
    descriptor = open_below(above, part)
    try:
        yield descriptor
    finally:
        if descriptor is not None:
            os.close(descriptor)


def status(above: int, name: bytes) -> os.stat_result | None:
    """The status of an entry of a folder (of a link, that of the link itself); None if there is no such entry."""
    try:
        return os.stat(name, dir_fd=above, follow_symlinks=False)
    except OSError as error:
        if error.errno in _NO_WAY:
            return None
        raise


def raise_for_taken(found: os.stat_result, place: Place) -> None:
    """Raise the reason why an entry is in the way of an object: ParentIsObject, ObjectIsFolder, NameRefused."""
    if stat.S_ISREG(found.st_mode):
        raise ParentIsObject(place.name)
    if stat.S_ISDIR(found.st_mode):
        raise ObjectIsFolder(place.name)
    raise NameRefused(f"there is a symbolic link or a special file in the way of {place.key!r}")


def refusal(error: OSError, key: str) -> StoreError | OSError:
    """The error of the store protocol for an error of the system; the same error if there is none."""
    if error.errno in NO_NAME:
        return NameRefused(f"this file system cannot hold the name {key!r}")
    if error.errno == errno.EXDEV:
        return NameRefused(f"{key!r} lies on another file system than the shared folder")
    return unwritable(error)


def sync(descriptor: int) -> None:
    """Make a file or a folder durable, as far as the file system can: some (SMB, some of FUSE) cannot sync."""
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP, errno.EBADF, errno.ENOSYS):
            raise


def _made(above: int, name: str) -> int:
    there = open_below(above, name.encode())
    if there is not None:
        return there
    with suppress(FileExistsError):
        os.mkdir(name, 0o700, dir_fd=above)
        sync(above)
    return os.open(name, FOLDER, dir_fd=above)


def names_in(descriptor: int) -> list[str]:
    """The names in an open folder that is shared by threads: for each reading, the folder is opened separately."""
    fresh = os.open(".", FOLDER, dir_fd=descriptor)
    try:
        with os.scandir(fresh) as entries:
            return [entry.name for entry in entries]
    finally:
        os.close(fresh)


def remove_moved(tmp: int, name: str) -> None:
    """Remove a folder of ours that was moved to the drafts, as far as possible: the sweep removes the rest.

    A part that was on its way may be put into it meanwhile, and NFS keeps files that are open under other names.
    """
    with suppress(OSError):
        remove_tree(tmp, name)


def remove_tree(above: int, name: str | bytes) -> None:
    """Remove a folder of ours with all in it, if it still exists."""
    with suppress(FileNotFoundError):
        descriptor = os.open(name, FOLDER, dir_fd=above)
        try:
            with os.scandir(descriptor) as entries:
                found = [(entry.name, entry.is_dir(follow_symlinks=False)) for entry in entries]
            for entry, is_folder in found:
                if is_folder:
                    remove_tree(descriptor, entry)
                else:
                    with suppress(FileNotFoundError):
                        os.unlink(entry, dir_fd=descriptor)
        finally:
            os.close(descriptor)
        os.rmdir(name, dir_fd=above)


def remove_empty(above: int, name: bytes) -> bool:
    """Remove a folder if there is nothing in it but empty folders. Returns whether it is gone; if not, those stay."""
    return _only_folders(above, name, remove=False) and _only_folders(above, name, remove=True)


def _only_folders(above: int, name: bytes, remove: bool, depth: int = _MAX_DEPTH) -> bool:
    """Whether there is nothing in a folder but empty folders; with ``remove``, removes it, and returns whether it is
    gone.
    """
    if not depth:
        return False  # deeper than any key, so it is not ours
    try:
        descriptor = os.open(name, FOLDER, dir_fd=above)
    except FileNotFoundError:
        return True
    try:
        with os.scandir(descriptor) as entries:
            for entry in entries:
                if not entry.is_dir(follow_symlinks=False) or not _only_folders(
                    descriptor, os.fsencode(entry.name), remove, depth - 1
                ):
                    return False
    finally:
        os.close(descriptor)
    try:
        if remove:
            os.rmdir(name, dir_fd=above)
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return True
