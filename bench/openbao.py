"""An OpenBao beside a server under measurement, set up by ``strongroom kms setup``. In memory: what is measured is the
way there and back, and its arithmetic.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from bench.processes import Running

_PROGRAM = Path(__file__).parents[1] / ".tools" / "venv" / "bin" / "bao"
_TOKEN = "bench"


def start(home: Path, endpoint: str) -> tuple[Running, Mapping[str, str]]:
    """OpenBao at ``endpoint`` (HOST:PORT), and the settings of a server that uses it."""
    home.mkdir()
    environment = {"PATH": os.environ["PATH"], "HOME": str(home)}
    url = f"http://{endpoint}"
    options = ["-dev", "-dev-no-store-token", f"-dev-root-token-id={_TOKEN}", f"-dev-listen-address={endpoint}"]
    running = Running([str(_PROGRAM), "server", *options], environment, home / "log")
    running.wait_for(f"{url}/v1/sys/health")
    setup = [sys.executable, "-m", "strongroom", "kms", "setup", "--json"]
    done = subprocess.run(
        [*setup, "--sse-vault-endpoint", url, "--sse-vault-key-name", "bench"],
        env=environment | {"BAO_TOKEN": _TOKEN},
        stdout=subprocess.PIPE,
        check=True,
    )
    settings: dict[str, str] = json.loads(done.stdout)["settings"]
    return running, settings
