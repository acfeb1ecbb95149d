"""Connections to a Vault over which, for each call, at most one answer of bounded length is received.

``aiohttp`` limits the lines and headers of an answer, and whoever reads a body may stop. But it does not limit interim
answers (``100 Continue``), the framing of chunks, or what comes over a connection that nobody reads from: a peer that
sends these without end would fill the memory and block the event loop, deadlines included. And what comes while no call
is under way it takes for the answer to the next one: from then on, each call may get the answer to the one before it,
and a data key is stored as what the KMS made of another.
"""

from __future__ import annotations

import asyncio
import functools
import ssl
from typing import Any

import aiohttp
from aiohttp.client_proto import ResponseHandler

MAX_ANSWER = 4 * 1024**2
"""Bytes of the longest answer that is read, framing included."""

_MOST_HEADS = 16
_INTERIM = range(100, 200)
_CONNECTIONS = 32


class TooMuch(aiohttp.ClientPayloadError):
    """More has come than an answer may have; the text says of what. The connection is closed."""


class _Connection(ResponseHandler):
    """One connection. Counts what has come since a call was last sent over it. It ends if more comes than an answer."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(loop)
        self._bytes = 0
        self._heads = 0
        self._asked = False
        self._body: aiohttp.StreamReader | None = None  # of the answer, once its head has come

    def set_response_params(self, **params: Any) -> None:
        """A call is about to be sent."""
        self._bytes = self._heads = 0
        self._asked, self._body = True, None
        super().set_response_params(**params)

    def data_received(self, data: bytes) -> None:
        """Bytes have come from the Vault; none if aiohttp calls this itself, to go on with what it held back."""
        self._bytes += len(data)
        if data and (not self._asked or (self._body is not None and self._body.is_eof())):
            self._leave()
        elif self._bytes <= MAX_ANSWER:
            super().data_received(data)
        else:
            self._end(f"its answer is longer than {MAX_ANSWER:,} bytes")

    def feed_data(self, data: Any, size: int = 0) -> None:
        """The head of an answer, or of an interim answer, has come."""
        self._heads += 1
        message, body = data
        if self._body is not None:
            self._leave()
        elif self._heads <= _MOST_HEADS:
            self._body = None if message.code in _INTERIM else body
            super().feed_data(data, size)
        else:
            self._end("it sends one head of an answer after the other")

    def _leave(self) -> None:
        """This is no answer to any call. The one that has come in full, if any, holds."""
        if self.transport is not None:
            self.transport.abort()

    def _end(self, reason: str) -> None:
        error = TooMuch(reason)
        if self._payload is not None:
            self._payload.set_exception(error)
            self._payload = None
        if not self.is_eof():
            self.set_exception(error)
        if self.transport is not None:
            self.transport.abort()


class VaultConnector(aiohttp.TCPConnector):
    """Makes such connections, with ``tls`` if the URL is https. To be made within an event loop."""

    def __init__(self, tls: ssl.SSLContext | None) -> None:
        super().__init__(ssl=tls if tls else True, limit=_CONNECTIONS)
        make: Any = functools.partial(_Connection, loop=self._loop)
        self._factory = make
