"""Which file system a path lies on."""

from __future__ import annotations

import os
import re
from contextlib import suppress
from pathlib import Path

_OCTAL = re.compile(rb"\\([0-7]{3})")  # mountinfo writes blanks, tabs, newlines and backslashes like this


def file_system(path: Path) -> str:
    """The type of the file system that a path lies on, from mountinfo (proc(5)); "" if it is not known."""
    kind, longest = b"", -1
    where = os.fsencode(os.path.realpath(path))
    with suppress(OSError):
        for line in Path("/proc/self/mountinfo").read_bytes().rstrip().split(b"\n"):
            fields = line.split(b" ")
            point = _OCTAL.sub(lambda escape: bytes((int(escape[1], 8),)), fields[4])
            inside = where == point or where.startswith(point.rstrip(b"/") + b"/")
            if inside and len(point) >= longest:
                kind, longest = fields[fields.index(b"-") + 1], len(point)
    return kind.decode("ascii", "replace")
