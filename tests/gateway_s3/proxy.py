"""A proxy between a gateway and its backend that makes faults happen, and counts requests."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

Fault = Callable[[str], str | None]
"""What to do with the request of this first line: "hang", "reset", "garbage", "503", "429", "InvalidPart", "NeedsKey",
"nobody" (404 of what stands before the backend), "elsewhere" (a redirect to another host), "204" (as if it had been
done), "error" (of S3, behind a 200); "lose", "mute" or "fault", where the backend gets it, and its answer is lost,
never comes, or is told as 502; "late", where it comes after :data:`LATE` seconds; None."""

LATE = 14.0

_SLOW_DOWN = b"<Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>"
_ERROR = b"<?xml version='1.0'?> <Error><Code>InternalError</Code><Message>Please try again.</Message></Error>"
_ANSWERS = {
    "error": b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\nconnection: close\r\n\r\n%s" % (len(_ERROR), _ERROR),
    "503": b"HTTP/1.1 503 Slow Down\r\ncontent-length: %d\r\nconnection: close\r\n\r\n%s"
    % (len(_SLOW_DOWN), _SLOW_DOWN),
    "fault": b"HTTP/1.1 502 Bad Gateway\r\ncontent-length: 0\r\nconnection: close\r\n\r\n",
    "429": b"HTTP/1.1 429 Too Many Requests\r\ncontent-length: 0\r\nconnection: close\r\n\r\n",
    "InvalidPart": b"HTTP/1.1 400 Bad Request\r\ncontent-length: 39\r\nconnection: close\r\n\r\n"
    b"<Error><Code>InvalidPart</Code></Error>",
    "elsewhere": b"HTTP/1.1 307 Temporary Redirect\r\nlocation: http://127.0.0.1:1/b/k\r\ncontent-length: 0\r\n"
    b"connection: close\r\n\r\n",
    "NeedsKey": b"HTTP/1.1 400 Bad Request\r\ncontent-length: 42\r\nconnection: close\r\n\r\n"
    b"<Error><Code>InvalidRequest</Code></Error>",
    "204": b"HTTP/1.1 204 No Content\r\nconnection: close\r\n\r\n",
    "nobody": b"HTTP/1.1 404 Not Found\r\ncontent-length: 21\r\nconnection: close\r\n\r\ndefault backend - 404",
    "garbage": b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\nconnection: close\r\n\r\n<garbage>",
}
_METHODS = (b"GET ", b"PUT ", b"POST ", b"HEAD ", b"DELETE ")


class Proxy:
    """Stands before the backend at ``endpoint``; ``fault`` is asked for each request."""

    def __init__(self, endpoint: str) -> None:
        parts = urlsplit(endpoint)
        assert parts.hostname and parts.port
        self._target = (parts.hostname, parts.port)
        self.fault: Fault = lambda line: None
        self.lines: list[str] = []
        """The first line of each request that came."""
        self.heads: list[str] = []
        """The same with its headers, as far as they came at once."""
        self.answered = 0
        """Bytes that the backend sent, heads and all."""

    def __enter__(self) -> Self:
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.endpoint = f"http://127.0.0.1:{self._listening.getsockname()[1]}"
        self._over = threading.Event()
        self._clients: set[socket.socket] = set()
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()

    def cut(self) -> None:
        """Break all connections there are now."""
        for client in list(self._clients):
            with contextlib.suppress(OSError):
                client.shutdown(socket.SHUT_RDWR)

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listening.accept()
                self._clients.add(client)
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        backend: socket.socket | None = None
        untold: list[str] = []
        with client, contextlib.suppress(OSError):
            while data := client.recv(256 * 1024):
                if data.startswith(_METHODS):
                    line = data.partition(b"\r\n")[0].decode()
                    self.lines.append(line)
                    self.heads.append(data.partition(b"\r\n\r\n")[0].decode("latin-1").lower())
                    fault = self.fault(line)
                    if fault == "hang":
                        self._over.wait()
                        return
                    if fault == "reset":
                        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                        return
                    if fault in ("lose", "mute", "fault", "late"):
                        untold.append(fault)
                    elif fault is not None:
                        client.sendall(_ANSWERS[fault])
                        return
                if backend is None:
                    backend = socket.create_connection(self._target)
                    threading.Thread(target=self._answer, args=(backend, client, untold), daemon=True).start()
                backend.sendall(data)
        self._clients.discard(client)
        if backend is not None:
            backend.close()

    def _answer(self, backend: socket.socket, client: socket.socket, untold: list[str]) -> None:
        with contextlib.suppress(OSError):
            while data := backend.recv(256 * 1024):
                if untold:
                    if "mute" in untold:
                        self._over.wait()
                    if "fault" in untold:
                        client.sendall(_ANSWERS["fault"])
                    if "late" not in untold:
                        break
                    untold.remove("late")
                    self._over.wait(LATE)
                self.answered += len(data)
                client.sendall(data)
        with contextlib.suppress(OSError):
            client.shutdown(socket.SHUT_RDWR)


def once(matches: Callable[[str], bool], fault: str) -> Fault:
    """A fault that meets the first request that matches."""
    left = [fault]
    return lambda line: left.pop() if left and matches(line) else None
