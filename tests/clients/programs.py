"""Installed programs that the tests drive: where they are, and how one is run."""

from __future__ import annotations

import atexit
import json
import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from tempfile import TemporaryFile
from threading import Thread

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
            env=self._environment(),
            cwd=self.home,
            input=stdin,
            capture_output=True,
            timeout=300,
            check=False,
        )

    def _environment(self) -> dict[str, str]:
        return {"PATH": os.environ["PATH"], "HOME": str(self.home), "LC_ALL": "C.UTF-8", **self.environment}

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


@dataclass(frozen=True)
class Loaded(Program):
    """A program written in Python, whose ``modules`` are loaded once for all calls (:mod:`tests.clients.forked`)."""

    modules: tuple[str, ...] = ()

    def run(self, *arguments: str | Path, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
        """Run it, and give what became of it."""
        script = find(self.name)
        given = [*self.options, *map(str, arguments)]
        call = {"arguments": given, "environment": self._environment(), "directory": str(self.home)}
        calls = _loaded(script, self.modules)
        with TemporaryFile() as out, TemporaryFile() as err, _fed(stdin) as fed:
            socket.send_fds(calls, [json.dumps(call).encode()], [fed, out.fileno(), err.fileno()])
            code = int(calls.recv(16))
            out.seek(0)
            err.seek(0)
            return subprocess.CompletedProcess([str(script), *given], code, out.read(), err.read())


@cache
def _loaded(script: Path, modules: tuple[str, ...]) -> socket.socket:
    """Where to send calls of a script; it has no home of its own but that of each call."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with script.open() as text, theirs:
        python = text.readline().removeprefix("#!").split()
        process = subprocess.Popen(
            [*python, "-P", Path(__file__).with_name("forked.py"), str(theirs.fileno()), script, *modules],
            env={"PATH": os.environ["PATH"], "HOME": "/nonexistent", "LC_ALL": "C.UTF-8"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            pass_fds=[theirs.fileno()],
        )
    ours.settimeout(300)
    atexit.register(process.wait)
    atexit.register(ours.close)  # which ends it, and comes first
    return ours


@contextmanager
def _fed(content: bytes) -> Iterator[int]:
    """A pipe that gives this content."""

    def write() -> None:
        with suppress(BrokenPipeError), open(into, "wb") as opened:
            opened.write(content)

    out_of, into = os.pipe()
    writing = Thread(target=write)
    writing.start()
    try:
        yield out_of
    finally:
        os.close(out_of)
        writing.join()


def _text(done: subprocess.CompletedProcess[bytes]) -> str:
    return (done.stdout + done.stderr).decode(errors="replace")
