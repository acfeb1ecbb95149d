"""Listings of large folders read what the page needs, and no more: folders and files that are opened are counted."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from strongroom.store.base import Page
from strongroom.store.nas import NasStore

FOLDERS, SUBFOLDERS, FILES = 10, 100, 100
_counting: list[dict[str, int]] = []


def _audit(event: str, arguments: tuple[Any, ...]) -> None:
    if _counting and event in ("os.scandir", "open"):
        counts = _counting[-1]
        counts[event] = counts.get(event, 0) + 1


sys.addaudithook(_audit)


@contextmanager
def counted() -> Iterator[dict[str, int]]:
    """How often folders were read ("os.scandir") and anything was opened ("open")."""
    counts: dict[str, int] = {"os.scandir": 0, "open": 0}
    _counting.append(counts)
    try:
        yield counts
    finally:
        _counting.remove(counts)


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A shared folder whose bucket "bucket" holds 100,000 empty files in nested folders."""
    directory = tmp_path_factory.mktemp("large")
    for folder in range(FOLDERS):
        for sub in range(SUBFOLDERS):
            here = directory / "bucket" / f"{folder}" / f"{sub:02}"
            here.mkdir(parents=True)
            for number in range(FILES):
                (here / f"{number:02}").touch()
    return directory


def listed(directory: Path, *pages: tuple[str, str, str, int]) -> list[tuple[Page, dict[str, int]]]:
    async def use() -> list[tuple[Page, dict[str, int]]]:
        store = NasStore(directory)
        await store.start()
        await asyncio.wait([store._sweeping], timeout=0.5)  # let the first sweep pass
        found = []
        for page in pages:
            with counted() as counts:
                found.append((await store.list("bucket", *page), counts))
        await store.stop()
        return found

    return asyncio.run(use())


def test_a_page_reads_the_folders_that_its_names_lie_in(large: Path) -> None:
    pages = listed(large, ("", "", "", 1000), ("", "", "5/50/99", 1000), ("7/3", "", "", 10), ("", "", "9/99/98", 1000))
    for page, counts in pages[:2]:
        assert len(page.objects) == 1000 and page.next is not None
        assert counts["os.scandir"] <= 14  # ten folders of a hundred, those above, and the next one
        assert counts["open"] <= 1150
    assert pages[1][0].objects[0].key == "5/51/00"
    page, counts = pages[2]
    assert [stored.key for stored in page.objects] == [f"7/30/{n:02}" for n in range(10)]
    assert counts["os.scandir"] <= 3
    assert counts["open"] <= 20
    page, counts = pages[3]
    assert [stored.key for stored in page.objects] == ["9/99/99"] and page.next is None
    assert counts["os.scandir"] <= 3


def test_common_prefixes_read_no_further_than_to_the_first_file(large: Path) -> None:
    (top, counts), (inner, inner_counts) = listed(large, ("", "/", "", 1000), ("3/", "/", "3/40/", 20))
    assert top.prefixes == [f"{n}/" for n in range(FOLDERS)]
    assert counts["os.scandir"] <= 1 + 2 * FOLDERS
    assert inner.prefixes == [f"3/{n:02}/" for n in range(41, 61)]
    assert inner_counts["os.scandir"] <= 1 + 21


def test_all_pages_together_hold_every_file_once(large: Path) -> None:
    async def use() -> list[str]:
        store = NasStore(large)
        await store.start()
        keys: list[str] = []
        after: str | None = ""
        while after is not None:
            page = await store.list("bucket", "", "", after, 1000)
            keys += [stored.key for stored in page.objects]
            after = page.next
        await store.stop()
        return keys

    keys = asyncio.run(use())
    assert len(keys) == FOLDERS * SUBFOLDERS * FILES
    assert keys == sorted(keys)


def test_a_large_flat_folder_is_read_once_for_all_pages_once_it_is_quiet(tmp_path: Path) -> None:
    folder = tmp_path / "bucket"
    folder.mkdir()
    for number in range(3000):
        (folder / f"{number:04}").touch()
    os.utime(folder, (time.time() - 60, time.time() - 60))

    async def use() -> None:
        store = NasStore(tmp_path)
        await store.start()
        await asyncio.wait([store._sweeping], timeout=0.5)
        first = await store.list("bucket", "", "", "", 1000)
        # Its change time is of now: it may not be trusted yet. Let the gateway's clock be a minute ahead.
        real = store._listings._entries._now
        assert real is not None
        store._listings._entries._now = lambda: real() + 60_000_000_000
        await store.list("bucket", "", "", "", 1000)
        with counted() as counts:
            second = await store.list("bucket", "", "", first.next or "", 1000)
        assert counts["os.scandir"] == 0
        assert second.objects[0].key == "1000"
        (folder / "0999b").touch()
        third = await store.list("bucket", "", "", first.next or "", 1000)
        assert third.objects[0].key == "0999b"
        await store.stop()

    asyncio.run(use())
