"""Names of what a gateway keeps for itself in each bucket, under a prefix that clients can neither list nor touch.

    .strongroom.sys/settings                the bucket's settings
    .strongroom.sys/check                   the check value of the KMS
    .strongroom.sys/records/ID              the record and annex of the object whose metadata contain ID
    .strongroom.sys/uploads/ID/record       an open multipart upload
    .strongroom.sys/uploads/ID/completing   somebody is completing it
    .strongroom.sys/uploads/ID/part/…       empty: what is recorded of one of its parts stands in the name
    .strongroom.sys/puts/ID                 a large PUT under way

Pure. All names are ASCII and stay far below 1,024 bytes.
"""

from __future__ import annotations

import base64
import os
import re
from dataclasses import dataclass

from strongroom.store.errors import NameRefused, NameReserved, NoSuchObject

HIDDEN = ".strongroom.sys/"
LAST_HIDDEN = HIDDEN + "~"
"""Sorts after every hidden name: these consist of letters, digits and ``-._/=``."""

TOP = "\U0010ffff"
"""Sorts after every other character."""

SETTINGS = HIDDEN + "settings"
CHECK = HIDDEN + "check"
RECORDS = HIDDEN + "records/"
UPLOADS = HIDDEN + "uploads/"
PUTS = HIDDEN + "puts/"

_MILLISECOND = 1_000_000
_PIECE = 168
"""Characters of a part's record between two slashes: an S3 on a file system allows 255 bytes between slashes, and what
comes before the record takes about 80."""
_UNCLEAN = re.compile(r"^/|//|(?:^|/)\.{1,2}(?:/|$)")
_REFUSED = re.compile(r"//|(?:^|(?<=[/\\]))\s*\.{1,2}\s*(?:[/\\]|$)")
_ID = re.compile(r"[A-Za-z0-9_-]{22}")
_PART = re.compile(r"([0-9]{5})\.([A-Za-z0-9_=-]*)\.([0-9]{1,15})\.([0-9]{1,14})\.([A-Za-z0-9_=-]*)")


def new_id() -> str:
    """128 random bits."""
    return id_of(os.urandom(16))


def id_of(token: bytes) -> str:
    """The id that stands for 16 bytes."""
    return base64.urlsafe_b64encode(token).decode().rstrip("=")


def is_id(text: str) -> bool:
    """Whether ``text`` can be an id of ours."""
    return _ID.fullmatch(text) is not None


def record_name(object_id: str) -> str:
    """Where the record of an object lies."""
    return RECORDS + object_id


def put_name(put_id: str) -> str:
    """The marker of a large PUT."""
    return PUTS + put_id


def upload_folder(upload_id: str) -> str:
    """What the names of all that belongs to an upload begin with."""
    return f"{UPLOADS}{upload_id}/"


def upload_name(upload_id: str) -> str:
    """Where the record of an upload lies."""
    return upload_folder(upload_id) + "record"


def completing_name(upload_id: str) -> str:
    """The name of the object that is there while somebody completes an upload."""
    return upload_folder(upload_id) + "completing"


def check_writable(key: str, exact: bool) -> None:
    """Raises NameReserved for a name that is the gateway's own, NameRefused for one that the backend may confuse with
    another; ``exact``: the backend never does that.
    """
    if is_hidden(key):
        raise NameReserved(f"names that begin with {HIDDEN} are the gateway's own")
    if not exact and not is_clean(key):
        raise NameRefused(f"the storage may take {key[:64]!r} for another name")


def check_readable(key: str, exact: bool) -> None:
    """Raises NoSuchObject for a name that is the gateway's own, and for one that no object can have."""
    if is_hidden(key) or not (exact or is_clean(key)):
        raise NoSuchObject(key)


def is_clean(key: str) -> bool:
    """Whether a backend on a file system takes a name as it is: MinIO drops slashes at the beginning, versitygw
    resolves ``//``, ``.`` and ``..``, so either may overwrite one object with another, or overwrite what is hidden.
    """
    return not _UNCLEAN.search(key)


def taken_by_minio(prefix: str, after: str) -> tuple[str, str] | None:
    """A prefix, and a name to list after, that MinIO accepts instead of those with ``.``, ``..`` or ``//`` in them,
    which it refuses: the answer contains what is asked for, among other names. None if MinIO can hold no such names.
    """
    found = _REFUSED.search(prefix)
    if found is not None:
        if found.end() < len(prefix) or prefix.endswith(("/", "\\")):
            return None
        prefix, after = prefix[: found.start()], max(after, _below(prefix))
    found = _REFUSED.search(after)
    return prefix, after if found is None else _below(after[: found.end()])


def _below(name: str) -> str:
    """A name that sorts shortly before this one, with hardly any other between them."""
    return f"{name[:-1]}{chr(ord(name[-1]) - 1)}{TOP}"


def is_hidden(key: str) -> bool:
    """Whether a name is the gateway's own."""
    return key.startswith(HIDDEN) or key == HIDDEN[:-1]


@dataclass(frozen=True, slots=True)
class PartName:
    """What the name of a part's object contains: the part's number, the backend's ETag, stored bytes, time, record."""

    number: int
    etag: str
    size: int
    modified: int
    record: bytes

    def encode(self, upload_id: str) -> str:
        """The name."""
        milliseconds = self.modified // _MILLISECOND
        beginning = f"{self.number:05}.{_base64(self.etag.encode())}.{self.size}.{milliseconds}."
        record = _base64(self.record)
        pieces = [record[at : at + _PIECE] for at in range(0, len(record), _PIECE)]
        return f"{part_folder(upload_id)}{beginning}{'/'.join(pieces)}"


def part_folder(upload_id: str) -> str:
    """What the names of an upload's parts begin with."""
    return upload_folder(upload_id) + "part/"


def first_part_name(upload_id: str, number: int) -> str:
    """A name that sorts before those of part ``number``, and after those of all parts before it."""
    return f"{part_folder(upload_id)}{number:05}"


def decode_part(name: str) -> PartName | None:
    """What the whole name of a part's object contains; None if it is not such a name."""
    match = _PART.fullmatch(name.partition("/part/")[2].replace("/", ""))
    if match is None:
        return None
    try:
        etag, record = _bytes(match[2]).decode(), _bytes(match[5])
    except ValueError:
        return None
    return PartName(int(match[1]), etag, int(match[3]), int(match[4]) * _MILLISECOND, record)


def _base64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode()


def _bytes(text: str) -> bytes:
    return base64.b64decode(text, altchars=b"-_", validate=True)
