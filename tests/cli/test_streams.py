"""What a service is started with: no standard streams, none that can be written to, names in no encoding."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.request import urlopen

import pytest

from tests.cli.conftest import Command
from tests.server import free_port
from tests.waiting import comes

Begin = Callable[[str], "Started"]


class Started:
    """A server whose standard streams are what a shell makes of them."""

    def __init__(self, home: Path, redirection: str) -> None:
        self.port = free_port()
        line = [sys.executable, "-m", "strongroom", "server", "--dev", "--workers", "1"]
        self.process = subprocess.Popen(
            ["/bin/sh", "-c", f'exec "$@" {redirection}', "sh", *line, "--address", f"127.0.0.1:{self.port}", "data"],
            env={"PATH": os.environ["PATH"], "HOME": str(home)},
            cwd=home,
        )

    def lives(self) -> bool:
        try:
            with urlopen(f"http://127.0.0.1:{self.port}/minio/health/live", timeout=5) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False

    def processes(self) -> list[str]:
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        return [str(self.process.pid), *children]


@pytest.fixture
def begin(tmp_path: Path) -> Iterator[Begin]:
    started: list[Started] = []

    def one(redirection: str) -> Started:
        started.append(Started(tmp_path, redirection))
        return started[-1]

    yield one
    for server in started:
        server.process.terminate()
        server.process.wait(20)


def test_nothing_takes_the_place_of_standard_streams_that_are_closed(begin: Begin) -> None:
    server = begin("<&- >&- 2>&-")
    assert comes(server.lives)
    for pid in server.processes():
        assert [os.readlink(f"/proc/{pid}/fd/{number}") for number in range(3)] == [os.devnull] * 3


def test_a_banner_that_cannot_be_printed_ends_no_server(begin: Begin, tmp_path: Path) -> None:
    (tmp_path / "log").touch()
    server = begin(">/dev/full 2>log")
    assert comes(lambda: "the banner cannot be printed" in (tmp_path / "log").read_text())
    assert server.lives()
    server.process.terminate()
    assert server.process.wait(20) == 0


@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
def test_a_directory_may_have_a_name_in_no_encoding(
    command: Command, banner: Callable[[subprocess.Popen[str], str], str], tmp_path: Path, encoding: str
) -> None:
    arguments = ("server", "--dev", "--workers", "1", "--address", "127.0.0.1:0")
    process = command.start(*arguments, os.fsdecode(bytes(tmp_path) + b"/f\xfcr"), PYTHONIOENCODING=encoding)
    assert "Workers:" in banner(process, "Workers:")
