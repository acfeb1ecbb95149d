"""A folder with exported objects: where each one is, and the manifest that says so. Only this module writes there.

An object is at ``BUCKET/KEY`` if the file system can hold that path. A key that leads elsewhere (``..``), that is not
valid as a file's name at all, or not here (``:`` on a FAT disk), or that is taken (``a`` beside ``a/b``; ``A`` beside
``a`` if case is ignored) goes to ``.strongroom-export/other``, under the SHA-256 of its name.
``manifest.jsonl`` has a line for each object. While an export runs, its content is in a temporary database, so that
millions of objects take no memory.
"""

from __future__ import annotations

import ctypes
import errno
import hashlib
import json
import os
import shutil
import sqlite3
import threading
from collections.abc import Mapping
from contextlib import closing, nullcontext, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, TextIO

from strongroom.transfer.held import hold
from strongroom.transfer.s3 import Listed

MANIFEST = "manifest.jsonl"
_OWN = ".strongroom-export"
_MAX_COMPONENT = 255
_SCHEMA = """
PRAGMA journal_mode = OFF;
PRAGMA synchronous = OFF;
CREATE TABLE lines (
    bucket TEXT, key TEXT, file TEXT, size INTEGER, etag TEXT, modified TEXT, line TEXT, inode TEXT,
    PRIMARY KEY (bucket, key)
) WITHOUT ROWID;
CREATE INDEX inodes ON lines (inode);
BEGIN;
"""
"""The transaction is never committed: nobody reads the database after the run."""
_NO_PLACE = (
    errno.EEXIST, errno.ENOTDIR, errno.EISDIR, errno.EINVAL, errno.EILSEQ, errno.ENAMETOOLONG
)  # fmt: skip
"""Errors that say that a name is taken, or not valid on this file system."""
_syncfs = getattr(ctypes.CDLL(None, use_errno=True), "syncfs", None)  # Linux has it


class FolderRefused(Exception):
    """The folder cannot take an export; the message says why."""


@dataclass(frozen=True, slots=True)
class Exported:
    """A line of the manifest. ``file`` is relative to the folder, ``modified`` in ISO 8601."""

    bucket: str
    key: str
    file: str
    size: int
    sha256: str
    etag: str
    modified: str
    encryption: str
    headers: Mapping[str, str]
    metadata: Mapping[str, str]
    tags: str


class Folder:
    """A folder for one export; may be shared by threads."""

    def __init__(self, path: Path) -> None:
        """Open or make the folder. A new one stays empty until the first object comes: if the export fails before that
        and somebody else uses the folder, it is not mistaken for an export later.

        Raises FolderRefused, Held, OSError.
        """
        self.path = path
        self._own = path / _OWN
        self._lock = threading.Lock()
        self._lines: sqlite3.Connection | None = None
        self._manifest: TextIO | None = None
        self._held: TextIO | None = None
        self._whole = True  # whether the database has all lines
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._fresh = not self._own.is_dir()
        self._check()
        if not self._fresh:
            self._prepare()

    def has(self, listed: Listed) -> bool:
        """Whether this object has been exported to this folder, and has not changed since."""
        query = "SELECT file, size, etag, modified FROM lines WHERE bucket = ? AND key = ?"
        with self._lock:
            row = next(iter(self._ask(query, listed.bucket, listed.key)), None)
        if row is None or row[1:] != (listed.size, listed.etag, listed.modified.isoformat()):
            return False
        try:
            return (self.path / str(row[0])).lstat().st_size == listed.size
        except OSError:
            return False

    def temporary(self, bucket: str, key: str) -> Path:
        """A path for the bytes of an object while they are being received. Raises FolderRefused, Held, OSError."""
        with self._lock:
            self._prepare()
        return self._own / "tmp" / _hashed(bucket, key)

    def add(self, written: Path, line: Exported) -> None:
        """Move an object's bytes, durable in a :meth:`temporary` file, to their place. Writes ``line`` to the manifest,
        with ``file`` filled in. Raises FolderRefused, OSError, sqlite3.Error.
        """
        name = (line.bucket, line.key)
        with self._lock:
            place = self._place(name)
            try:
                self._move(written, place, name)
            except OSError as error:
                if error.errno not in _NO_PLACE:
                    raise
                place = self._own / "other" / _hashed(*name)
                self._move(written, place, name)
            line = replace(line, file=str(place.relative_to(self.path)))
            text = json.dumps(asdict(line), ensure_ascii=True) + "\n"
            manifest = self._prepare()
            try:
                self._keep(line, text)
                manifest.write(text)
                manifest.flush()
            except (OSError, sqlite3.Error):
                self._whole = False
                raise

    def close(self) -> None:
        """Rewrite the manifest: sorted, one line for each object. A new folder without objects is emptied instead. What
        the folder holds then, stays there after a power cut.

        If a line could not be kept (the disk was full, say), the manifest stays as it was appended to. Raises OSError.
        """
        if self._manifest is None or self._lines is None:
            return
        with self._held or nullcontext():
            try:
                with closing(self._lines), self._manifest:
                    if self._whole:
                        self._write_manifest(self._lines)
            finally:
                shutil.rmtree(self._own / "tmp", ignore_errors=True)
            _make_durable(self.path)

    def _write_manifest(self, lines: sqlite3.Connection) -> None:
        if self._fresh and not self._ask("SELECT 1 FROM lines LIMIT 1"):
            shutil.rmtree(self._own)
            (self.path / MANIFEST).unlink(missing_ok=True)
            return
        fresh = self._own / "tmp" / MANIFEST
        with fresh.open("w", encoding="utf-8") as file:
            file.writelines(line for (line,) in lines.execute("SELECT line FROM lines ORDER BY bucket, key"))
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(self.path / MANIFEST)

    def _check(self) -> None:
        # Our own folder may be there: made by this run, for which there was no room then, or by another one just now.
        if self._fresh and any(file.name != _OWN for file in self.path.iterdir()):
            raise FolderRefused(f"{self.path} holds something else than an export; name an empty folder, or a new one")

    def _prepare(self) -> TextIO:
        """Make the files that an export needs, once. Returns the manifest, opened to append to it."""
        if self._manifest is None:
            self._check()
            (self._own / "other").mkdir(mode=0o700, parents=True, exist_ok=True)
            self._hold()
            shutil.rmtree(self._own / "tmp", ignore_errors=True)
            (self._own / "tmp").mkdir(mode=0o700)
            self._lines = sqlite3.connect(self._own / "tmp" / "lines", check_same_thread=False, isolation_level=None)
            try:
                self._lines.executescript(_SCHEMA)
                self._read_manifest()
            except BaseException:
                self._lines.close()
                raise
            self._manifest = (self.path / MANIFEST).open("a", encoding="utf-8")
        return self._manifest

    def _hold(self) -> None:
        """Lock out other exports as long as this one runs: each has a copy of the manifest of its own."""
        if self._held is None:
            self._held = hold(self._own / "lock", f"export into {self.path}")

    def _place(self, name: tuple[str, str]) -> Path:
        known = self._ask("SELECT file FROM lines WHERE bucket = ? AND key = ?", *name)
        if known:
            return self.path / str(known[0][0])
        bucket, key = name
        components = [bucket, *key.split("/")]
        if all(map(_safe, components)) and bucket != _OWN and bucket != MANIFEST:
            return self.path.joinpath(*components)
        return self._own / "other" / _hashed(bucket, key)

    def _move(self, written: Path, place: Path, name: tuple[str, str]) -> None:
        place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        if place.is_dir():
            raise IsADirectoryError(errno.EISDIR, "a folder has this name", str(place))
        if place.exists():
            owners = self._ask("SELECT bucket, key FROM lines WHERE inode = ?", _inode(place))
            if owners and name not in owners:
                raise FileExistsError(errno.EEXIST, "another object lies here", str(place))
        written.replace(place)

    def _keep(self, line: Exported, text: str) -> None:
        """Keep a line of the manifest and its text in the database."""
        inode = None
        with suppress(OSError):
            inode = _inode(self.path / line.file)
        row = (line.bucket, line.key, line.file, line.size, line.etag, line.modified, text, inode)
        self._ask("INSERT OR REPLACE INTO lines VALUES (?, ?, ?, ?, ?, ?, ?, ?)", *row)

    def _ask(self, statement: str, *values: str | int | None) -> list[tuple[Any, ...]]:
        """The rows that the database answers with; none before it is open."""
        return [] if self._lines is None else self._lines.execute(statement, values).fetchall()

    def _read_manifest(self) -> None:
        path, whole = self.path / MANIFEST, 0
        with suppress(FileNotFoundError), path.open("rb") as rows:
            for number, row in enumerate(rows, 1):
                if not row.endswith(b"\n"):
                    os.truncate(path, whole)  # cut short, by a killed run or a full disk
                    return
                whole += len(row)
                try:
                    self._keep(Exported(**json.loads(row)), row.decode())
                except (ValueError, TypeError, OverflowError, sqlite3.ProgrammingError) as error:
                    damaged = f"{path} is damaged in line {number}; without it, all is exported again"
                    raise FolderRefused(damaged) from error


def _make_durable(path: Path) -> None:
    """Make durable what lies in a folder, names included: of all of its folders at once, of which there may be as many
    as objects. Raises OSError.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        if _syncfs is None:
            os.sync()
        elif _syncfs(descriptor):
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number), str(path))
    finally:
        os.close(descriptor)


def _safe(component: str) -> bool:
    return component not in ("", ".", "..") and component.isprintable() and len(component.encode()) <= _MAX_COMPONENT


def _hashed(bucket: str, key: str) -> str:
    return hashlib.sha256(f"{bucket}/{key}".encode()).hexdigest()


def _inode(path: Path) -> str:
    status = path.stat()
    return f"{status.st_dev} {status.st_ino}"
