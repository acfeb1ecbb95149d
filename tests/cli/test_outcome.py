"""How jobs on many objects end: what they print where they fail in the middle, and what signals do."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
from datetime import UTC, datetime
from typing import Any, cast

import pytest

from strongroom.cli import sweep
from strongroom.cli.outcome import FAILED, STOPPED, fail
from strongroom.report import Report
from strongroom.store.base import Bucket
from strongroom.store.errors import NoSuchBucket
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
import time
from strongroom.cli.outcome import stop_on_signals
stop_on_signals(lambda: print("asked", flush=True))
print("ready", flush=True)
time.sleep(60)
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


def test_a_bucket_that_a_client_removes_meanwhile_ends_no_sweep_unless_it_was_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class Store:
        client = None

        async def start(self) -> None: ...

        async def stop(self) -> None: ...

        async def buckets(self) -> list[Bucket]:
            return [Bucket("one", 0), Bucket("two", 0)]

    async def run(self: Sweep) -> Swept:
        if self._bucket == "one":
            raise NoSuchBucket("one")
        return Swept(records=["an orphan"])

    monkeypatch.setattr(Sweep, "run", run)
    asyncio.run(sweep._sweep(cast(Any, Store()), [], dry=True))
    assert capsys.readouterr().out == "two: record an orphan\n1 orphans found\n"
    with pytest.raises(NoSuchBucket):
        asyncio.run(sweep._sweep(cast(Any, Store()), ["one"], dry=True))
