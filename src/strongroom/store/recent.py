"""What was used lately, for stores that would have to ask for it again. Bounded in bytes of memory, since it is clients
who say how long names and records are. Pure.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from sys import getsizeof
from typing import Generic, TypeVar

from strongroom.store.base import Record

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")

_ENTRY = 800  # bytes that an entry takes beside its name and record, about
_FIELD = 150  # bytes that a field of a record takes beside its texts, about


class Recent(Generic[K, V]):
    """A dictionary in up to about ``most`` bytes of memory; beyond that, what was used longest ago goes."""

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


def weight_of(name: str, record: Record) -> int:
    """The bytes of memory that an entry takes which holds this name and record, about."""
    return _ENTRY + getsizeof(name) + sum([_FIELD + len(field) + len(text) for field, text in record.items()])
