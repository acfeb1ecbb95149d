"""How the calls of one process hold back from a KMS that says "not now". Knows nothing of what is called, nor how.

A KMS that limits the rate of calls is at work, and will answer soon, but not if everybody goes on asking. So one
refusal holds back all calls: for as long as it says, or for a pause that doubles with each further refusal. Then they
go out one after the other, a little apart: the first that is refused holds back the others.
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
        self._until = float("-inf")  # nothing goes out before
        self._busy_until = float("-inf")
        self._pause = _FIRST_PAUSE
        self.reason = ""
        """What the last refusal said."""

    @property
    def busy(self) -> bool:
        """Whether a call was refused lately."""
        return self._clock() < self._busy_until

    def turn(self) -> float:
        """Take a turn: 0 where a call goes out now, else the seconds after which to ask again."""
        now = self._clock()
        if now < self._until:
            return self._until - now
        if self.busy:
            self._until = now + _APART
        return 0.0

    def refused(self, reason: str, seconds: float | None) -> None:
        """A call was told "not now", and to wait for so many ``seconds``, if that was said."""
        now = self._clock()
        if seconds is not None:
            pause = min(max(seconds, _FIRST_PAUSE), _LONGEST_ASKED)
        elif self._holds(now):
            pause = 0.0  # it went out before the last refusal was known
        else:
            pause = self._pause
            self._pause = min(2 * pause, _LONGEST_PAUSE)
        self._until = max(self._until, now + pause)
        self._busy_until = self._until + _CALM
        self.reason = reason

    def answered(self) -> None:
        """A call was answered."""
        if not self._holds(self._clock()):
            self._pause = _FIRST_PAUSE

    def _holds(self, now: float) -> bool:
        """Whether calls are held back, and not only kept apart."""
        return now + _APART < self._until
