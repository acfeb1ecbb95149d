"""One worker process: uvicorn's server around the application, spoken to by the supervisor over a pipe.

The pipe carries short words: ``ready`` and ``failed:REASON`` from here, ``reload`` to here. When it closes, the
supervisor is gone, and the worker finishes as after SIGTERM: without a supervisor it would hold the port for ever.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import resource
import signal
import socket
import ssl
import sys
from collections.abc import Awaitable, Callable, Generator, MutableSequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any, cast

import uvicorn
from uvicorn.lifespan.on import LifespanOn

from strongroom.config import Settings
from strongroom.observe import logs
from strongroom.serving import tls
from strongroom.serving.accept import Acceptor, Load
from strongroom.serving.hardening import harden
from strongroom.serving.listen import BACKLOG
from strongroom.serving.protocol import Protocol

App = Callable[[Any, Any, Any], Awaitable[None]]
"""An ASGI 3 application."""

Factory = Callable[[Settings], App]
"""Makes the application in the worker that will run it; a function of a module, so that it can be pickled by name."""

READY = b"ready"
FAILED = b"failed:"
RELOAD = b"reload"
START_FAILED = 3
"""The exit code of a worker that could not start; uvicorn's."""

HANDLED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""Signals that are blocked while a worker comes up, until it can handle them."""

_log = logging.getLogger("strongroom.serving")

_GOODBYE = 2.0
"""Seconds for which a client may take to end its TLS session, when the server has."""


@dataclass(frozen=True, slots=True)
class Task:
    """What a worker is started with. Reaches it over multiprocessing's pipe, so secrets in it are seen by no one."""

    factory: Factory
    settings: Settings
    certificate: tls.Certificate | None


def run(task: Task, sockets: list[socket.socket], control: Connection, load: MutableSequence[int], number: int) -> None:
    """Be worker ``number`` until told to end. Exits with :data:`START_FAILED` where it cannot begin.

    ``load`` is in memory that the workers share; see :mod:`strongroom.serving.accept`.
    """
    harden()
    # The usual soft limit of 1,024 is there for programs that call select(2); connections and files need more.
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    logs.configure(task.settings.log_format)
    logging.getLogger("uvicorn.error").addFilter(_tells_something_new)
    try:
        server = _Server(task, control, Load(load, number))
    except tls.BadCertificate as error:
        _give_up(control, str(error))
    except Exception:
        _log.critical("the application could not be made", exc_info=True)
        _give_up(control, "the application could not be made; the log says why")
    server.run(sockets)


def _tells_something_new(record: logging.LogRecord) -> bool:
    """Not that an application cut a response short on purpose: it raises this, and has logged why."""
    return not (record.exc_info and isinstance(record.exc_info[1], ConnectionAbortedError))


def _give_up(control: Connection, reason: str) -> None:
    with contextlib.suppress(OSError):
        control.send_bytes(FAILED + reason.encode())
    sys.exit(START_FAILED)


class _Lifespan(LifespanOn):
    """Remembers why the application did not start."""

    failure = ""

    async def send(self, message: Any) -> None:
        """Take the application's word."""
        if message["type"] == "lifespan.startup.failed":
            self.failure = message.get("message", "")
            message = {"type": message["type"]}  # the supervisor says it, once
        await super().send(message)


class _Server(uvicorn.Server):
    def __init__(self, task: Task, control: Connection, load: Load) -> None:
        self._control = control
        self._load = load
        self._certificate = task.certificate
        self._tls = task.certificate.context() if task.certificate else None
        super().__init__(_config(task, self._tls))
        self.config.load()
        self.config.lifespan_class = _Lifespan

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        """The supervisor hears the terminal's signals and passes SIGTERM on."""
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, lambda *_: self.end())
        signal.pthread_sigmask(signal.SIG_UNBLOCK, HANDLED)
        yield

    def end(self) -> None:
        """Take no more connections, let running requests finish, stop."""
        self.should_exit = True

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start the application, then serve, then tell the supervisor."""
        asyncio.get_running_loop().add_reader(self._control.fileno(), self._hear)
        try:
            await super().startup(sockets=[])  # the application; the sockets follow
        except SystemExit:
            failure = getattr(self.lifespan, "failure", "")
            _give_up(self._control, failure or "the application could not start; the log says why")
        gc.collect()
        gc.freeze()  # the application is there to stay: the garbage collector need not go through it again and again
        connections = self.server_state.connections
        self.servers.extend(
            cast(asyncio.Server, Acceptor(listening, self._begin, connections.__len__, self._load))
            for listening in sockets or ()
        )
        with contextlib.suppress(OSError):
            self._control.send_bytes(READY)

    async def on_tick(self, counter: int) -> bool:
        """What uvicorn does ten times a second."""
        self._load.publish(len(self.server_state.connections))
        return await super().on_tick(counter)

    async def _begin(self, connection: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        _, protocol = await loop.connect_accepted_socket(
            lambda: Protocol(self.config, self.server_state, self.lifespan.state, loop),
            connection,
            ssl=self._tls,
            ssl_handshake_timeout=self.config.timeout_keep_alive if self._tls else None,
            # An idle client does not answer the end of its session, and must not hold up that of the server.
            ssl_shutdown_timeout=_GOODBYE if self._tls else None,
        )
        if self.should_exit:  # it came too late to be told with the others
            protocol.shutdown()

    def _hear(self) -> None:
        try:
            word = self._control.recv_bytes(64)
        except (EOFError, OSError):
            asyncio.get_running_loop().remove_reader(self._control.fileno())
            self.end()
            return
        if word == RELOAD and self._certificate is not None and self._tls is not None:
            _reload(self._certificate, self._tls)


def _reload(certificate: tls.Certificate, context: ssl.SSLContext) -> None:
    try:
        certificate.context()  # tried apart first: a pair that does not fit would spoil the context in use
        certificate.load_into(context)
    except tls.BadCertificate as error:
        _log.error("the certificate was not read anew, the old one stays", extra={"reason": str(error)})


def _config(task: Task, context: ssl.SSLContext | None) -> uvicorn.Config:
    application = task.factory(task.settings)
    return uvicorn.Config(
        lambda: application,
        factory=True,
        interface="asgi3",
        loop="uvloop",
        http=Protocol,
        ws="none",
        lifespan="on",
        workers=1,
        backlog=BACKLOG,
        timeout_keep_alive=task.settings.idle_timeout,
        log_config=None,
        access_log=False,
        server_header=False,
        # X-Forwarded-Proto would let anyone on this machine pass plain HTTP off as TLS.
        proxy_headers=False,
        ssl_context_factory=(lambda config, default: context) if context is not None else None,
    )
