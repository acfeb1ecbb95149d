"""The board of the workers: each reads what the others left, and never half of it."""

from __future__ import annotations

import threading

from strongroom.serving.board import PLACE, Board


def boards(count: int) -> list[Board]:
    memory = memoryview(bytearray(count * PLACE))
    return [Board(memory, count, number) for number in range(count)]


def test_each_reads_what_the_others_left_last() -> None:
    one, two, three = boards(3)
    assert one.others() == [] and one.found() == b""
    one.leave(b"first")
    one.leave(b"second")
    three.leave(b"third")
    assert one.others() == [b"third"]
    assert two.others() == [b"second", b"third"]
    assert one.found() == b"second"


def test_what_is_too_long_stays_away() -> None:
    one, two = boards(2)
    assert one.leave(b"x" * (PLACE - 8))
    assert not one.leave(b"x" * (PLACE - 7))
    assert two.others() == [b"x" * (PLACE - 8)]


def test_nobody_reads_half_of_a_text() -> None:
    one, two = boards(2)
    over = threading.Event()

    def write() -> None:
        number = 0
        while not over.is_set():
            number += 1
            one.leave(b"%d" % (number % 10) * (1000 + number % 5000))

    thread = threading.Thread(target=write)
    thread.start()
    try:
        read = 0
        while read < 3000:
            for text in two.others():
                assert len(set(text)) == 1
                read += 1
    finally:
        over.set()
        thread.join()
