"""Reads and checks the document beside a legacy object, ``fs.json`` or ``dare.meta``. Pure.

Nothing in it is authenticated, so everything that could do harm later is checked: sizes, names and values of headers.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from strongroom.header_names import CONTENT_HEADERS, LOWER_NAME, META
from strongroom.legacy.errors import COPY_OVER_S3, LegacyDamaged, NotCovered

MAX_DOCUMENT = 4 * 1024 * 1024
"""Bytes of the longest document that is read: one with 10,000 parts has 1.3 MB."""

SSE_S3, SSE_C, SSE_KMS = "SSE-S3", "SSE-C", "SSE-KMS"
SEAL_ALGORITHM = "DAREv2-HMAC-SHA256"
DEFAULT_ETAG = "00000000000000000000000000000000-1"
"""What MinIO showed for files that were not written through it."""

_VERSIONS = ("1.0.0", "1.0.1", "1.0.2")
_INTERNAL = "x-minio-internal-"
_SSE = _INTERNAL + "server-side-encryption-"
_SEALED_KEYS = {SSE_S3: _SSE + "s3-sealed-key", SSE_C: _SSE + "sealed-key", SSE_KMS: _SSE + "kms-sealed-key"}
_DARE_1 = b"\x10"
_IV, _MAX_KEY_ID = 32, 255
_TOO_MANY = 2**48  # bytes; clients can still read the sum of 10,000 parts
_EPOCH = datetime.fromtimestamp(0, UTC)


@dataclass(frozen=True, slots=True)
class Sealing:
    """How the object key is sealed. ``domain``: SSE-S3, SSE-C or SSE-KMS.

    ``key_id`` and ``wrapped`` (the data key as the KMS gave it) are empty for SSE-C, ``context`` for all but SSE-KMS.
    """

    domain: str
    iv: bytes
    sealed_key: bytes
    key_id: str = ""
    wrapped: bytes = b""
    context: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class LegacyPart:
    """A part of a multipart object: its number, and the bytes of its stream."""

    number: int
    stored: int


@dataclass(frozen=True, slots=True)
class LegacyObject:
    """What the document says about an object.

    ``etag`` is as recorded, without quotes. ``headers``: content headers and user metadata, names in lower case.
    ``tags``: a query string. ``sealing`` is None if the object is not encrypted, ``parts`` if it was not sealed in
    parts. ``stored``: bytes of the data, and ``modified``: nanoseconds since the epoch; None if the document does not
    say (``fs.json``).
    """

    etag: str
    headers: Mapping[str, str]
    tags: str = ""
    sealing: Sealing | None = None
    parts: tuple[LegacyPart, ...] | None = None
    stored: int | None = None
    modified: int | None = None


def read_document(data: bytes) -> LegacyObject:
    """Read ``fs.json`` or ``dare.meta``. Raises LegacyDamaged, NotCovered."""
    if not data:
        raise LegacyDamaged("its metadata are missing")
    try:
        if len(data) > MAX_DOCUMENT:
            raise LegacyDamaged(f"its metadata are longer than {MAX_DOCUMENT:,} bytes")
        fields = json.loads(data)
        if fields["version"] not in _VERSIONS:
            raise NotCovered(f"its metadata have the version {str(fields['version'])[:20]!r}; {COPY_OVER_S3}")
        meta = {str(name).lower(): _text(value) for name, value in (fields.get("meta") or {}).items()}
        gateway = fields.get("format") == "gw"
        stat = fields["stat"] if gateway else {}
        return LegacyObject(
            etag=_text((fields if gateway else meta).get("etag") or DEFAULT_ETAG).strip('"'),
            headers=_headers(meta),
            tags=_utf8(meta.get("x-amz-tagging", "")),
            sealing=_sealing(meta),
            parts=_parts(fields.get("parts") or [], meta),
            stored=_count(stat["size"]) if gateway else None,
            modified=_moment(stat["modTime"]) if gateway else None,
        )
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError) as error:
        raise LegacyDamaged("its metadata are damaged") from error


def _text(value: object) -> str:
    """A text in the form of header values: each of its UTF-8 bytes as one character. Raises ValueError for control
    characters.
    """
    if not isinstance(value, str):
        raise ValueError("not a text")
    text = value.encode().decode("latin-1")
    if any(ord(c) < 32 or ord(c) == 127 for c in text):
        raise ValueError("a control character")
    return text


def _utf8(text: str) -> str:
    """The inverse of :func:`_text`."""
    return text.encode("latin-1").decode()


def _count(value: object) -> int:
    if not isinstance(value, int) or not 0 <= value < _TOO_MANY:
        raise ValueError("not a count")
    return value


def _moment(text: str) -> int:
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError("a time without its zone")
    moment = moment.astimezone(UTC)  # raises OverflowError for a year that listings cannot show
    return (moment - _EPOCH) // timedelta(microseconds=1) * 1000


def _headers(meta: Mapping[str, str]) -> dict[str, str]:
    kept = {}
    for name, value in meta.items():
        if name.startswith(META) or name in CONTENT_HEADERS:
            if not LOWER_NAME.fullmatch(name):
                raise ValueError("not a header's name")
            if value:
                kept[name] = value
    return kept


def _parts(rows: list[Mapping[str, object]], meta: Mapping[str, str]) -> tuple[LegacyPart, ...] | None:
    parts = tuple(LegacyPart(_count(row["number"]), _count(row["size"])) for row in rows)
    if len(parts) > 10_000 or any(not 1 <= part.number <= 10_000 for part in parts):
        raise ValueError("not the parts of an object")
    if _INTERNAL + "encrypted-multipart" not in meta:
        return None  # one stream, or plain bytes, in whatever parts it was uploaded
    return parts


def _sealing(meta: Mapping[str, str]) -> Sealing | None:
    compression = meta.get(_INTERNAL + "compression")
    if compression is not None:
        raise NotCovered(f"it is stored compressed ({compression!r}); {COPY_OVER_S3}")
    domains = [domain for domain, name in _SEALED_KEYS.items() if name in meta]
    if not domains:
        if any(name.startswith(_SSE) for name in meta):
            raise LegacyDamaged("its metadata have lost the sealed key")
        return None
    if len(domains) > 1:
        raise LegacyDamaged("its metadata hold sealed keys of more than one kind")
    (domain,) = domains
    iv = _base64(meta[_SSE + "iv"])
    if len(iv) != _IV:
        raise ValueError("an IV of another length")
    key_id, wrapped, context = "", b"", {}
    if domain != SSE_C:
        if _SSE + "s3-kms-sealed-key" not in meta:
            raise NotCovered(f"its key was sealed without a KMS; {COPY_OVER_S3}")
        key_id, wrapped = _utf8(meta[_SSE + "s3-kms-key-id"]), _base64(meta[_SSE + "s3-kms-sealed-key"])
        if len(key_id.encode()) > _MAX_KEY_ID or len(wrapped) > 0xFFFF:
            raise ValueError("too long")
    if domain == SSE_KMS:
        context = json.loads(_base64(meta.get(_SSE + "context", "")) or b"{}")
        if not all(isinstance(text, str) for pair in context.items() for text in pair):
            raise ValueError("not a context")
        for pair in context.items():
            "".join(pair).encode()  # raises for a lone surrogate
    sealed_key = _base64(meta[_SEALED_KEYS[domain]])
    algorithm = meta.get(_SSE + "seal-algorithm", "")
    if algorithm != SEAL_ALGORITHM or sealed_key[:1] == _DARE_1:
        raise NotCovered(f"it is sealed as MinIO did until mid-2018 (DARE 1.0, {algorithm!r}); {COPY_OVER_S3}")
    return Sealing(domain, iv, sealed_key, key_id, wrapped, context)


def _base64(text: str) -> bytes:
    return base64.b64decode(text, validate=True)
