"""A folder with exported objects: where each goes, and the manifest that says so. Only this module writes there.

A key is a path where a file system can hold it as one: then the object is at ``BUCKET/KEY``. A key that leads elsewhere
(``..``), that no file can have, or none here (``:`` on a FAT disk), or that is taken (``a`` beside ``a/b``; ``A``
beside ``a`` where case does not count) goes to ``.strongroom-export/other``, under the SHA-256 of its name.
``manifest.jsonl`` has a line for each object.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import threading
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TextIO

from strongroom.transfer.s3 import Listed

MANIFEST = "manifest.jsonl"
_OWN = ".strongroom-export"
_MAX_COMPONENT = 255
_NO_PLACE = (
    errno.EEXIST, errno.ENOTDIR, errno.EISDIR, errno.EINVAL, errno.EILSEQ, errno.ENAMETOOLONG
)  # fmt: skip
"""What says that a name is taken, or none that this file system knows."""


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

    def of(self, listed: Listed) -> bool:
        """Whether this is the object that is listed, unchanged."""
        return (self.etag, self.size, self.modified) == (listed.etag, listed.size, listed.modified.isoformat())


class Folder:
    """A folder for one export; may be shared by threads."""

    def __init__(self, path: Path) -> None:
        """Open or make it. A new one stays empty until the first object comes: an export that failed before then does
        not make one of what others put there afterwards.

        Raises FolderRefused, OSError.
        """
        self.path = path
        self._own = path / _OWN
        self._lock = threading.Lock()
        self._lines: dict[tuple[str, str], Exported] = {}
        self._owners: dict[tuple[int, int], tuple[str, str]] = {}
        self._manifest: TextIO | None = None
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._fresh = not self._own.is_dir()
        self._check()
        if not self._fresh:
            self._read_manifest()

    def has(self, listed: Listed) -> bool:
        """Whether this object, unchanged since, lies here."""
        line = self._lines.get((listed.bucket, listed.key))
        if line is None or not line.of(listed):
            return False
        try:
            return (self.path / line.file).lstat().st_size == line.size
        except OSError:
            return False

    def temporary(self, bucket: str, key: str) -> Path:
        """A path for the bytes of an object while they come. Raises FolderRefused, OSError."""
        with self._lock:
            self._prepare()
        return self._own / "tmp" / _hashed(bucket, key)

    def add(self, written: Path, line: Exported) -> None:
        """Put the bytes of an object, durable in a :meth:`temporary` file, in their place, and set ``line.file``."""
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
            fields = asdict(line) | {"file": str(place.relative_to(self.path))}
            self._lines[name] = Exported(**fields)
            manifest = self._prepare()
            manifest.write(_encode(self._lines[name]))
            manifest.flush()

    def close(self) -> None:
        """Write the manifest anew, in order, a line an object. Where nothing came, what was prepared is removed."""
        if self._manifest is None:
            return
        self._manifest.close()
        if self._fresh and not self._lines:
            shutil.rmtree(self._own)
            (self.path / MANIFEST).unlink(missing_ok=True)
            return
        fresh = self._own / "tmp" / MANIFEST
        with fresh.open("w", encoding="utf-8") as file:
            file.writelines(_encode(line) for _, line in sorted(self._lines.items()))
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(self.path / MANIFEST)
        shutil.rmtree(self._own / "tmp", ignore_errors=True)

    def _check(self) -> None:
        if self._fresh and any(self.path.iterdir()):
            raise FolderRefused(f"{self.path} holds something else than an export; name an empty folder, or a new one")

    def _prepare(self) -> TextIO:
        """Make what an export needs, once; its manifest."""
        if self._manifest is None:
            self._check()
            (self._own / "other").mkdir(mode=0o700, parents=True, exist_ok=True)
            shutil.rmtree(self._own / "tmp", ignore_errors=True)
            (self._own / "tmp").mkdir(mode=0o700)
            self._manifest = (self.path / MANIFEST).open("a", encoding="utf-8")
        return self._manifest

    def _place(self, name: tuple[str, str]) -> Path:
        known = self._lines.get(name)
        if known is not None:
            return self.path / known.file
        bucket, key = name
        components = [bucket, *key.split("/")]
        if all(map(_safe, components)) and bucket != _OWN and bucket != MANIFEST:
            return self.path.joinpath(*components)
        return self._own / "other" / _hashed(bucket, key)

    def _move(self, written: Path, place: Path, name: tuple[str, str]) -> None:
        place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        if place.is_dir():
            raise IsADirectoryError(errno.EISDIR, "a folder has this name", str(place))
        if place.exists() and self._owners.get(_inode(place), name) != name:
            raise FileExistsError(errno.EEXIST, "another object lies here", str(place))
        written.replace(place)
        self._owners[_inode(place)] = name

    def _read_manifest(self) -> None:
        try:
            text = (self.path / MANIFEST).read_text(encoding="utf-8")
        except FileNotFoundError:
            return
        whole, newline, torn = text.rpartition("\n")
        for number, row in enumerate((whole + newline).splitlines(), 1):
            try:
                line = Exported(**json.loads(row))
            except (ValueError, TypeError) as error:
                damaged = f"{self.path / MANIFEST} is damaged in line {number}; without it, all is exported again"
                raise FolderRefused(damaged) from error
            self._lines[line.bucket, line.key] = line
        if torn:
            os.truncate(self.path / MANIFEST, len((whole + newline).encode()))
        for name, line in self._lines.items():
            if (self.path / line.file).exists():
                self._owners[_inode(self.path / line.file)] = name


def _encode(line: Exported) -> str:
    return json.dumps(asdict(line), ensure_ascii=True) + "\n"


def _safe(component: str) -> bool:
    return component not in ("", ".", "..") and component.isprintable() and len(component.encode()) <= _MAX_COMPONENT


def _hashed(bucket: str, key: str) -> str:
    return hashlib.sha256(f"{bucket}/{key}".encode()).hexdigest()


def _inode(path: Path) -> tuple[int, int]:
    status = path.stat()
    return status.st_dev, status.st_ino
