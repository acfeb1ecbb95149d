"""The load generator (``bench/load``), as a program to run."""

from __future__ import annotations

import json
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

from bench.outcome import Outcome
from bench.peers import ACCESS_KEY, SECRET_KEY


class LoadFailed(Exception):
    """The load generator had errors; a figure would mean nothing."""


@dataclass(frozen=True, slots=True)
class Generator:
    """The program, and the bucket that it works in."""

    program: Path
    bucket: str = "bench"

    def run(self, endpoint: str, load: str, authority: Path | None = None) -> Outcome:
        """Do what the flags say with a server. Raises LoadFailed where it did anything but what it should."""
        done = self._run(endpoint, load, authority)
        result = json.loads(done)
        return Outcome(**{name: result[name] for name in Outcome.__slots__})

    def make_bucket(self, endpoint: str, authority: Path | None = None) -> None:
        """Make the bucket, where it is not there."""
        self._run(endpoint, "-op bucket", authority)

    def _run(self, endpoint: str, load: str, authority: Path | None) -> str:
        access = ["-endpoint", endpoint, "-access-key", ACCESS_KEY, "-secret-key", SECRET_KEY, "-bucket", self.bucket]
        command = [str(self.program), *access, *load.split()]
        environment = {**os.environ, "SSL_CERT_FILE": str(authority)} if authority else None
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        if done.returncode:
            raise LoadFailed(f"{endpoint}: {load}: {done.stdout[-500:]}{done.stderr[-500:]}")
        return done.stdout
