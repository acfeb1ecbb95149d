"""Tags of objects: what S3 takes for one, to the limits, in a document and in a header."""

from __future__ import annotations

from urllib.parse import quote

import pytest

from strongroom.s3.errors import S3Error
from strongroom.s3.tags import MAX_TAGS, format_tags, parse_tagging_header, parse_tags


@pytest.mark.parametrize(
    "pairs",
    [
        [(str(number), "") for number in range(MAX_TAGS)],
        [("k" * 128, "v" * 256)],
        [("größe x", "ü/+=:@ -._")],
        [("key", ""), ("Key", "")],
        [("awsome", "aws:v")],
    ],
    ids=range(5),
)
def test_tags_up_to_the_limits_come_back_as_they_were(pairs: list[tuple[str, str]]) -> None:
    stored, count = format_tags(pairs)
    assert (parse_tags(stored), count) == (pairs, len(pairs))


@pytest.mark.parametrize(
    ("pairs", "code"),
    [
        ([(str(number), "") for number in range(MAX_TAGS + 1)], "BadRequest"),
        ([("", "v")], "InvalidTag"),
        ([("k" * 129, "")], "InvalidTag"),
        ([("k", "v" * 257)], "InvalidTag"),
        ([("aws:k", "")], "InvalidTag"),
        ([("AWS:k", "")], "InvalidTag"),
        ([("k<", "")], "InvalidTag"),
        ([("k", "v<")], "InvalidTag"),
        ([("k", "a"), ("k", "b")], "InvalidTag"),
    ],
    ids=range(9),
)
def test_tags_beyond_the_limits_are_refused(pairs: list[tuple[str, str]], code: str) -> None:
    with pytest.raises(S3Error) as refused:
        format_tags(pairs)
    assert refused.value.code == code


@pytest.mark.parametrize(
    ("header", "pairs"),
    [
        (None, []),
        ("", []),
        ("a=1&b", [("a", "1"), ("b", "")]),
        ("a=b+c%2Bd", [("a", "b c+d")]),
        ("a=b=c", [("a", "b=c")]),
        ("gr\u00f6\u00dfe=1".encode().decode("latin-1"), [("größe", "1")]),  # not escaped
        ("gr%C3%B6%C3%9Fe=1", [("größe", "1")]),
        (
            "&".join(f"{quote('ü' * 127)}{n}={quote('ü' * 256)}" for n in range(10)),
            [("ü" * 127 + str(n), "ü" * 256) for n in range(10)],
        ),
    ],
    ids=range(8),
)
def test_a_header_of_tags_is_read_as_aws_reads_it(header: str | None, pairs: list[tuple[str, str]]) -> None:
    stored, count = parse_tagging_header(header)
    assert (parse_tags(stored), count) == (pairs, len(pairs))


@pytest.mark.parametrize(
    ("header", "code"),
    [
        ("a=%4", "InvalidArgument"),
        ("a=%zz", "InvalidArgument"),
        ("a=%FF", "InvalidArgument"),
        ("a=\u00ff", "InvalidArgument"),  # a byte that is no UTF-8
        ("=1", "InvalidArgument"),
        ("a=1&=", "InvalidArgument"),
        ("a=1&a=2", "InvalidArgument"),
        ("a=1&%61=2", "InvalidArgument"),
        ("a=" + "%20" * 20_000, "InvalidArgument"),
        ("a=%3C", "InvalidTag"),
        ("aws%3Aa=1", "InvalidTag"),
        ("&".join(f"{n}=" for n in range(11)), "BadRequest"),
    ],
    ids=range(12),
)
def test_a_header_that_holds_no_tags_is_refused(header: str, code: str) -> None:
    with pytest.raises(S3Error) as refused:
        parse_tagging_header(header)
    assert refused.value.code == code
