"""What the clients upload: bytes that can be told apart, and found again where they must not be."""

from __future__ import annotations

import random
from pathlib import Path

from tests.storage import Searched, files_with

MARKER = b"<<this is known plaintext, and must not be found on the disk>>"
_EVERY = 4096
_SEARCHED = Searched()


def marked(size: int, seed: int = 0) -> bytes:
    """``size`` random bytes with MARKER at the start, and again each 4 KiB."""
    content = bytearray(random.Random(seed).randbytes(size + len(MARKER)))
    for start in range(0, size, _EVERY):
        content[start : start + len(MARKER)] = MARKER
    return bytes(content[:size])


def write(path: Path, size: int, seed: int = 0) -> bytes:
    """Write ``marked`` bytes to a file, and give them."""
    content = marked(size, seed)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return content


def tree(root: Path) -> dict[str, bytes]:
    """The files below a directory, by their paths."""
    return {str(path.relative_to(root)): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}


def plaintext_in(directory: Path) -> list[str]:
    """The files below a directory in which MARKER stands."""
    return files_with(directory, MARKER, searched=_SEARCHED)
