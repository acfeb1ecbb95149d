"""Finding out what a file holds: an object of ours, one of others, or one that MinIO left.

Functions and methods block: they are for threads.
"""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from dataclasses import dataclass

from strongroom.store.base import FOUND, LEFT, Stored
from strongroom.store.errors import Damaged, NameRefused, NoSuchObject, StoreError
from strongroom.store.nas.beside import BesideStore
from strongroom.store.nas.folder import FILE, NO_NAME, Folder, retried
from strongroom.store.nas.layout import (
    IDENTITY,
    MARK,
    TAIL,
    LayoutInvalid,
    LayoutUnknown,
    Segment,
    Trailer,
    decode_trailer,
    is_marked,
    trailer_length,
)
from strongroom.store.nas.left import Left
from strongroom.store.nas.names import Place, place_of
from strongroom.store.nas.probe import Traits

_END = 4096  # bytes that are read at the end of a file: mostly the whole record
_AGAIN = 64
_NOT_THERE = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENXIO, errno.EISDIR, *NO_NAME)


@dataclass(frozen=True, slots=True)
class Found:
    """What a file holds. ``whole``: all its bytes, if it is small. ``trailer``: None unless the object is encrypted."""

    stored: Stored
    segments: tuple[Segment, ...]
    annex: bytes = b""
    trailer: Trailer | None = None
    whole: bytes | None = None


class Finder:
    """Finds the objects of a folder."""

    def __init__(self, folder: Folder, traits: Traits, beside: BesideStore, left: Left) -> None:
        self._folder = folder
        self._traits = traits
        self._beside = beside
        self._left = left

    @retried
    def open(self, bucket: str, key: str, small: int = 0) -> tuple[int, Found]:
        """Open an object. Returns a descriptor and what the file holds, with all its bytes if it has up to ``small``.

        Raises NoSuchBucket, NoSuchObject, Damaged.
        """
        try:
            place = place_of(bucket, key, self._traits.stand_ins)
        except NameRefused:
            with self._folder.bucket(bucket):
                raise NoSuchObject(f"{bucket}/{key}") from None
        with self._folder.walked(bucket, place.folders) as above:
            if above is None:
                raise NoSuchObject(place.name)
            return self.open_in(above, place, small)

    def open_in(self, above: int, place: Place, small: int = 0) -> tuple[int, Found]:
        """As :meth:`open`, in the open folder of the place."""
        for _ in range(_AGAIN):
            descriptor = _opened(above, place)
            try:
                found = self.describe(descriptor, place, small)
                if not self._lacks_document(found) or self._is_still(descriptor, above, place):
                    return descriptor, found
            except BaseException:
                os.close(descriptor)
                raise
            os.close(descriptor)
        raise StoreError(f"{place.name!r} is replaced too often")

    def describe(self, descriptor: int, place: Place, small: int = 0) -> Found:
        """What an open file holds. Raises NoSuchObject if it is no regular file, Damaged."""
        try:
            return self._describe(descriptor, place, small)
        except LayoutUnknown as error:
            raise Damaged(f"{place.name!r}: {error}") from error

    def _describe(self, descriptor: int, place: Place, small: int) -> Found:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            raise NoSuchObject(place.name)
        beside = self._beside.find(descriptor, found, place)
        size, modified = found.st_size, found.st_mtime_ns
        start = os.pread(descriptor, size if size <= small else len(MARK), 0)
        whole = start if size <= small and len(start) == size else None
        document = None
        if beside is None:
            if is_marked(start):
                trailer = self._trailer(descriptor, size, place, whole)
                stored = Stored(place.key, trailer.size, trailer.modified, trailer.record, trailer.identity.hex())
                return Found(stored, trailer.segments, trailer=trailer, whole=whole)
            document = self._left.document(place, start, size)
            if not document and self._left.exists:  # it may have been adopted since the first look
                beside = self._beside.find(descriptor, found, place)
        if beside is not None:
            stored = Stored(place.key, size, modified, beside.record, beside.identity.hex())
            return Found(stored, (Segment(0, size),), beside.annex, whole=whole)
        record = {FOUND: b""} if document is None else {LEFT: document}
        stored = Stored(place.key, size, modified, record, self._identity(found, document or b""))
        return Found(stored, (Segment(0, size),), whole=whole)

    def _lacks_document(self, found: Found) -> bool:
        """Whether an object may be one of MinIO's whose document was removed because another object replaced it."""
        record = found.stored.record
        return self._left.exists and (FOUND in record or record.get(LEFT) == b"")

    def _is_still(self, descriptor: int, above: int, place: Place) -> bool:
        """Whether an open file still has its name and is as it was. Raises NoSuchObject.

        The name is opened again, since this asks the NAS; asking for its status may not.
        """
        again = _opened(above, place)
        try:
            return self._known(os.fstat(again)) == self._known(os.fstat(descriptor))
        finally:
            os.close(again)

    def _trailer(self, descriptor: int, size: int, place: Place, whole: bytes | None) -> Trailer:
        try:
            if whole is not None:
                return decode_trailer(whole, size, len(MARK))
            return read_trailer(descriptor, size, len(MARK))
        except LayoutInvalid as error:
            raise Damaged(f"{place.name!r}: {error}") from error

    def _identity(self, found: os.stat_result, document: bytes) -> str:
        """The identity of a file that others put there, from its inode, size, times, and MinIO's document beside it."""
        known = "/".join(map(str, self._known(found)))
        return hashlib.sha256(known.encode() + document).hexdigest()[: 2 * IDENTITY]

    def _known(self, found: os.stat_result) -> list[int]:
        """What distinguishes a file that others put there from another one in its place."""
        known = [found.st_size, found.st_mtime_ns]
        if self._traits.inodes:
            known += [found.st_ino, found.st_ctime_ns]
        return known

    def identity_in(self, above: int, place: Place) -> str | None:
        """The identity of the object at a place in an open folder; None if there is none that can be read."""
        try:
            descriptor, found = self.open_in(above, place)
        except (NoSuchObject, Damaged):
            return None
        os.close(descriptor)
        return found.stored.identity


def _opened(above: int, place: Place) -> int:
    """Open what has the name of a place. Raises NoSuchObject."""
    try:
        try:
            return os.open(place.leaf, FILE, dir_fd=above)
        except BlockingIOError:
            return _opened_when_free(above, place)
    except OSError as error:
        if error.errno in _NOT_THERE:
            raise NoSuchObject(place.name) from None
        raise


def _opened_when_free(above: int, place: Place) -> int:
    """Open a file that another program holds a lease on (Samba for a Windows client, say), waiting until that gives it
    back, which takes at most 45 seconds (fcntl(2), "Leases"). Raises NoSuchObject if it is no regular file: opening a
    pipe, say, could wait for ever.
    """
    held = os.open(place.leaf, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=above)
    try:
        if not stat.S_ISREG(os.fstat(held).st_mode):
            raise NoSuchObject(place.name)
        return os.open(f"/proc/self/fd/{held}", FILE & ~(os.O_NOFOLLOW | os.O_NONBLOCK))
    finally:
        os.close(held)


def read_trailer(descriptor: int, size: int, first: int) -> Trailer:
    """The trailer of an open file of ``size`` bytes. Raises LayoutInvalid."""
    length = min(size, _END)
    end = os.pread(descriptor, length, size - length)
    needed = trailer_length(end[-TAIL:])
    if needed > size:
        raise LayoutInvalid("the file is shorter than was recorded")
    if needed > length:
        end = os.pread(descriptor, needed, size - needed)
        if len(end) != needed:
            raise LayoutInvalid("the file is shorter than it was a moment ago")
    return decode_trailer(end, size, first)


def read_annex(descriptor: int, found: Found) -> bytes:
    """The annex of an object in an open file."""
    if found.trailer is None:
        return found.annex
    return os.pread(descriptor, found.trailer.annex_length, found.trailer.annex_at)
