"""What has to hold of a stranger's XML before it is parsed, whoever the stranger is. Pure."""

from __future__ import annotations

WINDOW = 64 * 1024
"""Bytes of a document in which a tag has to begin: nothing in S3's is as long."""


def has_endless_tag(document: bytes) -> bool:
    """Whether there is a window, but for the last, in which no tag begins. One tag with 8 MiB of attributes is read at
    one go, and nobody else has a turn for seconds.
    """
    return any(document.find(b"<", start, start + WINDOW) < 0 for start in range(0, len(document) - WINDOW, WINDOW))
