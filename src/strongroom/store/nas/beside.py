"""What belongs to a plain object (its record and annex), kept beside its file, which holds nothing but its bytes.

It lies in an extended attribute of the file; or, if the file system has none or it is too long, in a sidecar in the
reserved folder. Either says which file it belongs to: the file's size and the time of its last change, in a sidecar
also its name and inode. If the file differs from that, others have written or replaced it: then what was kept is void,
and never returned. What a later release kept in a format that is not known here raises LayoutUnknown.

Methods block: they are for threads.
"""

from __future__ import annotations

import errno
import hashlib
import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace

from strongroom.store.base import Record
from strongroom.store.errors import NO_SPACE, Damaged
from strongroom.store.nas.folder import FILE, Folder, opened_below, sync
from strongroom.store.nas.layout import Beside, LayoutInvalid, LayoutUnknown, decode_beside, encode_beside
from strongroom.store.nas.names import Place
from strongroom.store.nas.probe import Traits

ATTRIBUTE = "user.strongroom.record"
_MAX_ATTRIBUTE = 3072  # bytes, of the 4 KiB that ext4 has for all attributes of a file
_MAX_SIDECAR = 4 * 1024 * 1024
_NONE = (errno.ENODATA, errno.ENOTSUP, errno.ENOSYS)
_TOO_LONG = (*NO_SPACE, errno.E2BIG, errno.ERANGE)


class BesideStore:
    """Keeps what lies beside plain objects."""

    def __init__(self, folder: Folder, traits: Traits) -> None:
        self._folder = folder
        self._traits = traits

    def find(self, descriptor: int, found: os.stat_result, place: Place) -> Beside | None:
        """What lies beside an open file; None if there is nothing, or it does not belong to the file as it is now."""
        beside = self._attribute(descriptor) if self._traits.attributes else None
        if beside is None and self._traits.attributes:
            return None
        if beside is None or beside.elsewhere:
            beside = self._sidecar(place, found)
            if beside is None or (beside.name, beside.inode) != (place.name, self._inode(found)):
                return None
        return beside if (beside.size, beside.changed) == (found.st_size, found.st_mtime_ns) else None

    def keep(
        self, descriptor: int, found: os.stat_result, place: Place, identity: bytes, record: Record, annex: bytes
    ) -> None:
        """Store a record and an annex beside an open file whose status is ``found``. They become durable with the
        file's sync. If the file has been placed already, the new ones replace the old ones at once.
        """
        beside = Beside(place.name, found.st_size, found.st_mtime_ns, self._inode(found), identity, dict(record), annex)
        if not self._traits.attributes:
            self._write_sidecar(place, found, beside)
            return
        encoded = encode_beside(beside)
        if len(encoded) <= _MAX_ATTRIBUTE:
            try:
                os.setxattr(descriptor, ATTRIBUTE, encoded)
                return
            except OSError as error:
                if error.errno not in _TOO_LONG:
                    raise
        self._write_sidecar(place, found, beside)
        os.setxattr(descriptor, ATTRIBUTE, encode_beside(replace(beside, record={}, annex=b"", elsewhere=True)))

    def forget(self, place: Place, found: os.stat_result) -> None:
        """Remove the sidecar of a file that is gone, if it had one. If this fails, the sweep removes it."""
        with suppress(OSError), self._shard(self._sidecar_name(place, found)) as (above, leaf):
            if above is not None:
                os.unlink(leaf, dir_fd=above)

    def read_sidecar(self, name: str) -> Beside | None:
        """The content of the sidecar in this file; None if it is gone or damaged. Raises LayoutUnknown."""
        with self._shard(name) as (above, leaf):
            if above is None:
                return None
            try:
                descriptor = open_own(above, leaf)
            except (FileNotFoundError, Damaged):
                return None
        with os.fdopen(descriptor, "rb") as file:
            return _decoded(file.read(_MAX_SIDECAR))

    def is_void(self, beside: Beside, found: os.stat_result | None) -> bool:
        """Whether a sidecar belongs to no file. ``found``: the status of the file with the name in it, or None."""
        here = (beside.size, beside.changed, beside.inode)
        return found is None or here != (found.st_size, found.st_mtime_ns, self._inode(found))

    def _attribute(self, descriptor: int) -> Beside | None:
        try:
            return _decoded(os.getxattr(descriptor, ATTRIBUTE))
        except OSError as error:
            if error.errno in _NONE:
                return None
            raise

    def _sidecar(self, place: Place, found: os.stat_result) -> Beside | None:
        return self.read_sidecar(self._sidecar_name(place, found))

    def _sidecar_name(self, place: Place, found: os.stat_result) -> str:
        bound = f"{place.name}\0{self._inode(found)}\0{found.st_size}\0{found.st_mtime_ns}"
        digest = hashlib.sha256(bound.encode()).hexdigest()[:48]
        return f"{digest[:2]}/{digest[2:]}"

    def _write_sidecar(self, place: Place, found: os.stat_result, beside: Beside) -> None:
        area, name = self._folder.area("beside"), self._sidecar_name(place, found)
        with suppress(FileExistsError):
            os.mkdir(name[:2], 0o700, dir_fd=area)
            sync(area)
        with self._shard(name) as (above, leaf):
            if above is None:
                raise Damaged(f"{name[:2]!r} is no folder of sidecars")
            write_whole(self._folder, above, leaf, encode_beside(beside))

    @contextmanager
    def _shard(self, name: str) -> Iterator[tuple[int | None, str]]:
        """The descriptor of the folder that a sidecar lies in, None if there is none; and the sidecar's name in it."""
        shard, _, leaf = name.partition("/")
        with opened_below(self._folder.area("beside"), shard.encode()) as above:
            yield above, leaf

    def _inode(self, found: os.stat_result) -> int:
        return found.st_ino if self._traits.inodes else 0


def _decoded(data: bytes) -> Beside | None:
    """What was stored; None if it is damaged. Raises LayoutUnknown."""
    try:
        return decode_beside(data)
    except LayoutUnknown:
        raise
    except LayoutInvalid:
        return None


def open_own(above: int, name: str) -> int:
    """Open a file of ours. Raises FileNotFoundError; Damaged if a link or something else has its name."""
    try:
        descriptor = os.open(name, FILE, dir_fd=above)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENXIO):
            raise Damaged(f"{name!r} is no file") from None
        raise
    if stat.S_ISREG(os.fstat(descriptor).st_mode):
        return descriptor
    os.close(descriptor)
    raise Damaged(f"{name!r} is no file")


def write_whole(folder: Folder, above: int, name: str, content: bytes) -> None:
    """Write a small file of ours into an open folder, durably; until it is complete, the old one (or none) stays
    there.
    """
    fresh = secrets.token_hex(16)
    tmp = folder.area("tmp")
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600, dir_fd=tmp)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            sync(descriptor)
        os.rename(fresh, name, src_dir_fd=tmp, dst_dir_fd=above)
    except BaseException:
        with suppress(FileNotFoundError):
            os.unlink(fresh, dir_fd=tmp)
        raise
    sync(above)
