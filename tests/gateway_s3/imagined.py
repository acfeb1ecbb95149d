"""A backend in memory, and a gateway without a KMS before it, one request at a time."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from types import SimpleNamespace
from typing import Any, cast

import pytest

from strongroom.relay import BackendRelay
from strongroom.s3.auth import UnsignedPayload
from strongroom.s3.auth.payload import ChunkedPayload
from strongroom.s3.call import Answer, Call
from strongroom.s3.encryption import EncryptionHeaders
from strongroom.s3.errors import S3Error
from strongroom.s3.model import Response
from strongroom.s3.receive import BodyReceiver
from strongroom.s3.request import Exchange, HttpRequest
from strongroom.store.s3.client import Client
from strongroom.store.s3.messages import Request
from strongroom.store.s3.streaming import StreamedBody

HIDDEN = ".strongroom.sys/check"
LARGE = 9 * 1024**2
"""Bytes of a body that is not read whole."""


class Answered:
    """An answer of the backend."""

    def __init__(self, body: bytes = b"", headers: dict[str, str] | None = None, status: int = 200) -> None:
        self.status = status
        self.headers = {"content-length": str(len(body))} if headers is None else headers
        self.length = int(self.headers.get("content-length", "0"))
        self.left = body
        self.closed = False

    async def whole(self, most: int) -> bytes:
        self.close()
        return self.left

    async def read(self, most: int, least: int | None = None) -> bytes:
        piece, self.left = self.left[:most], self.left[most:]
        return piece

    def close(self) -> None:
        self.closed = True


class Backend:
    """A client of a backend: answers each request with the next of ``answers``, and with nothing more to say after
    them. It takes the whole body first, unless it is in a hurry.
    """

    def __init__(self, *answers: Answered | Exception, exact: bool = True, hurry: bool = False) -> None:
        self.endpoint = SimpleNamespace(
            in_the_clear=False, exact=exact, administers=lambda bucket, key: bucket == "minio" and key == "admin/v3"
        )
        self.answers = list(answers)
        self.asked: list[Request] = []
        self.taken = b""
        self.given_up = False
        self._hurry = hurry

    async def open(self, request: Request, raw: bool = False) -> Answered:
        assert raw, "what the backend refuses is passed on, too"
        self.asked.append(request)
        try:
            if isinstance(request.body, StreamedBody) and not self._hurry:
                async for piece in request.body.pieces():
                    self.taken += piece
        except asyncio.CancelledError:
            self.given_up = True
            raise
        answer = self.answers.pop(0) if self.answers else Answered()
        if isinstance(answer, Exception):
            raise answer
        return answer

    def relay(
        self,
        method: str,
        operation: str,
        key: str = "o",
        query: dict[str, str] | None = None,
        body: bytes | Iterable[bytes] = b"",
        length: int | None = None,
        bucket: str = "bucket",
        chunked: bool = False,
        **headers: str,
    ) -> tuple[Answer, Response]:
        """What the gateway makes of a request; names of headers have _ for -."""
        given = {"host": "gateway", **{name.replace("_", "-"): value for name, value in headers.items()}}
        if isinstance(body, bytes):
            length, body = len(body), [body[at : at + 2**20] for at in range(0, len(body), 2**20)]
        given["content-length"] = str(length or 0)
        pieces = iter(body)

        async def receive() -> bytes:
            return next(pieces, b"")

        arriving = BodyReceiver(cast(Exchange, SimpleNamespace(ready=True, receive=receive)), 60)
        asked = HttpRequest(method, f"/{bucket}/{key}", "", given, True, "", query or {})
        payload = ChunkedPayload(None, trailer=True) if chunked else UnsignedPayload()
        call = Call(asked, bucket, key, payload, frozenset(), arriving, EncryptionHeaders(given, secure=True), "")
        return asyncio.run(asyncio.wait_for(BackendRelay(cast(Client, self)).relay(call, operation), 60))

    def refuses(self, *asked: Any, **how: Any) -> str:
        """The code of the error that the gateway answers by itself, without a request to the backend."""
        with pytest.raises(S3Error) as refused:
            self.relay(*asked, **how)
        assert not self.asked
        return refused.value.code
