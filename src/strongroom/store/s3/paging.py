"""Pages of names with prefixes rolled up, over names that are all at hand. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TypeVar

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Rolled:
    """What a listing asks for: names that begin with ``prefix``, rolled up at ``delimiter`` behind it."""

    prefix: str
    delimiter: str

    def roll(self, key: str) -> str | None:
        """The common prefix that a key is rolled up into, or None."""
        if not self.delimiter:
            return None
        at = key.find(self.delimiter, len(self.prefix))
        return None if at < 0 else key[: at + len(self.delimiter)]

    def behind(self, key: str, after: str) -> bool:
        """Whether a key is to be listed behind ``after``: a name, or a common prefix with all that is under it."""
        if not key.startswith(self.prefix):
            return False
        if after and self.roll(after) == after and key.startswith(after):
            return False
        return key.encode() > after.encode()


def page_of(names: Iterable[tuple[str, T]], rolled: Rolled, limit: int) -> tuple[list[tuple[str, T | None]], bool]:
    """Up to ``limit`` of ``names``, which are in order, None for a common prefix; and whether there are more."""
    found: list[tuple[str, T | None]] = []
    for key, item in names:
        prefix = rolled.roll(key)
        if prefix is not None and found and found[-1] == (prefix, None):
            continue
        if len(found) == limit:
            return found, True
        found.append((key, item) if prefix is None else (prefix, None))
    return found, False
