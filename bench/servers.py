"""The servers that run during a measurement."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

from bench.peers import Peer, start


class Servers:
    """Peers by name, on directories below one; a context manager that ends them.

    ``memory`` is the most that one process of each has held so far, in bytes; it is whole once they have ended.
    """

    def __init__(self, below: Path, names: Iterable[str]) -> None:
        self._below = below
        self._names = list(names)
        self._running: dict[str, Peer] = {}
        self.durable: dict[str, str] = {}
        self.memory: dict[str, int] = {}

    def __enter__(self) -> Self:
        try:
            for name in self._names:
                self._start(name)
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with ExitStack() as stopping:  # all of them, though one should fail
            for name in list(self._running):
                stopping.callback(self._stop, name)

    def __contains__(self, name: str) -> bool:
        return name in self._running

    def __getitem__(self, name: str) -> Peer:
        return self._running[name]

    def restart(self, name: str) -> None:
        """Start a peer anew, on the same data, so that it remembers nothing; then let it wait."""
        self._stop(name)
        self._start(name).pause()

    def _start(self, name: str) -> Peer:
        peer = self._running[name] = start(name, self._below)
        self.durable[name] = peer.durable
        return peer

    def _stop(self, name: str) -> None:
        peer = self._running.pop(name)
        try:
            self.memory[name] = max(self.memory.get(name, 0), peer.running.peak_bytes())
        finally:
            peer.stop()
