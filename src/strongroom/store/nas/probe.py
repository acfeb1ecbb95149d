"""What a file system can do, found out by trying: attributes, hard links, locks; and whether it confuses names.

Knows nothing of objects. Methods block: they are for threads.
"""

from __future__ import annotations

import os
import secrets
import unicodedata
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from strongroom.store.errors import NO_SPACE, StoreError
from strongroom.store.file_system import file_system
from strongroom.store.nas.folder import LOCKS, Folder, status

_ATTRIBUTE = "user.strongroom.probe"
_TIME = 1_500_000_000_123_456_789
_LOCAL = ("ext2", "ext3", "ext4", "xfs", "btrfs", "zfs", "f2fs", "tmpfs")
_NUMBERED_ANEW = ("fuse", "vfat", "msdos", "exfat")  # they number inodes anew whenever these come into memory

_ACCENTED = unicodedata.normalize("NFC", "é")


@dataclass(frozen=True, slots=True)
class Traits:
    """What a file system can do.

    ``attributes``: extended attributes. ``links``: hard links. ``inodes``: inode numbers stay with their files.
    ``steady_times``: the time of a file is final when a write to it returns, not only when it is synced.
    ``fine_times``: times are finer than one second.
    ``stand_ins``: "nfs" or "fuse" if a file that is replaced while somebody reads it stays, under a name of that kind.
    ``case_insensitive``, ``normalising``: names that differ only in case, or in the Unicode form, are the same.
    """

    attributes: bool = True
    links: bool = True
    inodes: bool = True
    steady_times: bool = True
    fine_times: bool = True
    stand_ins: str = ""
    case_insensitive: bool = False
    normalising: bool = False

    def warnings(self) -> Sequence[str]:
        """What an operator should know, one line each."""
        said = []
        if self.case_insensitive:
            said.append(
                "The file system does not tell upper case from lower: objects whose names differ in case only are one."
            )
        if self.normalising:
            said.append("The file system normalises Unicode: objects whose names differ in its forms only are one.")
        if not self.attributes:
            said.append("The file system has no extended attributes: metadata of plain objects lie in sidecar files.")
        if not self.fine_times:
            said.append(
                "The file system keeps times to the second: a file that others replace twice in one second, by one of"
                " the same length, keeps its ETag."
            )
        return said


def probe(folder: Folder) -> Traits:
    """What the file system of an open folder can do. Raises StoreError if it cannot lock, or replace open files.

    This is tried with the file of the locks, which exists: some file systems can make no other when they are full (XFS,
    or any that has no inodes left), but objects can still be read and removed there.
    """
    here, start, kind = folder.area("tmp"), secrets.token_hex(16), file_system(folder.path)
    link, accented = start, start + _ACCENTED
    try:
        with folder.opened_locks() as descriptor:
            attributes, fine_times = _has_attributes(descriptor), _has_fine_times(descriptor)
        try:
            traits = Traits(
                attributes=attributes,
                links=_has_links(folder, link),
                inodes=not kind.startswith(_NUMBERED_ANEW),
                steady_times=kind in _LOCAL,
                fine_times=fine_times,
                stand_ins=next((system for system in ("nfs", "fuse") if kind.startswith(system)), ""),
                case_insensitive=status(folder.reserved, LOCKS.swapcase().encode()) is not None,
                normalising=_normalises(here, accented),
            )
        finally:
            for name in (link, accented):
                with suppress(FileNotFoundError):
                    os.unlink(name.encode(), dir_fd=here)
        _check_locks(folder)
        _check_replacing(folder)
    except OSError as error:
        raise StoreError(f"{folder.path} cannot be used: {error.strerror}") from error
    return traits


def file_system_warnings(path: Path) -> Sequence[str]:
    """What an operator should know of the file system of a folder. Raises StoreError if it cannot be served."""
    folder = Folder(path, 0o077)
    folder.open()
    try:
        return probe(folder).warnings()
    finally:
        folder.close()


def _has_attributes(descriptor: int) -> bool:
    try:
        os.setxattr(descriptor, _ATTRIBUTE, b"x")
        return os.getxattr(descriptor, _ATTRIBUTE) == b"x"
    except OSError as error:
        return error.errno in NO_SPACE


def _has_fine_times(descriptor: int) -> bool:
    os.utime(descriptor, ns=(_TIME, _TIME))
    return abs(os.fstat(descriptor).st_mtime_ns - _TIME) < 1_000_000


def _has_links(folder: Folder, name: str) -> bool:
    try:
        os.link(LOCKS, name, src_dir_fd=folder.reserved, dst_dir_fd=folder.area("tmp"), follow_symlinks=False)
    except OSError as error:
        return error.errno in NO_SPACE
    return True


def _normalises(here: int, name: str) -> bool:
    """Whether another Unicode form of a name leads to the same file; False if there is no space to try it."""
    try:
        os.close(_make(here, name.encode()))
    except OSError as error:
        if error.errno in NO_SPACE:
            return False
        raise
    return status(here, unicodedata.normalize("NFD", name).encode()) is not None


def _make(here: int, name: bytes) -> int:
    return os.open(name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600, dir_fd=here)


def _check_locks(folder: Folder) -> None:
    name = f"probe {secrets.token_hex(8)}"
    try:
        with folder.locked_if_free(name) as first, folder.locked_if_free(name) as second:
            works = first and not second
    except OSError as error:
        raise StoreError(
            f"{folder.path} cannot be used: its file system has no locks ({error.strerror});"
            " mount it with locking, which conditional writes need"
        ) from error
    if not works:
        raise StoreError(f"{folder.path} cannot be used: the locks of its file system do not hold")


def _check_replacing(folder: Folder) -> None:
    """Check that a file can be replaced while it is open. SMB refuses this, and Linux then removes the file that was to
    be replaced: an object would be lost if it is written while somebody reads it, or while the gateway itself does, to
    give it other tags. Raises StoreError.
    """
    here, held = folder.area("tmp"), -1
    old, new = (secrets.token_hex(16).encode() for _ in range(2))
    try:
        held = _make(here, old)
        os.close(_make(here, new))
        os.rename(new, old, src_dir_fd=here, dst_dir_fd=here)
    except OSError as error:
        if error.errno not in NO_SPACE:  # a full one was checked before it was full
            raise StoreError(
                f"{folder.path} cannot be used: its file system does not let a file be replaced while somebody reads it"
                f" ({error.strerror}), as SMB does not without its POSIX extensions; use NFS"
            ) from error
    finally:
        if held >= 0:
            os.close(held)
        for name in (old, new):
            with suppress(OSError):  # the sweep removes it
                os.unlink(name, dir_fd=here)
