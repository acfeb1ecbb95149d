"""What an import has done so far, in a small SQLite file, so that a stopped import resumes where it was."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from types import TracebackType
from typing import Self, TextIO

from strongroom.transfer.held import hold
from strongroom.transfer.s3 import Listed

_SCHEMA = """
CREATE TABLE IF NOT EXISTS done (
    bucket TEXT, key TEXT, etag TEXT, size INTEGER, modified TEXT, sha256 TEXT, PRIMARY KEY (bucket, key)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS written (bucket TEXT, key TEXT, etag TEXT, PRIMARY KEY (bucket, key)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS begun (bucket TEXT, key TEXT, sha256 TEXT, PRIMARY KEY (bucket, key)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS uploads (bucket TEXT, key TEXT, upload TEXT PRIMARY KEY) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS ends (source TEXT, target TEXT);
CREATE TABLE IF NOT EXISTS opening (number INTEGER PRIMARY KEY, bucket TEXT, key TEXT);
"""
"""``done`` has buckets and ETags of the source; the other tables have the target's. Files of older releases, which had
only some of them, have no rows in the others.
"""

_ENDS_OF_COPIES = """
SELECT source, target FROM ends
WHERE EXISTS (SELECT 1 FROM done) OR EXISTS (SELECT 1 FROM begun) OR EXISTS (SELECT 1 FROM uploads)
"""


class OfOthers(Exception):
    """The state file says what was copied between other places; the message names them."""


class State:
    """A state file; may be shared by threads. Raises OSError, sqlite3.Error if it cannot be opened."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._path = path
        self._held: TextIO | None = None
        self._lock = threading.Lock()
        self._database = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
        try:
            self._database.executescript(f"PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL; {_SCHEMA}")
        except BaseException:
            self._database.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._held or nullcontext():
            self._database.close()

    def bind(self, source: str, target: str) -> None:
        """Note between which places objects are copied. Raises OfOthers if something was copied between others before:
        what another target has would be passed over.
        """
        with self._lock:
            former = self._database.execute(_ENDS_OF_COPIES).fetchone()
        if former not in (None, (source, target)):
            raise OfOthers(f"{self._path} is of an import from {former[0]} to {former[1]}: name another --state-file")
        self._write("INSERT OR REPLACE INTO ends (rowid, source, target) VALUES (1, ?, ?)", (source, target))

    def hold(self) -> None:
        """Lock out other imports with this file as long as it is open: they would abort the uploads of this one. Raises
        Held, OSError.
        """
        self._held = hold(self._path.with_name(f"{self._path.name}-lock"), f"import with {self._path}")

    def has(self, listed: Listed) -> bool:
        """Whether this object has been copied and verified, and has not changed since."""
        query = "SELECT etag, size, modified FROM done WHERE bucket = ? AND key = ?"
        with self._lock:
            row = self._database.execute(query, (listed.bucket, listed.key)).fetchone()
        return bool(row == (listed.etag, listed.size, listed.modified.isoformat()))

    def sha256(self, bucket: str, key: str) -> str | None:
        """The SHA-256 of the object last copied from this name at the source; None if there is none."""
        return self._text("SELECT sha256 FROM done WHERE bucket = ? AND key = ?", (bucket, key))

    def written(self, bucket: str, key: str) -> str | None:
        """The ETag of the copy that was last written under this name at the target; None if it is not known."""
        return self._text("SELECT etag FROM written WHERE bucket = ? AND key = ?", (bucket, key))

    def add(self, listed: Listed, sha256: str) -> None:
        """Note that an object has been copied and verified."""
        row = (listed.bucket, listed.key, listed.etag, listed.size, listed.modified.isoformat(), sha256)
        self._write("INSERT OR REPLACE INTO done VALUES (?, ?, ?, ?, ?, ?)", row)

    def begun(self, bucket: str, key: str) -> str | None:
        """The SHA-256 of a copy that may be at the target although no ETag of it was noted; None if there is none."""
        return self._text("SELECT sha256 FROM begun WHERE bucket = ? AND key = ?", (bucket, key))

    def begin(self, bucket: str, key: str, sha256: str) -> None:
        """Note the SHA-256 of a copy that is put in place next: if this process dies, its ETag is never noted."""
        self._write("INSERT OR REPLACE INTO begun VALUES (?, ?, ?)", (bucket, key, sha256))

    def wrote(self, bucket: str, key: str, etag: str) -> None:
        """Note the ETag of a copy at the target, verified or not."""
        self._write("INSERT OR REPLACE INTO written VALUES (?, ?, ?)", (bucket, key, etag))
        self._write("DELETE FROM begun WHERE bucket = ? AND key = ?", (bucket, key))

    def knows(self, bucket: str, prefix: str) -> bool:
        """Whether any object whose key begins with ``prefix`` has been copied from this bucket."""
        query = "SELECT 1 FROM done WHERE bucket = ? AND substr(key, 1, length(?)) = ? LIMIT 1"
        with self._lock:
            return self._database.execute(query, (bucket, prefix, prefix)).fetchone() is not None

    def forget(self, bucket: str, prefix: str, target: str) -> None:
        """Forget that objects whose keys begin with ``prefix`` were copied from ``bucket`` into ``target``."""
        self._write("DELETE FROM written WHERE bucket = ? AND substr(key, 1, length(?)) = ?", (target, prefix, prefix))
        self._write("DELETE FROM begun WHERE bucket = ? AND substr(key, 1, length(?)) = ?", (target, prefix, prefix))
        self._write("DELETE FROM done WHERE bucket = ? AND substr(key, 1, length(?)) = ?", (bucket, prefix, prefix))

    def upload_opens(self, bucket: str, key: str) -> int:
        """Note that an upload is opened next: if this process dies, its id may never be noted. Returns a number."""
        return self._write("INSERT INTO opening (bucket, key) VALUES (?, ?)", (bucket, key))

    def upload_opened(self, number: int, bucket: str, key: str, upload: str) -> None:
        """Note an open upload, which the next run must abort if this process dies; ``number``: that of its opening."""
        self._write("INSERT INTO uploads VALUES (?, ?, ?)", (bucket, key, upload))
        self.no_upload_opens(number)

    def no_upload_opens(self, number: int) -> None:
        """Forget that an upload was to be opened."""
        self._write("DELETE FROM opening WHERE number = ?", (number,))

    def upload_ended(self, upload: str) -> None:
        """Note that an upload was completed or aborted."""
        self._write("DELETE FROM uploads WHERE upload = ?", (upload,))

    def open_uploads(self) -> Sequence[tuple[str, str, str]]:
        """Uploads (bucket, key, id) that an earlier run left open."""
        with self._lock:
            return self._database.execute("SELECT bucket, key, upload FROM uploads").fetchall()

    def opening(self) -> Sequence[tuple[int, str, str]]:
        """Uploads (number, bucket, key) that an earlier run was opening when it ended."""
        with self._lock:
            return self._database.execute("SELECT number, bucket, key FROM opening").fetchall()

    def _text(self, query: str, name: tuple[str, str]) -> str | None:
        with self._lock:
            row = self._database.execute(query, name).fetchone()
        return str(row[0]) if row else None

    def _write(self, statement: str, row: tuple[str | int, ...]) -> int:
        """Returns the number of a row that was inserted."""
        with self._lock:
            return self._database.execute(statement, row).lastrowid or 0
