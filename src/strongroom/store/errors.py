"""What a store raises on purpose."""

from __future__ import annotations

import errno
import os
import sqlite3

NO_SPACE = (errno.ENOSPC, errno.EDQUOT)
"""The errors of the system when there is no room left: on the file system, or in a quota."""

_DAMAGED_INDEX = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
_DISK_OF_INDEX = (sqlite3.SQLITE_IOERR, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN)


class StoreError(Exception):
    """Base of what a store raises on purpose; anything else it raises is a fault of the machine or of the store."""


class NoSuchBucket(StoreError):
    """There is no bucket of this name."""


class BucketExists(StoreError):
    """A bucket of this name is there already."""


class BucketNotEmpty(StoreError):
    """The bucket still holds objects."""


class NoSuchObject(StoreError):
    """There is no object under this key."""


class NoSuchUpload(StoreError):
    """There is no open multipart upload of this id for this bucket and key."""


class PartChanged(StoreError):
    """A part named on completion is not there, or is not the one that was meant: it was uploaded anew meanwhile."""


class ConditionFailed(StoreError):
    """The object under the name is not as the :class:`~strongroom.store.base.Condition` asked; nothing was written."""


class NameRefused(StoreError):
    """This store cannot hold an object of this name; the message says why."""


class NameReserved(NameRefused):
    """The name is one that the store keeps for itself."""


class NameTooLong(NameRefused):
    """A part of the name is longer than this store can hold."""


class ParentIsObject(NameRefused):
    """A name above this one is that of an object, and this store cannot hold objects below objects."""


class ObjectIsFolder(NameRefused):
    """Objects lie below this name, and this store cannot hold an object above objects."""


class MetadataRefused(StoreError):
    """This store cannot keep metadata of this name; the message says why."""


class Forbidden(StoreError):
    """The system denies access to what was asked for: it belongs to others, say; the message names it."""


class StoreFull(StoreError):
    """No space (or quota) is left; nothing was written."""


class Damaged(StoreError):
    """What is on the medium is not what was written there; the message names the object."""


class ObjectChanged(StoreError):
    """The object was replaced or removed while it was being read; opening it anew gives the one that is there now."""


class Unavailable(StoreError):
    """The storage behind the store cannot be reached, hangs, or answers nonsense: worth trying again later."""


class Refused(StoreError):
    """The storage behind the store (another S3) answers with an error of its own: its ``status``, ``code`` and
    ``message``.
    """

    def __init__(self, status: int, code: str, message: str, what: str) -> None:
        super().__init__(f"{what}: the backend answered {status} {code}: {message}")
        self.status = status
        self.code = code
        self.message = message


def is_index_damaged(error: Exception) -> bool:
    """Whether SQLite found that bytes of the index are not as they were written."""
    return _sqlite_code(error) in _DAMAGED_INDEX


def index_fault(error: Exception) -> str:
    """What is wrong with the index, and what to do, if ``error`` is SQLite's and is about that; "" for all others."""
    if is_index_damaged(error):
        return f"the index is damaged ({error}): restore the whole from a back-up"
    if _sqlite_code(error) in _DISK_OF_INDEX:
        return f"the index cannot be read or written ({error}): look at its disk, and at who owns it"
    return ""


def _sqlite_code(error: Exception) -> int:
    """The primary code of an error of SQLite; 0 for all others."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF if isinstance(error, sqlite3.Error) else 0


def unwritable(error: OSError) -> StoreError | OSError:
    """StoreFull if the system says that there is no space, or none for a file of this size; Unavailable if the file
    system is read-only (it was mounted so, or had errors); any other error as it is.
    """
    if error.errno in (*NO_SPACE, errno.EFBIG):
        return StoreFull(f"no space is left: {os.strerror(error.errno)}")
    if error.errno == errno.EROFS:
        return Unavailable(f"nothing can be written: {os.strerror(error.errno)}")
    return error
