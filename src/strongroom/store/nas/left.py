"""What a MinIO left in the folder: the documents beside its objects, and uploads that were never completed.

For a file that is ours (an encrypted one has a mark, a plain one a record beside it), a document of MinIO's that is
still there is ignored. So the rename that puts our file in the place of MinIO's is the end of what MinIO left, and the
document is removed after it. Methods block: they are for threads.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress

from strongroom.legacy.document import MAX_DOCUMENT
from strongroom.legacy.errors import NotCovered
from strongroom.legacy.layout import DOCUMENT, DOCUMENTS, FORMAT, MAX_FORMAT, SYSTEM, UNFINISHED, check_format
from strongroom.legacy.package import looks_sealed
from strongroom.store.errors import NameRefused, StoreError
from strongroom.store.nas.folder import FILE, Folder, open_below, opened_below, remove_tree, status, sync, walked_from
from strongroom.store.nas.names import Place, place_of


class Left:
    """What MinIO left in a folder; in most folders, nothing."""

    def __init__(self, folder: Folder) -> None:
        self._folder = folder
        self._system = self._documents = -1

    def open(self) -> None:
        """Check whether there is anything. Raises StoreError if it has a layout that cannot be read."""
        system = open_below(self._folder.root, SYSTEM.encode())
        if system is None:
            return
        self._system = system
        try:
            content = _read(system, FORMAT, MAX_FORMAT)
            if content is not None:
                check_format(content)
        except NotCovered as error:
            raise StoreError(str(error)) from error
        self._documents = open_below(system, DOCUMENTS.encode()) or -1

    def close(self) -> None:
        """Close it."""
        for descriptor in (self._system, self._documents):
            if descriptor >= 0:
                os.close(descriptor)
        self._system = self._documents = -1

    @property
    def exists(self) -> bool:
        """Whether there may be anything."""
        return self._system >= 0

    def document(self, place: Place, start: bytes, size: int) -> bytes | None:
        """The document beside an object that begins with ``start`` and has ``size`` bytes; None if there is none.

        If it has been lost, and MinIO encrypted the object, b"" is returned, which is no valid document, so that
        ciphertext is not taken for somebody's file.
        """
        if not self.exists:
            return None
        with self._walked(place.bucket, place.parts) as above:
            found = None if above is None else _read(above, DOCUMENT, MAX_DOCUMENT + 1)
        return b"" if found is None and looks_sealed(start, size) else found

    def forget(self, place: Place) -> None:
        """Remove the document beside an object, and the folders above it that are empty then."""
        with self._walked(place.bucket, place.parts) as above:
            if above is None:
                return
            with suppress(FileNotFoundError):
                os.unlink(DOCUMENT, dir_fd=above)
                sync(above)
        for length in reversed(range(len(place.parts))):
            with suppress(OSError), self._walked(place.bucket, place.parts[:length]) as above:
                if above is not None:
                    os.rmdir(place.parts[length], dir_fd=above)

    def places(self, bucket: str) -> Iterator[Place]:
        """The places of a bucket that have a document, whether or not there is an object."""
        waiting: list[tuple[bytes, ...]] = [()]
        while waiting:
            parts = waiting.pop()
            with self._walked(bucket, parts) as above:
                if above is None:
                    continue  # removed meanwhile
                with os.scandir(above) as entries:
                    folders = {os.fsencode(entry.name): entry.is_dir(follow_symlinks=False) for entry in entries}
            waiting += [(*parts, name) for name, is_folder in folders.items() if is_folder]
            if folders.get(DOCUMENT.encode()) is False:
                with suppress(UnicodeDecodeError, NameRefused):
                    yield place_of(bucket, b"/".join(parts).decode())

    def sweep(self, since: int) -> int:
        """Remove unfinished uploads and files that have not changed ``since`` (nanoseconds). Returns how many."""
        gone = 0
        for name in UNFINISHED if self.exists else ():
            with opened_below(self._system, name.encode()) as above:
                gone += 0 if above is None else _sweep(above, since)
        return gone

    def _walked(self, bucket: str, parts: Sequence[bytes]) -> AbstractContextManager[int | None]:
        """The descriptor of the folder with an object's document, None if there is none."""
        if self._documents < 0:
            return nullcontext()
        return walked_from(os.dup(self._documents), (bucket.encode(), *parts))


def _read(above: int, name: str, limit: int) -> bytes | None:
    """Up to ``limit`` bytes of a file; None if there is none, b"" if something else than a file has its name."""
    try:
        descriptor = os.open(name, FILE, dir_fd=above)
    except FileNotFoundError:
        return None
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENXIO):
            return b""
        raise
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        return b""
    with os.fdopen(descriptor, "rb") as file:
        return file.read(limit)


def _sweep(above: int, since: int) -> int:
    gone = 0
    with os.scandir(above) as entries:
        names = [entry.name for entry in entries]
    for name in names:
        newest = _newest(above, name)
        if newest is not None and newest < since:
            if open_folder := open_below(above, os.fsencode(name)):
                os.close(open_folder)
                remove_tree(above, name)
            else:
                with suppress(OSError):
                    os.unlink(name, dir_fd=above)
            gone += 1
    return gone


def _newest(above: int, name: str) -> int | None:
    """The time of the latest change of a file, or of anything in a folder; None if it is gone."""
    found = status(above, os.fsencode(name))
    if found is None:
        return None
    newest, below = found.st_mtime_ns, open_below(above, os.fsencode(name))
    if below is not None:
        try:
            with os.scandir(below) as entries:
                names = [entry.name for entry in entries]
            newest = max([newest, *(moment for entry in names if (moment := _newest(below, entry)) is not None)])
        finally:
            os.close(below)
    return newest
