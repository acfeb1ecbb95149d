"""A TCP proxy on this machine that counts requests and makes faults: it holds what comes, or refuses connections."""

from __future__ import annotations

import contextlib
import re
import socket
import threading
from collections import Counter
from collections.abc import Callable
from types import TracebackType
from typing import Self

_REQUEST = re.compile(rb"(?:^|\n)(GET|POST|PUT|DELETE|LIST) /v1/([^ ?\r\n]+)[^\r\n]* HTTP/1\.1\r\n")


class Proxy:
    """Passes bytes between its ``port`` and a port behind it; a context manager.

    ``requests`` counts what was asked over plain HTTP, by path without ``/v1/``. ``rewrite`` may change what is asked,
    but not its length.
    """

    def __init__(self, behind: int, rewrite: Callable[[bytes], bytes] = bytes) -> None:
        self.behind = behind
        self._rewrite = rewrite
        self.requests: Counter[str] = Counter()
        self._flowing = threading.Event()
        self._flowing.set()
        self._hold_next = 0
        self.stuck = threading.Event()
        self._lock = threading.Lock()
        self._sockets: set[socket.socket] = set()
        self._listening = socket.create_server(("127.0.0.1", 0), backlog=256)
        self.port: int = self._listening.getsockname()[1]

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._flowing.set()
        with contextlib.suppress(OSError):
            self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        with self._lock:
            for opened in self._sockets:
                with contextlib.suppress(OSError):
                    opened.shutdown(socket.SHUT_RDWR)

    def hold(self) -> None:
        """From now on nothing gets through, and nobody is told."""
        self._flowing.clear()

    def hold_one_request(self) -> None:
        """The connection that brings the next request is stuck for ever, ``stuck`` is set; the others go on."""
        with self._lock:
            self._hold_next += 1

    def release(self) -> None:
        """What was held goes on."""
        self._flowing.set()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listening.accept()
            except OSError:
                return
            try:
                server = socket.create_connection(("127.0.0.1", self.behind), 10)
            except OSError:
                client.close()
                continue
            server.settimeout(None)
            for opened in (client, server):
                opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with self._lock:
                self._sockets |= {client, server}
            threading.Thread(target=self._pass, args=(client, server, True), daemon=True).start()
            threading.Thread(target=self._pass, args=(server, client, False), daemon=True).start()

    def _pass(self, source: socket.socket, sink: socket.socket, asking: bool) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(256 * 1024):
                if asking:
                    if self._count(data):
                        threading.Event().wait()  # stuck; the thread ends with the process
                    data = self._rewrite(data)
                self._flowing.wait()
                sink.sendall(data)
        for opened in (source, sink):
            with contextlib.suppress(OSError):
                opened.shutdown(socket.SHUT_RDWR)
        source.close()
        with self._lock:
            self._sockets.discard(source)

    def _count(self, data: bytes) -> bool:
        """Count requests; whether this one is to be stuck."""
        found = _REQUEST.findall(data)
        with self._lock:
            self.requests.update(path.decode() for _, path in found)
            if found and self._hold_next:
                self._hold_next -= 1
                self.stuck.set()
                return True
        return False
