"""Keys as paths and back: which names a file system can hold, and which are ours. Pure.

A key is the path of a file below its bucket's folder, part by part. A key that ends in "/" stands for a folder; its
object lies in a file with a reserved name inside that folder. Keys are refused if they could lead elsewhere (``..``, an
absolute path), if no file system can hold them, or if they are reserved.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from strongroom.store.base import MAX_KEY
from strongroom.store.errors import NameRefused, NameTooLong, NoSuchBucket

FOLDER_OBJECT = b".strongroom.folder"
"""The file in a folder that holds the object whose key is the folder's own, which ends in "/"."""

_RESERVED_START = b".strongroom."
_MAX_PART = 255  # bytes; NAME_MAX of every file system that matters here
_STAND_INS = {"nfs": re.compile(rb"\.nfs[0-9a-f]{24}"), "fuse": re.compile(rb"\.fuse_hidden[0-9a-f]{16}")}
_BUCKET = re.compile(r"[a-z0-9][a-z0-9._-]{1,61}[a-z0-9]")


@dataclass(frozen=True, slots=True)
class Place:
    """Where an object lies: its bucket, its key, and the parts of its path below the bucket's folder."""

    bucket: str
    key: str
    parts: tuple[bytes, ...]

    @property
    def folders(self) -> tuple[bytes, ...]:
        """The folders on the way, from the bucket's down."""
        return self.parts[:-1]

    @property
    def leaf(self) -> bytes:
        """The name of the file."""
        return self.parts[-1]

    @property
    def name(self) -> str:
        """Bucket and key in one: unambiguous, since bucket names hold no slash."""
        return f"{self.bucket}/{self.key}"


def place_of(bucket: str, key: str, stand_ins: str = "") -> Place:
    """Where the object of this name lies; ``stand_ins`` is the kind of :func:`is_stand_in`.

    Raises NoSuchBucket, NameRefused, NameTooLong.
    """
    if not is_bucket_name(bucket):
        raise NoSuchBucket(bucket)
    parts = key.encode().split(b"/")
    if parts[-1] == b"" and len(parts) > 1:
        parts[-1] = FOLDER_OBJECT
        _check(parts[:-1], key)
    else:
        _check(parts, key)
    if is_stand_in(parts[-1], stand_ins):
        raise NameRefused("the file system here gives such names to files that are replaced while they are read")
    return Place(bucket, key, tuple(parts))


def is_bucket_name(name: str) -> bool:
    """Whether a folder of this name is a bucket. None that begins with a dot is: others, and we, use those."""
    return _BUCKET.fullmatch(name) is not None


def key_of(prefix: bytes, name: bytes) -> bytes | None:
    """The key of a file in the folder whose keys start with ``prefix``; None if the name belongs to no key."""
    if name == FOLDER_OBJECT:
        return prefix or None
    key = prefix + name
    return key if is_part(name) and len(key) <= MAX_KEY else None


def is_part(name: bytes) -> bool:
    """Whether the name of a file or folder can be a part of a key: valid UTF-8, not reserved, and not longer than we
    accept (on SMB there can be longer ones).
    """
    try:
        name.decode()
    except UnicodeDecodeError:
        return False
    return len(name) <= _MAX_PART and not name.lower().startswith(_RESERVED_START)


def is_stand_in(name: bytes, kind: str) -> bool:
    """Whether this is a name that a file system of this kind ("nfs", "fuse", "" for others) gives to a file that is
    removed or replaced while somebody has it open: it is no object, and disappears when it is closed.
    """
    pattern = _STAND_INS.get(kind)
    return pattern is not None and pattern.fullmatch(name) is not None


def _check(parts: list[bytes], key: str) -> None:
    for part in parts:
        if not part:
            raise NameRefused('an object\'s name here can neither begin with "/" nor hold "//"')
        if part in (b".", b".."):
            raise NameRefused('"." and ".." cannot be parts of an object\'s name here')
        if b"\0" in part:
            raise NameRefused("an object's name here cannot hold a NUL")
        if part.lower().startswith(_RESERVED_START):
            raise NameRefused(f'parts of names that begin with "{_RESERVED_START.decode()}" are reserved here')
        if len(part) > _MAX_PART:
            raise NameTooLong(f"a part of {key[:64]!r}… is longer than {_MAX_PART} bytes")
