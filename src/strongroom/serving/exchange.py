"""One request and its response, between a connection and the application.

The request's body waits here until the application takes it; reading pauses while more than :data:`MAX_WAITING` bytes
wait. The response's head is held back until the first bytes of its body are there, so that both go out in one system
call. A response states its length or, if nobody knows it, comes in chunks, so that clients notice if it was cut short.
(In HTTP/1.0 they cannot: there, the end of the connection is the end of the response.)

Knows nothing of sockets: its connection is a :class:`Connection`.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from email.utils import formatdate
from functools import lru_cache
from http import HTTPStatus
from typing import Protocol

from strongroom.buffers import Buffer
from strongroom.header_names import LOWER_NAME
from strongroom.s3.request import ClientGone, HttpRequest, Piece

MAX_WAITING = 512 * 1024
"""Bytes of a request's body that may wait for the application."""

LARGE = 64 * 1024
"""Bytes from which on a piece of a body is not joined with others."""

_log = logging.getLogger("strongroom.serving")

_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
_REMEMBERED_NAMES = 1024
_PHRASES = {status.value: status.phrase for status in HTTPStatus}


class Connection(Protocol):
    """What an exchange needs of the connection that it belongs to."""

    transport: asyncio.Transport
    clogged: asyncio.Future[None] | None
    """Done when the client has taken enough of what was sent to it; None if nothing is to be waited for."""

    @property
    def may_stay(self) -> bool:
        """Whether the connection may stay open after the response that is being made."""
        ...

    def close(self) -> None:
        """Close, once the client has taken what was sent."""
        ...

    def resume_reading(self) -> None:
        """Read more of the body."""
        ...

    def pause_reading(self) -> None:
        """Read no more for now."""
        ...

    def finished(self, exchange: Exchange) -> None:
        """The response is complete."""
        ...


class Exchange:
    """One request and its response (see :class:`strongroom.s3.request.Exchange`).

    ``persistent``: the client wants to keep the connection; ``expects_continue``: it waits for "100 Continue" before it
    sends the body; ``chunks``: it understands a response in chunks.
    """

    __slots__ = (
        "_body",
        "_chunks",
        "_connection",
        "_expects_continue",
        "_held",
        "_left",
        "_waiter",
        "_waiting",
        "complete",
        "gone",
        "heard",
        "persistent",
        "received",
        "request",
        "started",
        "stays",
        "whole",
    )

    def __init__(
        self, connection: Connection, request: HttpRequest, persistent: bool, expects_continue: bool, chunks: bool
    ) -> None:
        self.request = request
        self.persistent = persistent
        self.whole = False  # the request
        self.gone = False  # the client
        self.started = False  # the response
        self.stays = False  # the connection, after the response
        self.complete = False  # the response
        self.heard = 0.0
        self.received = 0
        self._connection = connection
        self._expects_continue = expects_continue
        self._chunks = chunks
        self._body: list[Piece] = []
        self._waiting = 0
        self._waiter: asyncio.Future[None] | None = None
        self._held: bytes | None = None
        self._left: int | None = 0

    # -- what the connection reports -------------------------------------------------------------------------------

    def take(self, piece: Piece) -> None:
        """A piece of the body has arrived."""
        if self.complete:
            return
        self._body.append(piece)
        self.received += len(piece)
        self._waiting += len(piece)
        if self._waiting > MAX_WAITING:
            self._connection.pause_reading()
        self._wake()

    def finish(self) -> None:
        """The request has arrived in full."""
        self.whole = True
        self._wake()

    def lose(self) -> None:
        """The client has left."""
        self.gone = True
        self._body.clear()
        self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    # -- what the application does ---------------------------------------------------------------------------------

    async def run(self, answer: Answer) -> None:
        """Let the application answer. If it does not finish the response, the connection is closed."""
        try:
            await answer(self)
        except ClientGone:
            pass
        except ConnectionAbortedError:
            self._connection.close()  # the application cuts the response short on purpose, and has logged why
        except BaseException as error:
            self._connection.close()
            if not isinstance(error, Exception):
                raise
            _log.exception("a request ended with an error that the application did not handle")
        else:
            if not self.complete and not self.gone:
                _log.error("the application did not answer a request")
                self._connection.close()

    @property
    def open_ended(self) -> bool:
        """Whether a response was begun whose length is not known."""
        return self._left is None

    @property
    def ready(self) -> bool:
        """Whether :meth:`receive` would return at once: some of the body, or its end, is here."""
        return bool(self._body) or self.whole

    async def receive(self) -> Piece:
        """The next piece of the body, empty at its end. Raises ClientGone."""
        if self._expects_continue and not self.started:
            self._expects_continue = False
            if not self._connection.transport.is_closing():
                self._connection.transport.write(_CONTINUE)
        while not (self._body or self.whole or self.gone):
            self._connection.resume_reading()
            self._waiter = asyncio.get_running_loop().create_future()
            await self._waiter
        if self.gone:
            raise ClientGone
        small = 0
        while small < len(self._body) and len(self._body[small]) < LARGE:
            small += 1
        taken = self._body[: max(1, small)]
        del self._body[: len(taken)]
        piece = taken[0] if len(taken) == 1 else b"".join(taken)
        self._waiting -= len(piece)
        if not self.whole and self._waiting <= MAX_WAITING // 2:
            self._connection.resume_reading()
        return piece

    async def respond(self, status: int, headers: Sequence[tuple[str, str]], length: int | None, body: Buffer) -> None:
        """Send a whole response."""
        if self._connection.clogged is not None:
            await self._unclogged()
        if self.gone:
            return
        head = self._head(status, headers, length)
        if self.request.method != "HEAD" and body:
            if len(body) != length:
                raise ValueError("a response does not have the length that it said")
            self._connection.transport.writelines((head, body))
        else:
            self._connection.transport.write(head)
        self._complete()

    async def begin(self, status: int, headers: Sequence[tuple[str, str]], length: int | None) -> None:
        """Begin a response; its body follows."""
        if length is None and self._chunks:
            headers = [*headers, ("transfer-encoding", "chunked")]
        self._held = self._head(status, headers, length)
        self._left = length

    async def write(self, data: Buffer) -> None:
        """Send a piece of the response's body. Raises ClientGone."""
        if self._connection.clogged is not None:
            await self._unclogged()
        if self.gone:
            raise ClientGone
        if not data:
            return  # an empty chunk would end the response
        if self._left is None:
            data = b"%x\r\n%b\r\n" % (len(data), bytes(data)) if self._chunks else data
        else:
            self._left -= len(data)
            if self._left < 0:
                raise ValueError("a response is longer than it said")
        if self._held is None:
            self._connection.transport.write(data)
        else:
            self._connection.transport.writelines((self._held, data))
            self._held = None

    async def end(self) -> None:
        """End the response: its body is complete."""
        if self._left:
            raise ValueError("a response is shorter than it said")
        if self._held is not None:
            self._connection.transport.write(self._held)
            self._held = None
        if self._left is None and self._chunks:
            self._connection.transport.write(b"0\r\n\r\n")
        self._complete()

    async def _unclogged(self) -> None:
        while self._connection.clogged is not None and not self.gone:
            await asyncio.shield(self._connection.clogged)

    def _complete(self) -> None:
        self.complete = True
        self._body.clear()
        self._connection.finished(self)

    def _head(self, status: int, headers: Sequence[tuple[str, str]], length: int | None) -> bytes:
        # Unless the body is here in full, the next request could not be told from the rest of it.
        self.stays = self.persistent and self.whole and self._connection.may_stay
        head = response_head(status, headers, length, self.stays)
        self.started = True
        return head


def response_head(status: int, headers: Sequence[tuple[str, str]], length: int | None, stays: bool) -> bytes:
    """The status line, these headers, and those of all responses. Raises ValueError if one is not a valid header."""
    lines = [f"{_OPENINGS[name]}{value}\r\n" for name, value in headers]
    text = "".join(lines)
    if text.count("\n") != len(lines) or text.count("\r") != len(lines) or "\0" in text:
        raise ValueError("a response's header holds a character that no header can")
    ending = "" if length is None else f"content-length: {length}\r\n"
    if not stays:
        ending += "connection: close\r\n"
    text = f"{_status_and_date(status, int(time.time()))}{text}{ending}\r\n"
    try:
        return text.encode("latin-1")
    except UnicodeEncodeError:  # a value that goes out in UTF-8; those that clients sent stand for bytes, in latin-1
        return b"\n".join([_wire(line) for line in text.split("\n")])


Answer = Callable[[Exchange], Awaitable[None]]
"""Answers requests: all of the application that its connections see."""


class _Openings(dict[str, str]):
    """How a header's line begins, by the header's name, which is checked when it is first used."""

    def __missing__(self, name: str) -> str:
        if not LOWER_NAME.fullmatch(name):
            raise ValueError("a response's header has a name that no header can")
        if len(self) >= _REMEMBERED_NAMES:
            self.clear()
        self[name] = f"{name}: "
        return self[name]


_OPENINGS = _Openings()


def _wire(line: str) -> bytes:
    try:
        return line.encode("latin-1")
    except UnicodeEncodeError:
        return line.encode()


@lru_cache(64)
def _status_and_date(status: int, second: int) -> str:
    return f"HTTP/1.1 {status} {_PHRASES.get(status, '')}\r\ndate: {formatdate(second, usegmt=True)}\r\n"
