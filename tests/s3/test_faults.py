"""What the log says of a request that failed: which it was, and what it was about."""

from __future__ import annotations

import asyncio
import errno
import logging
import os
from collections.abc import Sequence
from typing import Any, cast
from unittest.mock import AsyncMock, Mock

import pytest

from strongroom.buffers import Buffer
from strongroom.s3.app import S3App
from strongroom.s3.cors import CrossOrigin
from strongroom.s3.handlers.objects import ObjectHandlers
from strongroom.s3.request import Exchange, HttpRequest
from strongroom.s3.shapes import Delete, DeleteObjectsOutput, DeleteObjectsRequest, ObjectIdentifier
from strongroom.sealed.faults import Forbidden
from strongroom.sealed.store import SealedStore


class Failing:
    """Knows no rules, because of an error."""

    def __init__(self, error: Exception) -> None:
        self._error = error

    async def rules(self, bucket: str) -> None:
        raise self._error


class Asked:
    """A browser's question about an object, and the answer to it."""

    heard, received, started, open_ended, ready = 0.0, 0, False, False, True

    def __init__(self, path: str) -> None:
        headers = {"host": "a", "origin": "https://a", "access-control-request-method": "PUT", "cookie": "in-a-header"}
        self.request = HttpRequest("OPTIONS", path, "X-Amz-Signature=in-the-query", headers, False, "127.0.0.1")
        self.status = 0
        self.told: dict[str, str] = {}

    async def respond(self, status: int, headers: Sequence[tuple[str, str]], length: int | None, body: Buffer) -> None:
        self.status, self.told = status, dict(headers)


def answered(path: str, error: Exception) -> Asked:
    """What is answered where an error comes up."""
    app = S3App(cast(SealedStore, Mock()), {}, cross_origin=cast(CrossOrigin, Failing(error)))
    asked = Asked(path)
    asyncio.run(app(cast(Exchange, asked)))
    return asked


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (Forbidden("read-only"), 403),
        (RuntimeError("boom"), 500),
        (OSError(errno.EMFILE, os.strerror(errno.EMFILE)), 503),
    ],
)
def test_a_line_names_the_request_and_the_object(
    caplog: pytest.LogCaptureFixture, error: Exception, status: int
) -> None:
    with caplog.at_level(logging.WARNING):
        asked = answered("/bucket/a/%C3%BC", error)
    assert asked.status == status
    (record,) = caplog.records
    assert fields(record) == [asked.told["x-amz-request-id"], "Preflight", "bucket", "a/ü"]
    assert "in-the-query" not in str(vars(record)) and "in-a-header" not in str(vars(record))


def test_what_a_request_has_not_is_not_named(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        answered("/bucket", Forbidden("read-only"))
    (record,) = caplog.records
    assert fields(record)[1:] == ["Preflight", "bucket", None]


def fields(record: Any) -> list[str | None]:
    return [getattr(record, name, None) for name in ("request_id", "operation", "bucket", "key")]


def test_what_nobody_foresaw_on_one_key_of_a_list_is_said_of_that_key_and_the_others_are_deleted(
    caplog: pytest.LogCaptureFixture,
) -> None:
    deleted = []

    async def delete(bucket: str, key: str, condition: object) -> None:
        if key == "bad":
            raise RuntimeError("boom")
        deleted.append(key)

    store = cast(SealedStore, Mock(bucket=AsyncMock(), delete=delete))
    request = HttpRequest("POST", "/bucket", "delete", {"content-md5": "that of the list"}, True, "")
    call = Mock(request=request, bucket="bucket", request_id="ID")
    listed = Delete(objects=[ObjectIdentifier(key=key) for key in ("first", "bad", "last")])
    wanted = DeleteObjectsRequest(bucket="bucket", delete=listed)
    output = asyncio.run(ObjectHandlers(store).delete_objects(call, wanted)).output
    assert isinstance(output, DeleteObjectsOutput)
    assert [row.key for row in output.deleted] == deleted == ["first", "last"]
    assert [(row.key, row.code) for row in output.errors] == [("bad", "InternalError")]
    (record,) = caplog.records
    assert fields(record) == ["ID", "DeleteObjects", "bucket", "bad"] and "RuntimeError: boom" in caplog.text
