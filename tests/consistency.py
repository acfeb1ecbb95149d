"""Whether what clients saw of one name can come of operations each of which took effect at one moment, between its
request and its answer.

Source: J. M. Wing and C. Gong, "Testing and verifying concurrent objects" (1993).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

State = str | None
"""The ETag of the object; None while there is none."""

Effect = Callable[[State], Sequence[State]]
"""The states that an operation can leave, given the one it finds; none if its answer cannot be the one to that."""

NEVER = float("inf")


class Done(NamedTuple):
    """An operation: when it was asked for and answered (:data:`NEVER` if nobody knows its outcome), and its effect."""

    asked: float
    answered: float
    effect: Effect
    text: str


def wrote(etag: State) -> Effect:
    """A write, or a removal (None), that asks for nothing."""
    return lambda state: (etag,)


def saw(etag: State) -> Effect:
    """A read."""
    return lambda state: (state,) if state == etag else ()


def saw_any(there: bool) -> Effect:
    """What succeeds if there is an object, and leaves its ETag as it is."""
    return lambda state: (state,) if (state is not None) == there else ()


def replaced(former: State, etag: str) -> Effect:
    """A write on the condition of what was there before."""
    return lambda state: (etag,) if state == former else ()


def refused(former: State) -> Effect:
    """A write that was refused because something else was there; None: because something was."""
    return lambda state: () if state is None or state == former else (state,)


def maybe(effect: Effect) -> Effect:
    """What may have been carried out or not."""
    return lambda state: {state, *effect(state)}  # type: ignore[return-value]


def unexplained(history: Sequence[Done], first: State = None) -> Done | None:
    """The first operation whose answer no order of the operations explains; None if there is no such."""
    moments = [(done.asked, False, number) for number, done in enumerate(history)]
    moments += [(done.answered, True, number) for number, done in enumerate(history) if done.answered != NEVER]
    open_ones: set[int] = set()
    reached: set[tuple[State, frozenset[int]]] = {(first, frozenset())}  # states, with who of the open ones had effect
    for _, is_answer, number in sorted(moments):
        if not is_answer:
            open_ones.add(number)
            continue
        seen, left = set(reached), list(reached)
        while left:
            state, had = left.pop()
            if number in had:
                continue
            for other in open_ones - had:
                for after in history[other].effect(state):
                    if (found := (after, had | {other})) not in seen:
                        seen.add(found)
                        left.append(found)
        reached = {(state, had - {number}) for state, had in seen if number in had}
        open_ones.discard(number)
        if not reached:
            return history[number]
    return None
