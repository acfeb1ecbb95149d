"""A cache of what was used lately, for stores that would have to ask for it again. Bounded in bytes of memory, since
clients decide how long names and records are. Pure.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from sys import getsizeof
from typing import Generic, TypeVar

from strongroom.store.base import Record

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")

_ENTRY = 800  # about how many bytes an entry takes, besides its name and record
_FIELD = 150  # about how many bytes a field of a record takes, besides its texts


class Recent(Generic[K, V]):
    """A dictionary that takes up to about ``most`` bytes of memory: it drops what was used longest ago."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._weight = 0
        self._kept: OrderedDict[K, tuple[V, int]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._kept)

    def get(self, key: K) -> V | None:
        """What is kept under a key."""
        found = self._kept.get(key)
        if found is None:
            return None
        self._kept.move_to_end(key)
        return found[0]

    def keep(self, key: K, value: V, weight: int) -> None:
        """Keep a value, which takes about ``weight`` bytes of memory."""
        self.forget(key)
        self._kept[key] = value, weight
        self._weight += weight
        while self._weight > self._most:
            self.forget(next(iter(self._kept)))

    def forget(self, key: K) -> None:
        """Drop what is kept under a key."""
        _, weight = self._kept.pop(key, (None, 0))
        self._weight -= weight

    def clear(self) -> None:
        """Drop everything."""
        self._kept.clear()
        self._weight = 0


def weight_of(name: str, record: Record) -> int:
    """About how many bytes of memory an entry with this name and record takes."""
    return _ENTRY + getsizeof(name) + sum([_FIELD + len(field) + len(text) for field, text in record.items()])
