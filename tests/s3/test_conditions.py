"""Conditions of reads, writes and copies, and the checksums that a request promises: what of them is refused."""

from __future__ import annotations

from typing import Any

import pytest

from strongroom.dates import http_date
from strongroom.s3.checksums import Algorithm, expected
from strongroom.s3.errors import S3Error
from strongroom.s3.naming import check_key, part_marker
from strongroom.s3.preconditions import write_precondition
from strongroom.s3.ranges import check_read
from strongroom.sealed.objects import Precondition

CHANGED, NOW = 1_000, 2_000
SOURCE = "x-amz-copy-source-"


def at(second: int) -> str:
    return http_date(second * 1_000_000_000)


def outcome(call: Any, *arguments: Any) -> str:
    """The code of the error that a call ends in, or ""."""
    try:
        call(*arguments)
    except S3Error as error:
        return error.code
    return ""


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        ({"if-match": '"e"'}, ""),
        ({"if-match": '"a", "e"'}, ""),
        ({"if-match": "*"}, ""),
        ({"if-match": '"a"'}, "PreconditionFailed"),
        ({"if-match": '"e"', "if-unmodified-since": at(CHANGED - 1)}, ""),
        ({"if-unmodified-since": at(CHANGED)}, ""),
        ({"if-unmodified-since": at(CHANGED - 1)}, "PreconditionFailed"),
        ({"if-unmodified-since": "yesterday"}, ""),
        ({"if-none-match": '"a"'}, ""),
        ({"if-none-match": 'W/"e"'}, "NotModified"),
        ({"if-none-match": '"a"', "if-modified-since": at(CHANGED)}, ""),
        ({"if-modified-since": at(CHANGED - 1)}, ""),
        ({"if-modified-since": at(CHANGED)}, "NotModified"),
        ({"if-modified-since": at(NOW)}, "NotModified"),
        ({"if-modified-since": at(NOW + 1)}, ""),
        ({"if-match": '"a"', "if-none-match": '"e"'}, "PreconditionFailed"),
    ],
)
def test_a_read_is_answered_as_its_conditions_say_and_a_copy_fails_instead(headers: dict[str, str], code: str) -> None:
    modified = CHANGED * 1_000_000_000 + 5
    assert outcome(check_read, headers, "e", modified, NOW) == code
    of_source = {SOURCE + name: value for name, value in headers.items()}
    assert outcome(check_read, of_source, "e", modified, NOW, SOURCE) == ("PreconditionFailed" if code else "")
    assert outcome(check_read, of_source, "e", modified, NOW) == ""


def test_a_write_has_one_condition() -> None:
    assert write_precondition(None, None) == Precondition()
    assert write_precondition(' "e" ', None) == Precondition(if_match="e")
    assert write_precondition(None, " * ") == Precondition(if_none_match=True)
    for both in ((None, '"e"'), ('"e"', "*"), (None, "")):
        assert outcome(write_precondition, *both) == "NotImplemented"


@pytest.mark.parametrize(
    ("headers", "promised"),
    [
        ({}, None),
        ({"x-amz-checksum-crc32": "AAAAAA=="}, Algorithm.CRC32),
        ({"x-amz-checksum-crc32": "AAAAAA==", "x-amz-sdk-checksum-algorithm": "crc32"}, Algorithm.CRC32),
        ({"x-amz-trailer": " X-Amz-Checksum-CRC32C ,"}, Algorithm.CRC32C),
        ({"x-amz-trailer": "x-amz-checksum-crc32c", "x-amz-sdk-checksum-algorithm": "CRC32C"}, Algorithm.CRC32C),
    ],
)
def test_a_checksum_is_promised_in_a_header_or_a_trailer(headers: dict[str, str], promised: Algorithm | None) -> None:
    found = expected(headers)
    assert (found.algorithm if found else None) == promised


@pytest.mark.parametrize(
    "headers",
    [
        {"x-amz-checksum-crc32": "AAAAAA==", "x-amz-checksum-crc32c": "AAAAAA=="},
        {"x-amz-checksum-crc32": "AAAAAA==", "x-amz-trailer": "x-amz-checksum-crc32"},
        {"x-amz-trailer": "x-amz-checksum-crc32,x-amz-checksum-sha1"},
        {"x-amz-trailer": "x-amz-meta-a"},
        {"x-amz-checksum-crc32": "AAAA"},
        {"x-amz-checksum-crc32": "AAAAAA"},
        {"x-amz-checksum-crc32": "AAAAAB=="},
        {"x-amz-checksum-crc32": ""},
        {"x-amz-checksum-crc32": "AAA!AAA=="},
        {"x-amz-checksum-crc32": "AAAAAA==", "x-amz-sdk-checksum-algorithm": "SHA256"},
        {"x-amz-checksum-crc32": "AAAAAA==", "x-amz-sdk-checksum-algorithm": "CRC31"},
        {"x-amz-sdk-checksum-algorithm": "CRC32"},
    ],
)
def test_a_promise_that_cannot_be_kept_is_refused(headers: dict[str, str]) -> None:
    assert outcome(expected, headers) == "InvalidRequest"


def test_a_trailer_that_was_promised_has_to_come_and_be_right() -> None:
    promised = expected({"x-amz-trailer": "x-amz-checksum-crc32"})
    assert promised
    assert outcome(promised.check, b"\0\0\0\0", {"x-amz-checksum-crc32": "AAAAAA=="}) == ""
    assert outcome(promised.check, b"\0\0\0\1", {"x-amz-checksum-crc32": "AAAAAA=="}) == "BadDigest"
    assert outcome(promised.check, b"\0\0\0\0", {}) == "MalformedTrailerError"
    in_header = expected({"x-amz-checksum-crc32": "AAAAAA=="})
    assert in_header
    assert outcome(in_header.check, b"\0\0\0\1", {"x-amz-checksum-crc32": "AAAAAQ=="}) == "BadDigest"


def test_a_key_has_from_1_to_1024_bytes() -> None:
    for key, code in (
        ("", "UserKeyMustBeSpecified"),
        ("k" * 1024, ""),
        ("\u00e9" * 512, ""),
        ("k" * 1025, "KeyTooLongError"),
        ("\u00e9" * 512 + "k", "KeyTooLongError"),
    ):
        assert outcome(check_key, key) == code


def test_a_page_of_parts_begins_behind_a_number() -> None:
    assert [part_marker(asked) for asked in (None, 0, 7, "7", 2**31 - 1)] == [0, 0, 7, 7, 2**31 - 1]
    for none in (-1, 2**31, "-1", "x", "", "\u00b2", "1" * 10):
        assert outcome(part_marker, none) == "InvalidArgument"
