"""One worker process: the application and its connections on an event loop, with a pipe to the supervisor.

The pipe carries short words: ``ready`` and ``failed:REASON`` from the worker, ``reload`` to it. When it closes, the
supervisor is gone, and the worker finishes as after SIGTERM: otherwise it would hold the port for ever.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import math
import signal
import socket
import ssl
import sys
import time
from collections.abc import Callable, MutableSequence, Sequence
from ctypes import Array, c_ubyte
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.sharedctypes import RawArray

import uvloop

from strongroom.config import Settings
from strongroom.observe import logs
from strongroom.serving import tls
from strongroom.serving.accept import Acceptor, Load
from strongroom.serving.application import Application, CannotBegin
from strongroom.serving.board import PLACE, Board
from strongroom.serving.descriptors import for_connections, raise_limit
from strongroom.serving.hardening import harden
from strongroom.serving.memory import keep_memory, use_huge_pages
from strongroom.serving.protocol import Protocol, Server

Factory = Callable[[Settings], Application]
"""Makes the application in the worker that will run it; a module-level function, so that it can be pickled by name."""

READY = b"ready"
FAILED = b"failed:"
RELOAD = b"reload"
START_FAILED = 3
"""The exit code of a worker that could not start."""

HANDLED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""Signals that are blocked while a worker comes up, until it can handle them."""

_log = logging.getLogger("strongroom.serving")

_TICK = 0.1
"""Seconds between two checks of whether to end; also between two reports of this worker's load to the others."""

_TELL = 0.5
"""Seconds between two reports of this worker's metrics to the others."""

_LAST = 5.0
"""Seconds in which the application has to be done with requests whose connections were cut, and again with those that
were cancelled after that.
"""

_FOR_ALL = 24 * 3600.0
"""Seconds after which uvloop cuts a TLS connection that the server closes, whatever the client has still to take. So
long that it never does: :mod:`strongroom.serving.taking` limits how long a client may take, and its goodbye.
"""


@dataclass(frozen=True, slots=True)
class Task:
    """What a worker is started with. It is sent over multiprocessing's pipe, where nobody can see the secrets in it."""

    factory: Factory
    settings: Settings
    certificate: tls.Certificate | None


@dataclass(frozen=True, slots=True)
class Shared:
    """Memory that all workers share: see :mod:`strongroom.serving.accept` and :mod:`strongroom.serving.board`."""

    load: MutableSequence[int]
    board: Array[c_ubyte]

    @classmethod
    def for_workers(cls, count: int) -> Shared:
        """Memory for so many workers."""
        return cls(RawArray("i", count), RawArray(c_ubyte, count * PLACE))


def run(task: Task, sockets: list[socket.socket], control: Connection, shared: Shared, number: int) -> None:
    """Run worker ``number`` until it is told to end. Exits with :data:`START_FAILED` if it cannot begin."""
    harden()
    keep_memory()
    logs.configure(task.settings.log_format)
    # The supervisor handles the terminal's signals and sends SIGTERM.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        board = Board(memoryview(shared.board).cast("B"), len(shared.load), number)
        worker = _Worker(task, control, Load(shared.load, number), board, looks=number == 0)
        uvloop.run(worker.serve(sockets))
    except (tls.BadCertificate, CannotBegin) as error:
        _give_up(control, str(error))
    except Exception:
        _log.critical("the application could not be made", exc_info=True)
        _give_up(control, "the application could not be made; the log says why")


def _give_up(control: Connection, reason: str) -> None:
    with contextlib.suppress(OSError):
        control.send_bytes(FAILED + reason.encode())
    sys.exit(START_FAILED)


class _Worker:
    """Serves one application on the listening sockets; ``looks`` whether what that needs can be reached."""

    def __init__(self, task: Task, control: Connection, load: Load, board: Board, looks: bool) -> None:
        self._control = control
        self._load = load
        self._board = board
        self._certificate = task.certificate
        self._tls: ssl.SSLContext | None = None
        self._application = task.factory(task.settings)
        if task.certificate is not None:
            self._use(task.certificate)
        self._server = Server(self._application.answer, task.settings.idle_timeout)
        self._stop_timeout = task.settings.stop_timeout
        self._looks = looks
        self._ends = False
        self._told = 0.0

    async def serve(self, sockets: Sequence[socket.socket]) -> None:
        """Start the application, tell the supervisor, serve until told to end, then finish what is running.

        Raises CannotBegin.
        """
        loop = asyncio.get_running_loop()
        loop.add_reader(self._control.fileno(), self._hear)
        loop.add_signal_handler(signal.SIGTERM, self._end)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, HANDLED)
        await self._application.start()
        self._take_over()
        gc.collect()
        gc.freeze()  # the application is never freed: the garbage collector need not go through it again and again
        use_huge_pages()
        connections = self._server.connections
        most = for_connections(raise_limit())
        acceptors = [Acceptor(listening, self._begin, connections.__len__, self._load, most) for listening in sockets]
        with contextlib.suppress(OSError):
            self._control.send_bytes(READY)
        look = loop.create_task(self._application.look()) if self._looks else None
        while not self._ends:
            self._load.publish(len(connections))
            self._tell()
            await asyncio.sleep(_TICK)
        for acceptor in acceptors:
            acceptor.close()
        for connection in list(connections):
            connection.shutdown()
        await asyncio.sleep(_TICK)  # connections that were just accepted are shut down when they begin
        await self._finish()
        if look is not None:
            look.cancel()
        await self._application.stop()

    async def _finish(self) -> None:
        """Wait for what is running; cut it off if it takes too long."""
        connections, tasks = self._server.connections, self._server.tasks
        if await self._quiet(self._stop_timeout or math.inf):
            return
        _log.warning("requests took too long to end, and were cut off", extra={"requests": len(tasks)})
        for connection in list(connections):
            connection.transport.abort()  # for the application, the client has left
        if not await self._quiet(_LAST):
            for task in list(tasks):
                task.cancel()
            await self._quiet(_LAST)

    async def _quiet(self, seconds: float) -> bool:
        """Wait until nothing is running, but no longer than that. Returns whether nothing is."""
        until = time.monotonic() + seconds
        while self._server.connections or self._server.tasks:
            if time.monotonic() >= until:
                return False
            await asyncio.sleep(_TICK)
        return True

    def _take_over(self) -> None:
        """Go on from the metrics of the worker that this one replaces, and have those of the others at hand."""
        metrics = self._application.metrics
        metrics.others = self._board.others
        try:
            if before := self._board.found():
                metrics.resume(before)
        except Exception:
            _log.exception("what the worker before this one counted could not be taken over")

    def _tell(self) -> None:
        """Show the other workers this worker's metrics, every :data:`_TELL` seconds."""
        metrics, now = self._application.metrics, time.monotonic()
        metrics.connections = len(self._server.connections)
        if now - self._told >= _TELL:
            self._told = now
            try:
                left = self._board.leave(metrics.snapshot())
            except Exception:
                _log.exception("what this worker counted could not be told")  # no reason for a worker to end
            else:
                if not left:
                    _log.warning("there is no room for what this worker counted")

    def _end(self) -> None:
        """Take no more connections, let running requests finish, stop."""
        self._ends = True

    async def _begin(self, connection: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        timeout = self._server.idle_timeout
        protocol = Protocol(self._server, loop)
        await loop.connect_accepted_socket(  # which returns the protocol of TLS, if there is TLS
            lambda: protocol,
            connection,
            ssl=self._tls,
            ssl_handshake_timeout=timeout if self._tls else None,
            ssl_shutdown_timeout=_FOR_ALL if self._tls else None,
        )
        if self._ends:  # it began after the others were shut down
            protocol.shutdown()

    def _hear(self) -> None:
        try:
            word = self._control.recv_bytes(64)
        except (EOFError, OSError):
            asyncio.get_running_loop().remove_reader(self._control.fileno())
            self._end()
            return
        if word == RELOAD and self._certificate is not None:
            self._reload(self._certificate)

    def _reload(self, certificate: tls.Certificate) -> None:
        try:
            self._use(certificate)
        except tls.BadCertificate as error:
            _log.error("the certificate was not read anew, the old one stays", extra={"reason": str(error)})

    def _use(self, certificate: tls.Certificate) -> None:
        """Use what the files hold now for new connections. Raises BadCertificate."""
        # A new context: a context holds a pair for each kind of key (EC, RSA), and might go on showing the old one.
        self._tls = certificate.context()
        self._application.metrics.certificate_end = certificate.end()
