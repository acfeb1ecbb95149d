"""Errors as responses, with and without a body."""

from __future__ import annotations

import pytest

from strongroom.s3.error_response import error_response
from strongroom.s3.errors import S3Error
from strongroom.s3.model import Response

CODE, DESC = "x-minio-error-code", "x-minio-error-desc"


def answered(error: S3Error, head: bool = True) -> Response:
    return error_response(error, "/bucket/key", "ID", "host", head)


def test_the_answer_to_a_head_names_the_error_in_headers() -> None:
    answer = answered(S3Error("InvalidRange", None, {"content-range": "bytes */4"}))
    assert (answer.status, answer.body) == (416, b"")
    assert dict(answer.headers) == {
        "content-range": "bytes */4",
        CODE: "InvalidRange",
        DESC: '"The requested range is not satisfiable"',
    }


def test_an_answer_with_a_body_does_not_say_it_twice() -> None:
    assert dict(answered(S3Error("NoSuchKey"), head=False).headers) == {"content-type": "application/xml"}


@pytest.mark.parametrize("head", [True, False])
def test_that_nothing_was_modified_is_no_error(head: bool) -> None:
    answer = answered(S3Error("NotModified", None, {"etag": "x"}), head)
    assert (answer.status, list(answer.headers), answer.body) == (304, [("etag", "x")], b"")


@pytest.mark.parametrize(
    "message", ["größer", 'the "key"', "two\r\nx-more: lines", "tab\t", "nul\0", "del\x7f", "line\u2028", "x" * 513]
)
def test_a_message_that_no_header_can_hold_is_left_out(message: str) -> None:
    headers = dict(answered(S3Error("InvalidArgument", message)).headers)
    assert headers == {CODE: "InvalidArgument"}


@pytest.mark.parametrize("code", ["", "Not A Code", "A\r\nx-more: lines", "Größe"])
def test_a_code_of_another_s3_that_no_header_can_hold_is_left_out(code: str) -> None:
    headers = dict(answered(S3Error.relayed(503, code, "Wait.")).headers)
    assert headers == {DESC: '"Wait."'}
