"""Holds back the calls of one process while a KMS says "not now". Knows nothing of what is called, nor how.

A KMS that limits the rate of calls works, and will answer soon, but not if everybody goes on asking. So one refusal
holds back all calls: for as long as it says, or for a pause that doubles with each further refusal. Then calls go out
one after the other, a little apart, so that the first one that is refused holds back the rest.
"""

from __future__ import annotations

import time
from collections.abc import Callable

_FIRST_PAUSE = 0.25
_LONGEST_PAUSE = 2.0
_LONGEST_ASKED = 60.0
_APART = 0.02
_CALM = 10.0


class Pace:
    """When calls may go out. ``clock`` counts seconds."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._until = float("-inf")  # nothing goes out before this time
        self._busy_until = float("-inf")
        self._pause = _FIRST_PAUSE
        self.reason = ""
        """What the last refusal said."""

    @property
    def busy(self) -> bool:
        """Whether a call was refused lately."""
        return self._clock() < self._busy_until

    def turn(self) -> float:
        """Take a turn: 0 if the call is to go out now, else the seconds after which to ask for a turn again."""
        now = self._clock()
        if now < self._until:
            return self._until - now
        if self.busy:
            self._until = now + _APART
        return 0.0

    def refused(self, reason: str, seconds: float | None) -> None:
        """A call was answered "not now"; ``seconds`` is how long the KMS says to wait, None if it does not say."""
        now = self._clock()
        if seconds is not None:
            pause = min(max(seconds, _FIRST_PAUSE), _LONGEST_ASKED)
        elif self._holds(now):
            pause = 0.0  # this call went out before the last refusal was known
        else:
            pause = self._pause
            self._pause = min(2 * pause, _LONGEST_PAUSE)
        self._until = max(self._until, now + pause)
        self._busy_until = self._until + _CALM
        self.reason = reason

    def answered(self) -> None:
        """A call was answered, so the next pause is the shortest again, unless calls are held back now."""
        if not self._holds(self._clock()):
            self._pause = _FIRST_PAUSE

    def _holds(self, now: float) -> bool:
        """Whether calls are held back, rather than only kept apart."""
        return now + _APART < self._until
