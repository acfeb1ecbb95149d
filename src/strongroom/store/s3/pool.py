"""Connections to the backend's hosts: as many as requests need at a time, kept for later requests.

Whoever reads a long answer may have to send other requests before it goes on (for the object's record, or for what
takes the bytes). So long answers never take all connections: each would wait for another one to end, for ever.

Knows hosts and connections, nothing of S3.
"""

from __future__ import annotations

import asyncio
import ssl
from math import inf

from strongroom.buffers import Buffer
from strongroom.store.s3.connecting import Connector, Unreachable
from strongroom.store.s3.connection import LEAST, Broken, Connection
from strongroom.store.s3.response import Response
from strongroom.store.s3.wire import Outgoing

CONNECTIONS = 512
"""The most connections that are open. Lasting answers take at most three quarters of them."""

IDLE_SECONDS = 15.0

LOOK = 1.0
"""Seconds between checks of all connections, at most; a quarter of the time that they may keep silent, if that is less.
"""

_GOODBYE = 1.0


class Pool:
    """The connections. ``tls``: the context for TLS, None for plain HTTP. ``silence``: the shortest time that any
    request lets the server keep silent.
    """

    def __init__(self, tls: ssl.SSLContext | None, silence: float = inf) -> None:
        self._connector = Connector(tls)
        self._free = asyncio.Semaphore(CONNECTIONS)
        self._free_for_lasting = asyncio.Semaphore(max(1, CONNECTIONS * 3 // 4))
        self._connecting = 0
        self._busy: dict[Connection, bool] = {}  # whether the answer lasts
        self._idle: dict[str, list[Connection]] = {}
        self._loop = asyncio.get_running_loop()
        self._look = min(LOOK, silence / 4)
        self._timer: asyncio.TimerHandle | None = None
        self._over: asyncio.Future[None] | None = None

    async def request(
        self,
        host: str,
        head: bytes,
        body: Buffer | Outgoing,
        *,
        bodiless: bool,
        again: bool,
        silence: float,
        least: int = LEAST,
        lasting: bool = False,
    ) -> Response:
        """Send a request to a host (``name``, ``name:port``). Returns its answer, as :meth:`Connection.request` does.

        ``again``: whether it may be sent once more, over a new connection, if the server had already closed the one
        that it was sent over. ``lasting``: whether the caller may send other requests before it has read all of the
        answer. Raises Unreachable, Broken, TimeoutError.
        """
        connection = await self._connection(host, lasting)
        try:
            return await connection.request(head, body, bodiless=bodiless, silence=silence, least=least)
        except Broken as error:
            if not error.stale or not again:
                raise
        try:
            connection = await self._connection(host, lasting, fresh=True)
        except Unreachable as error:  # which would say that nothing was sent
            raise Broken(f"it was closed, and there is no new one: {error}") from error
        response = await connection.request(head, body, bodiless=bodiless, silence=silence, least=least)
        response.repeated = True
        return response

    async def stop(self) -> None:
        """Close all connections."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._over = self._loop.create_future()
        for connection in [*self._busy, *(idle for kept in self._idle.values() for idle in kept)]:
            connection.abort()
        self._end_if_over()
        await asyncio.wait((self._over,), timeout=_GOODBYE)

    async def _connection(self, host: str, lasting: bool, *, fresh: bool = False) -> Connection:
        """A connection for one request: the idle one that was used last, or a new one (always new with ``fresh``)."""
        await self._take_place(lasting)
        kept = self._idle.get(host)
        while kept and not fresh:
            connection = kept.pop()
            if not connection.is_closing:
                self._busy[connection] = lasting
                return connection
        self._connecting += 1
        try:
            self._make_room()
            connection = await self._connect(host)
            if connection.is_lost:
                raise Unreachable(f"{host}: it closed the connection at once")
        except BaseException:
            self._leave_place(lasting)
            raise
        finally:
            self._connecting -= 1
        self._busy[connection] = lasting
        if self._timer is None:
            self._timer = self._loop.call_later(self._look, self._look_after)
        return connection

    async def _take_place(self, lasting: bool) -> None:
        if not lasting:
            await self._free.acquire()
            return
        await self._free_for_lasting.acquire()
        try:
            await self._free.acquire()
        except BaseException:
            self._free_for_lasting.release()
            raise

    def _leave_place(self, lasting: bool) -> None:
        self._free.release()
        if lasting:
            self._free_for_lasting.release()

    async def _connect(self, host: str) -> Connection:
        return await self._connector.open(host, lambda: Connection(self._is_idle, self._is_lost, host))

    # -- what connections tell -----------------------------------------------------------------------------------------

    def _is_idle(self, connection: Connection) -> None:
        self._idle.setdefault(connection.host, []).append(connection)
        self._leave_place(self._busy.pop(connection))

    def _is_lost(self, connection: Connection) -> None:
        if connection in self._busy:
            self._leave_place(self._busy.pop(connection))
        elif connection in (kept := self._idle.get(connection.host, [])):
            kept.remove(connection)
        self._end_if_over()

    def _end_if_over(self) -> None:
        if self._over is not None and not self._over.done() and not self._busy and not any(self._idle.values()):
            self._over.set_result(None)

    # -- what happens now and then -------------------------------------------------------------------------------------

    def _look_after(self) -> None:
        """End connections that are late, and those that were idle for long."""
        now = self._loop.time()
        for connection in list(self._busy):
            connection.late(now)
        for host, kept in list(self._idle.items()):
            for connection in [idle for idle in kept if now - idle.idle_since > IDLE_SECONDS]:
                kept.remove(connection)
                connection.abort()
            if not kept:
                del self._idle[host]
        busy = self._busy or self._idle
        self._timer = self._loop.call_later(self._look, self._look_after) if busy else None

    def _make_room(self) -> None:
        """If more connections would be open than allowed, end the one that has been idle longest."""
        kept = [connection for connections in self._idle.values() for connection in connections]
        if kept and len(kept) + len(self._busy) + self._connecting > CONNECTIONS:
            oldest = min(kept, key=lambda connection: connection.idle_since)
            self._idle[oldest.host].remove(oldest)
            oldest.abort()
