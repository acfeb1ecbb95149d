"""Caches: what is remembered of objects and buckets, and for how long. Pure; knows nothing of where it comes from."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable, Sequence
from sys import getsizeof
from typing import Generic, TypeVar

from strongroom.sealed.objects import Summary
from strongroom.store.base import Stored

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")

MOST = 80 * 1024**2
"""Bytes of memory for listings, about: 300,000 objects with names of 20 characters."""

MOST_THINGS = 10_000

_PLACE = 32  # bytes that a dictionary takes for an entry, about
_TEXTS = 2 * getsizeof("") + _PLACE


class Generations(Generic[K, V]):
    """A dictionary in up to about ``most`` bytes of memory, which forgets what nobody asks for.

    It has two generations. What is added, or found in the old one, goes into the young one. When the young one takes
    half of ``most``, it becomes the old one, and what was in the old one is forgotten.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._young: dict[K, V] = {}
        self._old: dict[K, V] = {}
        self._weight = 0

    def get(self, key: K) -> V | None:
        """What is remembered under a key."""
        return self._young.get(key) or self._revived(key)

    def weigh(self, key: K, value: V) -> int:
        """The bytes of memory that an entry takes, about."""
        return getsizeof(key) + getsizeof(value) + _PLACE

    def add(self, key: K, value: V) -> None:
        """Remember a value, which must be truthy."""
        self._young[key] = value
        self._weight += self.weigh(key, value)
        if self._weight > self._most // 2:
            self._old, self._young, self._weight = self._young, {}, 0

    def _revived(self, key: K) -> V | None:
        """The entry of the old generation, which is moved into the young one."""
        value = self._old.get(key)
        if value is not None:
            self.add(key, value)
        return value


class Lately(Generic[K, V]):
    """What was found out lately about up to ``MOST_THINGS`` things. It holds for ``seconds``; after that it is still
    known until its place is needed.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._found: OrderedDict[K, tuple[float, V]] = OrderedDict()
        self._forgot = float("-inf")

    def __contains__(self, key: K) -> bool:
        """Whether it is known, however old."""
        return key in self._found

    def holds(self, key: K, now: float) -> bool:
        """Whether what is known holds at this time, by time.monotonic."""
        found = self._found.get(key)
        return found is not None and found[0] > now

    def known(self, key: K) -> V:
        """What is known, however old. Raises KeyError."""
        return self._found[key][1]

    def keep(self, key: K, value: V, now: float) -> None:
        """Remember what was found out at this time, by time.monotonic: when the look began, if it took a while. What
        was being looked for when something was forgotten may have changed meanwhile, and is not kept.
        """
        if now <= self._forgot:
            return
        self._found[key] = now + self._seconds, value
        self._found.move_to_end(key)
        if len(self._found) > MOST_THINGS:
            self._found.popitem(last=False)

    def forget(self, key: K, now: float) -> None:
        """Forget what is known of it at this time, by time.monotonic."""
        self._found.pop(key, None)
        self._forgot = now

    def forget_old(self, now: float) -> bool:
        """Forget what does not hold any more; whether anything is left."""
        while self._found and next(iter(self._found.values()))[0] <= now:
            self._found.popitem(last=False)
        return bool(self._found)


class Remembered(Generations[str, str]):
    """What listings show of objects, by their identity.

    An entry is one text (size, ETag, bucket, key): that takes a third less memory than a tuple, and the garbage
    collector does not visit it.
    """

    def __init__(self, most: int = MOST) -> None:
        super().__init__(most)

    def weigh(self, key: str, value: str) -> int:
        """The bytes of memory that an entry takes, about: texts that are not ASCII take up to 4 a character."""
        return len(key) + len(value) * (1 if value.isascii() else 4) + _TEXTS

    def find(self, bucket: str, objects: Sequence[Stored]) -> list[Summary | None]:
        """What is remembered of each.

        An entry with another name is not used: whoever else writes into the storage may give an object the identity of
        another one.
        """
        found: list[Summary | None] = []
        for name, _, modified, _, identity in objects:
            summary = None
            entry = self.get(identity)
            if entry is not None:
                size, etag, its_bucket, key = entry.split("\0", 3)
                if key == name and its_bucket == bucket:
                    summary = Summary(key, int(size), modified, etag)
            found.append(summary)
        return found

    def keep(self, bucket: str, stored: Stored, summary: Summary) -> None:
        """Remember what is shown of an object."""
        self.add(stored.identity, f"{summary.size}\0{summary.etag}\0{bucket}\0{stored.key}")
