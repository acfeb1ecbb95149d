"""One request and its response, between a connection and the application: ASGI 3, HTTP version 1.1.

The request's body waits here until the application takes it, and its reading pauses where more than
:data:`MAX_WAITING` bytes wait. The response's head is held until the first of its body is there, so that the two go out
in one system call. A response tells its length: it can then be seen to have been cut short.

Knows nothing of sockets; the connection that it belongs to is a :class:`Connection`.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, MutableMapping
from functools import lru_cache
from http import HTTPStatus
from typing import Any, Protocol

Message = MutableMapping[str, Any]
App = Callable[[Any, Any, Any], Awaitable[None]]
"""An ASGI 3 application."""

MAX_WAITING = 512 * 1024
"""Bytes of a request's body that may wait for the application."""

_log = logging.getLogger("strongroom.serving")

_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
_NAME = frozenset(b"!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyz")  # "token" of RFC 9110, section 5.6.2
_STATUS_LINES = {status: b"HTTP/1.1 %d %b\r\n" % (status, status.phrase.encode()) for status in HTTPStatus}
_EMPTY = (204, 304)  # statuses whose responses have no body, and no length


class Connection(Protocol):
    """What an exchange needs of the connection that it belongs to."""

    transport: asyncio.Transport
    clogged: asyncio.Future[None] | None
    """Done when the client has taken enough of what was sent to it; None where it has."""

    @property
    def standing_headers(self) -> list[tuple[bytes, bytes]]:
        """The headers of every response."""
        ...

    @property
    def may_stay(self) -> bool:
        """Whether the connection may outlive the response that is being made."""
        ...

    def resume_reading(self) -> None:
        """Let more of the body come."""
        ...

    def pause_reading(self) -> None:
        """Let no more come for now."""
        ...

    def finished(self, exchange: Exchange) -> None:
        """The response is complete."""
        ...


class Exchange:
    """One request and its response. ``persistent``: the client lets the connection stay."""

    __slots__ = (
        "_app_is_told",
        "_body",
        "_connection",
        "_expects_continue",
        "_held",
        "_is_head",
        "_left",
        "_scope",
        "_waiter",
        "_waiting",
        "complete",
        "gone",
        "persistent",
        "started",
        "stays",
        "whole",
    )

    def __init__(self, connection: Connection, scope: Message, persistent: bool, expects_continue: bool) -> None:
        self._connection = connection
        self._scope = scope
        self._expects_continue = expects_continue
        self._is_head = scope["method"] == "HEAD"
        self._body: list[bytes] = []
        self._waiting = 0
        self._waiter: asyncio.Future[None] | None = None
        self._app_is_told = False  # that the body is whole
        self._held: bytes | None = None
        self._left = 0
        self.persistent = persistent
        self.whole = False
        self.gone = False
        self.started = False
        self.stays = False
        self.complete = False

    # -- what the connection tells ---------------------------------------------------------------------------------

    def take(self, piece: bytes) -> None:
        """Some of the body has come."""
        if self.complete:
            return
        self._body.append(piece)
        self._waiting += len(piece)
        if self._waiting > MAX_WAITING:
            self._connection.pause_reading()
        self._wake()

    def end(self) -> None:
        """The request is whole."""
        self.whole = True
        self._wake()

    def lose(self) -> None:
        """The client has gone."""
        self.gone = True
        self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    # -- what the application does ---------------------------------------------------------------------------------

    async def run(self, app: App) -> None:
        """Let the application answer. What it does not answer in full is cut short."""
        try:
            await app(self._scope, self.receive, self.send)
        except ConnectionAbortedError:
            self._connection.transport.close()  # on purpose, and it has said why
        except BaseException as error:
            _log.exception("a request ended with an error that the application did not handle")
            self._connection.transport.close()
            if not isinstance(error, Exception):
                raise
        else:
            if not self.complete and not self.gone:
                _log.error("the application did not answer")
                self._connection.transport.close()

    async def receive(self) -> Message:
        """The body that has come since it was last asked for; waits for some."""
        if self._expects_continue and not self.started:
            self._expects_continue = False
            if not self._connection.transport.is_closing():
                self._connection.transport.write(_CONTINUE)
        while not (self.gone or self.complete or self._body or (self.whole and not self._app_is_told)):
            self._connection.resume_reading()
            self._waiter = asyncio.get_running_loop().create_future()
            await self._waiter
        if self.gone or self.complete:
            return {"type": "http.disconnect"}
        pieces, self._body, self._waiting = self._body, [], 0
        self._app_is_told = self.whole
        body = pieces[0] if len(pieces) == 1 else b"".join(pieces)
        return {"type": "http.request", "body": body, "more_body": not self.whole}

    async def send(self, message: Message) -> None:
        """Send the head, or some of the body. Waits while the client does not take what was sent before."""
        connection = self._connection
        while connection.clogged is not None and not self.gone:
            await asyncio.shield(connection.clogged)
        if self.gone:
            return
        if not self.started:
            self._held = self._head(message["status"], message["headers"])
            self.started = True
            return
        body = message["body"]
        if self._is_head:
            body, self._left = b"", 0
        self._left -= len(body)
        if self._left < 0 or self.complete:
            raise RuntimeError("a response is longer than it said")
        if self._held is None:
            connection.transport.write(body)
        elif body:
            connection.transport.writelines((self._held, body))
            self._held = None
        if not message.get("more_body", False):
            self._complete()

    def _complete(self) -> None:
        if self._left:
            raise RuntimeError("a response is shorter than it said")
        if self._held is not None:
            self._connection.transport.write(self._held)
            self._held = None
        self.complete = True
        self._body.clear()
        self._wake()
        self._connection.finished(self)

    def _head(self, status: int, headers: list[tuple[bytes, bytes]]) -> bytes:
        # What comes after a body that is not here in full could not be told from the rest of it.
        self.stays = self.persistent and self.whole and self._connection.may_stay
        headers = self._connection.standing_headers + headers
        if not self.stays:
            headers.append((b"connection", b"close"))
        if status not in _EMPTY:
            self._left = int(dict(headers)[b"content-length"])
        head = b"".join([_STATUS_LINES[status], *[_opening(name) + value + b"\r\n" for name, value in headers], b"\r\n"])
        lines = len(headers) + 2
        if head.count(b"\n") != lines or head.count(b"\r") != lines or b"\0" in head:
            raise RuntimeError("a response's header has characters that no header can have")
        return head


@lru_cache(1024)
def _opening(name: bytes) -> bytes:
    """How the line of a header of this name begins."""
    if not name or not _NAME.issuperset(name):
        raise RuntimeError("a response's header has a name that no header can have")
    return name + b": "
