"""What untrusted XML is checked for before it is parsed, whether a client or a backend sent it. Pure."""

from __future__ import annotations

WINDOW = 64 * 1024
"""Bytes of a document in which at least one tag has to begin: nothing in S3's documents is that long."""


def has_endless_tag(document: bytes) -> bool:
    """Whether there is a window, other than the last, in which no tag begins. The parser reads a tag in one go: with
    8 MiB of attributes, nothing else could run for seconds.
    """
    return any(document.find(b"<", start, start + WINDOW) < 0 for start in range(0, len(document) - WINDOW, WINDOW))
