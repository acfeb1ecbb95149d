"""Pages of listings: the order of names, and rolling up prefixes among names that are all in memory. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import AnyStr, TypeVar

from strongroom.store.base import Upload, UploadPage

T = TypeVar("T")

_TOP = b"\xff"  # above every key: no UTF-8 has this byte


def successor(prefix: bytes) -> bytes:
    """The first name after all that start with ``prefix`` (UTF-8, so its last byte is never 255)."""
    return prefix[:-1] + bytes((prefix[-1] + 1,)) if prefix else _TOP


def common_prefix(key: AnyStr, prefix: AnyStr, delimiter: AnyStr) -> AnyStr | None:
    """What a key that begins with ``prefix`` is rolled up into at ``delimiter``; None if it is not."""
    at = key.find(delimiter, len(prefix)) if delimiter else -1
    return None if at < 0 else key[: at + len(delimiter)]


@dataclass(frozen=True, slots=True)
class Rolled:
    """What a listing asks for: names that begin with ``prefix``, rolled up at the first ``delimiter`` after it."""

    prefix: str
    delimiter: str

    def roll(self, key: str) -> str | None:
        """The common prefix that a key is rolled up into, or None."""
        return common_prefix(key, self.prefix, self.delimiter)

    def behind(self, key: str, after: str) -> bool:
        """Whether a key is to be listed after ``after``: a name, or a common prefix, which covers all keys under it."""
        if not key.startswith(self.prefix):
            return False
        if after and self.roll(after) == after and key.startswith(after):
            return False
        return key.encode() > after.encode()


def page_of(names: Iterable[tuple[str, T]], rolled: Rolled, limit: int) -> tuple[list[tuple[str, T | None]], bool]:
    """Up to ``limit`` entries from ``names``, which are in order, with None for a common prefix; and whether there are
    more.
    """
    found: list[tuple[str, T | None]] = []
    for key, item in names:
        prefix = rolled.roll(key)
        if prefix is not None and found and found[-1] == (prefix, None):
            continue
        if len(found) == limit:
            return found, True
        found.append((key, item) if prefix is None else (prefix, None))
    return found, False


def order_of(upload: Upload) -> tuple[bytes, int, str]:
    """The sort key of an upload: by key, then by time of start, then by id."""
    return upload.key.encode(), upload.started, upload.upload_id


def page_of_uploads(
    uploads: Sequence[Upload], prefix: str, delimiter: str, after: tuple[str, str], limit: int
) -> UploadPage:
    """One page of ``uploads`` (all open uploads of a bucket, in order), as Store.uploads returns it."""
    rolled = Rolled(prefix, delimiter)
    marker = next((upload for upload in uploads if (upload.key, upload.upload_id) == after), None)

    def behind(upload: Upload) -> bool:
        if marker is not None:
            return upload.key.startswith(prefix) and order_of(upload) > order_of(marker)
        if after[1] and upload.key == after[0]:  # the marker has ended: rather repeat than skip uploads of its key
            return upload.key.startswith(prefix)
        return rolled.behind(upload.key, after[0])

    wanted = [(upload.key, upload) for upload in uploads if behind(upload)]
    found, more = page_of(wanted, rolled, limit)
    following = None
    if more and found:
        name, last = found[-1]
        following = (name, last.upload_id if last is not None else "")
    return UploadPage(
        [upload for _, upload in found if upload is not None],
        [name for name, upload in found if upload is None],
        following,
    )
