"""What somebody who was told to do work has done: the load generator, or a floor."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Outcome:
    """What was done. ``processor_seconds`` are of whoever did it, ``last`` is the number of the next new object."""

    ops: int
    bytes: int
    seconds: float
    p50_ms: float
    p99_ms: float
    processor_seconds: float
    last: int = 0
