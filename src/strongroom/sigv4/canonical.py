"""The canonical form of a request, over which Signature Version 4 is computed, as S3 makes it.

S3 differs from other AWS services: the path is encoded once and never normalised, so ``a//b`` and ``a/../b`` stay
as they are. What the client sent is decoded and encoded again, so it does not matter which unreserved characters it
escapes. Header values are Latin-1 text that stands for bytes, and are signed as these bytes.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from hashlib import sha256
from urllib.parse import quote_from_bytes, unquote_to_bytes


class InvalidText(ValueError):
    """A path, query or header holds characters beyond Latin-1, which no request can have."""


Pairs = list[tuple[str, str]]
"""Query parameters in canonical encoding: upper-case escapes, everything but unreserved characters escaped."""

_PLAIN_PATH = re.compile(r"[A-Za-z0-9._~/-]*")
_PLAIN = re.compile(r"[A-Za-z0-9._~-]*")
# Only these: str.split() also splits at characters such as U+00A0, which here may be one byte of a UTF-8 sequence.
_BLANKS = re.compile(r"[ \t]+")
_ESCAPED = "surrogateescape"  # keeps bytes that are not UTF-8


def canonical_path(raw_path: str) -> str:
    """The path, decoded and encoded again once; ``/`` is not escaped. Raises InvalidText."""
    if _PLAIN_PATH.fullmatch(raw_path):
        return raw_path or "/"
    return quote_from_bytes(unquote_to_bytes(_wire(raw_path)), safe="/~")


def canonical_pairs(raw_query: str) -> Pairs:
    """The query's parameters in canonical encoding and in the order they came. "+" is a space. Raises InvalidText."""
    if not raw_query:
        return []
    pairs = []
    for item in raw_query.split("&"):
        if item:
            name, _, value = item.partition("=")
            pairs.append((_encode(name), _encode(value)))
    return pairs


def canonical_query(pairs: Pairs) -> str:
    """Parameters sorted by name, then by value."""
    return "&".join([f"{name}={value}" for name, value in sorted(pairs)])


def canonical_headers(headers: Mapping[str, str], names: Sequence[str]) -> str:
    """One ``name:value`` line for each name; outer blanks are stripped, inner runs of blanks become one space."""
    lines = "".join([f"{name}:{headers.get(name, '')}\n" for name in names])
    if ": " in lines or " \n" in lines or "  " in lines or "\t" in lines:  # most requests have none of these
        return "".join([f"{name}:{_BLANKS.sub(' ', headers.get(name, '')).strip(' ')}\n" for name in names])
    return lines


def as_minio(headers: Mapping[str, str]) -> dict[str, str]:
    """Headers as MinIO and its clients sign them: they treat Unicode blanks (a no-break space) as blanks, too."""
    return {
        name: value if value.isascii() else " ".join(_text(value).split()).encode("utf-8", _ESCAPED).decode("latin-1")
        for name, value in headers.items()
    }


def _text(value: str) -> str:
    return value.encode("latin-1").decode("utf-8", _ESCAPED)


def request_digest(
    method: str, raw_path: str, pairs: Pairs, headers: Mapping[str, str], signed: str, payload_hash: str
) -> str:
    """SHA-256 (hexadecimal) of the canonical request. ``signed`` is the list of header names as the client gave it."""
    canonical = (
        f"{method}\n{canonical_path(raw_path)}\n{canonical_query(pairs) if pairs else ''}\n"
        f"{canonical_headers(headers, signed.split(';'))}\n{signed}\n{payload_hash}"
    )
    return sha256(_wire(canonical)).hexdigest()


def _encode(text: str) -> str:
    if _PLAIN.fullmatch(text):
        return text
    return quote_from_bytes(unquote_to_bytes(_wire(text.replace("+", " "))), safe="~")


def _wire(text: str) -> bytes:
    try:
        return text.encode("latin-1")
    except UnicodeEncodeError:
        raise InvalidText from None
