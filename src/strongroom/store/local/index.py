"""The statements to the index that read and write buckets, objects and uploads.

Functions of a connection, within the caller's transaction. Those that write check everything first: if one raises, it
has changed nothing. What happens to data that nothing refers to any more is in ``trash``.
"""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from strongroom.store.base import Bucket, Condition, Part, PartPage, Stored, Upload
from strongroom.store.errors import (
    BucketExists,
    BucketNotEmpty,
    ConditionFailed,
    Damaged,
    NoSuchBucket,
    NoSuchObject,
    NoSuchUpload,
    PartChanged,
    is_index_damaged,
)
from strongroom.store.local.blobs import Extent, Extents, encode_extents
from strongroom.store.local.schema import decode_mapping, decode_record, encode_mapping
from strongroom.store.local.trash import discard, release

Connection = sqlite3.Connection

_FIND = """
SELECT b.id, o.size, o.modified, o.identity, o.record, o.annex, o.data
FROM buckets b LEFT JOIN objects o ON o.bucket = b.id AND o.key = ? WHERE b.name = ?
"""
_OPEN = """
SELECT b.id, o.size, o.modified, o.identity, o.record, o.annex, o.data, d.inline, d.extents,
    CASE WHEN length(a.content) <= 65536 THEN a.content END
FROM buckets b LEFT JOIN objects o ON o.bucket = b.id AND o.key = ? LEFT JOIN data d ON d.id = o.data
    LEFT JOIN annexes a ON a.id = o.annex
WHERE b.name = ?
"""
_PLACE = """
SELECT b.id, o.identity, o.annex, o.data
FROM buckets b LEFT JOIN objects o ON o.bucket = b.id AND o.key = ? WHERE b.name = ?
"""


_NO_EXTENTS = Extents(b"")


@dataclass(slots=True)
class Row:
    """An object's row. ``data`` and ``annex`` are ids; ``inline`` and ``extents`` are what the data row holds.

    ``small_annex``: the annex itself, if it has at most 64 KiB. ``with_data``: whether these three were read.
    """

    stored: Stored
    annex: int | None
    data: int
    inline: bytes | None = None
    extents: Extents = _NO_EXTENTS
    small_annex: bytes | None = None
    with_data: bool = False


@dataclass(frozen=True, slots=True)
class NewObject:
    """An object to be put: under which name, with which record, on which condition."""

    bucket: str
    key: str
    record: Mapping[str, bytes]
    annex: bytes
    when: Condition


def new_identity() -> str:
    """An identity that never comes back."""
    return os.urandom(12).hex()


# -- buckets -------------------------------------------------------------------------------------------------------


def find_bucket(connection: Connection, name: str) -> tuple[int, Bucket]:
    """A bucket and its id. Raises NoSuchBucket."""
    row = connection.execute("SELECT id, created, settings FROM buckets WHERE name = ?", (name,)).fetchone()
    if row is None:
        raise NoSuchBucket(name)
    return row[0], Bucket(name, row[1], _settings(name, row[2]))


def all_buckets(connection: Connection) -> list[Bucket]:
    """The buckets, by name. Settings that cannot be read are left out: :func:`find_bucket` says what is wrong."""
    found = []
    for name, created, settings in connection.execute("SELECT name, created, settings FROM buckets ORDER BY name"):
        try:
            found.append(Bucket(name, created, _settings(name, settings)))
        except Damaged:
            found.append(Bucket(name, created))
    return found


def _settings(name: str, data: bytes) -> Mapping[str, bytes]:
    try:
        return decode_mapping(data)
    except ValueError as error:
        raise Damaged(f"the settings of the bucket {name!r} are damaged") from error


def create_bucket(connection: Connection, name: str) -> Bucket:
    """Make a bucket. Raises BucketExists."""
    if connection.execute("SELECT 1 FROM buckets WHERE name = ?", (name,)).fetchone():
        raise BucketExists(name)
    created = time.time_ns()
    connection.execute("INSERT INTO buckets (name, created, settings) VALUES (?, ?, ?)", (name, created, b""))
    return Bucket(name, created)


def set_bucket(connection: Connection, name: str, setting: str, document: bytes | None) -> None:
    """Store or remove a setting. Raises NoSuchBucket."""
    bucket, found = find_bucket(connection, name)
    settings = {other: value for other, value in found.settings.items() if other != setting}
    if document is not None:
        settings[setting] = document
    connection.execute("UPDATE buckets SET settings = ? WHERE id = ?", (encode_mapping(settings), bucket))


def leave_setting(connection: Connection, name: str, setting: str, document: bytes) -> bytes:
    """Store a setting unless there is one. Returns the one that is stored now. Raises NoSuchBucket."""
    kept = find_bucket(connection, name)[1].settings.get(setting)
    if kept is None:
        set_bucket(connection, name, setting, document)
    return document if kept is None else kept


def delete_bucket(connection: Connection, name: str) -> None:
    """Remove an empty bucket with its open uploads. Raises NoSuchBucket, BucketNotEmpty."""
    bucket, _ = find_bucket(connection, name)
    if connection.execute("SELECT 1 FROM objects WHERE bucket = ? LIMIT 1", (bucket,)).fetchone():
        raise BucketNotEmpty(name)
    for (upload,) in connection.execute("SELECT id FROM uploads WHERE bucket = ?", (bucket,)).fetchall():
        _drop_upload(connection, upload, ())
    connection.execute("DELETE FROM buckets WHERE id = ?", (bucket,))


# -- objects -------------------------------------------------------------------------------------------------------


def find_object(connection: Connection, bucket: str, key: str, with_data: bool = False) -> Row:
    """An object's row; ``with_data``: and what its data row holds. Raises NoSuchBucket, NoSuchObject, Damaged."""
    try:
        row = connection.execute(_OPEN if with_data else _FIND, (key.encode(), bucket)).fetchone()
    except sqlite3.DatabaseError as error:
        if not is_index_damaged(error):
            raise
        raise Damaged(f"the index is damaged where {bucket}/{key} lies ({error})") from error  # others may be intact
    if row is None:
        raise NoSuchBucket(bucket)
    if row[3] is None:
        raise NoSuchObject(f"{bucket}/{key}")
    stored = Stored(key, row[1], row[2], decode_record(row[4]), row[3])
    if not with_data:
        return Row(stored, row[5], row[6])
    return Row(stored, row[5], row[6], row[7], Extents(row[8]) if row[8] else _NO_EXTENTS, row[9], True)


def read_annex(connection: Connection, annex: int) -> bytes | None:
    """The annex with this id; None if its object has been replaced or removed meanwhile."""
    row = connection.execute("SELECT content FROM annexes WHERE id = ?", (annex,)).fetchone()
    return row[0] if row else None


def put_inline(connection: Connection, new: NewObject, content: bytes) -> Stored:
    """Put an object whose bytes lie in the index. Raises NoSuchBucket, ConditionFailed."""
    place = _place(connection, new)
    cursor = connection.execute("INSERT INTO data (refs, inline) VALUES (1, ?)", (content,))
    return _put(connection, new, place, len(content), cursor.lastrowid or 0)


def put_blob(connection: Connection, new: NewObject, extent: Extent) -> Stored:
    """Put an object whose bytes are a blob. Raises NoSuchBucket, ConditionFailed."""
    place = _place(connection, new)
    connection.execute("INSERT INTO blobs (id) VALUES (?)", (extent.blob,))
    cursor = connection.execute("INSERT INTO data (refs, extents) VALUES (1, ?)", (encode_extents([extent]),))
    return _put(connection, new, place, extent.size, cursor.lastrowid or 0)


def put_shared(connection: Connection, new: NewObject, source: Row) -> Stored | None:
    """Put an object that shares the data of another; None if that data is gone by now. Raises NoSuchBucket,
    ConditionFailed.
    """
    place = _place(connection, new)
    if not connection.execute("UPDATE data SET refs = refs + 1 WHERE id = ?", (source.data,)).rowcount:
        return None
    return _put(connection, new, place, source.stored.size, source.data)


def rewrite(connection: Connection, new: NewObject, keep_annex: bool) -> Stored:
    """Replace the record (and annex) of an object. Raises NoSuchBucket, NoSuchObject, ConditionFailed."""
    row = find_object(connection, new.bucket, new.key)
    place = _place(connection, new)
    annex = row.annex if keep_annex else _swap_annex(connection, row.annex, new.annex)
    identity = new_identity()
    connection.execute(
        "UPDATE objects SET identity = ?, record = ?, annex = ? WHERE bucket = ? AND key = ?",
        (identity, encode_mapping(new.record), annex, place.bucket, new.key.encode()),
    )
    return Stored(new.key, row.stored.size, row.stored.modified, new.record, identity)


def delete_object(connection: Connection, bucket: str, key: str, when: Condition) -> bool:
    """Remove an object. Returns whether there was one. Raises NoSuchBucket, ConditionFailed."""
    place = _place(connection, NewObject(bucket, key, {}, b"", when))
    if place.data is None:
        return False
    connection.execute("DELETE FROM objects WHERE bucket = ? AND key = ?", (place.bucket, key.encode()))
    release(connection, place.data)
    _swap_annex(connection, place.annex, b"")
    return True


@dataclass(frozen=True, slots=True)
class _Place:
    """The bucket that an object goes to, and the data and annex of the object that it replaces: ids, or None."""

    bucket: int
    data: int | None
    annex: int | None


def _place(connection: Connection, new: NewObject) -> _Place:
    row = connection.execute(_PLACE, (new.key.encode(), new.bucket)).fetchone()
    if row is None:
        raise NoSuchBucket(new.bucket)
    bucket, identity, annex, data = row
    if (new.when.absent and identity is not None) or new.when.identity not in (None, identity):
        raise ConditionFailed(f"{new.bucket}/{new.key}")
    return _Place(bucket, data, annex)


def _put(connection: Connection, new: NewObject, place: _Place, size: int, data: int) -> Stored:
    identity, modified = new_identity(), time.time_ns()
    annex = _swap_annex(connection, place.annex, new.annex)
    connection.execute(
        "INSERT OR REPLACE INTO objects (bucket, key, size, modified, identity, data, annex, record)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        (place.bucket, new.key.encode(), size, modified, identity, data, annex, encode_mapping(new.record)),
    )
    if place.data is not None:
        release(connection, place.data)
    return Stored(new.key, size, modified, new.record, identity)


def _swap_annex(connection: Connection, old: int | None, content: bytes) -> int | None:
    if old is not None:
        connection.execute("DELETE FROM annexes WHERE id = ?", (old,))
    if not content:
        return None
    return connection.execute("INSERT INTO annexes (content) VALUES (?)", (content,)).lastrowid


# -- uploads -------------------------------------------------------------------------------------------------------


def create_upload(connection: Connection, bucket: str, key: str, record: Mapping[str, bytes], token: bytes) -> Upload:
    """Open an upload. Raises NoSuchBucket."""
    bucket_id, _ = find_bucket(connection, bucket)
    upload = Upload(key, token.hex(), time.time_ns(), record)
    connection.execute(
        "INSERT INTO uploads (id, bucket, key, started, record) VALUES (?, ?, ?, ?, ?)",
        (upload.upload_id, bucket_id, key.encode(), upload.started, encode_mapping(record)),
    )
    return upload


def find_upload(connection: Connection, bucket: str, key: str, upload_id: str) -> Upload:
    """An open upload. Raises NoSuchBucket, NoSuchUpload."""
    bucket_id, _ = find_bucket(connection, bucket)
    row = connection.execute(
        "SELECT started, record FROM uploads WHERE id = ? AND bucket = ? AND key = ?",
        (upload_id, bucket_id, key.encode()),
    ).fetchone()
    if row is None:
        raise NoSuchUpload(upload_id)
    return Upload(key, upload_id, row[0], decode_record(row[1]))


def put_part(
    connection: Connection,
    upload: tuple[str, str, str],
    number: int,
    record: Mapping[str, bytes],
    extent: Extent | None,
) -> Part:
    """Put a part of the upload (bucket, key, id); ``extent`` is None for an empty part. Raises NoSuchUpload."""
    find_upload(connection, *upload)
    old = connection.execute("SELECT blob FROM parts WHERE upload = ? AND number = ?", (upload[2], number)).fetchone()
    if old and old[0]:
        discard(connection, [old[0]])
    size, blob = (extent.size, extent.blob) if extent else (0, None)
    if blob:
        connection.execute("INSERT INTO blobs (id) VALUES (?)", (blob,))
    part = Part(number, size, time.time_ns(), record, new_identity())
    connection.execute(
        "INSERT OR REPLACE INTO parts (upload, number, size, modified, identity, blob, record)"
        " VALUES (?, ?, ?, ?, ?, ?, ?)",
        (upload[2], number, size, part.modified, part.identity, blob, encode_mapping(record)),
    )
    return part


def list_parts(connection: Connection, bucket: str, key: str, upload_id: str, after: int, limit: int) -> PartPage:
    """One page of parts. Raises NoSuchBucket, NoSuchUpload."""
    rows = connection.execute(
        "SELECT number, size, modified, record, identity FROM parts WHERE upload = ? AND number > ?"
        " ORDER BY number LIMIT ?",
        (upload_id, after, limit + 1),
    ).fetchall()
    find_upload(connection, bucket, key, upload_id)  # last: what ended it took the parts with it
    page = [Part(number, size, modified, decode_record(rec), name) for number, size, modified, rec, name in rows]
    more = len(page) > limit
    return PartPage(page[:limit], page[limit - 1].number if more and limit else None)


def complete(connection: Connection, new: NewObject, upload_id: str, parts: Sequence[Part]) -> Stored:
    """Make one object of parts. Raises NoSuchUpload, PartChanged, ConditionFailed."""
    find_upload(connection, new.bucket, new.key, upload_id)
    rows = connection.execute(
        "SELECT number, identity, size, blob FROM parts WHERE upload = ?", (upload_id,)
    ).fetchall()
    there = {row[0]: row for row in rows}
    extents = []
    for part in parts:
        row = there.get(part.number)
        if row is None or row[1] != part.identity:
            raise PartChanged(f"part {part.number}")
        if row[3]:
            extents.append(Extent(row[3], row[2]))
    place = _place(connection, new)
    cursor = connection.execute("INSERT INTO data (refs, extents) VALUES (1, ?)", (encode_extents(extents),))
    stored = _put(connection, new, place, sum(e.size for e in extents), cursor.lastrowid or 0)
    _drop_upload(connection, upload_id, {extent.blob for extent in extents})
    return stored


def abort_upload(connection: Connection, bucket: str, key: str, upload_id: str) -> None:
    """End an upload. Raises NoSuchBucket, NoSuchUpload."""
    find_upload(connection, bucket, key, upload_id)
    _drop_upload(connection, upload_id, ())


def _drop_upload(connection: Connection, upload_id: str, kept: Iterable[bytes]) -> None:
    """Remove an upload and its parts; their blobs go to the trash, except those that are kept."""
    stays = frozenset(kept)
    blobs = connection.execute("SELECT blob FROM parts WHERE upload = ? AND blob IS NOT NULL", (upload_id,)).fetchall()
    discard(connection, (blob for (blob,) in blobs if blob not in stays))
    connection.execute("DELETE FROM parts WHERE upload = ?", (upload_id,))
    connection.execute("DELETE FROM uploads WHERE id = ?", (upload_id,))
