"""How fast this Python is by itself: two builds of the same release can differ by a quarter."""

from __future__ import annotations

import timeit

_SETUP = """
class Counter:
    __slots__ = ("value",)
    def __init__(self, value):
        self.value = value
    def following(self):
        return self.value + 1
"""
_CALLS = 1_000_000


def calls_a_second() -> float:
    """How many small objects can be made and asked something in a second; the best of some tries."""
    return _CALLS / min(timeit.repeat("Counter(1).following()", _SETUP, number=_CALLS, repeat=5))
