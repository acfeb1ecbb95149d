"""Reads single rows of the index, and remembers them until somebody writes to it.

A statement costs more than it seems: SQLite takes and releases a lock in the kernel, and what it goes through is seldom
in the processor's caches. It was a quarter of a small GET. What is remembered is what the index holds: nothing that is
encrypted is opened here.
"""

from __future__ import annotations

import sqlite3

from strongroom.store.base import Bucket
from strongroom.store.local.index import Row, find_bucket, find_object
from strongroom.store.local.revision import Revision
from strongroom.store.recent import Recent, weight_of

MOST = 32 * 1024**2
"""Bytes of memory for rows of objects, about: 5,000 objects of 4 KiB."""

SETTLED = 16
"""Objects that are read after a write before any is remembered: where somebody writes all the time, it would be in
vain."""

_MOST_OF_BUCKETS = 1024**2
_EXTENT = 64  # bytes that an extent takes, about: its own, and where it ends


class Rows:
    """Rows of buckets and objects, for one thread. Callers share what they are given, and do not alter it."""

    def __init__(self, connection: sqlite3.Connection, revision: Revision) -> None:
        self._connection = connection
        self._revision = revision
        self._of: bytes | None = None
        self._since = 0  # objects read since the last write
        self._buckets: Recent[str, tuple[int, Bucket]] = Recent(_MOST_OF_BUCKETS)
        self._objects: Recent[tuple[str, str], Row] = Recent(MOST)

    def bucket(self, name: str) -> tuple[int, Bucket]:
        """A bucket and its id. Raises NoSuchBucket."""
        now = self._up_to_date()
        found = self._buckets.get(name)
        if found is None:
            found = find_bucket(self._connection, name)
            if self._still(now):
                self._buckets.keep(name, found, weight_of(name, found[1].settings))
        return found

    def object(self, bucket: str, key: str, with_data: bool = False) -> Row:
        """An object's row; ``with_data``: and what its data row holds. Raises NoSuchBucket, NoSuchObject, Damaged."""
        now = self._up_to_date()
        name = bucket, key
        row = self._objects.get(name)
        if row is None or (with_data and not row.with_data):
            row = find_object(self._connection, bucket, key, with_data)
            self._since += 1
            if self._since > SETTLED and self._still(now):
                self._objects.keep(name, row, _weight(row))
        return row

    def _up_to_date(self) -> bytes | None:
        """Forget everything if the index has been written to. Returns its revision, None if that cannot be told."""
        now = self._revision.now()
        if now != self._of:
            self._of, self._since = now, 0
            self._buckets.clear()
            self._objects.clear()
        return now

    def _still(self, now: bytes | None) -> bool:
        """Whether what was just read is of this revision."""
        return now is not None and self._revision.now() == now


def _weight(row: Row) -> int:
    data = len(row.inline or b"") + len(row.small_annex or b"") + len(row.extents) * _EXTENT
    return weight_of(row.stored.key, row.stored.record) + data
