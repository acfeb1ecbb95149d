"""What lies in a server's data directory, seen by whoever holds the disk: for tests that search it or spoil it."""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path

from tests.server import Server

_TICK_NS = 10**9
"""Nanoseconds after which a change of a file shows in its time, whatever the file system's clock."""


def stored_bytes(directory: Path) -> Iterator[tuple[Path, bytes]]:
    """Every file below a directory, with its bytes."""
    for file in sorted(directory.rglob("*")):
        if file.is_file():
            yield file, file.read_bytes()


def files_with(directory: Path, *needles: bytes, searched: Searched | None = None) -> list[str]:
    """The files that hold one of the needles, in their bytes or in their names.

    ``searched`` remembers those that hold none, for the next search for the same: they are read again only when they
    have changed.
    """
    found = []
    for file in below(directory):
        if searched is not None and searched.before(file):
            continue
        if _holds(file, needles):
            found.append(str(file))
            if searched is not None:
                searched.forget(file)
    return found + [str(file) for file in below(directory) if any(n in bytes(file) for n in needles)]


class Searched:
    """Files that were searched, as they were then."""

    def __init__(self) -> None:
        self._states: dict[Path, tuple[int, int, int]] = {}

    def before(self, file: Path) -> bool:
        """Whether a file is as it was when this was asked before."""
        try:
            seen = file.stat()
        except FileNotFoundError:
            return False
        state = seen.st_ino, seen.st_size, seen.st_ctime_ns
        if self._states.get(file) == state:
            return True
        if time.time_ns() - seen.st_ctime_ns > _TICK_NS and not file.name.endswith("-shm"):  # it is mapped: no times
            self._states[file] = state
        return False

    def forget(self, file: Path) -> None:
        """Have it searched again."""
        self._states.pop(file, None)


def below(directory: Path) -> list[Path]:
    """All files and folders below a directory, but for those that a running server removes meanwhile."""
    return sorted(Path(root, name) for root, folders, files in os.walk(directory) for name in (*folders, *files))


def _holds(file: Path, needles: Sequence[bytes]) -> bool:
    longest, tail = max(map(len, needles)), b""
    try:
        with file.open("rb") as opened:
            while block := opened.read(1024**2):  # files may be larger than the memory
                block = tail + block
                if any(needle in block for needle in needles):
                    return True
                tail = block[-longest:]
    except (IsADirectoryError, FileNotFoundError):  # one that was removed in the meantime
        pass
    return False


def index(server: Server) -> sqlite3.Connection:
    """The server's index, to read and to spoil; the caller commits and closes."""
    return sqlite3.connect(server.directory / ".strongroom" / "index.db", timeout=60)


def blobs(server: Server) -> list[Path]:
    """The blob files."""
    return [file for file in (server.directory / ".strongroom" / "blobs").rglob("*") if file.is_file()]


def spoil_row(server: Server, table: str, column: str, where: str, arguments: tuple[object, ...], at: int) -> None:
    """Flip the lowest bit of byte ``at`` (from the end, if negative) of a value in the index."""
    with closing(index(server)) as connection, connection:
        (value,) = connection.execute(f"SELECT {column} FROM {table} WHERE {where}", arguments).fetchone()
        spoilt = bytearray(value)
        spoilt[at] ^= 1
        changed = connection.execute(f"UPDATE {table} SET {column} = ? WHERE {where}", (bytes(spoilt), *arguments))
        assert changed.rowcount == 1


def spoil_file(file: Path, at: int) -> None:
    """Flip the lowest bit of byte ``at`` of a file."""
    with file.open("r+b") as opened:
        opened.seek(at)
        (byte,) = opened.read(1)
        opened.seek(at)
        opened.write(bytes([byte ^ 1]))
