"""How jobs on many objects end: what they print where they fail in the middle, and what signals do."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any, cast

import pytest

from strongroom.cli import sweep
from strongroom.cli.outcome import FAILED, STOPPED, fail
from strongroom.report import Report
from strongroom.store.base import Bucket
from strongroom.store.errors import NoSuchBucket, Unavailable
from strongroom.store.s3.sweep import Sweep, Swept


@pytest.mark.parametrize("done", [0, 7])
def test_one_that_fails_in_the_middle_says_what_it_did(capsys: pytest.CaptureFixture[str], done: int) -> None:
    report = Report("here", "", datetime.now(UTC), done=done)
    assert fail(report, True, "the backend does not answer").exit_code == FAILED
    printed = capsys.readouterr()
    assert printed.err == "strongroom: the backend does not answer\n"
    assert bool(printed.out) == bool(done)
    if done:
        told = json.loads(printed.out)
        assert (told["done"], told["finished"]) == (done, False)


WAITS = """
import os, time
from strongroom.cli.outcome import stop_on_signals
stop_on_signals(lambda: os.write(1, b"asked\\n"))  # not print: the signal may come while the other one prints
print("ready", flush=True)
while True:
    time.sleep(0.1)  # a signal that comes just before it sleeps does not wake it
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_second_signal_ends_what_goes_on_after_the_first(number: signal.Signals) -> None:
    with subprocess.Popen([sys.executable, "-c", WAITS], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for said in ("ready\n", "asked\n"):
            assert process.stdout.readline() == said
            assert process.poll() is None
            process.send_signal(number)
        assert process.wait(30) == STOPPED


INTERRUPTED = """
import sys
class Interrupted:
    def find_spec(self, name, *_):
        if name == "strongroom.cli.commands":
            raise KeyboardInterrupt
sys.meta_path.insert(0, Interrupted())
from strongroom.cli import main
sys.exit(main())
"""


def test_an_interrupt_before_the_command_is_loaded_ends_it_without_a_traceback() -> None:
    done = subprocess.run([sys.executable, "-c", INTERRUPTED], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (STOPPED, "", "")


@pytest.fixture
def handlers() -> Iterator[None]:
    """Has the handlers of signals back at the end."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


class TwoBuckets:
    """A store to sweep."""

    client = None

    async def start(self) -> None: ...

    async def stop(self) -> None: ...

    async def buckets(self) -> list[Bucket]:
        return [Bucket("one", 0), Bucket("two", 0)]


@pytest.mark.usefixtures("handlers")
def test_a_bucket_that_a_client_removes_meanwhile_ends_no_sweep_unless_it_was_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    async def run(self: Sweep) -> Swept:
        if self._bucket == "one":
            raise NoSuchBucket("one")
        self.swept.records.append("an orphan")
        return self.swept

    monkeypatch.setattr(Sweep, "run", run)
    asyncio.run(sweep._sweep(cast(Any, TwoBuckets()), [], dry=True))
    assert capsys.readouterr().out == "two: record an orphan\n1 orphan found\n"
    with pytest.raises(NoSuchBucket):
        asyncio.run(sweep._sweep(cast(Any, TwoBuckets()), ["one"], dry=True))


@pytest.mark.usefixtures("handlers")
def test_a_sweep_that_is_stopped_or_fails_says_what_it_removed_until_then(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    async def stopped(self: Sweep) -> Swept:
        self.swept.records.append("an orphan")
        os.kill(os.getpid(), signal.SIGTERM)
        await self._stop.wait()
        return self.swept

    monkeypatch.setattr(Sweep, "run", stopped)
    assert asyncio.run(sweep._sweep(cast(Any, TwoBuckets()), [], dry=False)) == STOPPED
    removed, told = "one: record an orphan\n1 orphan removed\n", capsys.readouterr().out
    assert told == f"{removed}stopped before the end; the same command goes on from here\n"

    async def failing(self: Sweep) -> Swept:
        self.swept.records.append("an orphan")
        raise Unavailable("the backend does not answer")

    monkeypatch.setattr(Sweep, "run", failing)
    with pytest.raises(Unavailable):
        asyncio.run(sweep._sweep(cast(Any, TwoBuckets()), [], dry=False))
    assert capsys.readouterr().out == removed
