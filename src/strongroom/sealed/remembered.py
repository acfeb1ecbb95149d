"""What is remembered of objects for listings, never a key. Pure; knows nothing of how it is found out."""

from __future__ import annotations

from collections.abc import Sequence
from sys import getsizeof

from strongroom.sealed.objects import Summary
from strongroom.store.base import Stored

MOST = 80 * 1024**2
"""Bytes of memory, about: 300,000 objects with names of 20 characters."""

_PLACE = 32  # bytes that a dictionary takes for an entry, about


class Remembered:
    """What is shown of objects, by their identity, in up to about ``most`` bytes of memory.

    Two generations: what is kept, or found in the old one, goes to the young one; when that is half of all, it becomes
    the old one, and what was there is forgotten. An entry is one text (size, ETag, bucket, key): a third less memory
    than a tuple of them, and nothing that the garbage collector would look at.
    """

    def __init__(self, most: int = MOST) -> None:
        self._most = most
        self._young: dict[str, str] = {}
        self._old: dict[str, str] = {}
        self._weight = 0

    def find(self, bucket: str, objects: Sequence[Stored]) -> list[Summary | None]:
        """What is remembered of each.

        Where an object has the identity of one of another name, whoever else writes into the storage put it there: it
        is not that object.
        """
        found: list[Summary | None] = []
        for name, _, modified, _, identity in objects:
            summary = None
            entry = self._young.get(identity) or self._revived(identity)
            if entry is not None:
                size, etag, its_bucket, key = entry.split("\0", 3)
                if key == name and its_bucket == bucket:
                    summary = Summary(key, int(size), modified, etag)
            found.append(summary)
        return found

    def keep(self, bucket: str, stored: Stored, summary: Summary) -> None:
        """Remember what is shown of an object."""
        self._add(stored.identity, f"{summary.size}\0{summary.etag}\0{bucket}\0{stored.key}")

    def _revived(self, identity: str) -> str | None:
        """The entry of the old generation, in the young one from now on."""
        entry = self._old.get(identity)
        if entry is not None:
            self._add(identity, entry)
        return entry

    def _add(self, identity: str, entry: str) -> None:
        self._young[identity] = entry
        self._weight += getsizeof(identity) + getsizeof(entry) + _PLACE
        if self._weight > self._most // 2:
            self._old, self._young, self._weight = self._young, {}, 0
