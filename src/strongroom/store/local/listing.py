"""Listings as range scans over the index that skip over common prefixes: a page costs the same wherever it lies.

Pure but for the statements; knows the two indexes that are ordered by key.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, TypeVar

from strongroom.store.base import Page, Stored, Upload, UploadPage
from strongroom.store.local.schema import decode_record

C = TypeVar("C")  # a place in an index, to go on from
_Row = tuple[Any, ...]
_UploadCursor = tuple[bytes, int, str]

_BATCH = 1001  # rows of one statement: a page, and the row that tells whether there is another
_SKIP_BATCH = 64  # the same where names are rolled up: few are read in vain

# Keys from a key on (both ends as bytes), in order. The bounds make it a range scan of the primary key.
_OBJECTS = """
SELECT key, size, modified, identity, record FROM objects
WHERE bucket = ? AND key >= ? AND key < ? ORDER BY key LIMIT ?
"""
_UPLOADS = """
SELECT key, started, id, record FROM uploads INDEXED BY uploads_by_name
WHERE bucket = ? AND (key, started, id) >= (?, ?, ?) AND key < ? ORDER BY key, started, id LIMIT ?
"""
_TOP = b"\xff"  # above every key: no UTF-8 has this byte


def successor(prefix: bytes) -> bytes:
    """The first name behind all that start with ``prefix`` (UTF-8, so its last byte is never 255)."""
    return prefix[:-1] + bytes((prefix[-1] + 1,)) if prefix else _TOP


@dataclass(slots=True)
class _Scan:
    """Where a listing goes, and how names are rolled up."""

    prefix: bytes
    delimiter: bytes
    after: bytes

    def rolled(self, key: bytes) -> bytes | None:
        """The common prefix that a key is rolled up into, or None."""
        if not self.delimiter:
            return None
        at = key.find(self.delimiter, len(self.prefix))
        return None if at < 0 else key[: at + len(self.delimiter)]

    def start(self) -> bytes:
        """The first name that may be listed."""
        if self.after and self.rolled(self.after) == self.after:
            return max(successor(self.after), self.prefix)
        return max(self.after + b"\0" if self.after else b"", self.prefix)


def list_objects(
    connection: sqlite3.Connection, bucket: int, prefix: str, delimiter: str, after: str, limit: int
) -> Page:
    """One page of objects, as Store.list has it."""
    scan = _Scan(prefix.encode(), delimiter.encode(), after.encode())
    end = successor(scan.prefix)

    def rows(cursor: bytes, count: int) -> Iterable[_Row]:
        return connection.execute(_OBJECTS, (bucket, cursor, end, count))

    found, more = _collect(scan, scan.start(), rows, bytes, lambda row: _key(row) + b"\0", limit)
    objects = [_stored(row) for _, row in found if row is not None]
    prefixes = [name.decode() for name, row in found if row is None]
    return Page(objects, prefixes, found[-1][0].decode() if more else None)


def list_uploads(
    connection: sqlite3.Connection, bucket: int, prefix: str, delimiter: str, after: tuple[str, str], limit: int
) -> UploadPage:
    """One page of open uploads, as Store.uploads has it."""
    scan = _Scan(prefix.encode(), delimiter.encode(), after[0].encode())
    end = successor(scan.prefix)
    marker = connection.execute(
        "SELECT key, started, id FROM uploads WHERE id = ? AND bucket = ? AND key = ?",
        (after[1], bucket, scan.after),
    ).fetchone()

    def rows(cursor: _UploadCursor, count: int) -> Iterable[_Row]:
        return connection.execute(_UPLOADS, (bucket, *cursor, end, count))

    def behind(row: _Row) -> _UploadCursor:
        return _key(row), row[1], row[2] + "\0"

    def before(key: bytes) -> _UploadCursor:
        return key, -1, ""

    start = behind(marker) if marker else before(scan.start())
    found, more = _collect(scan, start, rows, before, behind, limit)
    uploads = [Upload(row[0].decode(), row[2], row[1], decode_record(row[3])) for _, row in found if row is not None]
    prefixes = [name.decode() for name, row in found if row is None]
    following = None
    if more:
        name, last = found[-1]
        following = (name.decode(), last[2] if last is not None else "")
    return UploadPage(uploads, prefixes, following)


def _collect(
    scan: _Scan,
    cursor: C,
    rows: Callable[[C, int], Iterable[_Row]],
    before: Callable[[bytes], C],
    behind: Callable[[_Row], C],
    limit: int,
) -> tuple[list[tuple[bytes, _Row | None]], bool]:
    """Up to ``limit`` names from ``cursor`` on, with None for a common prefix, and whether there are more.

    ``before`` a name and ``behind`` a row give the cursors to go on from. A statement is begun anew behind each common
    prefix, so that the keys under it are never read.
    """
    found: list[tuple[bytes, _Row | None]] = []
    while True:
        count = min(limit + 1 - len(found), _BATCH)
        if scan.delimiter:
            count = min(count, _SKIP_BATCH)
        seen, rolled = 0, None
        for row in rows(cursor, count):
            seen += 1
            if len(found) == limit:
                return found, True
            rolled = scan.rolled(_key(row))
            if rolled is not None:
                found.append((rolled, None))
                cursor = before(successor(rolled))
                break
            found.append((_key(row), row))
            cursor = behind(row)
        if rolled is None and seen < count:
            return found, False


def _key(row: _Row) -> bytes:
    key: bytes = row[0]
    return key


def _stored(row: _Row) -> Stored:
    key, size, modified, identity, record = row
    return Stored(key.decode(), size, modified, decode_record(record), identity)
