"""Listings as range scans over the index that skip over common prefixes: a page costs the same wherever it begins.

Pure except for the statements; knows the two indexes that are ordered by key.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from strongroom.store.base import Page, Record, Stored, Upload, UploadPage
from strongroom.store.local.schema import decode_record, find_entry
from strongroom.store.paging import common_prefix, successor

C = TypeVar("C")  # a place in an index, to go on from
_Row = tuple[Any, ...]  # a row of one of the statements below: the key comes first
_Found = _Row | bytes  # bytes: a common prefix
_UploadCursor = tuple[bytes, int, str]
_DECODED = 1200  # about how many bytes a record takes once it is decoded, besides its texts

# Objects whose keys lie between two bounds (bytes), in order. The bounds make it a range scan of the primary key.
_OBJECTS = """
SELECT key, size, modified, identity, record FROM objects
WHERE bucket = ? AND key >= ? AND key < ? ORDER BY key LIMIT ?
"""
# The first key of each common prefix from a key on, as long as one directly follows the other; then a key that has no
# common prefix, or NULL at the end. The delimiter is looked for after the first ``:width`` bytes of a key; ``:next`` is
# the successor of its last byte, and ``:cut`` its length minus 2, since instr() counts from 1.
_FOLDERS = """
WITH RECURSIVE firsts(key) AS (
    SELECT * FROM (SELECT key FROM objects WHERE bucket = :bucket AND key >= :start AND key < :end ORDER BY key LIMIT 1)
    UNION ALL
    SELECT (
        SELECT key FROM objects WHERE bucket = :bucket AND key < :end AND key >= CAST(
            substr(firsts.key, 1, :width + instr(substr(firsts.key, :width + 1), :delimiter) + :cut) || :next AS BLOB
        ) ORDER BY key LIMIT 1
    ) FROM firsts WHERE instr(substr(firsts.key, :width + 1), :delimiter)
    LIMIT :count
)
SELECT key FROM firsts
"""
_UPLOADS = """
SELECT key, started, id, record FROM uploads INDEXED BY uploads_by_name
WHERE bucket = ? AND (key, started, id) >= (?, ?, ?) AND key < ? ORDER BY key, started, id LIMIT ?
"""


@dataclass(slots=True)
class _Scan:
    """Where a listing begins, and how names are rolled up."""

    prefix: bytes
    delimiter: bytes
    after: bytes

    def start(self) -> bytes:
        """The first name that may be listed."""
        if self.after and common_prefix(self.after, self.prefix, self.delimiter) == self.after:
            return max(successor(self.after), self.prefix)
        return max(self.after + b"\0" if self.after else b"", self.prefix)


def list_objects(
    connection: sqlite3.Connection, bucket: int, prefix: str, delimiter: str, after: str, limit: int
) -> Page:
    """One page of objects, as Store.list returns it."""
    scan = _Scan(prefix.encode(), delimiter.encode(), after.encode())
    end = successor(scan.prefix)

    def rows(start: bytes, count: int) -> Iterable[_Row]:
        return connection.execute(_OBJECTS, (bucket, start, end, count))

    def folders(start: bytes, count: int) -> list[bytes]:
        delimiter = scan.delimiter
        firsts = connection.execute(
            _FOLDERS,
            {
                "bucket": bucket,
                "start": start,
                "end": end,
                "width": len(scan.prefix),
                "delimiter": delimiter,
                "cut": len(delimiter) - 2,
                "next": successor(delimiter)[-1:],
                "count": count,
            },
        )
        return [rolled for (key,) in firsts if key and (rolled := common_prefix(key, scan.prefix, delimiter))]

    found, more = _collect(scan, scan.start(), rows, bytes, limit, folders)
    objects = [
        Stored(key.decode(), size, modified, _Record(record), identity)
        for key, size, modified, identity, record in _rows(found)
    ]
    return Page(objects, _prefixes(found), _name(found[-1]).decode() if more else None)


def list_uploads(
    connection: sqlite3.Connection, bucket: int, prefix: str, delimiter: str, after: tuple[str, str], limit: int
) -> UploadPage:
    """One page of open uploads, as Store.uploads returns it."""
    scan = _Scan(prefix.encode(), delimiter.encode(), after[0].encode())
    end = successor(scan.prefix)
    marker = connection.execute(
        "SELECT key, started, id FROM uploads WHERE id = ? AND bucket = ? AND key = ?",
        (after[1], bucket, scan.after),
    ).fetchone()

    def rows(start: _UploadCursor, count: int) -> Iterable[_Row]:
        return connection.execute(_UPLOADS, (bucket, *start, end, count))

    def before(key: bytes) -> _UploadCursor:
        return key, -1, ""

    if marker:
        start = max((marker[0], marker[1], marker[2] + "\0"), before(scan.prefix))
    elif after[1]:  # the marker has ended: rather repeat than skip uploads of its key
        start = before(max(scan.after, scan.prefix))
    else:
        start = before(scan.start())
    found, more = _collect(scan, start, rows, before, limit)
    uploads = [
        Upload(key.decode(), upload_id, started, decode_record(record))
        for key, started, upload_id, record in _rows(found)
    ]
    following = None
    if more and found:
        last = found[-1]
        following = (_name(last).decode(), last[2] if isinstance(last, tuple) else "")
    return UploadPage(uploads, _prefixes(found), following)


def _no_folders(start: bytes, count: int) -> list[bytes]:
    return []


def _collect(
    scan: _Scan,
    start: C,
    rows: Callable[[C, int], Iterable[_Row]],
    before: Callable[[bytes], C],
    limit: int,
    folders: Callable[[bytes, int], list[bytes]] = _no_folders,
) -> tuple[list[_Found], bool]:
    """Up to ``limit`` rows and common prefixes from ``start`` on, and whether there are more.

    ``before`` returns the position just before a name: after each common prefix, a new statement begins at its
    successor, so that the keys under it are never read. ``folders`` may return the common prefixes that directly follow
    each other from a name on: one statement for many of them.
    """
    found: list[_Found] = []
    if not scan.delimiter:
        found += rows(start, limit + 1)
    while scan.delimiter and len(found) <= limit:
        rolled, so_far = None, len(found)
        for row in rows(start, limit + 1 - len(found)):
            rolled = common_prefix(row[0], scan.prefix, scan.delimiter)
            if rolled is not None:
                break
            found.append(row)
        if rolled is None:
            break
        more_likely = len(found) == so_far  # the prefix came first: then more of them probably follow
        found.append(rolled)
        if more_likely:
            found += folders(successor(rolled), limit + 1 - len(found))
        start = before(successor(_name(found[-1])))
    return found[:limit], len(found) > limit


def _rows(found: Iterable[_Found]) -> Iterator[_Row]:
    return (one for one in found if isinstance(one, tuple))


def _prefixes(found: Iterable[_Found]) -> list[str]:
    return [one.decode() for one in found if isinstance(one, bytes)]


def _name(one: _Found) -> bytes:
    name: bytes = one if isinstance(one, bytes) else one[0]
    return name


class _Record(Mapping[str, bytes]):
    """A record that stays encoded as long as it is asked for nothing but entries that it has: of most objects of a page
    those are none, or two. Then it is decoded, once.
    """

    __slots__ = ("_decoded", "_encoded")

    def __init__(self, encoded: bytes) -> None:
        self._encoded = encoded
        self._decoded: Record | None = None

    def _whole(self) -> Record:
        if self._decoded is None:
            self._decoded = decode_record(self._encoded)
        return self._decoded

    def get(self, name: str, default: Any = None, /) -> Any:
        if self._decoded is None:
            value = find_entry(self._encoded, name.encode())
            if value is not None:
                return value
        return self._whole().get(name, default)

    def __getitem__(self, name: str) -> bytes:
        value: bytes | None = self.get(name)
        if value is None:
            raise KeyError(name)
        return value

    def __iter__(self) -> Iterator[str]:
        return iter(self._whole())

    def __len__(self) -> int:
        return len(self._whole())

    def __repr__(self) -> str:
        return repr(self._whole())

    def __sizeof__(self) -> int:
        return _DECODED + 2 * len(self._encoded)  # with what it may be decoded to
