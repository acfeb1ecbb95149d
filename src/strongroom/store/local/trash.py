"""The trash of the index: blobs whose objects and parts are gone, until their files are removed.

Functions of a connection, within the caller's transaction. A blob that nothing refers to any more goes to the trash in
the transaction that drops the last reference; its file is removed afterwards, once no reader holds it, and then it
leaves the trash.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable

from strongroom.store.local.blobs import Extents

Connection = sqlite3.Connection

# A reader's lease is on all blobs of its data row, so all of them are needed. There may be very many in the trash: it
# is searched once, and not for each data row. What is no id of a data row was put there by somebody else, and stays.
_LEASED_TRASH = """
SELECT id, data FROM trash WHERE data IN
    (SELECT data FROM (SELECT data FROM trash WHERE id > ? ORDER BY id LIMIT ?)
    WHERE data <> 0 AND typeof(data) = 'integer')
"""


def is_there_trash(connection: Connection) -> bool:
    """Whether there are blobs to be removed."""
    return connection.execute("SELECT 1 FROM trash LIMIT 1").fetchone() is not None


def release(connection: Connection, data: int) -> None:
    """Drop one reference to a data row; with the last one, the row is removed and its blobs go to the trash."""
    refs, extents = connection.execute("SELECT refs, extents FROM data WHERE id = ?", (data,)).fetchone()
    if refs > 1:
        connection.execute("UPDATE data SET refs = refs - 1 WHERE id = ?", (data,))
        return
    connection.execute("DELETE FROM data WHERE id = ?", (data,))
    if extents:
        blobs = [extent.blob for extent in Extents(extents)]
        discard(connection, blobs, data if len(blobs) > 1 else 0)


def discard(connection: Connection, blobs: Iterable[bytes], data: int = 0) -> None:
    """Put blobs into the trash. ``data``: the id of their data row if it has several blobs, on which a reader may have
    a lease; else 0.
    """
    rows = [(blob, data) for blob in blobs]
    connection.executemany("DELETE FROM blobs WHERE id = ?", [row[:1] for row in rows])
    connection.executemany("INSERT OR IGNORE INTO trash (id, data) VALUES (?, ?)", rows)


def discard_unknown(connection: Connection, blobs: Iterable[bytes]) -> None:
    """Put into the trash those blobs that nothing refers to."""
    connection.executemany(
        "INSERT OR IGNORE INTO trash (id, data) SELECT ?, 0 WHERE NOT EXISTS (SELECT 1 FROM blobs WHERE id = ?)",
        [(blob, blob) for blob in blobs],
    )


def page(connection: Connection, after: bytes, limit: int) -> tuple[dict[int, list[bytes]], bytes | None]:
    """Blobs to be removed: those on which a reader may have a lease by the id of their data row, the others under 0.

    Of ``limit`` blobs whose ids come after ``after``, and of all that share their data rows. Also returns the last of
    the ``limit`` ids, None if no more follow.
    """
    found: dict[int, list[bytes]] = {}
    rows = connection.execute("SELECT id, data FROM trash WHERE id > ? ORDER BY id LIMIT ?", (after, limit)).fetchall()
    for blob, data in rows:
        if not data:
            found.setdefault(0, []).append(blob)
    if any(data for _, data in rows):
        for blob, data in connection.execute(_LEASED_TRASH, (after, limit)):
            found.setdefault(data, []).append(blob)
    return found, rows[-1][0] if len(rows) == limit else None


def empty_trash(connection: Connection, blobs: Iterable[bytes]) -> None:
    """Take blobs whose files were removed out of the trash."""
    connection.executemany("DELETE FROM trash WHERE id = ?", [(blob,) for blob in blobs])
