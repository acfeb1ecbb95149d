"""Drafts: files that are written in the reserved folder, and get their final name by a rename or a link.

Knows nothing of objects. Methods block: they are for threads, one at a time.
"""

from __future__ import annotations

import errno
import os
import secrets
from contextlib import suppress

from strongroom.buffers import Buffer
from strongroom.store.errors import Damaged
from strongroom.store.nas.folder import Folder, refusal, status, sync
from strongroom.store.nas.layout import ALIGNMENT, aligned
from strongroom.store.writeback import PIECE, Writeback

_CHUNK = 1024 * 1024
_SPAN = 1024 * 1024 * 1024  # bytes of one copy_file_range, which the kernel limits to 2 GiB
_CANNOT = (errno.EXDEV, errno.EINVAL, errno.ENOSYS, errno.ENOTSUP, errno.EPERM)
_FLAGS = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


class Draft:
    """A file that is being written. It is gone after :meth:`drop`, unless it got a name."""

    def __init__(self, folder: Folder) -> None:
        self._tmp = folder.area("tmp")
        self._name = secrets.token_hex(16)
        self.position = 0
        """Bytes written so far."""
        self._writeback = Writeback()
        try:
            self.descriptor = os.open(self._name, _FLAGS, 0o600, dir_fd=self._tmp)
        except OSError as error:
            raise refusal(error, self._name) from error

    def append(self, data: Buffer) -> None:
        """Write bytes at the end. Raises StoreFull."""
        view = memoryview(data)
        try:
            while view:
                written = os.pwrite(self.descriptor, view[:PIECE], self.position)
                view = view[written:]
                self.position += written
            self._writeback.reached(self.descriptor, self.position)
        except OSError as error:
            raise refusal(error, self._name) from error

    def align(self) -> None:
        """Go on at the next multiple of the alignment; what is skipped reads as zeros once something follows."""
        self.position = aligned(self.position)

    def cut(self) -> None:
        """Cut off what lies behind the position."""
        os.ftruncate(self.descriptor, self.position)

    def clone(self, source: int, offset: int, length: int) -> None:
        """Append bytes of another file, sharing its blocks or copying in the kernel if the file system can.

        Blocks can be shared if both offsets are aligned; then all bytes but the last few are done in one step. Raises
        StoreFull; Damaged if the source is shorter.
        """
        whole = length - length % ALIGNMENT
        steps = (whole, length - whole) if offset % ALIGNMENT == self.position % ALIGNMENT == 0 else (length,)
        try:
            for step in steps:
                self._clone(source, offset, step)
                offset += step
        except OSError as error:
            raise refusal(error, self._name) from error

    def _clone(self, source: int, offset: int, length: int) -> None:
        while length:
            try:
                done = os.copy_file_range(source, self.descriptor, min(length, _SPAN), offset, self.position)
            except OSError as error:
                if error.errno not in _CANNOT:
                    raise
                done = 0
            if not done:
                self._copy(source, offset, length)
                return
            self.position += done
            offset += done
            length -= done

    def _copy(self, source: int, offset: int, length: int) -> None:
        while length:
            chunk = os.pread(source, min(length, _CHUNK), offset)
            if not chunk:
                raise Damaged("a file that was to be copied is shorter than was recorded")
            self.append(chunk)
            offset += len(chunk)
            length -= len(chunk)

    def finish(self, mode: int) -> None:
        """Make its bytes durable, and readable as ``mode`` says. Raises StoreFull."""
        try:
            if mode != 0o600:
                with suppress(PermissionError):  # file systems that have no modes
                    os.fchmod(self.descriptor, mode)
            sync(self.descriptor)
        except OSError as error:
            raise refusal(error, self._name) from error

    def hand_over(self, group: int) -> None:
        """Give the file to a group, durably; it keeps its own if the system does not let us."""
        with suppress(OSError):
            if os.fstat(self.descriptor).st_gid != group:
                os.fchown(self.descriptor, -1, group)
                sync(self.descriptor)

    @property
    def named(self) -> bool:
        """Whether it got a name."""
        return not self._name

    @property
    def waits(self) -> bool:
        """Whether it surely has no name yet: a NAS may have done a rename that failed here, its answer being lost."""
        try:
            return not self.named and status(self._tmp, self._name.encode()) is not None
        except OSError:
            return False

    def rename(self, above: int, leaf: bytes | str) -> None:
        """Give it its name, replacing what has it now. Raises FileNotFoundError if the folder is gone."""
        os.rename(self._name, leaf, src_dir_fd=self._tmp, dst_dir_fd=above)
        self._name = ""

    def link(self, above: int, leaf: bytes) -> None:
        """Give it its name unless something has it, decided atomically. Raises FileExistsError."""
        try:
            os.link(self._name, leaf, src_dir_fd=self._tmp, dst_dir_fd=above, follow_symlinks=False)
        except FileExistsError:
            # NFS may say so of a link that it made, if its first answer was lost; the link count tells (open(2)).
            if os.fstat(self.descriptor).st_nlink != 2:
                raise
        self._unlink()

    def drop(self) -> None:
        """Close it, and remove it if it got no name. Harmless when called twice."""
        if self.descriptor >= 0:
            os.close(self.descriptor)
            self.descriptor = -1
        self._unlink()

    def _unlink(self) -> None:
        name, self._name = self._name, ""
        if name:
            with suppress(FileNotFoundError):
                os.unlink(name, dir_fd=self._tmp)
