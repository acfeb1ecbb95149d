"""Installed programs that the tests drive: where they are, and how one is run."""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

import pytest

_TOOLS = Path(__file__).parents[2] / ".tools"


def find(name: str) -> Path:
    """The program of that name: what ``make tools`` installed, else what is on the PATH. Skips where there is none."""
    path = os.pathsep.join([str(_TOOLS / "bin"), str(_TOOLS / "venv" / "bin"), os.environ["PATH"]])
    found = shutil.which(name, path=path)
    if found is None:
        reason = f"{name} is not installed (make tools)"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    return Path(found)


@dataclass(frozen=True)
class Program:
    """A program with a home directory of its own, in which it runs.

    ``options`` stand before the arguments of each call; ``environment`` comes on top of PATH and HOME.
    """

    name: str
    home: Path
    options: tuple[str, ...] = ()
    environment: dict[str, str] = field(default_factory=dict)

    def run(self, *arguments: str | Path, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
        """Run it, and give what became of it."""
        return subprocess.run(
            [find(self.name), *self.options, *arguments],
            env={"PATH": os.environ["PATH"], "HOME": str(self.home), "LC_ALL": "C.UTF-8", **self.environment},
            cwd=self.home,
            input=stdin,
            capture_output=True,
            timeout=300,
            check=False,
        )

    def output(self, *arguments: str | Path, stdin: bytes = b"") -> bytes:
        """What it writes to its standard output, when it succeeds."""
        done = self.run(*arguments, stdin=stdin)
        assert done.returncode == 0, f"{done.args} ended with {done.returncode}: {_text(done)}"
        return done.stdout

    def __call__(self, *arguments: str | Path, stdin: bytes = b"") -> str:
        """What it prints, on both outputs, when it succeeds."""
        done = self.run(*arguments, stdin=stdin)
        assert done.returncode == 0, f"{done.args} ended with {done.returncode}: {_text(done)}"
        return _text(done)

    def refused(self, *arguments: str | Path) -> str:
        """What it prints, on both outputs, when it fails."""
        done = self.run(*arguments)
        assert done.returncode != 0, f"{done.args} succeeded: {_text(done)}"
        return _text(done)


def _text(done: subprocess.CompletedProcess[bytes]) -> str:
    return (done.stdout + done.stderr).decode(errors="replace")
