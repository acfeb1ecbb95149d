"""Answers to requests that may take longer than clients wait: begun early, and ended when the outcome is known.

Completing an upload on a shared folder copies its parts, and a copy may seal 5 GiB anew. Clients and proxies give up on
a connection on which nothing comes for a minute. So, as S3 does, such a request is answered with 200 after a while,
then with blanks from time to time, and with the document last: that of an error, if the request failed. SDKs look for
that. Not all of them do after a copy (minio-go does not): if a copy fails after its answer was begun, the connection is
cut instead, lest ``mc mv`` removes what was not copied.

Source: "CompleteMultipartUpload" and "CopyObject" in the Amazon S3 API reference.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from typing import Any, TypeVar

from strongroom.s3.call import Headers
from strongroom.s3.request import ClientGone, Exchange
from strongroom.s3.xml import DECLARATION
from strongroom.sealed.faults import StoreError

ENDS_WITH_ERRORS = ("CompleteMultipartUpload", "UploadPartCopy")
"""Operations after which clients look for an error at the end of an answer with 200."""

LONG = (*ENDS_WITH_ERRORS, "CopyObject")
"""The operations that are answered in this way."""

SECONDS = 10.0
"""Seconds until an answer is begun, and between its blanks."""

_DECLARATION = re.compile(rb"\s*<\?xml[^>]*\?>")
_ERROR = re.compile(rb"\s*<Error[\s>]")

T = TypeVar("T")


async def patiently(exchange: Exchange, opening: Callable[[], Awaitable[Headers]], work: Coroutine[Any, Any, T]) -> T:
    """Returns or raises what ``work`` does. If it takes long, the answer is begun with the headers from ``opening``.

    ``work`` goes on if the client goes away. (While the request's body is still arriving, no answer is begun.)
    """
    task = asyncio.create_task(work)
    try:
        while not (await asyncio.wait((task,), timeout=SECONDS))[0]:
            if exchange.ready:
                with suppress(ClientGone, StoreError):  # a StoreError comes from ``opening``
                    await _go_on(exchange, opening)
    except BaseException:
        task.cancel()
        await asyncio.wait((task,))
        raise
    return task.result()


async def _go_on(exchange: Exchange, opening: Callable[[], Awaitable[Headers]]) -> None:
    if exchange.started:
        await exchange.write(b" ")
        return
    headers = await opening()
    await exchange.begin(200, [*headers, ("content-type", "application/xml"), ("x-accel-buffering", "no")], None)
    await exchange.write(DECLARATION.encode())


async def conclude(exchange: Exchange, document: bytes) -> None:
    """End an answer that was begun early with the document that it would have had otherwise."""
    await exchange.write(_DECLARATION.sub(b"", document, count=1))
    await exchange.end()


def is_error(document: bytes) -> bool:
    """Whether a document is an error's, from which clients see that the request failed in spite of its status."""
    return _ERROR.match(_DECLARATION.sub(b"", document, count=1)) is not None
