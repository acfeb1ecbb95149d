"""Runs the command as its users do."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest


@dataclass
class Command:
    """``strongroom``, run with a home of its own and no settings but those that are given; by ``before``, if any."""

    home: Path
    before: list[str] = field(default_factory=list)
    started: list[subprocess.Popen[str]] = field(default_factory=list)

    def run(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run it to its end."""
        return subprocess.run(
            self._line(arguments), env=self._environment(environment), capture_output=True, text=True, timeout=60
        )

    def start(self, *arguments: str, **environment: str) -> subprocess.Popen[str]:
        """Start it; what it logs is in ``log`` below the home."""
        with (self.home / "log").open("a") as log:
            process = subprocess.Popen(
                self._line(arguments),
                env=self._environment(environment),
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        self.started.append(process)
        return process

    def _line(self, arguments: tuple[str, ...]) -> list[str]:
        return [*self.before, sys.executable, "-m", "strongroom", *arguments]

    def _environment(self, given: dict[str, str]) -> dict[str, str]:
        return {"PATH": os.environ["PATH"], "HOME": str(self.home), **given}


@pytest.fixture
def command(tmp_path: Path) -> Iterator[Command]:
    """The command, in a fresh home; what it started ends with the test."""
    command = Command(tmp_path)
    yield command
    for process in command.started:
        if process.poll() is None:
            process.terminate()
            process.wait(20)
        assert process.stdout is not None
        process.stdout.close()


@pytest.fixture
def banner() -> Callable[[subprocess.Popen[str], str], str]:
    """Reads what a started server prints, up to and with a line that holds a text."""

    def read(process: subprocess.Popen[str], last: str) -> str:
        assert process.stdout is not None
        lines: list[str] = []
        while not lines or last not in lines[-1]:
            line = process.stdout.readline()
            assert line, f"the server ended; it printed {lines}"
            lines.append(line)
        return "".join(lines)

    return read
