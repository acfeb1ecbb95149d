"""Small file systems of their own, for tests that fill them."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.waiting import comes


@contextmanager
def small_file_system(point: Path, mebibytes: int, inodes: int = 0) -> Iterator[Path]:
    """A file system in memory, mounted at ``point``, with as many inodes as it likes or so many; skips the test where
    nothing may be mounted.
    """
    point.mkdir()
    command = [
        "mount",
        "-t",
        "tmpfs",
        "-o",
        f"size={mebibytes}m" + (f",nr_inodes={inodes}" if inodes else ""),
        "none",
        str(point),
    ]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"nothing can be mounted here: {done.stderr.strip()}")
    try:
        yield point
    finally:
        subprocess.run(["umount", str(point)], check=True)


def remount_read_only(point: Path) -> None:
    """Let nothing be written to a file system any more, as soon as no file is open for writing."""
    command = ["mount", "-o", "remount,ro", str(point)]
    assert comes(lambda: subprocess.run(command, capture_output=True).returncode == 0)
