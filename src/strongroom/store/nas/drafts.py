"""Drafts: files that are being written in the reserved folder, until they get their name by a rename or a link.

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
_SPAN = 1024 * 1024 * 1024  # of one copy_file_range, which the kernel bounds at 2 GiB
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
        """Let nothing stand behind the position."""
        os.ftruncate(self.descriptor, self.position)

    def clone(self, source: int, offset: int, length: int) -> None:
        """Append bytes of another file, by sharing its blocks or copying in the kernel where that can be had.

        Blocks can be shared where both offsets are aligned; then all but the last few bytes go in one step. Raises
        StoreFull; Damaged where the source is shorter.
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
        """Give it to a group, durably; it keeps its own where the system does not let us."""
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
        """Whether it surely has no name: a rename may be done by a NAS, and fail here since its answer was lost."""
        try:
            return not self.named and status(self._tmp, self._name.encode()) is not None
        except OSError:
            return False

    def rename(self, above: int, leaf: bytes | str) -> None:
        """Give it its name, in place of what has it now. Raises FileNotFoundError where the folder is gone."""
        os.rename(self._name, leaf, src_dir_fd=self._tmp, dst_dir_fd=above)
        self._name = ""

    def link(self, above: int, leaf: bytes) -> None:
        """Give it its name, unless something has it: no other program can come between. Raises FileExistsError."""
        try:
            os.link(self._name, leaf, src_dir_fd=self._tmp, dst_dir_fd=above, follow_symlinks=False)
        except FileExistsError:
            # NFS may answer so to a link that it made, when its first answer was lost; the count tells (open(2)).
            if os.fstat(self.descriptor).st_nlink != 2:
                raise
        self._unlink()

    def drop(self) -> None:
        """Close it, and remove it where it got no name. Harmless when called twice."""
        if self.descriptor >= 0:
            os.close(self.descriptor)
            self.descriptor = -1
        self._unlink()

    def _unlink(self) -> None:
        name, self._name = self._name, ""
        if name:
            with suppress(FileNotFoundError):
                os.unlink(name, dir_fd=self._tmp)
