"""The tables of the index, and opening the database. Knows nothing of what the columns mean to others."""

from __future__ import annotations

import os
import shutil
import sqlite3
import struct
import tempfile
from collections.abc import Mapping
from pathlib import Path

from strongroom.store.base import DAMAGED_RECORD, Record
from strongroom.store.errors import NO_SPACE, StoreError, index_fault
from strongroom.store.mapping import encoded_name

APPLICATION_ID = 0x53524D31  # "SRM1"
LAYOUT = 1

_BLOBS = "blobs/*/*"  # beside the index: the files that it describes
_NEEDED = 1024**2  # bytes of disk: more than opening the index takes
_LENGTH = struct.Struct(">I").unpack_from

_TABLES = (
    "CREATE TABLE buckets (id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL UNIQUE,"
    " created INTEGER NOT NULL, settings BLOB NOT NULL)",
    # What a listing shows: one narrow row for each object.
    "CREATE TABLE objects (bucket INTEGER NOT NULL, key BLOB NOT NULL, size INTEGER NOT NULL,"
    " modified INTEGER NOT NULL, identity TEXT NOT NULL, data INTEGER NOT NULL, annex INTEGER,"
    " record BLOB NOT NULL, PRIMARY KEY (bucket, key)) WITHOUT ROWID",
    # The bytes: inline, or as extents (see blobs.py). Several objects may share a row.
    "CREATE TABLE data (id INTEGER PRIMARY KEY AUTOINCREMENT, refs INTEGER NOT NULL, extents BLOB, inline BLOB)",
    "CREATE TABLE annexes (id INTEGER PRIMARY KEY AUTOINCREMENT, content BLOB NOT NULL)",
    # Every blob file that something refers to. Whatever is neither here nor in the trash is an orphan.
    "CREATE TABLE blobs (id BLOB PRIMARY KEY) WITHOUT ROWID",
    "CREATE TABLE trash (id BLOB PRIMARY KEY, data INTEGER NOT NULL) WITHOUT ROWID",
    "CREATE TABLE uploads (id TEXT PRIMARY KEY, bucket INTEGER NOT NULL, key BLOB NOT NULL,"
    " started INTEGER NOT NULL, record BLOB NOT NULL) WITHOUT ROWID",
    "CREATE INDEX uploads_by_name ON uploads (bucket, key, started, id)",
    "CREATE TABLE parts (upload TEXT NOT NULL, number INTEGER NOT NULL, size INTEGER NOT NULL,"
    " modified INTEGER NOT NULL, identity TEXT NOT NULL, blob BLOB, record BLOB NOT NULL,"
    " PRIMARY KEY (upload, number)) WITHOUT ROWID",
)


def create(path: Path) -> None:
    """Make the database if it does not exist. Raises StoreError if it is another program's, or has another layout, or
    was lost while its blobs are still there.
    """
    connection = connect(path)
    try:
        connection.execute("BEGIN IMMEDIATE")
        application, layout = (
            connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("application_id", "user_version")
        )
        if application == 0 and layout == 0 and not connection.execute("SELECT 1 FROM sqlite_master").fetchone():
            if any(path.parent.glob(_BLOBS)):
                raise StoreError(
                    f"{path} is lost, and what lies beside it cannot be read without it: restore both from one back-up"
                )
            for statement in _TABLES:
                connection.execute(statement)
            connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            connection.execute(f"PRAGMA user_version = {LAYOUT}")
        elif (application, layout) != (APPLICATION_ID, LAYOUT):
            raise StoreError(
                f"{path} has the layout {layout} of application {application:#x}, not one of this release: "
                "use the release that wrote it"
            )
        connection.execute("COMMIT")
    except sqlite3.Error as error:
        raise StoreError(f"{path} cannot be used: {_reason(path, error)}") from error
    finally:
        connection.close()


CACHE, READ_CACHE, SCAN_CACHE = 64 * 1024, 32 * 1024, 4 * 1024
"""KiB of pages that a connection keeps in memory: CACHE for the one that writes, READ_CACHE for the one that reads
single rows (rows.py keeps rows as well), SCAN_CACHE for the many for listings, which read pages that are not needed
again soon."""


def connect(path: Path, read_only: bool = False, cache: int = CACHE) -> sqlite3.Connection:
    """Open the database, with up to ``cache`` KiB of it in memory. Callers begin transactions. Raises StoreError."""
    try:
        connection = sqlite3.connect(path, timeout=60, isolation_level=None, check_same_thread=False)
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = FULL")
            connection.execute(f"PRAGMA cache_size = -{cache}")
            connection.execute("PRAGMA wal_autocheckpoint = 4000")
            if read_only:
                connection.execute("PRAGMA query_only = 1")
        except BaseException:
            connection.close()
            raise
    except sqlite3.Error as error:
        raise StoreError(f"{path} cannot be opened: {_reason(path, error)}") from error
    return connection


def _reason(path: Path, error: sqlite3.Error) -> str:
    """SQLite's error; if the disk is full, that too, which SQLite may not say; for a damaged index, what to do."""
    if not has_room(path.parent):
        return f"no space is left on its disk ({error})"
    return index_fault(error) or str(error)


def has_room(directory: Path) -> bool:
    """Whether there is the room that opening a small database takes, on the disk and in a quota; True if that cannot be
    told.
    """
    try:
        if shutil.disk_usage(directory).free < _NEEDED:
            return False
        with tempfile.TemporaryFile(dir=directory) as tried:  # the only way to learn of a quota
            os.posix_fallocate(tried.fileno(), 0, _NEEDED)
    except OSError as error:
        return error.errno not in NO_SPACE
    return True


def unused_bytes(connection: sqlite3.Connection) -> int:
    """Bytes of the database in unused pages, which are used before it grows."""
    pages, size = (connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("freelist_count", "page_size"))
    return int(pages) * int(size)


def encode_mapping(mapping: Mapping[str, bytes]) -> bytes:
    """A mapping as bytes: for each entry the length of its name (1 byte), the name, the length of its value (4 bytes),
    the value.

    Raises MetadataRefused.
    """
    out = []
    for name, value in mapping.items():
        encoded = encoded_name(name)
        out += [bytes((len(encoded),)), encoded, len(value).to_bytes(4, "big"), value]
    return b"".join(out)


def decode_mapping(data: bytes) -> dict[str, bytes]:
    """Read what :func:`encode_mapping` returned. Raises ValueError for anything else."""
    mapping, at, whole = {}, 0, len(data)
    try:
        while at < whole:
            start = at + 1 + data[at]
            end = start + 4 + _LENGTH(data, start)[0]
            if end > whole:
                raise ValueError("a mapping ends early")
            mapping[data[at + 1 : start].decode("ascii")] = data[start + 4 : end]
            at = end
    except struct.error as error:
        raise ValueError("a mapping ends early") from error
    return mapping


def find_entry(data: bytes, name: bytes) -> bytes | None:
    """The value of one entry of an encoded mapping; None if there is none, or damage stands before it."""
    at, whole = 0, len(data)
    try:
        while at < whole:
            start = at + 1 + data[at]
            end = start + 4 + _LENGTH(data, start)[0]
            if data[at + 1 : start] == name:
                return data[start + 4 : end] if end <= whole else None
            at = end
    except struct.error:
        pass
    return None


def decode_record(data: bytes) -> Record:
    """Read a record; DAMAGED_RECORD if it is damaged."""
    try:
        return decode_mapping(data)
    except ValueError:
        return DAMAGED_RECORD
