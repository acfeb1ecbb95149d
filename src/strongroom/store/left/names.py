"""Names in the layout of MinIO's S3 gateway, and the order in which objects come. Pure.

    KEY/.minio/data                 the streams of an object
    KEY/.minio/dare.meta            its document
    KEY/.minio/ID/dare.meta         an open upload; its parts are in an upload of the backend's own
    KEY/.minio/ID/NUMBER/part.meta  what is known of one of its parts

Other names with ``.minio`` in them are ordinary objects (a backup of a home directory has some).
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from strongroom.store.base import MAX_KEY

MARK = "/.minio/"
DATA = MARK + "data"
DOCUMENT = MARK + "dare.meta"
_UNFINISHED = re.compile(r".+/\.minio/[^/]+/(?:\d+/part|dare)\.meta", re.DOTALL)


def can_be_left(key: str) -> bool:
    """Whether MinIO can have left an object under this key: it made ``a`` of ``a/``, and its own names are longer."""
    return not key.endswith("/") and len((key + DOCUMENT).encode()) <= MAX_KEY


def is_hidden(key: str) -> bool:
    """Whether a name is one of MinIO's own."""
    return MARK in key and (key.endswith((DATA, DOCUMENT)) or is_unfinished(key))


def is_unfinished(key: str) -> bool:
    """Whether a name belongs to an upload that is not completed."""
    return _UNFINISHED.fullmatch(key) is not None


def left_object(key: str) -> str | None:
    """The object that a document belongs to, None for any other name."""
    base = key.removesuffix(DOCUMENT)
    return base if base != key and base else None


def before(name: str) -> Iterator[str]:
    """The objects that sort before ``name`` although their documents sort after it: ``a`` for ``a-b``, and for
    ``a/-b``.
    """
    for at, character in enumerate(name):
        if at and (character < "/" or (character == "/" and name[at:] < DOCUMENT)):
            yield name[:at]
