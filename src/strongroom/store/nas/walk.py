"""Walking the folders of a bucket in the order of keys, reading no more folders than necessary.

Keys are ordered by their bytes, so a folder is sorted by its name with a "/" at the end, not by its name: ``a-b`` comes
before ``a/x``, and that before ``a0``. Folders that hold nothing but folders have no keys. Methods block: they are for
threads.
"""

from __future__ import annotations

import os
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from threading import Lock

from strongroom.store.base import MAX_KEY
from strongroom.store.nas.folder import open_below
from strongroom.store.nas.names import FOLDER_OBJECT, is_part, is_stand_in, key_of
from strongroom.store.paging import common_prefix, successor
from strongroom.store.recent import Recent

_LARGE = 2_000  # entries from which a folder is worth remembering
_REMEMBERED = 128 * 1024**2  # bytes of memory: enough for a folder with a million names of 90 bytes
_NAME = 41  # about how many bytes a name takes besides its own
_STEADY_NS = 5_000_000_000
_SHARE = 20_000  # names that are sorted at a time
_SAMPLES = 50  # how many of them are sampled to find where a share ends


class Entries:
    """The names in folders, in order; those of folders end in "/". Large folders are remembered until they change.

    A folder's time changes with every name that comes or goes. A folder that has just changed is not remembered: a name
    that comes in the same tick of the clock would go unnoticed. ``now`` returns the time by the clock of the folders;
    None if inode numbers do not identify folders: then nothing is remembered. ``stand_ins``: see
    :func:`~strongroom.store.nas.names.is_stand_in`.
    """

    def __init__(self, now: Callable[[], int] | None, stand_ins: str = "") -> None:
        self._now = now
        self.stand_ins = stand_ins
        self._known: Recent[tuple[int, int], tuple[int, int, list[bytes]]] = Recent(_REMEMBERED)
        self._lock = Lock()

    def of(self, descriptor: int) -> Sequence[bytes]:
        """The names in an open folder."""
        found = os.fstat(descriptor)
        identity, times = (found.st_dev, found.st_ino), (found.st_mtime_ns, found.st_ctime_ns)
        with self._lock:
            known = self._known.get(identity)
        if known is not None and known[:2] == times:
            return known[2]
        names = _names(descriptor, self.stand_ins)
        if self._now is not None and len(names) >= _LARGE:
            self._remember(identity, times, names, self._now())
        return names

    def _remember(self, identity: tuple[int, int], times: tuple[int, int], names: list[bytes], now: int) -> None:
        with self._lock:
            if now - max(times) < _STEADY_NS:
                self._known.forget(identity)
            else:
                self._known.keep(identity, (*times, names), sum(map(len, names)) + _NAME * len(names))


@dataclass(slots=True)
class _Frame:
    """A folder on the way: the prefix of its keys, its descriptor, its names, and the position among them."""

    prefix: bytes
    descriptor: int
    names: Sequence[bytes]
    at: int


class Walk:
    """Goes through the keys of a bucket that start with a prefix; a context manager, since it holds folders open.

    :meth:`next` finds a key; if it is rolled up at the delimiter, its common prefix instead.
    """

    def __init__(self, entries: Entries, bucket: int, prefix: bytes, delimiter: bytes) -> None:
        self._entries = entries
        self._prefix = prefix
        self._delimiter = delimiter
        self._frames: list[_Frame] = []
        self._begin(os.dup(bucket))

    def __enter__(self) -> Walk:
        return self

    def __exit__(self, *exception: object) -> None:
        for frame in self._frames:
            os.close(frame.descriptor)

    def _begin(self, descriptor: int) -> None:
        """Go down to the folder that all keys with the prefix lie in."""
        base, _, _ = self._prefix.rpartition(b"/")
        for part in base.split(b"/") if b"/" in self._prefix else []:
            try:
                below = _searched(descriptor, part) if _is_folder_of_keys(part) else None
            finally:
                os.close(descriptor)
            if below is None:
                return
            descriptor = below
        self._push(base + b"/" if b"/" in self._prefix else b"", descriptor)

    def _push(self, folder: bytes, descriptor: int) -> None:
        try:
            names = self._entries.of(descriptor)
        except BaseException:
            os.close(descriptor)
            raise
        self._frames.append(_Frame(folder, descriptor, names, 0))

    def rolled(self, key: bytes) -> bytes | None:
        """The common prefix that a key, or all keys of a folder, are rolled up into; None if they are not."""
        return common_prefix(key, self._prefix, self._delimiter)

    def next(self, least: bytes) -> tuple[bytes, bool] | None:
        """The first name from ``least`` on, and whether it is a common prefix; None if there is none.

        ``least`` never goes back from one call to the next.
        """
        least = max(least, self._prefix)
        while self._frames:
            frame = self._frames[-1]
            frame.at = max(frame.at, _first(frame, least))
            if frame.at >= len(frame.names) or not self._may_follow(frame):
                os.close(self._frames.pop().descriptor)
                continue
            name = frame.names[frame.at]
            frame.at += 1
            found = self._enter(frame, name, least) if name.endswith(b"/") else self._file(frame, name)
            if found is not None:
                return found
        return None

    def _may_follow(self, frame: _Frame) -> bool:
        name = frame.prefix + frame.names[frame.at]
        return name < successor(self._prefix) if self._prefix else True

    def _file(self, frame: _Frame, name: bytes) -> tuple[bytes, bool] | None:
        key = frame.prefix if not name else key_of(frame.prefix, name)
        if not key or not key.startswith(self._prefix):
            return None
        rolled = self.rolled(key)
        return (key, False) if rolled is None else (rolled, True)

    def _enter(self, frame: _Frame, name: bytes, least: bytes) -> tuple[bytes, bool] | None:
        """Go into a folder; or return its common prefix if it is rolled up and holds any key."""
        folder = frame.prefix + name
        below = _opened(frame.descriptor, name[:-1]) if len(folder) <= MAX_KEY else None
        if below is None:
            return None
        rolled = self.rolled(folder) if folder.startswith(self._prefix) else None
        if rolled is None or least > folder:
            self._push(folder, below)
            return None
        try:
            return (rolled, True) if holds_key(below, folder, self._entries.stand_ins) else None
        finally:
            os.close(below)


def holds_key(descriptor: int, prefix: bytes, stand_ins: str = "") -> bool:
    """Whether a folder, or one below it, holds a key. Reading stops at the first one."""
    folders = []
    with os.scandir(descriptor) as entries:
        for entry in entries:
            name = os.fsencode(entry.name)
            if entry.is_file(follow_symlinks=False):
                if key_of(prefix, name) is not None and not is_stand_in(name, stand_ins):
                    return True
            elif entry.is_dir(follow_symlinks=False) and is_part(name) and len(prefix) + len(name) < MAX_KEY:
                folders.append(name)
    for name in folders:
        below = _opened(descriptor, name)
        if below is None:
            continue
        try:
            if holds_key(below, prefix + name + b"/", stand_ins):
                return True
        finally:
            os.close(below)
    return False


def closed_below(descriptor: int, prefix: bytes) -> Iterator[bytes]:
    """The folders below an open one, at any depth, that are closed to us: for each, what the keys in it begin with."""
    with os.scandir(descriptor) as entries:
        names = [os.fsencode(entry.name) for entry in entries if entry.is_dir(follow_symlinks=False)]
    for name in names:
        if not is_part(name) or len(prefix) + len(name) >= MAX_KEY:
            continue
        try:
            below = _searched(descriptor, name)
        except PermissionError:
            yield prefix + name + b"/"
            continue
        if below is None:
            continue
        try:
            yield from closed_below(below, prefix + name + b"/")
        finally:
            os.close(below)


def _is_folder_of_keys(part: bytes) -> bool:
    """Whether a part of a prefix, which may be anything, can be the name of a folder in which keys lie."""
    return part not in (b"", b".", b"..") and b"\0" not in part and is_part(part)


def _opened(above: int, name: bytes) -> int | None:
    """The descriptor of a folder; None if there is none, or it is closed to us, so that nothing in it can be served."""
    try:
        return _searched(above, name)
    except PermissionError:
        return None


def _searched(above: int, name: bytes) -> int | None:
    """The descriptor of a folder, None if there is none. Raises PermissionError, also if its names can be read but
    nothing in it can be reached, as after `chmod -R 644`.
    """
    below = open_below(above, name)
    if below is not None:
        try:
            os.stat(b".", dir_fd=below)
        except FileNotFoundError:
            pass  # it was removed meanwhile, and is empty
        except BaseException:
            os.close(below)
            raise
    return below


def _first(frame: _Frame, least: bytes) -> int:
    """The position of the first name in a folder that is not before ``least``, or is a folder with such names."""
    if least <= frame.prefix:
        return 0
    if not least.startswith(frame.prefix):
        return len(frame.names)  # ``least`` comes after the whole folder
    rest = least[len(frame.prefix) :]
    at = bisect_left(frame.names, rest)
    head, slash, behind = rest.partition(b"/")
    if slash and behind:
        # The folder that ``least`` lies in sorts before it.
        holder = bisect_left(frame.names, head + b"/")
        if holder < len(frame.names) and frame.names[holder] == head + b"/":
            return holder
    return at


def _names(descriptor: int, stand_ins: str) -> list[bytes]:
    names = []
    with os.scandir(descriptor) as entries:
        for entry in entries:
            name = os.fsencode(entry.name)
            if name == FOLDER_OBJECT:
                names.append(b"")
            elif not is_part(name):
                continue
            elif entry.is_dir(follow_symlinks=False):
                names.append(name + b"/")
            elif entry.is_file(follow_symlinks=False) and not is_stand_in(name, stand_ins):
                names.append(name)
    return [name for share in shares(names) for name in sorted(share)]


def shares(names: list[bytes]) -> list[list[bytes]]:
    """Divide names into lists, each of which sorts before the next: while a list is sorted, no other thread can run,
    and sorting a million names at once held up all clients for a second.
    """
    count = len(names) // _SHARE
    if count < 2:
        return [names]
    sample = sorted(names[:: _SHARE // _SAMPLES])
    bounds = sample[_SAMPLES::_SAMPLES]
    shares: list[list[bytes]] = [[] for _ in range(len(bounds) + 1)]
    for name in names:
        shares[bisect_right(bounds, name)].append(name)
    return shares
