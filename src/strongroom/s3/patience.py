"""Answers to what may take longer than clients wait: begun in time, and ended when it is known how.

Completing an upload on a shared folder copies its parts, and a copy may seal 5 GiB anew. Clients and proxies give up on
a connection on which nothing comes for a minute. So, as S3 does, such a request is answered 200 after a while, with
blanks now and then, and with the document last: an error's, where it failed after all. SDKs look into it for that.
Not all do where it should tell of a copied object (minio-go); a copy that fails after its answer was begun cuts the
connection instead, lest ``mc mv`` removes what was not copied.

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
"""Operations whose error clients find at the end of an answer of 200."""

LONG = (*ENDS_WITH_ERRORS, "CopyObject")
"""The operations that are answered like this."""

SECONDS = 10.0
"""Until an answer is begun, and between its blanks."""

_DECLARATION = re.compile(rb"\s*<\?xml[^>]*\?>")
_ERROR = re.compile(rb"\s*<Error[\s>]")

T = TypeVar("T")


async def patiently(exchange: Exchange, opening: Callable[[], Awaitable[Headers]], work: Coroutine[Any, Any, T]) -> T:
    """What ``work`` gives, or raises. If it takes long, the answer is begun with the headers that ``opening`` gives.

    ``work`` goes on if the client goes away. (While a request's body is still awaited, nothing is begun.)
    """
    task = asyncio.create_task(work)
    try:
        while not (await asyncio.wait((task,), timeout=SECONDS))[0]:
            if exchange.ready:
                with suppress(ClientGone, StoreError):  # the latter: of the headers, whatever they depend on
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
    """End the answer that was begun, with the document that it would have been without the wait."""
    await exchange.write(_DECLARATION.sub(b"", document, count=1))
    await exchange.end()


def is_error(document: bytes) -> bool:
    """Whether clients see from a document that the request failed, whatever the status was."""
    return _ERROR.match(_DECLARATION.sub(b"", document, count=1)) is not None
