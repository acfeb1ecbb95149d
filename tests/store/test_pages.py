"""The local store reads a short page of a listing once, as long as nobody writes to the index."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from strongroom.store.base import Page, Stored
from strongroom.store.errors import NoSuchBucket
from strongroom.store.local import LocalStore, pages, revision, schema
from strongroom.store.local.listing import _Record, list_objects
from strongroom.store.local.pages import Pages
from strongroom.store.local.revision import Revision
from strongroom.store.local.scans import Scans
from tests.store.kinds import put
from tests.store.test_local import run
from tests.store.test_recent import taken
from tests.store.test_rows import write_by_another


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    """Which pages are read from the index: prefix, delimiter, after, limit."""
    read: list[tuple[Any, ...]] = []

    def listing(connection: sqlite3.Connection, bucket: int, *asked: Any) -> Page:
        read.append(asked)
        return list_objects(connection, bucket, *asked)

    monkeypatch.setattr(pages, "list_objects", listing)
    return read


def keys(page: Page) -> list[str]:
    return [*page.prefixes, *[stored.key for stored in page.objects]]


def test_a_page_is_read_once_and_another_one_by_itself(tmp_path: Path, read: list[tuple[Any, ...]]) -> None:
    async def use(store: LocalStore) -> None:
        await store.create_bucket("other")
        for name in ("a/1", "a/2", "b/1", "c"):
            await put(store, name, b"")
        for _ in range(3):
            assert keys(await store.list("bucket", "", "/", "", 1000)) == ["a/", "b/", "c"]
            assert keys(await store.list("bucket", "a/", "/", "", 1000)) == ["a/1", "a/2"]
            assert keys(await store.list("bucket", "", "", "", 1000)) == ["a/1", "a/2", "b/1", "c"]
            assert keys(await store.list("bucket", "", "/", "a/", 1000)) == ["b/", "c"]
            page = await store.list("bucket", "", "/", "", 2)
            assert (keys(page), page.next) == (["a/", "b/"], "b/")
            assert keys(await store.list("other", "", "/", "", 1000)) == []
        assert len(read) == 6

    run(tmp_path, use)


def test_each_write_of_another_store_is_seen_at_once(tmp_path: Path, read: list[tuple[Any, ...]]) -> None:
    async def use(store: LocalStore) -> None:
        other = LocalStore(tmp_path)
        await other.start()
        expected: list[str] = []
        for name in ("a", "b/1", "b/2", "c"):
            await put(other, name, b"")
            expected = sorted({*expected, name[:2]})
            for _ in range(2):
                assert sorted(keys(await store.list("bucket", "", "/", "", 1000))) == expected
        await put(other, "a", b"longer")
        assert [one.size for one in (await store.list("bucket", "a", "/", "", 1000)).objects] == [6]
        for name in ("a", "b/1", "b/2", "c"):
            await other.delete("bucket", name)
        assert keys(await store.list("bucket", "", "/", "", 1000)) == []
        assert len(read) == 6
        await other.delete_bucket("bucket")
        with pytest.raises(NoSuchBucket):
            await store.list("bucket", "", "/", "", 1000)
        await other.stop()

    run(tmp_path, use)


def test_a_page_is_not_kept_if_somebody_writes_while_it_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def use(store: LocalStore) -> None:
        await put(store, "o", b"old")

        def meanwhile(*arguments: Any) -> Page:
            page = list_objects(*arguments)
            monkeypatch.setattr(pages, "list_objects", list_objects)
            write_by_another(tmp_path)
            return page

        monkeypatch.setattr(pages, "list_objects", meanwhile)
        for expected in (False, True):
            (found,) = (await store.list("bucket", "", "", "", 1000)).objects
            assert (found.identity == "new") is expected

    run(tmp_path, use)


def test_a_page_from_before_a_write_is_not_kept_because_somebody_asked_for_another_one_since(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Scans, "read", Scans.in_thread)  # where a page that takes long is read
    was_read, may_return = threading.Event(), threading.Event()

    def late(*arguments: Any) -> Page:
        monkeypatch.setattr(pages, "list_objects", list_objects)
        page = list_objects(*arguments)
        was_read.set()
        may_return.wait(30)
        return page

    async def use(store: LocalStore) -> None:
        await put(store, "o", b"old")
        monkeypatch.setattr(pages, "list_objects", late)
        asked = asyncio.create_task(store.list("bucket", "", "", "", 1000))
        await asyncio.to_thread(was_read.wait, 30)
        write_by_another(tmp_path)
        assert keys(await store.list("bucket", "another", "", "", 1000)) == []
        may_return.set()
        await asked
        (found,) = (await store.list("bucket", "", "", "", 1000)).objects
        assert found.identity == "new"

    run(tmp_path, use)


def test_nothing_is_kept_where_the_format_of_the_shared_memory_is_not_known(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, read: list[tuple[Any, ...]]
) -> None:
    monkeypatch.setattr(revision, "_VERSION", bytes(4))

    async def use(store: LocalStore) -> None:
        for _ in range(3):
            await store.list("bucket", "", "", "", 1000)
        assert len(read) == 3

    run(tmp_path, use)


def test_pages_of_many_folders_are_kept_and_those_of_many_objects_are_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, read: list[tuple[Any, ...]]
) -> None:
    monkeypatch.setattr(pages, "SHORT", 2)

    async def use(store: LocalStore) -> None:
        for name in ("a/1", "b/1", "c/1", "d/1", "e", "f"):
            await put(store, name, b"")
        for _ in range(3):
            assert len(keys(await store.list("bucket", "", "/", "", 1000))) == 6
            assert len(keys(await store.list("bucket", "", "", "", 3))) == 3
        assert len(read) == 1 + 3

    run(tmp_path, use)


def folders(number: int) -> Page:
    return Page([], [f"{number:06}é/{folder}/" * 10 for folder in range(50)], None)


def objects(number: int) -> Page:
    encoded = [schema.encode_mapping({"a": bytes(40), "b": os.urandom(200), "c": bytes(100)}) for _ in range(50)]
    found = [Stored(f"{number:06}é" * 10, 1, 1, _Record(record), os.urandom(6).hex()) for record in encoded]
    for stored in found:
        stored.record.get("something else")  # so that they are decoded
    return Page(found, [], None)


@pytest.mark.parametrize("page", [folders, objects])
def test_pages_are_remembered_in_bounded_memory(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, page: Callable[[int], Page]
) -> None:
    most = 2 * 1024**2
    monkeypatch.setattr(pages, "MOST", most)
    monkeypatch.setattr(pages, "list_objects", lambda _, number, *asked: page(number))
    database = tmp_path / "index.db"
    schema.create(database)

    async def many(known: Pages) -> Pages:
        for number in range(2000):
            await known.page(number, "", "/", "", 1000)
        return known

    with ThreadPoolExecutor(1) as pool, closing(Scans(database, pool)) as scans:
        known = Revision(database)
        assert most // 3 < taken(lambda: asyncio.run(many(Pages(scans, known)))) < 1.5 * most
        known.close()
