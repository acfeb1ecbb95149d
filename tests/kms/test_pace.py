"""Calls that hold back from a KMS that says "not now"."""

from __future__ import annotations

from strongroom.kms.pace import Pace


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def waited(pace: Pace, clock: Clock) -> float:
    """How long a call has to wait, and then goes out."""
    begun = clock.now
    while left := pace.turn():
        clock.now += left
    return clock.now - begun


def test_nothing_is_held_back_where_nothing_was_refused() -> None:
    pace = Pace(Clock())
    assert [pace.turn() for _ in range(100)] == [0.0] * 100
    assert not pace.busy


def test_a_refusal_holds_back_all_for_as_long_as_it_says() -> None:
    pace = Pace(clock := Clock())
    pace.refused("too many", 5.0)
    assert pace.busy
    assert [pace.turn() for _ in range(3)] == [5.0] * 3
    assert waited(pace, clock) == 5.0


def test_what_goes_out_after_a_refusal_goes_out_one_by_one() -> None:
    pace = Pace(clock := Clock())
    pace.refused("too many", 1.0)
    assert waited(pace, clock) == 1.0
    assert all(waited(pace, clock) > 0 for _ in range(10))


def test_pauses_that_a_kms_does_not_name_grow_up_to_a_bound_and_begin_anew_after_an_answer() -> None:
    pace = Pace(clock := Clock())
    pauses = []
    for _ in range(6):
        pace.refused("too many", None)
        pauses.append(waited(pace, clock))
    assert pauses == [0.25, 0.5, 1.0, 2.0, 2.0, 2.0]
    pace.answered()
    pace.refused("too many", None)
    assert waited(pace, clock) < 0.5


def test_calls_that_were_under_way_together_count_as_one() -> None:
    pace = Pace(clock := Clock())
    for _ in range(8):
        pace.refused("too many", None)
    pace.answered()
    assert waited(pace, clock) == 0.25
    pace.refused("too many", None)
    assert waited(pace, clock) == 0.5


def test_no_kms_shuts_itself_off_for_long() -> None:
    pace = Pace(clock := Clock())
    pace.refused("too many", 1e9)
    assert waited(pace, clock) == 60.0


def test_a_kms_that_says_not_now_but_at_once_is_not_asked_without_a_pause() -> None:
    pace = Pace(clock := Clock())
    for _ in range(3):
        pace.refused("too many", 0.0)
        assert waited(pace, clock) == 0.25
    assert pace.reason == "too many"


def test_a_while_after_the_last_refusal_all_is_as_ever() -> None:
    pace = Pace(clock := Clock())
    pace.refused("too many", 1.0)
    clock.now += 60
    assert not pace.busy
    assert [pace.turn() for _ in range(10)] == [0.0] * 10
