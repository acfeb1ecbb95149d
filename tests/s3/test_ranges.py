"""Ranges: which bytes of an object a header asks for."""

from __future__ import annotations

from collections.abc import Callable

from hypothesis import example, given
from hypothesis import strategies as st

from strongroom.s3.errors import S3Error
from strongroom.s3.ranges import ByteRange, parse_copy_range, parse_range

NUMBERS = st.one_of(st.integers(0, 12), st.integers(0, 10**30))
SIZES = st.integers(0, 10)
WHOLE = "the whole object"


def outcome(parse: Callable[[str | None, int], ByteRange | None], text: str, size: int) -> list[int] | str:
    """The numbers of the bytes that a header stands for, or the code of the error."""
    try:
        found = parse(text, size)
    except S3Error as error:
        return error.code
    return WHOLE if found is None else list(range(found.start, found.start + found.length))


@given(NUMBERS, st.one_of(st.none(), NUMBERS), SIZES)
def test_a_range_is_those_of_its_bytes_that_are_there(first: int, last: int | None, size: int) -> None:
    there = [number for number in range(size) if first <= number and (last is None or number <= last)]
    expected = WHOLE if last is not None and last < first else there or "InvalidRange"
    assert outcome(parse_range, f"bytes={first}-{'' if last is None else last}", size) == expected


@given(NUMBERS, SIZES)
def test_a_range_from_the_end_is_the_last_bytes(number: int, size: int) -> None:
    expected = list(range(size))[-number:] if number else []
    assert outcome(parse_range, f"bytes=-{number}", size) == (expected or (WHOLE if number else "InvalidRange"))


@given(NUMBERS, NUMBERS, SIZES)
def test_a_range_of_a_copy_is_all_there(first: int, last: int, size: int) -> None:
    expected = list(range(first, last + 1)) if first <= last < size else "InvalidArgument"
    assert outcome(parse_copy_range, f"bytes={first}-{last}", size) == expected


@given(st.one_of(st.text(max_size=8), st.text("bytes=-0123456789, ", max_size=20)), SIZES)
@example("bytes=0-0,2-3", 5)
@example("bytes=\u0661-", 5)
@example("bytes=" + "9" * 5000 + "-", 5)
@example("bytes=-" + "9" * 5000, 5)
def test_whatever_a_header_says_no_byte_is_asked_for_that_is_not_there(text: str, size: int) -> None:
    for parse, code in ((parse_range, "InvalidRange"), (parse_copy_range, "InvalidArgument")):
        found = outcome(parse, text, size)
        assert found in (WHOLE, code) or (found and set(found) <= set(range(size)))
