"""Object tags: their rules, and their form as a query string. Pure.

Source: "Categorizing your storage using tags" in the Amazon S3 User Guide.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from urllib.parse import unquote_to_bytes, urlencode

from strongroom.s3.errors import S3Error

MAX_TAGS = 10
_MAX_KEY = 128  # characters
_MAX_VALUE = 256
MALFORMED_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")
_ALLOWED = re.compile(r"[\w\s+\-=.:/@]*")

Pairs = Sequence[tuple[str, str]]


def format_tags(pairs: Pairs) -> tuple[str, int]:
    """Tags as they are stored: a query string, and their number. Raises InvalidTag, BadRequest (too many)."""
    if len(pairs) > MAX_TAGS:
        raise S3Error("BadRequest", f"Object tags cannot be greater than {MAX_TAGS}")
    seen = set()
    for key, value in pairs:
        if not key or len(key) > _MAX_KEY or not _ALLOWED.fullmatch(key) or key.lower().startswith("aws:"):
            raise S3Error("InvalidTag", "The TagKey you have provided is invalid", TagKey=key[:256])
        if len(value) > _MAX_VALUE or not _ALLOWED.fullmatch(value):
            raise S3Error("InvalidTag", "The TagValue you have provided is invalid", TagKey=key, TagValue=value[:512])
        if key in seen:
            raise S3Error("InvalidTag", "Cannot provide multiple Tags with the same key", TagKey=key)
        seen.add(key)
    return urlencode(pairs), len(pairs)


def parse_tags(text: str) -> list[tuple[str, str]]:
    """Read a query string of tags. Raises InvalidArgument if it is malformed."""
    pairs = []
    for item in filter(None, text.split("&")):
        key, _, value = item.partition("=")
        try:
            pairs.append((_decode(key), _decode(value)))
        except UnicodeDecodeError:
            raise _malformed() from None
    return pairs


def parse_tagging_header(text: str | None) -> tuple[str, int]:
    """The tags in ``x-amz-tagging``, in the form of :func:`format_tags`. Raises as it does, and InvalidArgument."""
    if not text:
        return "", 0
    if len(text) > MAX_TAGS * 3 * 4 * (_MAX_KEY + _MAX_VALUE) or MALFORMED_ESCAPE.search(text):
        raise _malformed()
    try:
        pairs = parse_tags(text.encode("latin-1").decode())  # as UTF-8: clients need not escape everything
    except UnicodeError:
        raise _malformed() from None
    names = {name for name, _ in pairs}
    if "" in names or len(names) < len(pairs):
        raise _malformed()
    return format_tags(pairs)


def _decode(text: str) -> str:
    return unquote_to_bytes(text.replace("+", " ")).decode()


def _malformed() -> S3Error:
    return S3Error(
        "InvalidArgument",
        "The header 'x-amz-tagging' shall be encoded as UTF-8 then URLEncoded URL query parameters without tag name"
        " duplicates.",
        ArgumentName="x-amz-tagging",
    )
