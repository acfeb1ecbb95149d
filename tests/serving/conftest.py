"""Starts the tiny server of these tests as a program of its own, and talks to it byte by byte."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

PROGRAM = Path(__file__).with_name("tiny.py")


@dataclass
class Running:
    """A started server."""

    process: subprocess.Popen[str]
    port: int = 0
    secure: bool = False

    def connect(self, timeout: float = 20) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout)

    def ask(self, request: bytes) -> bytes:
        """What comes back on a connection of its own, until the server closes it."""
        with self.connect() as connection:
            connection.sendall(request)
            return until_closed(connection)

    def get(self, path: str) -> bytes:
        """The body of the answer to a GET."""
        return self.ask(f"GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n".encode()).partition(b"\r\n\r\n")[
            2
        ]

    def end(self, number: int = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        return self.process.wait(20)


def until_closed(connection: socket.socket) -> bytes:
    received = bytearray()
    with contextlib.suppress(ConnectionResetError):
        while piece := connection.recv(65536):
            received += piece
    return bytes(received)


Start = Callable[..., Running]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Start a server with these flags; what it logs is in ``log`` below ``tmp_path``."""
    running: list[Running] = []

    def begin(*flags: str, fails: str = "", open_files: int = 0, notify: str = "") -> Running:
        environment = {"HOME": str(tmp_path), "PATH": os.environ["PATH"], "TINY_FAILS": fails, "NOTIFY_SOCKET": notify}
        arguments = ["--address=127.0.0.1:0", "--workers=1", *flags]
        with (tmp_path / "log").open("a") as log:
            limited = ["prlimit", f"--nofile={open_files}"] if open_files else []
            process = subprocess.Popen(
                [*limited, sys.executable, str(PROGRAM), *arguments],
                env=environment,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        running.append(Running(process))
        assert process.stdout is not None
        words = process.stdout.readline().split()
        if words:
            running[-1].port, running[-1].secure = int(words[1]), words[2] == "True"
        return running[-1]

    yield begin
    for server in running:
        if server.process.poll() is None:
            server.process.terminate()
            try:
                server.process.wait(10)
            except subprocess.TimeoutExpired:
                server.process.terminate()
                server.process.wait(10)
        assert server.process.stdout is not None
        server.process.stdout.close()


@pytest.fixture
def log(tmp_path: Path) -> Callable[[], str]:
    """What the servers of this test have logged."""
    return lambda: (tmp_path / "log").read_text()
