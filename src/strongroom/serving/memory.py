"""How the C library and the kernel manage a worker's memory."""

from __future__ import annotations

import contextlib
import ctypes
import re
from collections.abc import Iterator
from pathlib import Path

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # mallopt(3)
_KEPT = 32 * 1024**2
_LARGE = 32 * 1024**2  # the most that glibc accepts

HUGE_PAGE = 2 * 1024**2
"""Bytes, on x86-64 and on arm64 with pages of 4 KiB."""

_MADV_HUGEPAGE, _MADV_COLLAPSE = 14, 25  # madvise(2); the second since Linux 6.1
_MAPPING = re.compile(r"([0-9a-f]+)-([0-9a-f]+) (\S+) \S+ \S+ (\d+) *(\S*)")
_RESIDENT = re.compile(r"Rss: +(\d+) kB")


def keep_memory() -> None:
    """Let glibc keep what is freed, up to 32 MiB, for the next buffers of a MiB.

    Otherwise the kernel has to clear and map each of them page by page, which is a third of the time of a GET of 1 MiB.
    Other C libraries have no such setting.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_MMAP_THRESHOLD, _LARGE)
        mallopt(_M_TRIM_THRESHOLD, _KEPT)


def use_huge_pages() -> None:
    """Have what is in memory now moved into pages of 2 MiB, if the kernel can do that.

    An interpreter goes all over its memory for each request; with pages of 4 KiB, an eighth of the time of a small
    request is spent on address translation, more in virtual machines.
    """
    madvise = getattr(ctypes.CDLL(None), "madvise", None)
    if madvise is None:
        return
    madvise.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
    for start, end in list(_filled()):
        madvise(start, end - start, _MADV_HUGEPAGE)  # all that older kernels know; they do it little by little
        first, last = -(-start // HUGE_PAGE) * HUGE_PAGE, end // HUGE_PAGE * HUGE_PAGE
        if first < last:
            madvise(first, last - first, _MADV_COLLAPSE)


def _filled() -> Iterator[tuple[int, int]]:
    """Start and end of each private mapping that is mostly in use: heaps, not the stacks of threads."""
    mapping: re.Match[str] | None = None
    # File names stand there as raw bytes, in no particular encoding.
    with contextlib.suppress(OSError), Path("/proc/self/smaps").open(encoding="latin-1") as lines:
        for line in lines:
            if found := _MAPPING.match(line):
                private = found[3] == "rw-p" and found[4] == "0" and found[5] in ("", "[heap]")
                mapping = found if private else None
            elif mapping is not None and (resident := _RESIDENT.match(line)):
                start, end = int(mapping[1], 16), int(mapping[2], 16)
                if int(resident[1]) * 1024 * 2 > end - start >= HUGE_PAGE:
                    yield start, end
                mapping = None
