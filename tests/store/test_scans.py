"""Reads of many rows of the local store's index: where they run, and what they keep in memory."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from strongroom.store.local import LocalStore, scans
from strongroom.store.local.scans import Scans
from tests.store.kinds import put

_COUNT = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1000) SELECT count(*) FROM n"


@pytest.fixture
def database(tmp_path: Path) -> Path:
    return tmp_path / "index.db"


def _where(database: Path) -> tuple[list[bool], int]:
    """Whether each try of a scan was in this thread, and what it found in the end."""
    tries = []

    def scan(connection: sqlite3.Connection) -> int:
        tries.append(threading.current_thread() is threading.main_thread())
        assert connection.execute("PRAGMA cache_size").fetchone() == (-4 * 1024,)  # KiB
        found: int = connection.execute(_COUNT).fetchone()[0]
        return found

    async def run() -> int:
        with ThreadPoolExecutor(1) as pool:
            reads = Scans(database, pool)
            try:
                return await reads.read(scan)
            finally:
                pool.shutdown(wait=True)
                reads.close()

    found = asyncio.run(run())
    return tries, found


def test_a_scan_of_what_is_in_memory_is_on_the_event_loop(database: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scans, "PATIENCE", 60)
    assert _where(database) == ([True], 1000)


def test_a_scan_that_takes_too_long_is_begun_anew_in_a_thread(database: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scans, "PATIENCE", -1)
    assert _where(database) == ([True, False], 1000)


def test_other_errors_of_a_scan_are_the_callers(database: Path) -> None:
    def scan(connection: sqlite3.Connection) -> None:
        connection.execute("SELECT missing")

    async def run() -> None:
        with ThreadPoolExecutor(1) as pool:
            reads = Scans(database, pool)
            try:
                await reads.read(scan)
            finally:
                reads.close()

    with pytest.raises(sqlite3.OperationalError, match="no such column"):
        asyncio.run(run())


def test_pages_are_the_same_wherever_they_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def pages() -> list[object]:
        store = LocalStore(tmp_path)
        await store.start()
        await store.create_bucket("bucket")
        for number in range(200):
            await put(store, f"{number % 40:02}/{number:03}", b"")
        found: list[object] = []
        for patience in (60, -1):
            monkeypatch.setattr(scans, "PATIENCE", patience)
            everything = await store.list("bucket", "", "", "", 1000)
            folders = await store.list("bucket", "", "/", "", 1000)
            names = [one.key for one in everything.objects]
            found.append((names, everything.next, list(folders.prefixes), folders.next))
        await store.stop()
        return found

    here, there = asyncio.run(pages())
    assert here == there
