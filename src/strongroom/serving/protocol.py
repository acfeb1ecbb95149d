"""HTTP/1.1 on one connection, with limits on how much memory and time a client can take.

Requests are read here, by llhttp, and each is answered by an :class:`~strongroom.serving.exchange.Exchange`, in order.

- The head (request line and headers) has at most :data:`MAX_HEAD` bytes and :data:`MAX_HEADERS` headers, its query
  :data:`MAX_PARAMETERS` parameters. The limit of bytes also holds for anything else with which a request gets no
  further: one endless header, a chunk extension, a trailer.
- The head must arrive within the idle timeout, counted from its first byte, or from the end of the previous response if
  that is later. A connection on which nothing comes for that long is closed.
- A client that takes nothing of its response for the idle timeout is cut off, also if the connection is to be closed
  after it. (Request bodies are watched by the application.)
- :data:`MAX_AHEAD` pipelined requests may wait. What comes after them is dropped, and the connection ends with the
  last of them. No more are read until all of them have had their turn.
- A client that closes its side after whole requests still gets its answers; one that does so within a request has left.
- HTTP trailers are dropped: the application has read the headers by then, and they must not change.
- If a request's body has not arrived in full when its response begins, the connection ends after the response, which
  says so: the next request could not be told from the rest of the body. The rest is read and dropped for a while, since
  closing at once would reset the connection, and the client might lose the response.
- The rest of a long body does not pass through the parser (:mod:`~strongroom.serving.straight`).
- An offer to upgrade is ignored, as RFC 9110 section 7.8 allows. A request with such an offer and a body is refused:
  the parser takes the body for the other protocol, and its bytes would be taken for the next request.

Knows nothing of S3 except the form of its error answers.
"""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass, field

import httptools

from strongroom.s3.errors import ERRORS
from strongroom.s3.request import HttpRequest
from strongroom.serving.exchange import Answer, Exchange, response_head
from strongroom.serving.straight import WORTH, StraightBody
from strongroom.serving.taking import Taking

MAX_HEAD = 64 * 1024
"""Bytes of request line and headers together."""

MAX_HEADERS = 256

MAX_PARAMETERS = 256
"""Parameters in a query, into which SDKs move headers. They are sorted and decoded for anybody, before a signature is
checked.
"""

MAX_AHEAD = 64
"""Requests that may wait for the one that is being answered."""

LINGER = 5.0
"""Seconds for which the rest of a body is still read and dropped after the response."""

ON_ITS_WAY = 0.1
"""Seconds in which a server that ends still takes the next request of a kept connection: whoever sent it before the
connection was closed could not tell whether it was carried out.
"""

_received = memoryview(bytearray(256 * 1024))
"""The buffer into which all connections receive what is for the parser. It is copied out at once, and a process has
only one event loop, so they can share it.
"""

_NOBODY = asyncio.BufferedProtocol()

_ERROR = '<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>{}</Code><Message>{}</Message></Error>'
_MALFORMED = ("BadRequest", "An error occurred when parsing the HTTP request.")  # AWS's answer to what is not HTTP


@dataclass(slots=True)
class Server:
    """What the connections of a process share: the application, the idle timeout in seconds, and what is under way."""

    answer: Answer
    idle_timeout: float
    connections: set[Protocol] = field(default_factory=set)
    tasks: set[asyncio.Task[None]] = field(default_factory=set)


class _Refused(Exception):
    """The request breaks a limit; raised within the parser's callbacks. The parser wraps it."""

    def __init__(self, code: str) -> None:
        self.code = code


class Protocol(asyncio.BufferedProtocol):
    """One connection."""

    transport: asyncio.Transport
    _taking: Taking

    def __init__(self, server: Server, loop: asyncio.AbstractEventLoop) -> None:
        self.clogged: asyncio.Future[None] | None = None
        self._server = server
        self._loop = loop
        self._latest: Exchange | None = None  # the one whose request is being read, or was read last
        self._queue: deque[Exchange] = deque()  # those that wait for the one that is being answered
        self._answering: Exchange | None = None
        self._reading = True
        self._deaf = False
        self._ends = False  # the server
        self._asked_all = False  # the client
        # The request that is being read.
        self._in_head = self._in_body = False
        self._body_size = self._body_seen = 0
        self._straight: StraightBody | None = None
        self._url = b""
        self._headers: dict[str, str] = {}
        self._head_size = self._head_lines = 0
        self._progress = False
        self._fruitless = 0
        # What is waited for.
        self._since: float | None = None  # when the wait for a head began
        self._watch: asyncio.TimerHandle | None = None

    # -- the connection ------------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin; the first head is due within the idle timeout from now."""
        self.transport = transport
        self._parser = httptools.HttpRequestParser(self)
        self._server.connections.add(self)
        peer = transport.get_extra_info("peername")
        self._client = peer[0].removeprefix("::ffff:") if peer else ""  # an IPv4 address on a socket for IPv6 and IPv4
        self._secure = transport.get_extra_info("sslcontext") is not None
        self._since = self._loop.time()
        self._watch = self._loop.call_later(self._server.idle_timeout, self._look)
        self._taking = Taking(transport, self._loop, self._server.idle_timeout)

    def connection_lost(self, exc: Exception | None) -> None:
        """End; no timer outlives the connection."""
        self._server.connections.discard(self)
        self._taking.end()
        if self._watch is not None:
            self._watch.cancel()
        for exchange in (self._answering, *self._queue):
            if exchange is not None:
                exchange.lose()
        self._queue.clear()
        self._unclog()
        # Break the reference cycles, so that no memory is held until the garbage collector finds them.
        self._answering = self._latest = self._straight = None
        del self._parser
        if self._secure:
            self.transport.set_protocol(_NOBODY)  # uvloop's TLS (256 KiB) holds bound methods of its protocol: a cycle

    def shutdown(self) -> None:
        """The server is ending: finish the response that is being made, or one to a request that is on its way, then
        close.
        """
        self._ends = True
        self._loop.call_later(ON_ITS_WAY, self._leave)

    def _leave(self) -> None:
        if self._answering is None:
            self.close()

    @property
    def may_stay(self) -> bool:
        """Whether another request may follow the one that is being answered."""
        return not self._ends and (not self._asked_all or bool(self._queue))

    def close(self) -> None:
        """Close, once the client has taken what was sent."""
        self.transport.close()
        if self in self._server.connections:
            self._taking.part()

    def eof_received(self) -> bool:
        """The client sends no more. It may still wait for its answers; if it has left, writing them fails. Returns True
        if the connection is still needed. (With TLS, it cannot stay half open.)
        """
        self._asked_all = True
        if self._answering is None or self._in_body or self._secure:
            self.close()
            return False
        return True

    def get_buffer(self, sizehint: int) -> memoryview:
        """The buffer for the next bytes."""
        return _received if self._straight is None or self._deaf else self._straight.buffer()

    def buffer_updated(self, nbytes: int) -> None:
        """So many bytes have been put into the buffer."""
        if self._deaf:
            return
        if self._straight is None:
            self._parse(bytes(_received[:nbytes]))
            return
        if self._latest is not None:
            self._latest.heard = self._loop.time()
        if self._straight.updated(nbytes):
            self._straight = None
            self._parser = httptools.HttpRequestParser(self)  # the former one still waits for the body
            self.on_message_complete()

    def _parse(self, data: bytes) -> None:
        """Feed the parser. If it refuses the bytes, or a limit is broken, answer with an error and close."""
        self._progress = False
        try:
            self._feed(data)
        except httptools.HttpParserCallbackError as error:
            self._refuse(error.__context__.code if isinstance(error.__context__, _Refused) else _MALFORMED[0])
            return
        except httptools.HttpParserError:
            self._refuse(_MALFORMED[0])
            return
        # Bytes for which the parser called nothing were no progress: one long header, a chunk extension, a trailer.
        self._fruitless = 0 if self._progress else self._fruitless + len(data)
        if self._fruitless > MAX_HEAD:
            self._refuse("RequestHeaderSectionTooLarge")
        elif self._in_body and self._body_size - self._body_seen >= WORTH:
            self._go_straight()

    def _go_straight(self) -> None:
        """Receive the rest of the body past the parser, if its request is the one that is being answered."""
        latest = self._latest
        if latest is not None and latest is self._answering and not self._deaf:
            self._straight = StraightBody(self._body_seen, self._body_size - self._body_seen, latest.take)

    def _feed(self, data: bytes) -> None:
        while data and not self.transport.is_closing():
            try:
                self._parser.feed_data(data)
                return
            except httptools.HttpParserUpgrade as upgrade:
                data = data[upgrade.args[0] :]

    def _refuse(self, code: str) -> None:
        """Ignore whatever comes; say why, if that cannot be taken for part of another response; close."""
        self._deaf = True
        self._since = None
        latest = self._latest
        if self.transport.is_closing():
            return
        if latest is not None and self._in_body and (latest.started or self._queue):
            self.transport.abort()  # the response is cut short, not ended: its request was not what it seemed
        elif latest is None or latest.complete or self._in_body:
            self._answer(code)
        else:
            latest.persistent = False  # rubbish after a good request, which is still answered

    def _answer(self, code: str) -> None:
        status, message = ERRORS.get(code, (400, _MALFORMED[1]))
        body = _ERROR.format(code, message).encode()
        self.transport.write(
            response_head(status, [("content-type", "application/xml")], len(body), stays=False) + body
        )
        self.close()

    # -- what the parser calls -----------------------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        """The first byte of a request."""
        self._progress = self._in_head = True
        self._head_size = 0
        self._url = b""
        self._headers = {}
        self._head_lines = 0
        if self._answering is None:
            self._since = self._loop.time()

    def on_url(self, url: bytes) -> None:
        """A piece of the request line's target."""
        self._url += url
        self._head_size += len(url)
        if self._head_size > MAX_HEAD:
            raise _Refused("RequestHeaderSectionTooLarge")

    def on_header(self, name: bytes, value: bytes) -> None:
        """One whole header; or one whole trailer, which is dropped."""
        if self._in_body:
            return
        self._head_size += len(name) + len(value) + 4
        self._head_lines += 1
        if self._head_size > MAX_HEAD or self._head_lines > MAX_HEADERS:
            raise _Refused("RequestHeaderSectionTooLarge")
        key, headers = name.decode("latin-1").lower(), self._headers
        text = value.decode("latin-1").rstrip(" \t")  # no part of it (RFC 9110, section 5.5), but the parser leaves it
        if key == "host" and key in headers:
            raise _Refused(_MALFORMED[0])
        headers[key] = f"{headers[key]},{text}" if key in headers else text

    def on_headers_complete(self) -> None:
        """The head is complete: the application takes over, now or when the request's turn comes."""
        parser, headers = self._parser, self._headers
        method = parser.get_method().decode("ascii")
        if method == "CONNECT" or len(self._queue) >= MAX_AHEAD:
            raise _Refused(_MALFORMED[0])
        if parser.should_upgrade() and ("transfer-encoding" in headers or headers.get("content-length", "0") != "0"):
            raise _Refused(_MALFORMED[0])
        modern = parser.get_http_version() != "1.0"
        if modern and "host" not in headers:
            raise _Refused(_MALFORMED[0])  # RFC 9112, 3.2
        path, query = _split(self._url, headers.get("host", ""))
        if query.count(b"&") >= MAX_PARAMETERS:
            raise _Refused("RequestHeaderSectionTooLarge")
        request = HttpRequest(
            method, path.decode("ascii"), query.decode("latin-1"), headers, self._secure, self._client
        )
        self._progress = self._in_body = True
        self._in_head = False
        chunked = "transfer-encoding" in headers
        if chunked and headers["transfer-encoding"].lower() != "chunked":
            raise _Refused("NotImplemented")  # RFC 9112, 6.1: the parser accepts other codings before it, decodes none
        self._body_size, self._body_seen = 0 if chunked else int(headers.get("content-length", "0")), 0
        expects_continue = modern and headers.get("expect", "").lower() == "100-continue"  # RFC 9110, 10.1.1
        exchange = Exchange(self, request, parser.should_keep_alive() and modern, expects_continue, modern)
        self._latest = exchange
        if self._answering is None:
            self._begin(exchange)
        else:
            self.pause_reading()
            self._queue.append(exchange)

    def on_body(self, body: bytes) -> None:
        """A piece of the body."""
        self._progress = True
        self._body_seen += len(body)
        if self._latest is not None:
            self._latest.take(body)

    def on_message_complete(self) -> None:
        """The request has arrived in full."""
        self._progress = True
        self._in_body = False
        if self._latest is not None:
            self._latest.finish()

    # -- the exchanges -------------------------------------------------------------------------------------------------

    def _begin(self, exchange: Exchange) -> None:
        self._answering = exchange
        self._since = None
        task = self._loop.create_task(exchange.run(self._server.answer))
        self._server.tasks.add(task)
        task.add_done_callback(self._server.tasks.discard)

    def finished(self, exchange: Exchange) -> None:
        """A response is complete: begin with the next request, or close the connection."""
        self._answering = None
        if not exchange.stays or not (self.may_stay or self._queue):
            self._linger()
            return
        if self._queue:
            self._begin(self._queue.popleft())
        else:
            self._since = self._loop.time()
        if not self._queue:
            self.resume_reading()  # the last one's body may still come; if done earlier, more requests would pile up

    def _linger(self) -> None:
        """Close at once, or, if the rest of a body is still coming, after a while in which it is read and dropped."""
        if not (self._in_body or self._deaf):
            self.close()
            return
        self._deaf = True
        self._straight = None
        self.resume_reading()
        if self.transport.can_write_eof():
            self.transport.write_eof()
        self._loop.call_later(LINGER, self.close)

    def pause_reading(self) -> None:
        """Read nothing for now."""
        if self._reading:
            self._reading = False
            self.transport.pause_reading()

    def resume_reading(self) -> None:
        """Go on reading."""
        if not (self._reading or self._asked_all):
            self._reading = True
            self.transport.resume_reading()

    # -- the time that a head may take ---------------------------------------------------------------------------------

    def _look(self) -> None:
        """Check whether a head is late. There is one timer for a connection, not one for each request: it is set again
        whenever it fires.
        """
        timeout = self._server.idle_timeout
        late = timeout if self._since is None else self._since + timeout - self._loop.time()
        if late > 0:
            self._watch = self._loop.call_later(late, self._look)
        elif self._in_head:
            self._refuse("RequestTimeout")
        else:
            self.close()  # nothing of a request has come: there is nothing to answer

    # -- what the client has not taken yet -----------------------------------------------------------------------------

    def pause_writing(self) -> None:
        """The transport holds more than it should: watch whether the client takes any of it."""
        self.clogged = self._loop.create_future()
        self._taking.watch()

    def resume_writing(self) -> None:
        """The client has taken enough. Go on watching if the connection is closing: then it must take all."""
        if not self.transport.is_closing():
            self._taking.stop()
        self._unclog()

    def _unclog(self) -> None:
        if self.clogged is not None and not self.clogged.done():
            self.clogged.set_result(None)
        self.clogged = None


def _split(url: bytes, host: str) -> tuple[bytes, bytes]:
    """The path and the query of a request's target, still encoded. Raises _Refused if it names another host."""
    if url.startswith(b"/") and b"#" not in url:
        path, _, query = url.partition(b"?")
        return path, query
    parsed = httptools.parse_url(url)  # the form with a host, which clients send to proxies; or "*"
    if parsed.host and url.split(b"/", 3)[2].decode("latin-1").lower() != host.lower():
        raise _Refused(_MALFORMED[0])  # RFC 9112, 3.2.2: the target's counts, which a proxy may have gone by
    return parsed.path or b"", parsed.query or b""
