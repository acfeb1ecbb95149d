"""The parent of the workers: starts them, replaces those that crash, ends them, and never serves a request itself.

- The first workers must all come up; if one cannot start before any serves, all end, with its reason as one line.
- A worker that dies later is replaced, at once the first time, then after growing pauses. If its replacement cannot
  start and no other worker serves, the server ends: a closed port is easier to notice than a silent one.
- SIGTERM or SIGINT: the workers finish running requests, and cut off those that take too long; a second signal ends
  them at once. SIGHUP: the certificate is read again. The service manager is told.
"""

from __future__ import annotations

import contextlib
import logging
import multiprocessing
import multiprocessing.resource_tracker
import signal
import socket
import time
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess

from strongroom.config import Settings, bare_environment
from strongroom.serving import tls
from strongroom.serving.accept import AWAY
from strongroom.serving.descriptors import LEAST, raise_limit
from strongroom.serving.hardening import harden
from strongroom.serving.listen import listen
from strongroom.serving.service_manager import ServiceManager
from strongroom.serving.worker import FAILED, HANDLED, READY, RELOAD, Factory, Shared, Task, run

_spawn = multiprocessing.get_context("spawn")
_log = logging.getLogger("strongroom.serving")

_LONG_ENOUGH = 60.0
"""Seconds of life after which a worker's death is not counted with those before it."""

_LONGEST_PAUSE = 30.0

_DOUBLINGS = 5
"""How often a pause of one second is doubled before it is the longest."""


class CannotStart(Exception):
    """The server could not start; the message is one line and says why."""


Announce = Callable[[Sequence[tuple[str, int]], bool], None]
"""Called once all workers serve, with the (host, port) of each listening socket and whether they speak TLS."""


def serve(factory: Factory, settings: Settings, announce: Announce) -> int:
    """Serve until a signal ends it. Returns the exit code. Raises CannotListen, CannotStart, tls.BadCertificate."""
    harden()
    if (most := raise_limit()) < LEAST:
        raise CannotStart(
            f"this process may have {most} files open, and {LEAST} is the least: raise the limit (ulimit -n, systemd's"
            " LimitNOFILE=, Docker's --ulimit nofile=)"
        )
    certificate = tls.find(settings.certs_dir, required=settings.certs_named)
    if certificate:
        _warn_if_expired(certificate)
    sockets = listen(settings.address)
    places = [(str(name[0]), int(name[1])) for name in (opened.getsockname() for opened in sockets)]
    supervisor = _Supervisor(Task(factory, settings, certificate), sockets, settings.workers)
    return supervisor.run(lambda: announce(places, certificate is not None))


def _warn_if_expired(certificate: tls.Certificate) -> None:
    if end := certificate.expired(tls.now()):
        _log.warning("the certificate has expired", extra={"file": certificate.certificate, "expired": end.isoformat()})


class _Worker:
    """A worker process, seen from the parent."""

    def __init__(self, task: Task, sockets: list[socket.socket], shared: Shared, number: int) -> None:
        shared.load[number] = AWAY
        self.number = number
        self.control, far_end = _spawn.Pipe()
        self.process: SpawnProcess = _spawn.Process(
            target=run, args=(task, sockets, far_end, shared, number), daemon=False
        )
        self.started = time.monotonic()
        self.ready = False
        self.open = True
        self.failure = ""
        # multiprocessing would start its helper process together with the worker. That would unblock the signals; and
        # the helper, whose memory and environment any process of this user can read, would inherit the secrets.
        with bare_environment():
            multiprocessing.resource_tracker.ensure_running()
        # The new process inherits the mask of signals and lifts it when it can handle them: none is lost, or kills it.
        signal.pthread_sigmask(signal.SIG_BLOCK, HANDLED)
        try:
            self.process.start()
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, HANDLED)
            far_end.close()

    def hear(self) -> None:
        """Take what the worker has sent."""
        try:
            while self.open and self.control.poll():
                word = self.control.recv_bytes(64 * 1024)
                self.ready = self.ready or word == READY
                if word.startswith(FAILED):
                    self.failure = word[len(FAILED) :].decode(errors="replace")
        except (EOFError, OSError):
            self.open = False  # it is ending; its exit code says the rest

    def say(self, word: bytes) -> None:
        """Send the worker a word, if it still listens."""
        with contextlib.suppress(OSError):
            self.control.send_bytes(word)

    @property
    def ended(self) -> str:
        """How it ended: a signal's name or an exit code."""
        code = self.process.exitcode or 0
        return signal.Signals(-code).name if code < 0 else f"exit code {code}"


class _Supervisor:
    def __init__(self, task: Task, sockets: list[socket.socket], count: int) -> None:
        self._task = task
        self._sockets = sockets
        self._manager = ServiceManager(task.settings.notify_socket)
        try:
            self._shared = Shared.for_workers(count)
        except OSError as error:  # for example, if all file systems are read-only
            raise CannotStart(
                "workers need a little memory that they share, as a file in /dev/shm or in the directory for temporary"
                f" files (TMPDIR), and none can be made: {error.strerror}"
            ) from None
        self._workers: list[_Worker] = []
        self._due: list[tuple[float, int]] = []  # when (monotonic) to start a replacement, and of which worker
        self._crashes = 0
        self._announced = False
        self._signals = 0
        self._failure = ""
        self._unclean = False

    def run(self, announce: Callable[[], None]) -> int:
        """Keep the workers alive until a signal says to end. Returns the exit code. Raises CannotStart."""
        heard, wake = socket.socketpair()
        with heard, wake:
            heard.setblocking(False)
            wake.setblocking(False)
            signal.set_wakeup_fd(wake.fileno())
            for handled in HANDLED:
                signal.signal(handled, lambda *_: None)  # the number comes through the socket
            try:
                for number in range(len(self._shared.load)):
                    self._bring_up(number)
                self._watch(heard, announce)
            except BaseException:
                # The process waits for its workers when it ends: so they must end too, and a signal must still end it.
                for handled in HANDLED:
                    signal.signal(handled, signal.SIG_DFL)
                self._end()
                raise
            finally:
                signal.set_wakeup_fd(-1)
        if self._failure:
            raise CannotStart(self._failure)
        return 1 if self._unclean else 0

    @property
    def _ending(self) -> bool:
        return bool(self._signals or self._failure)

    def _watch(self, heard: socket.socket, announce: Callable[[], None]) -> None:
        while self._workers or self._due:
            self._wait(heard)
            for worker in self._workers[:]:
                if worker.process.exitcode is not None:
                    self._bury(worker)
            self._replace()
            serving = bool(self._workers) and all(worker.ready for worker in self._workers)
            if serving and not self._announced and not self._ending:
                self._announced = True
                announce()
                self._manager.ready()

    def _wait(self, heard: socket.socket) -> None:
        timeout = max(0.0, min(self._due)[0] - time.monotonic()) if self._due else None
        sources: list[int | Connection | socket.socket] = [heard]
        sources += [worker.process.sentinel for worker in self._workers]
        sources += [worker.control for worker in self._workers if worker.open]
        ready = wait(sources, timeout)
        for worker in self._workers:
            if worker.control in ready:
                worker.hear()
        if heard in ready:
            for number in heard.recv(64):
                self._signalled(number)

    def _signalled(self, number: int) -> None:
        if number == signal.SIGHUP:
            serves = self._announced and not self._ending
            if serves:
                self._manager.reloading()
            self._reload()
            if serves:
                self._manager.ready()
            return
        self._signals += 1
        if self._signals == 1:
            self._manager.stopping()
            _log.info("ending: running requests are finished first; a second signal ends them at once")
            self._end()
        else:
            self._unclean = True
            for worker in self._workers:
                worker.process.kill()

    def _end(self) -> None:
        self._due.clear()
        for opened in self._sockets:
            opened.close()  # once the workers have closed theirs too, clients are refused instead of left waiting
        for worker in self._workers:
            worker.process.terminate()

    def _reload(self) -> None:
        if self._task.certificate is None:
            _log.info("SIGHUP: there is no certificate to read anew")
            return
        try:
            self._task.certificate.context()
        except tls.BadCertificate as error:
            _log.error("SIGHUP: the certificate cannot be used, the old one stays", extra={"reason": str(error)})
            return
        for worker in self._workers:
            worker.say(RELOAD)
        _log.info("SIGHUP: the certificate is read anew")
        _warn_if_expired(self._task.certificate)

    def _bury(self, worker: _Worker) -> None:
        self._workers.remove(worker)
        worker.hear()
        worker.control.close()
        worker.process.join()
        self._shared.load[worker.number] = AWAY
        if self._ending:
            self._unclean = self._unclean or worker.process.exitcode != 0
            return
        reason = worker.failure or f"a worker process ended at its start ({worker.ended})"
        if not worker.ready and not any(other.ready for other in self._workers):
            self._failure = reason
            self._end()
            return
        if worker.ready:
            reason = worker.ended
        if time.monotonic() - worker.started > _LONG_ENOUGH:
            self._crashes = 0
        pause = self._again(worker.number)
        _log.error(
            "a worker ended and is replaced",
            extra={"worker": worker.process.pid, "reason": reason, "pause_seconds": pause},
        )

    def _again(self, number: int) -> float:
        """Replace a worker after a pause, which grows with each crash in a row. Returns the pause, in seconds."""
        pause = min(_LONGEST_PAUSE, 2.0 ** min(self._crashes - 1, _DOUBLINGS)) if self._crashes else 0.0
        self._crashes += 1
        self._due.append((time.monotonic() + pause, number))
        return pause

    def _replace(self) -> None:
        now = time.monotonic()
        for due in [due for due in self._due if due[0] <= now]:
            self._due.remove(due)
            self._bring_up(due[1])

    def _bring_up(self, number: int) -> None:
        """Start a worker; later, if the system has no room for it now and others serve. Raises CannotStart."""
        try:
            self._workers.append(self._start(number))
        except OSError as error:
            reason = f"{error.strerror} (a limit of processes, of memory or of open files)"
            if not any(worker.ready for worker in self._workers):
                raise CannotStart(f"a worker process cannot be started: {reason}") from None
            _log.error(
                "a worker cannot be started and is tried again",
                extra={"reason": reason, "pause_seconds": self._again(number)},
            )

    def _start(self, number: int) -> _Worker:
        return _Worker(self._task, self._sockets, self._shared, number)
