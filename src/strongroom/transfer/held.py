"""Locks that keep two runs from working with the same files. They end with the process that holds them."""

from __future__ import annotations

import fcntl
from pathlib import Path
from typing import TextIO


class Held(Exception):
    """Another run is working with the files; the message says which."""


def hold(path: Path, run: str) -> TextIO:
    """Lock a file, which is made if need be, until it is closed. ``run``: what holds it, for the message. Where the
    file system has no locks, nothing is locked. Raises Held, OSError.
    """
    held = path.open("a", encoding="utf-8")
    try:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        held.close()
        raise Held(f"another {run} is running; wait for its end") from None
    except OSError:
        pass  # a file system without locks
    return held
