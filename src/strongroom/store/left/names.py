"""Names in the layout of MinIO's S3 gateway, and the order in which objects come. Pure."""

from __future__ import annotations

from collections.abc import Iterator

MARK = "/.minio/"
DATA = MARK + "data"
DOCUMENT = MARK + "dare.meta"
_LAST = "/.minio/\U0010ffff"


def is_hidden(key: str) -> bool:
    """Whether a name is one of MinIO's own."""
    return MARK in key


def left_object(key: str) -> str | None:
    """The object that a document belongs to, None for any other name."""
    base = key.removesuffix(DOCUMENT)
    return base if base != key and base and not is_hidden(base + "/") else None


def before(name: str) -> Iterator[str]:
    """The objects which would stand before ``name`` although their documents stand behind it: ``a`` before ``a-b``."""
    for at, character in enumerate(name):
        if at and character < "/":
            yield name[:at]


def last_of(key: str) -> str:
    """A name behind all that MinIO keeps of an object."""
    return key + _LAST
