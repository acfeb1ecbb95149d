"""Jobs on what a server serves (``strongroom adopt``, ``rewrap``, ``audit``), as processes of their own."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

from tests.server import Server


def job(server: Server, name: str, *arguments: str) -> Any:
    """Run a job on what a server serves, beside it and with its settings; its report."""
    process = run_job(server, name, "--json", *arguments)
    assert process.returncode in (0, 3), process.stderr
    return json.loads(process.stdout)


def run_job(server: Server, name: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """The same; the process."""
    return subprocess.run(
        [sys.executable, "-m", "strongroom", name, server.backend or str(server.directory), *arguments],
        env=server.environment, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
