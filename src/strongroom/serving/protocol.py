"""HTTP/1.1 on one connection: uvicorn's protocol, with limits on what a client can make grow or keep waiting.

uvicorn's protocol collects a request's head without bound and waits for it without end. Here:

- The head (request line and headers) has at most :data:`MAX_HEAD` bytes and :data:`MAX_HEADERS` headers. So has
  whatever else a client may send without getting anywhere: one endless header, a chunk extension, a trailer.
- The head must be whole within the idle timeout, counted from its first byte or from the connection's beginning.
- A client that takes none of its response for the idle timeout is cut off. (Bodies are the application's to watch.)
- Trailers of HTTP itself are dropped: the application has read the headers by then, and they must not change.
- A request whose body has not come in full when its response begins ends the connection, and says so: what comes
  next could not be told from the rest of the body. The rest is read and dropped for a while, since closing at once
  would reset the connection and could take the response from the client's hands.
- An offer to upgrade is declined, as RFC 9110 section 7.8 allows. With a body it is refused: the parser takes the
  body for the other protocol, and its bytes would pass for the next request.

It also spares the hot path what uvicorn's protocol does once too often: a response's head goes out together with the
first of its body, in one system call, and the pieces of a request's body are copied once and not three times.

Knows nothing of S3 but the form of its error answers.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Self, cast

import httptools
from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import ServerState

from strongroom.s3.errors import ERRORS

MAX_HEAD = 64 * 1024
"""Bytes of request line and headers together."""

MAX_HEADERS = 256

LINGER = 5.0
"""Seconds for which the rest of a body is still taken after the response."""

_ERROR = '<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>{}</Code><Message>{}</Message></Error>'
_MALFORMED = ("BadRequest", "An error occurred when parsing the HTTP request.")  # as AWS answers what is not HTTP


class _Refused(Exception):
    """The request breaks a limit; raised within the parser's callbacks, which wrap it."""

    def __init__(self, code: str) -> None:
        self.code = code


class _ResponseTransport:
    """What a request writes its response to.

    The head is held until something follows it or the response is complete. Closing waits for the rest of the
    request's body, for a while.
    """

    __slots__ = ("_close", "_cycle", "_head", "_transport", "is_closing")

    def __init__(self, transport: asyncio.Transport, cycle: RequestResponseCycle, close: Callable[[], None]) -> None:
        self._transport = transport
        self._cycle = cycle
        self._close = close
        self._head: bytes | None = b""  # None: it is gone
        self.is_closing = transport.is_closing

    def write(self, data: bytes) -> None:
        if self._head and data:
            head, self._head = self._head, None
            self._transport.writelines((head, data))
        elif self._head:
            self.flush()
        elif self._head is not None and self._cycle.response_started:
            self._head = data
        else:
            self._transport.write(data)  # the rest of a body, or 100 Continue

    def flush(self) -> None:
        if self._head:
            head, self._head = self._head, None
            self._transport.write(head)

    def close(self) -> None:
        self.flush()
        self._close()


class _Pieces:
    """What has come of a request's body and was not taken yet, in the place of the bytearray that uvicorn has."""

    __slots__ = ("_pieces", "_size")

    def __init__(self) -> None:
        self._pieces: list[bytes] = []
        self._size = 0

    def __iadd__(self, piece: bytes) -> Self:
        self._pieces.append(piece)
        self._size += len(piece)
        return self

    def __len__(self) -> int:
        return self._size

    def __bytes__(self) -> bytes:
        return b"".join(self._pieces)  # no copy where there is one


class Protocol(HttpToolsProtocol):
    """One connection."""

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._idle_timeout = config.timeout_keep_alive
        self._in_head = False
        self._in_body = False
        self._deaf = False
        self._may_stay = True
        self._head_size = 0
        self._head_timer: asyncio.TimerHandle | None = None
        self._write_timer: asyncio.TimerHandle | None = None
        self._unsent = 0
        self._progress = False
        self._fruitless = 0
        self._keep_alive = False

    # -- the connection ------------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin; the first head is awaited from now on."""
        super().connection_made(transport)
        if self.client is not None and self.client[0].startswith("::ffff:"):
            self.client = (self.client[0][7:], self.client[1])  # IPv4 on a socket for both
        self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """End; no timer outlives the connection."""
        self._head_whole()
        self._stop_watching_writes()
        self._unset_keepalive_if_required()
        super().connection_lost(exc)

    def shutdown(self) -> None:
        """The server ends: finish the response that is being made, then close."""
        self._may_stay = False
        super().shutdown()

    def data_received(self, data: bytes) -> None:
        """Feed the parser; answer what it or a limit refuses, and close."""
        if self._deaf:
            return
        self._unset_keepalive_if_required()
        self._progress = False
        try:
            self._feed(data)
        except httptools.HttpParserCallbackError as error:
            self._refuse(error.__context__.code if isinstance(error.__context__, _Refused) else _MALFORMED[0])
            return
        except httptools.HttpParserError:
            self._refuse(_MALFORMED[0])
            return
        # What the parser holds back came without progress: one long header, a chunk extension, a trailer.
        self._fruitless = 0 if self._progress else self._fruitless + len(data)
        if self._fruitless > MAX_HEAD:
            self._refuse("RequestHeaderSectionTooLarge")
        elif self._head_timer is None and (self._in_head or not (self._progress or self._in_body)):
            self._await_head()

    def _feed(self, data: bytes) -> None:
        while data and not self.transport.is_closing():
            try:
                self.parser.feed_data(data)
                return
            except httptools.HttpParserUpgrade as upgrade:
                data = data[upgrade.args[0] :]

    def _refuse(self, code: str) -> None:
        """Hear no more; say why where that cannot be taken for something else; close."""
        self._deaf = True
        self._head_whole()
        cycle = self._latest()
        if self.transport.is_closing():
            return
        if cycle is not None and self._in_body and (cycle.response_started or self.pipeline):
            self.transport.abort()  # the response is cut short, not ended: its request was not what it seemed
        elif cycle is None or cycle.response_complete or self._in_body:
            self._answer(code)
        else:
            cycle.keep_alive = False  # rubbish behind a good request: that one is still answered

    def _latest(self) -> RequestResponseCycle | None:
        """The latest request whose head was whole; None before the first, which uvicorn's types do not say."""
        return self.cycle

    def _answer(self, code: str) -> None:
        status, message = ERRORS.get(code, (400, _MALFORMED[1]))
        body = _ERROR.format(code, message).encode()
        head = [
            (b"content-type", b"application/xml"),
            (b"content-length", b"%d" % len(body)),
            (b"connection", b"close"),
        ]
        lines = [b"%b: %b" % header for header in self.server_state.default_headers + head]
        self.transport.write(b"\r\n".join([b"HTTP/1.1 %d Bad Request" % status, *lines, b"", body]))
        self.transport.close()

    # -- what the parser calls -----------------------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        """The first byte of a request."""
        self._progress = self._in_head = True
        self._head_size = 0
        super().on_message_begin()

    def on_url(self, url: bytes) -> None:
        """A piece of the request line's target."""
        self._count(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """One whole header, or one whole trailer, which is dropped."""
        if self._in_body:
            return
        self._count(len(name) + len(value) + 4)
        if len(self.headers) >= MAX_HEADERS:
            raise _Refused("RequestHeaderSectionTooLarge")
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """The head is whole: the application takes over."""
        self._head_whole()
        if self.parser.get_method() == b"CONNECT":
            raise _Refused(_MALFORMED[0])
        if self.parser.should_upgrade() and any(
            name == b"transfer-encoding" or (name == b"content-length" and value != b"0")
            for name, value in self.headers
        ):
            raise _Refused(_MALFORMED[0])
        self._progress = self._in_body = True
        self._in_head = False
        super().on_headers_complete()
        # on_message_complete follows within the same call of the parser where there is no body.
        self._keep_alive = self.cycle.keep_alive
        self.cycle.keep_alive = False
        transport = _ResponseTransport(self.transport, self.cycle, self._linger)
        self.cycle.transport = cast(asyncio.Transport, transport)
        self.cycle.on_response = lambda: self._complete(transport)

    def on_body(self, body: bytes) -> None:
        """Some of the body."""
        self._progress = True
        if isinstance(self.cycle.body, bytearray):
            self.cycle.body = cast(bytearray, _Pieces())
        super().on_body(body)

    def on_message_complete(self) -> None:
        """The request is whole."""
        self._progress = True
        self._in_body = False
        if not self.cycle.response_started:
            self.cycle.keep_alive = self._keep_alive and self._may_stay
        super().on_message_complete()

    def _complete(self, transport: _ResponseTransport) -> None:
        """A response is complete; one without a body (to HEAD, say) goes out now."""
        transport.flush()
        self.on_response_complete()

    def _count(self, size: int) -> None:
        self._head_size += size
        if self._head_size > MAX_HEAD:
            raise _Refused("RequestHeaderSectionTooLarge")

    # -- the time a head may take --------------------------------------------------------------------------------------

    def _await_head(self) -> None:
        self._head_timer = self.loop.call_later(self._idle_timeout, self._head_late)

    def _head_whole(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _head_late(self) -> None:
        self._head_timer = None
        cycle = self._latest()
        if cycle is not None and not cycle.response_complete:
            self._await_head()  # pipelined: the client waits for us
        elif self._in_head:
            self._refuse("RequestTimeout")
        else:
            self.transport.close()  # nothing has come: there is nothing to answer

    # -- the rest of a body that nobody wants --------------------------------------------------------------------------

    def _linger(self) -> None:
        if not self._in_body:
            self.transport.close()
            return
        self._deaf = True
        self.flow.resume_reading()
        if self.transport.can_write_eof():
            self.transport.write_eof()
        self.loop.call_later(LINGER, self.transport.close)

    # -- the time in which a client must take something ----------------------------------------------------------------

    def pause_writing(self) -> None:
        """The transport holds more than it should: watch whether the client takes any of it."""
        super().pause_writing()
        self._unsent = self.transport.get_write_buffer_size()
        self._write_timer = self.loop.call_later(self._idle_timeout, self._look_at_writes)

    def resume_writing(self) -> None:
        """The client has taken enough."""
        self._stop_watching_writes()
        super().resume_writing()

    def _look_at_writes(self) -> None:
        unsent = self.transport.get_write_buffer_size()
        if unsent >= self._unsent:
            self.transport.abort()
            return
        self._unsent = unsent
        self._write_timer = self.loop.call_later(self._idle_timeout, self._look_at_writes)

    def _stop_watching_writes(self) -> None:
        if self._write_timer is not None:
            self._write_timer.cancel()
            self._write_timer = None
