"""Workers that start at the same moment on a new directory all come up."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path


def test_workers_that_open_a_new_directory_at_once_all_come_up(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.store.starting", str(tmp_path)], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
