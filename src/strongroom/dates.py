"""Times in HTTP headers. Pure.

Source: RFC 9110, section 5.6.7, and RFC 5322, section 3.3.
"""

from __future__ import annotations

from datetime import UTC, datetime
from email.utils import format_datetime, parsedate_to_datetime
from functools import lru_cache

_SECOND = 1_000_000_000
_FIRST, _LAST = -11_644_473_600, 253_402_300_799  # the years 1601 to 9999


def parse_http_date(text: str) -> datetime | None:
    """An HTTP date, in UTC; None if the text is no date, or names a moment that does not exist."""
    try:
        moment = parsedate_to_datetime(text)
        # "-0000" gives a naive datetime: the time is UTC, and the sender's own zone is unknown.
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except (ValueError, OverflowError, IndexError, TypeError):
        return None


def http_date(nanoseconds: int) -> str:
    """A time since the epoch as an HTTP date, to the second."""
    return _date(nanoseconds // _SECOND)


@lru_cache(4096)
def _date(seconds: int) -> str:
    return format_datetime(utc(seconds), usegmt=True)


def utc(seconds: int) -> datetime:
    """A time since the epoch, moved to the nearest one that can be shown if it is out of bounds. A file of others may
    have any time, and one such file must not make listings fail.
    """
    return datetime.fromtimestamp(min(max(seconds, _FIRST), _LAST), UTC)
