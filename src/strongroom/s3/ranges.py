"""Byte ranges of GET and HEAD, and the conditional headers of reads. Pure.

Source: RFC 9110, sections 13 and 14, as far as S3 supports them: one range, strong ETags.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from strongroom.dates import http_date, parse_http_date
from strongroom.s3.errors import S3Error

_RANGE = re.compile(r"bytes=(\d*)-(\d*)", re.ASCII)
_DIGITS = 19  # of 2**63 - 1, the largest size that there is


@dataclass(slots=True)
class ByteRange:
    """``length`` bytes from ``start`` of an object."""

    start: int
    length: int

    def content_range(self, size: int) -> str:
        """The value of Content-Range in an object of ``size`` bytes."""
        return f"bytes {self.start}-{self.start + self.length - 1}/{size}"


def parse_range(text: str | None, size: int) -> ByteRange | None:
    """The range that a Range header asks for; None for the whole object.

    A header that is not a single byte range is ignored, as RFC 9110 says, and so is one for the last bytes of an empty
    object. Raises InvalidRange if none of its bytes are in the object.
    """
    match = _RANGE.fullmatch(text.strip()) if text else None
    if match is None or (not match[1] and not match[2]):
        return None
    first, last = _offset(match[1]), _offset(match[2])
    if first is None:
        length = min(last or 0, size)
        start = size - length
        if not size and last:
            return None
    else:
        start = first
        if last is not None and last < start:
            return None
        length = (size - 1 if last is None else min(last, size - 1)) - start + 1
    if length <= 0:
        raise S3Error(
            "InvalidRange",
            None,
            {"content-range": f"bytes */{size}"},
            RangeRequested=text or "",
            ActualObjectSize=str(size),
        )
    return ByteRange(start, length)


def parse_copy_range(text: str | None, size: int) -> ByteRange | None:
    """The range of ``x-amz-copy-source-range``: both ends given, within the source. Raises InvalidArgument."""
    if text is None:
        return None
    match = _RANGE.fullmatch(text.strip())
    start, last = (_offset(match[1]), _offset(match[2])) if match else (None, None)
    if start is None or last is None or last < start:
        raise S3Error(
            "InvalidArgument",
            "The x-amz-copy-source-range value must be of the form bytes=first-last where first and last are the"
            " zero-based offsets of the first and last bytes to copy",
            ArgumentName="x-amz-copy-source-range",
            ArgumentValue=text[:256],
        )
    if last >= size:
        raise S3Error(
            "InvalidArgument",
            f"Range specified is not valid for source object of size: {size}",
            ArgumentName="x-amz-copy-source-range",
            ArgumentValue=text[:256],
        )
    return ByteRange(start, last - start + 1)


def _offset(digits: str) -> int | None:
    """A number of bytes; None for an empty text. Only the first 19 digits count, which are more than any object needs:
    Python refuses to read thousands of digits.
    """
    return int(digits.lstrip("0")[:_DIGITS] or "0") if digits else None


def range_holds(condition: str | None, etag: str, modified: int) -> bool:
    """Whether If-Range allows a Range: the client has other bytes of this very object (RFC 9110, section 13.1.5).

    ``modified`` in nanoseconds. Only the strong ETag and the exact date of the object match.
    """
    return condition is None or condition.strip() in (f'"{etag}"', http_date(modified))


def same_etag(condition: str, etag: str) -> bool:
    """Whether a list of ETags (or ``*``) contains ``etag``, which has no quotes."""
    return any(item.strip().removeprefix("W/").strip('"') in ("*", etag) for item in condition.split(","))


def check_read(headers: Mapping[str, str], etag: str, modified: int, now: float, prefix: str = "") -> None:
    """Check the conditional headers of a read; ``modified`` in nanoseconds, ``now`` in seconds, ``prefix`` for those of
    a copy's source.

    If-Modified-Since is ignored if it is in the future, as in S3: otherwise a client whose clock is ahead would be told
    that an object which it has not seen yet was not modified. Raises PreconditionFailed; NotModified only if ``prefix``
    is "" (a copy raises PreconditionFailed instead).
    """
    changed = modified // 1_000_000_000
    match = headers.get(f"{prefix}if-match")
    if match is not None:
        if not same_etag(match, etag):
            raise S3Error("PreconditionFailed", Condition=f"{prefix}If-Match")
    elif (since := _seconds(headers.get(f"{prefix}if-unmodified-since"))) is not None and changed > since:
        raise S3Error("PreconditionFailed", Condition=f"{prefix}If-Unmodified-Since")
    none_match = headers.get(f"{prefix}if-none-match")
    if none_match is not None:
        not_modified = same_etag(none_match, etag)
    else:
        since = _seconds(headers.get(f"{prefix}if-modified-since"))
        not_modified = since is not None and (changed == since or changed < since <= now)
    if not_modified and prefix:
        condition = "If-Modified-Since" if none_match is None else "If-None-Match"
        raise S3Error("PreconditionFailed", Condition=f"{prefix}{condition}")
    if not_modified:
        raise S3Error("NotModified", None, {"etag": f'"{etag}"', "last-modified": http_date(modified)})


def _seconds(text: str | None) -> float | None:
    moment = parse_http_date(text) if text is not None else None
    return moment.timestamp() if moment else None  # a date that cannot be read is no condition (RFC 9110, 13.1.3)
