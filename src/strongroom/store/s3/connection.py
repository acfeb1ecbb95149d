"""HTTP/1.1 on one connection to a server, from the client's side: a request out, its answer in, then the next.

The server is not trusted: what it can make grow or keep waiting has a limit, and after an answer that leaves any doubt
about where it ended, the connection is not used again.

- The head of an answer, with the 1xx answers before it, has at most :data:`MAX_HEAD` bytes and :data:`MAX_HEADERS`
  headers, and must be complete in time, counted from the end of the request. No more than MAX_HEAD bytes may come
  without progress elsewhere, either (in a chunk extension or a trailer). Trailers are dropped.
- Bodies stop coming while nobody reads them (:mod:`~strongroom.store.s3.response`). While somebody does, at least
  :data:`LEAST` bytes have to come in the time that the server may keep silent: a byte now and then is not enough.
- An answer that comes before the request was sent in full ends the sending and the connection. It can only be a
  refusal: the server cannot have carried out a request that it does not have yet.
- Bytes that nobody asked for end the connection; so do codings and upgrades that were never offered.

There is no timer for each request: whoever holds connections regularly calls :meth:`Connection.late` on each.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from math import inf
from typing import cast

import httptools

from strongroom.buffers import Buffer
from strongroom.store.s3.response import Response
from strongroom.store.s3.wire import Outgoing

MAX_HEAD = 64 * 1024
"""Bytes of status line and headers together."""

MAX_HEADERS = 256

LEAST = 16 * 1024
"""Bytes of a body that have to come in the time that the server may keep silent, unless the body ends."""

PATIENCE = 2.0
"""Seconds to wait for 100 Continue. A server that does not send it may not know of it (RFC 9110, 10.1.1)."""

_VERSIONS = ("1.1", "1.0")
_STATUS_LINE = len("HTTP/1.1 100 \r\n\r\n")
_INTERIM, _FINAL = range(100, 200), range(200, 600)
_CONTINUE, _SWITCHING = 100, 101


class Broken(ConnectionError):
    """The connection ended before the answer did, or what came is not HTTP.

    ``stale``: it was used before, and the server sent nothing more on it: most likely it had closed it already.
    """

    def __init__(self, reason: str, *, stale: bool = False) -> None:
        super().__init__(reason)
        self.stale = stale


class _Refused(Exception):
    """The answer breaks a limit; raised within the parser's callbacks, which wrap it."""


class Connection(asyncio.Protocol):
    """One connection. ``idle`` is called when it can take another request, ``lost`` when it is gone."""

    def __init__(self, idle: Callable[[Connection], None], lost: Callable[[Connection], None], host: str) -> None:
        self.host = host
        self.idle_since = 0.0
        self._silence = inf
        self._least = LEAST
        self._on_idle = idle
        self._on_lost = lost
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._used = False
        self._writable: asyncio.Future[None] | None = None
        self._paused = False
        self._end()

    def _end(self) -> None:
        """Set the state in which no answer is awaited."""
        self._parser: httptools.HttpResponseParser | None = None
        self._response: Response | None = None
        self._answered: asyncio.Future[Response] | None = None
        self._wanted: asyncio.Future[None] | None = None
        self._bodiless = False
        self._heard = self._progress = self._in_body = self._until_end = self._whole = self._excess = False
        self._http_11 = True
        self._unsent = self._head_size = self._fruitless = self._brought = 0
        self._deadline = inf

    # -- requests ------------------------------------------------------------------------------------------------------

    async def request(
        self, head: bytes, body: Buffer | Outgoing, *, bodiless: bool, silence: float, least: int = LEAST
    ) -> Response:
        """Send a request, whose head is encoded already. Returns the answer once its head has come.

        ``bodiless``: the answer has no body, whatever its head says, since the request is a HEAD. ``silence``: seconds
        that the server may keep silent, or take nothing of what is sent; ``least``: bytes of the answer's body that
        have to come in that time. Raises Broken, TimeoutError, and what ``pieces`` raises.
        """
        assert self._response is None and self._transport is not None
        self._response = response = Response(self)
        answered: asyncio.Future[Response] = self._loop.create_future()
        self._answered = answered
        self._parser = httptools.HttpResponseParser(self)
        self._bodiless = bodiless
        self._silence, self._least = silence, least
        self._await_server()
        try:
            if isinstance(body, Outgoing):
                self._wanted = self._loop.create_future() if body.asked else None
                self._unsent = body.length
                self._transport.write(head)
                await self._send(body, response, answered)
            elif body:
                self._transport.writelines((head, body))
            else:
                self._transport.write(head)
            return await answered
        except BaseException:
            if self._response is response:  # otherwise another request uses the connection by now
                self.abort()
            raise

    async def _send(self, body: Outgoing, response: Response, answered: asyncio.Future[Response]) -> None:
        """Send a body, unless the answer comes first."""
        pump = self._loop.create_task(self._pump(body, response))
        try:
            await asyncio.wait((pump, answered), return_when=asyncio.FIRST_COMPLETED)
        finally:
            pump.cancel()
            await asyncio.wait((pump,))
        error = None if pump.cancelled() else pump.exception()
        if error is not None and not answered.done():
            raise error

    async def _pump(self, body: Outgoing, response: Response) -> None:
        if self._wanted is not None:
            await asyncio.wait((self._wanted,), timeout=PATIENCE)
        pieces = body.pieces()
        while self._response is response:
            self._deadline = inf  # while we wait for the next piece, the server need not do anything
            piece = await anext(pieces, None)
            if self._response is not response or self._transport is None:
                return
            if piece is None:
                if self._unsent:
                    raise ValueError(f"the body of a request has {self._unsent} bytes less than announced")
                self._await_server()
                return
            self._unsent -= len(piece)
            if self._unsent < 0:
                raise ValueError(f"the body of a request has more bytes than the {body.length} announced")
            self._transport.write(piece)
            if self._writable is not None:
                self._await_server()
                await self._writable

    def _await_server(self) -> None:
        self._brought = 0
        self._deadline = self._loop.time() + self._silence

    def late(self, now: float) -> None:
        """End with TimeoutError if the server has kept silent for too long at ``now`` (the loop's time)."""
        if now > self._deadline:
            self._fail(TimeoutError("the server has kept silent for too long"))

    @property
    def is_closing(self) -> bool:
        """Whether it can no longer be used for requests."""
        return self._transport is None or self._transport.is_closing()

    @property
    def is_lost(self) -> bool:
        """Whether it is gone, and ``lost`` was called."""
        return self._transport is None

    def abort(self) -> None:
        """End it now, whatever is under way."""
        self._end()
        if self._transport is not None:
            self._transport.abort()

    # -- what the transport calls --------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        """Feed the parser. Once the answer is complete, the connection is free for other requests."""
        parser = self._parser
        if parser is None:
            self.abort()  # an answer to nothing
            return
        self._heard = True
        self._progress = False
        clean = True
        try:
            parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            if not self._whole:
                refused = error.__context__ if isinstance(error.__context__, _Refused) else error
                self._fail(Broken(f"the answer is not sound: {refused}"))
                return
            clean = False
        if self._whole:
            self._set_free(clean)
            return
        # What the parser holds back counts as no progress: one long header, a chunk extension, a trailer.
        self._fruitless = 0 if self._progress else self._fruitless + len(data)
        if self._fruitless > MAX_HEAD:
            self._fail(Broken("the answer is not sound: a line of it is endless"))
        elif self._in_body and not self._paused:
            self._brought += len(data)
            if self._brought >= self._least:
                self._await_server()

    def _set_free(self, clean: bool) -> None:
        """The answer is complete: the connection is idle from now on, or ends if it cannot be relied on."""
        assert self._response is not None and self._transport is not None
        headers = self._response.headers
        stays = (
            clean
            and not self._excess
            and not self._unsent
            and not self._until_end
            and self._writable is None
            and self._http_11
            and "close" not in headers.get("connection", "").lower()
        )
        self._response.finish()
        self._end()
        self.resume()
        if stays:
            self._used = True
            self.idle_since = self._loop.time()
            self._on_idle(self)
        else:
            self._transport.abort()

    def eof_received(self) -> None:
        """The server sends no more: this is how a body without a length ends."""
        if self._until_end and self._response is not None:
            self._set_free(clean=False)

    def connection_lost(self, exc: Exception | None) -> None:
        """End, and raise an error to whoever waits."""
        if exc is None:
            self.eof_received()
        if self._response is not None:
            reason = str(exc) if exc else "the server closed the connection"
            self._fail(Broken(reason, stale=self._used and not self._heard))
        self._transport = None
        self.resume_writing()
        self._on_lost(self)

    def _fail(self, error: Exception) -> None:
        """Raise ``error`` to whoever waits for the answer or its body, and end."""
        response, answered = self._response, self._answered
        self.abort()
        if answered is not None and not answered.done():
            answered.set_exception(error)
        elif response is not None:
            response.fail(error)

    # -- flow ----------------------------------------------------------------------------------------------------------

    def pause(self) -> None:
        """Make the server wait: nobody reads its answer."""
        if not self._paused and self._transport is not None:
            self._paused = True
            self._deadline = inf
            self._transport.pause_reading()

    def resume(self) -> None:
        """Let more come."""
        if self._paused and self._transport is not None:
            self._paused = False
            if self._response is not None:
                self._await_server()
            if not self._transport.is_closing():
                self._transport.resume_reading()

    def pause_writing(self) -> None:
        """The server takes less than is sent: wait before sending more."""
        self._writable = self._loop.create_future()

    def resume_writing(self) -> None:
        """The server has taken enough: go on."""
        if self._writable is not None and not self._writable.done():
            self._writable.set_result(None)
        self._writable = None

    # -- what the parser calls -----------------------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        """The first byte of an answer, or of what follows it."""
        self._excess = self._whole
        self._head_size += _STATUS_LINE
        if self._head_size > MAX_HEAD:
            raise _Refused("too much comes before it")

    def on_header(self, name: bytes, value: bytes) -> None:
        """A complete header; or a complete trailer, which is dropped."""
        if self._in_body or self._whole:
            return
        assert self._response is not None
        headers = self._response.headers
        self._head_size += len(name) + len(value) + 4
        if self._head_size > MAX_HEAD or len(headers) >= MAX_HEADERS:
            raise _Refused("its head is too long")
        headers[name.lower().decode("latin-1")] = value.rstrip(b" \t").decode("latin-1")

    def on_headers_complete(self) -> None:
        """The head is complete."""
        if self._whole:
            return
        assert self._response is not None and self._parser is not None and self._answered is not None
        response, parser = self._response, self._parser
        status = parser.get_status_code()
        self._progress = True
        if status in _INTERIM:
            if status == _SWITCHING:
                raise _Refused("it speaks another protocol")
            response.headers.clear()
            if status == _CONTINUE and self._wanted is not None and not self._wanted.done():
                self._wanted.set_result(None)
            return
        version = parser.get_http_version()
        coding = response.headers.get("transfer-encoding", "chunked").lower()
        if version not in _VERSIONS or coding != "chunked" or status not in _FINAL:
            raise _Refused("it has another version, coding or status")
        if self._unsent and status < 300:
            raise _Refused("it is one of success, and the request was not sent yet")
        self._http_11 = version == "1.1"
        response.status = status
        if not self._answered.done():
            self._answered.set_result(response)
        self._in_body = True
        self._await_server()
        if self._bodiless:
            self._whole = True
        elif status not in (204, 304):
            self._until_end = not ("content-length" in response.headers or "transfer-encoding" in response.headers)

    def on_body(self, body: bytes) -> None:
        """Some of the body."""
        self._progress = True
        if self._whole:
            self._excess = True
        elif self._response is not None:
            self._response.feed(body)

    def on_message_complete(self) -> None:
        """The answer is complete, or a 1xx answer before it is."""
        if self._in_body:
            self._whole = True
