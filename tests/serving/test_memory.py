"""Memory in large pages, where the kernel has them."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from strongroom.serving.memory import HUGE_PAGE

POLICY = Path("/sys/kernel/mm/transparent_hugepage/enabled")
FILL_AND_MOVE = """
import threading, pathlib
from strongroom.serving.memory import use_huge_pages
things = [str(number) for number in range(1_000_000)]
threading.Thread(target=threading.Event().wait, daemon=True).start()
use_huge_pages()
assert things == [str(number) for number in range(1_000_000)]
print(pathlib.Path("/proc/self/smaps_rollup").read_text())
"""


def kernel_can() -> bool:
    """Whether the kernel moves memory on request: Linux 6.1, and not forbidden."""
    release = tuple(map(int, re.findall(r"\d+", Path("/proc/sys/kernel/osrelease").read_text())[:2]))
    return release >= (6, 1) and POLICY.exists() and "[never]" not in POLICY.read_text()


@pytest.mark.skipif(not kernel_can(), reason="this kernel has no large pages on request")
def test_what_lies_in_memory_is_moved_into_large_pages() -> None:
    done = subprocess.run([sys.executable, "-c", FILL_AND_MOVE], capture_output=True, text=True, check=True)
    huge = re.search(r"AnonHugePages: +(\d+) kB", done.stdout)
    assert huge is not None
    assert int(huge[1]) * 1024 >= 10 * HUGE_PAGE
