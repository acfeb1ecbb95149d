"""The access log by itself: its lines, and a file that is moved away."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import stat
from pathlib import Path

import pytest

from strongroom.observe import access
from strongroom.observe.access import AccessLog


def test_a_line_is_a_json_object_whatever_is_in_it(tmp_path: Path) -> None:
    path = tmp_path / "access.log"

    async def main() -> None:
        log = AccessLog(path)
        log.open()
        log.write({"key": 'a\n"b\u2028\ud800', "status": 200, "empty": "", "none": None, "zero": 0})
        log.close()

    asyncio.run(main())
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    (line,) = path.read_bytes().splitlines()
    fields = json.loads(line)
    assert fields.pop("time").endswith("Z")
    assert fields == {"key": 'a\n"b\u2028\ud800', "status": 200, "zero": 0}


def test_a_file_that_is_moved_away_gets_a_successor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(access, "_LOOK", 0.01)
    path = tmp_path / "access.log"

    async def main() -> None:
        log = AccessLog(path)
        log.open()
        log.write({"n": 1})
        path.rename(tmp_path / "access.log.1")
        log.write({"n": 2})
        await asyncio.sleep(0.1)
        log.write({"n": 3})
        log.close()

    asyncio.run(main())
    numbers = [
        [json.loads(line)["n"] for line in (tmp_path / name).read_text().splitlines()]
        for name in ("access.log.1", "access.log")
    ]
    assert numbers == [[1, 2], [3]]


def test_a_line_that_cannot_be_written_is_complained_of_once(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        log = AccessLog(Path("/dev/full"))
        log.open()
        for _ in range(5):
            log.write({"n": 1})
        log.close()

    if not os.path.exists("/dev/full"):
        pytest.skip("there is no /dev/full")
    with caplog.at_level(logging.ERROR):
        asyncio.run(main())
    assert [record.message for record in caplog.records] == ["the access log cannot be written"]
