"""Records in the metadata of backend objects: encoded, decoded, and stored beside the object if they do not fit. Pure.

A record without ``:sse`` is that of a plain object; its content headers and user metadata are the backend object's
own, so that the object can be read without a gateway. Everything else in a record is encoded as one value of the
backend's user metadata. If that would be too long, or is not known yet when the backend needs it, the record lies under
the hidden prefix, in an object named by the id that the metadata contain. The id is new with every write.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

from strongroom.dates import parse_http_date
from strongroom.header_names import META
from strongroom.store.base import ENCRYPTED, FOREIGN, Record, Stored
from strongroom.store.errors import Damaged, MetadataRefused
from strongroom.store.mapping import decode_mapping, encode_mapping
from strongroom.store.s3.messages import Untold

OURS = META + "strongroom-"
ID = OURS + "id"
RECORD = OURS + "record"
MODIFIED = OURS + "modified"

UNPACK = META + "snowball-auto-extract"
"""Metadata that make MinIO unpack an archive instead of storing it, under whatever names the archive contains."""

MAX_USER_METADATA = 2048
"""The most bytes of user metadata that S3 stores with an object, names and values together."""

_NATIVE = frozenset(
    ("cache-control", "content-disposition", "content-encoding", "content-language", "content-type", "expires")
)
_SEALED_ETAG = 96  # hexadecimal digits of an MD5 that is sealed as one package of a DARE stream
_DOCUMENT = b"SRH1"
_KEY, _ANNEX, _TIME = "@key", "@annex", "@modified"
BACKEND_ID = "@backend"
"""The entry in the record of an upload or a large PUT that holds the backend's own id of it."""

_MILLISECOND = 1_000_000
_LATEST = 253_402_300_799_999  # milliseconds since the epoch at the end of 9999: we never write a later time
_UNTYPED = ":untyped"  # a plain object without a content type: the backend gives it one, which is ignored


@dataclass(frozen=True, slots=True)
class HiddenRecord:
    """The document with a record that is not in the object's metadata. ``modified`` in nanoseconds."""

    key: str
    modified: int
    record: Record
    annex: bytes = b""

    def encode(self) -> bytes:
        """The document as bytes, which :func:`decode_hidden` reads."""
        own = {_KEY: self.key.encode(), _TIME: str(self.modified).encode(), _ANNEX: self.annex}
        return _DOCUMENT + encode_mapping({**own, **self.record})


def decode_hidden(data: bytes) -> HiddenRecord:
    """Read a hidden record. Raises ValueError."""
    if data[: len(_DOCUMENT)] != _DOCUMENT:
        raise ValueError("it is not a record")
    record = decode_mapping(data[len(_DOCUMENT) :])
    try:
        key, modified, annex = record.pop(_KEY), record.pop(_TIME), record.pop(_ANNEX)
    except KeyError:
        raise ValueError("it is not a whole record") from None
    return HiddenRecord(key.decode(), _time(int(modified)), record, annex)


def inline_headers(object_id: str, record: Record, modified: int) -> dict[str, str] | None:
    """The headers of a backend object that hold its whole record; None if they would be too long."""
    native, rest = _split(record)
    headers = {ID: object_id, MODIFIED: str(modified // _MILLISECOND)}
    headers[RECORD] = base64.b64encode(encode_mapping(rest)).decode()
    total = sum(len(name) + len(value) for name, value in {**native, **headers}.items() if name.startswith(META))
    return None if total > MAX_USER_METADATA else {**native, **headers}


def pointing_headers(object_id: str, record: Record | None = None) -> dict[str, str]:
    """The headers of a backend object whose record is hidden. They include the content headers of a plain object."""
    native = _split(record)[0] if record is not None else {}
    return {ID: object_id, **{name: value for name, value in native.items() if not name.startswith(META)}}


def _split(record: Record) -> tuple[dict[str, str], dict[str, bytes]]:
    """The entries of a record that can be headers of the backend object as they are, and the rest. Raises
    MetadataRefused.
    """
    native: dict[str, str] = {}
    rest: dict[str, bytes] = {}
    for name, value in record.items():
        if name.startswith(OURS):
            raise MetadataRefused(f"user metadata whose names begin with {OURS} are the gateway's own")
        text = value.decode("latin-1")
        plain = text.isascii() and text.isprintable() and text == text.strip() and "  " not in text and text != ""
        if (name in _NATIVE or name.startswith(META)) and plain and name != UNPACK:
            native[name] = text
        else:
            rest[name] = value
    if ENCRYPTED not in record and "content-type" not in record:
        rest[_UNTYPED] = b""
    return native, rest


@dataclass(frozen=True, slots=True)
class Described:
    """A backend object as its headers describe it: ``record`` is None if it is hidden under ``object_id``."""

    key: str
    size: int
    etag: str
    object_id: str
    modified: int
    record: Record | None

    def stored(self, hidden: HiddenRecord | None = None) -> Stored:
        """The object in the form of the store protocol. Raises Damaged if a hidden record is missing, or another
        object's.
        """
        record, modified = self.record, self.modified
        if record is None:
            if hidden is None or hidden.key != self.key:
                raise Damaged(f"the record of {self.key!r} is missing, or that of another object")
            record, modified = hidden.record, hidden.modified
        return Stored(self.key, self.size, modified, record, self.identity)

    @property
    def identity(self) -> str:
        """The identity in the store protocol: the backend's ETag, with the id (or else the time) of the write."""
        return f"{self.etag} {self.object_id or self.modified}"


def etag_of(identity: str) -> str:
    """The backend's ETag in an identity."""
    return identity.partition(" ")[0]


def sealed_by_minio(key: str, etag: str) -> bool:
    """Whether this is a sealed ETag, which MinIO uses for an object that it encrypts and whose name ends in a slash. It
    gives it in the answer to a HEAD, and compares conditions with it; in the answer to a GET it gives another.
    """
    return key.endswith("/") and len(etag) == _SEALED_ETAG


def describe(key: str, size: int, headers: Mapping[str, str], modified: int | None = None) -> Described:
    """Read the headers of a backend object (names in lower case). ``modified`` is its time if the headers lack it (as
    those in a listing do). Raises Damaged if the record is invalid, Untold if the headers are no object's.
    """
    etag = unquoted(headers.get("etag", ""))
    if not etag:
        raise Untold(f"the backend's answer about {key!r} has no ETag")
    object_id = headers.get(ID, "")
    encoded = headers.get(RECORD)
    if not object_id and encoded is not None:
        raise Damaged(f"the record of {key!r} has lost its id")
    if encoded is None:
        modified = http_time(headers.get("last-modified", "")) if modified is None else modified
        record = None if object_id else {**_native(headers), ":etag": etag.encode(), FOREIGN: b""}
        return Described(key, size, etag, object_id, modified, record)
    try:
        rest = decode_mapping(base64.b64decode(encoded, validate=True))
        modified = _time(int(headers[MODIFIED]) * _MILLISECOND)
    except (ValueError, KeyError):
        raise Damaged(f"the record of {key!r} is damaged") from None
    native = {} if ENCRYPTED in rest else _native(headers)
    if rest.pop(_UNTYPED, None) is not None:
        native.pop("content-type", None)
    return Described(key, size, etag, object_id, modified, {**native, **rest})


def _time(nanoseconds: int) -> int:
    """Check a time that somebody else may have written. Raises ValueError if it is out of bounds."""
    if not 0 <= nanoseconds // _MILLISECOND <= _LATEST:
        raise ValueError("it is of no time")
    return nanoseconds


def _native(headers: Mapping[str, str]) -> dict[str, bytes]:
    return {
        name: value.encode("latin-1")
        for name, value in headers.items()
        if (name in _NATIVE or name.startswith(META)) and not name.startswith(OURS)
    }


def unquoted(etag: str) -> str:
    """An ETag without its quotes."""
    return etag.removeprefix("W/").strip('"')


@lru_cache(1024)
def http_time(text: str) -> int:
    """An HTTP date in nanoseconds since the epoch; 0 if it is none."""
    moment = parse_http_date(text)
    return int(moment.timestamp()) * 1_000_000_000 if moment else 0


def to_milliseconds(nanoseconds: int) -> int:
    """A time in nanoseconds, rounded down to whole milliseconds as metadata keep it."""
    return nanoseconds // _MILLISECOND * _MILLISECOND
