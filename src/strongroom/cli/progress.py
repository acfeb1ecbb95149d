"""The progress bar of a transfer: objects, bytes, rate, time left. Shown on terminals only."""

from __future__ import annotations

import threading
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

from strongroom.transfer.run import Watcher
from strongroom.transfer.s3 import Listed


class TransferBar:
    """A bar on the console; a context manager. Several threads may report progress."""

    def __init__(self, console: Console) -> None:
        self._progress = Progress(
            TextColumn("objects: {task.fields[ended]}/{task.fields[found]}"),
            BarColumn(),
            DownloadColumn(),
            TransferSpeedColumn(),
            TimeRemainingColumn(),
            console=console,
            disable=not console.is_terminal,
        )
        self._task = self._progress.add_task("", total=0, found=0, ended=0)
        self._lock = threading.Lock()
        self._bytes = self._found = self._ended = 0

    @property
    def watcher(self) -> Watcher:
        """The watcher that reports progress to this bar."""
        return Watcher(self._find, self._move, self._end)

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def _find(self, listed: Listed) -> None:
        with self._lock:
            self._bytes += listed.size
            self._found += 1
            self._progress.update(self._task, total=self._bytes, found=self._found)

    def _move(self, count: int) -> None:
        self._progress.advance(self._task, count)

    def _end(self, listed: Listed) -> None:
        with self._lock:
            self._ended += 1
            self._progress.update(self._task, ended=self._ended)
