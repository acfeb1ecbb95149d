"""What the sealed store tells of an object, and the rules for its ETag. Values and pure functions."""

from __future__ import annotations

import hashlib
import mimetypes
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from strongroom.sealed.keys import Kind
from strongroom.sealed.metadata import Metadata, ObjectChecksum

_TYPES = mimetypes.MimeTypes()  # Python's own table, the same on every machine


class ObjectInfo(NamedTuple):
    """An object, as HEAD shows it.

    ``size`` counts plaintext bytes, ``modified`` nanoseconds since the epoch. ``etag`` is without quotes. ``key_id``
    names the master key (SSE-S3, SSE-KMS), or is "". ``upload``: the id of the multipart upload that made it, or "".
    ``bucket_key``: its data key is one of the bucket's.
    """

    key: str
    size: int
    modified: int
    etag: str
    kind: Kind
    identity: str
    headers: Mapping[str, str]
    checksum: ObjectChecksum | None = None
    key_id: str = ""
    multipart: bool = False
    tag_count: int = 0
    upload: str = ""
    bucket_key: bool = False


class Summary(NamedTuple):
    """An object, as a listing shows it."""

    key: str
    size: int
    modified: int
    etag: str


@dataclass(frozen=True, slots=True)
class Listing:
    """One page of a listing; ``next`` is what to pass as ``after`` for the page that follows, or None."""

    objects: Sequence[Summary]
    prefixes: Sequence[str]
    next: str | None


@dataclass(frozen=True, slots=True)
class Precondition:
    """What a write demands: that the object under the name has the ETag ``if_match``, or that there is no object
    (``if_none_match``), or that it is the very one with this ``identity``, of which the new one is made.
    """

    if_match: str | None = None
    if_none_match: bool = False
    identity: str | None = None


NO_PRECONDITION = Precondition()
"""Of a write that demands nothing, as most do: always this object."""


def opaque_etag(kind: Kind, parts: int = 0) -> str:
    """An ETag that says nothing of the content.

    It ends in "-N" if the object has N ``parts``, else in "-1", so that clients do not take it for an MD5. With SSE-C
    it has no such ending: clients know that those ETags are not MD5s.
    """
    suffix = f"-{parts or 1}" if parts or kind is not Kind.SSE_C else ""
    return os.urandom(16).hex() + suffix


def stand_in_etag(identity: str) -> str:
    """An ETag for an object whose own cannot be read now: always the same, opaque, never mistaken for an MD5."""
    return hashlib.sha256(identity.encode()).hexdigest()[:32] + "-1"


def guessed(key: str, identity: str) -> Metadata:
    """Metadata for an object that others put into the store: a content type by its name, an ETag by its identity."""
    kind, encoding = _TYPES.guess_type(key.rpartition("/")[2], strict=False)
    headers = {"content-type": kind} if kind and not encoding else {}
    return Metadata(headers, stand_in_etag(identity))


def multipart_etag(digests: Sequence[bytes]) -> str:
    """The ETag of a multipart object: the MD5 of the parts' MD5s, "-", the number of parts."""
    return f"{hashlib.md5(b''.join(digests), usedforsecurity=False).hexdigest()}-{len(digests)}"
