"""The access log: a line of JSON for each request (by whom, of what, under which key), appended to a file.

A line is written with one system call, so the lines of workers that share the file do not mix, and the kernel has it
before anything else is done. When the file is moved away (by logrotate, say), a new one is made in its place.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import time
from collections.abc import Mapping
from pathlib import Path

_log = logging.getLogger("strongroom.access")

_LOOK = 1.0
"""Seconds between two checks of whether the file was moved away."""

_COMPLAINT = 60.0
"""Seconds between two complaints that lines cannot be written."""

_MODE = 0o600


class AccessLog:
    """Appends lines to ``path``. If the file cannot be written, that is logged, and requests go on."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = -1
        self._watch: asyncio.TimerHandle | None = None
        self._complained = float("-inf")

    def open(self) -> None:
        """Begin, in the event loop that will use it. Raises OSError."""
        try:
            self._file = self._opened()
        except OSError as error:
            raise OSError(f"cannot write to {str(self._path)!r}: {error.strerror}") from error
        self._look()

    def close(self) -> None:
        """Close the file."""
        if self._watch is not None:
            self._watch.cancel()
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def write(self, fields: Mapping[str, object]) -> None:
        """Append a line; fields that are "" or None are left out."""
        present = {name: value for name, value in fields.items() if value not in ("", None)}
        line = json.dumps({"time": _now(), **present}, separators=(",", ":")).encode() + b"\n"
        try:
            if os.write(self._file, line) != len(line):
                os.write(self._file, b"\n")  # so that the next entry begins on a line of its own
                raise OSError("a line was cut short")
        except OSError as error:
            self._complain("the access log cannot be written", error)

    def _complain(self, what: str, error: OSError) -> None:
        if time.monotonic() - self._complained > _COMPLAINT:
            self._complained = time.monotonic()
            _log.error(what, extra={"file": self._path, "reason": str(error)})

    def _opened(self) -> int:
        return os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, _MODE)

    def _look(self) -> None:
        """Open the file again if there is another at its path, or none."""
        self._watch = asyncio.get_running_loop().call_later(_LOOK, self._look)
        try:
            there, own = None, os.fstat(self._file)
            with contextlib.suppress(FileNotFoundError):
                there = self._path.stat()
            if there is None or (there.st_dev, there.st_ino) != (own.st_dev, own.st_ino):
                fresh = self._opened()
                os.close(self._file)
                self._file = fresh
        except OSError as error:
            self._complain("the access log cannot be opened anew, the file that was moved away goes on", error)


def _now() -> str:
    seconds = time.time()
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds)) + f".{int(seconds % 1 * 1000):03d}Z"
