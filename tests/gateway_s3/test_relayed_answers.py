"""What a gateway without a KMS makes of the answers of its backend, one at a time."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from typing import Any, cast

import pytest

from strongroom.s3.call import Answer
from strongroom.store.errors import Unavailable
from strongroom.store.s3.messages import Refusal
from tests.customer_keys import customer_key_headers
from tests.gateway_s3.imagined import HIDDEN, Answered, Backend


def test_what_was_looked_at_or_answered_holds_no_connection() -> None:
    given: list[tuple[str, str, dict[str, Any]]] = [
        ("PUT", "CopyObject", {"x_amz_copy_source": "/other/o"}),
        ("GET", "GetObjectTagging", {}),
        ("HEAD", "HeadObject", {}),
    ]
    for method, operation, headers in given:
        answers = [Answered(), Answered()]
        backend = Backend(*answers)
        backend.relay(method, operation, **headers)
        assert [answer.closed for answer in answers[: len(backend.asked)]] == [True] * len(backend.asked)


@pytest.mark.parametrize("status", [300, 301, 302, 307, 308, 399])
def test_no_redirect_of_the_backend_leads_past_the_gateway(status: int) -> None:
    refusal = Refusal(status, {"location": "http://backend/", "x-amz-bucket-region": "eu-west-1"}, b"")
    _, response = Backend(refusal).relay("GET", "GetObject")
    assert (response.status, response.headers) == (status, [("x-amz-bucket-region", "eu-west-1")])


OF_TAGS_OR_CONTENT = [
    ("GET", "GetObjectAttributes"),
    ("GET", "GetObjectTagging"),
    ("PUT", "PutObjectTagging"),
    ("DELETE", "DeleteObjectTagging"),
    ("POST", "SelectObjectContent"),
]


@pytest.mark.parametrize(("method", "operation"), OF_TAGS_OR_CONTENT)
def test_what_an_answer_does_not_show_of_an_object_is_looked_up_before(method: str, operation: str) -> None:
    """Whether a gateway encrypted it: then the backend's tags and attributes are not the object's."""
    backend = Backend()
    key = customer_key_headers(bytes(32))
    backend.relay(method, operation, query={"versionId": "1"}, if_match='"another"', **key)
    look, asked = backend.asked
    assert (look.method, look.key, look.query, asked.method) == ("HEAD", "o", [("versionId", "1")], method)
    assert look.headers == key, "whatever the request demands of it"


@pytest.mark.parametrize(("headers", "length"), [({"content-length": "12345"}, 12345), ({}, 0)])
def test_a_head_says_the_length_that_the_backend_says(headers: dict[str, str], length: int) -> None:
    answer, response = Backend(Answered(headers=headers)).relay("HEAD", "HeadObject")
    assert (answer.length, answer.body, response.status) == (length, b"", 200)


@pytest.mark.parametrize("operation", ["CopyObject", "CompleteMultipartUpload", "UploadPartCopy"])
def test_an_error_behind_a_200_is_one_wherever_s3_answers_so(operation: str) -> None:
    method = "POST" if operation == "CompleteMultipartUpload" else "PUT"
    error = b"<?xml version='1.0'?>\n<Error><Code>InternalError</Code></Error>"
    for document, status in ((error, 500), (b"<Result><Error/></Result>", 200)):
        _, response = Backend(Answered(document)).relay(method, operation)
        assert (response.status, response.body) == (status, document)
    _, response = Backend(Answered(error)).relay("GET", "GetBucketPolicy", key="")
    assert response.status == 200, "an answer of the backend's own"


def test_only_listings_are_taken_for_listings() -> None:
    listing = b"<Contents><Key>%s</Key></Contents>" % HIDDEN.encode()
    for method, operation, key, shown in (
        ("GET", "ListObjectsV2", "", b""),
        ("GET", "GetObjectTagging", "o", listing),
        ("POST", "DeleteObjects", "", listing),
    ):
        answers = [Answered()] * (operation == "GetObjectTagging")
        body = b"<Delete/>" if method == "POST" else b""
        _, response = Backend(*answers, Answered(listing)).relay(method, operation, key=key, body=body)
        assert response.body == shown


def read(answer: Answer) -> bytes:
    """All of it, which comes in pieces of which a gateway can hold many."""

    async def main() -> bytes:
        pieces = [bytes(piece) async for piece in cast(AsyncIterator[bytes], answer.body)]
        assert max(map(len, pieces), default=0) < 500_000
        return b"".join(pieces)

    return asyncio.run(main())


def test_an_object_comes_to_its_length_and_no_further() -> None:
    body = os.urandom(700_000)
    answer, _ = Backend(Answered(body + b"the next answer", {"content-length": "700000"})).relay("GET", "GetObject")
    assert (answer.length, read(answer)) == (700_000, body)
    answer, _ = Backend(Answered(body, {"content-length": "700001"})).relay("GET", "GetObject")
    with pytest.raises(Unavailable, match="the backend's answer broke off"):
        read(answer)
    answer, _ = Backend(Answered()).relay("GET", "GetObject")
    assert (answer.length, read(answer)) == (0, b"")


def test_what_is_selected_from_an_object_comes_as_long_as_there_is_more() -> None:
    body, query = os.urandom(700_000), {"select": "", "select-type": "2"}
    answer, _ = Backend(Answered(), Answered(body, {})).relay("POST", "SelectObjectContent", query=query)
    assert (answer.length, read(answer)) == (None, body)
