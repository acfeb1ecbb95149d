"""The local store reads a row once, as long as nobody writes to the index: whoever writes, and however."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from strongroom.store.base import Stored
from strongroom.store.errors import NoSuchBucket, NoSuchObject
from strongroom.store.local import LocalStore, index, revision, rows, schema
from strongroom.store.local.blobs import Extent, Extents, encode_extents
from strongroom.store.local.revision import Revision
from strongroom.store.local.rows import Rows
from tests.store.kinds import get, put
from tests.store.test_local import run
from tests.store.test_recent import taken

OTHER_PROCESS = "import sqlite3, sys; c = sqlite3.connect(sys.argv[1], timeout=60); c.execute(sys.argv[2]); c.commit()"
LOCKED_BY_ANOTHER = """
import fcntl, sys
with open(sys.argv[1], "r+b") as shared:
    try:
        fcntl.lockf(shared, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, 128)  # held by each process that has the index open
    except BlockingIOError:
        sys.exit(0)
sys.exit(1)
"""


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Which rows are read from the index, the first of which is remembered."""
    monkeypatch.setattr(rows, "SETTLED", 0)
    read: list[str] = []
    find_object, find_bucket = index.find_object, index.find_bucket

    def finding(connection: sqlite3.Connection, bucket: str, key: str, with_data: bool = False) -> index.Row:
        read.append(key)
        return find_object(connection, bucket, key, with_data)

    def finding_bucket(connection: sqlite3.Connection, name: str) -> Any:
        read.append(name)
        return find_bucket(connection, name)

    monkeypatch.setattr(rows, "find_object", finding)
    monkeypatch.setattr(rows, "find_bucket", finding_bucket)
    return read


def test_what_nobody_wrote_to_is_read_once(tmp_path: Path, read: list[str]) -> None:
    async def use(store: LocalStore) -> None:
        await put(store, "o", b"bytes")
        read.clear()
        for _ in range(3):
            assert await get(store, "o") == b"bytes"
            assert (await store.head("bucket", "o")).size == 5
            assert (await store.bucket("bucket")).name == "bucket"
        assert read == ["o", "bucket"]

    run(tmp_path, use)


def test_what_was_read_without_its_data_is_read_once_more(tmp_path: Path, read: list[str]) -> None:
    async def use(store: LocalStore) -> None:
        await put(store, "o", b"bytes")
        read.clear()
        for _ in range(2):
            assert (await store.head("bucket", "o")).size == 5
        assert await get(store, "o") == b"bytes"
        assert read == ["o", "o"]

    run(tmp_path, use)


def test_nothing_is_remembered_where_every_few_reads_somebody_writes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, read: list[str]
) -> None:
    monkeypatch.setattr(rows, "SETTLED", 3)

    async def use(store: LocalStore) -> None:
        for size in (1, 2):
            await put(store, "o", bytes(size))
            read.clear()
            for _ in range(6):
                assert (await store.head("bucket", "o")).size == size
            assert read == ["o"] * 4

    run(tmp_path, use)


def test_each_write_of_another_store_is_seen_at_once(tmp_path: Path, read: list[str]) -> None:
    async def use(store: LocalStore) -> None:
        other = LocalStore(tmp_path)
        await other.start()
        for content in (b"1", b"22", bytes(300_000)):
            await put(other, "o", content)
            for _ in range(2):
                assert await get(store, "o") == content
                assert (await store.head("bucket", "o")).size == len(content)
        await other.set_bucket("bucket", "setting", b"value")
        assert (await store.bucket("bucket")).settings == {"setting": b"value"}
        await other.delete("bucket", "o")
        with pytest.raises(NoSuchObject):
            await store.open("bucket", "o")
        assert len(read) == 2 * len((b"1", b"22", b"large")) + 2
        await other.delete_bucket("bucket")
        with pytest.raises(NoSuchBucket):
            await store.head("bucket", "o")
        with pytest.raises(NoSuchBucket):
            await store.writer("bucket", "o", 1)
        await other.stop()

    run(tmp_path, use)


def test_a_write_of_another_process_by_whatever_program_is_seen_at_once(tmp_path: Path, read: list[str]) -> None:
    database = tmp_path / ".strongroom" / "index.db"

    async def use(store: LocalStore) -> None:
        await put(store, "o", b"bytes")
        for name in ("a", "b"):
            assert (await store.head("bucket", "o")).identity != name
            statement = f"UPDATE objects SET identity = '{name}'"
            written = await asyncio.create_subprocess_exec(sys.executable, "-c", OTHER_PROCESS, database, statement)
            assert await written.wait() == 0
            assert (await store.head("bucket", "o")).identity == name

    run(tmp_path, use)


def write_by_another(directory: Path) -> None:
    """Give all objects of a store the identity "new", over a connection that is not the store's."""
    with closing(sqlite3.connect(directory / ".strongroom" / "index.db")) as other:
        other.execute("UPDATE objects SET identity = 'new'")
        other.commit()


def test_a_row_is_not_kept_if_somebody_writes_while_it_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def use(store: LocalStore) -> None:
        await put(store, "o", b"old")
        find_object = index.find_object

        def meanwhile(*arguments: Any) -> index.Row:
            row = find_object(*arguments)
            monkeypatch.setattr(rows, "find_object", find_object)
            write_by_another(tmp_path)
            return row

        monkeypatch.setattr(rows, "SETTLED", 0)
        monkeypatch.setattr(rows, "find_object", meanwhile)
        assert (await store.head("bucket", "o")).identity != "new"
        assert (await store.head("bucket", "o")).identity == "new"

    run(tmp_path, use)


def test_nothing_is_kept_where_the_format_of_the_shared_memory_is_not_known(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, read: list[str]
) -> None:
    monkeypatch.setattr(revision, "_VERSION", bytes(4))

    async def use(store: LocalStore) -> None:
        await put(store, "o", b"bytes")
        read.clear()
        for _ in range(3):
            assert await get(store, "o") == b"bytes"
            await store.bucket("bucket")
        assert read == ["o", "bucket"] * 3

    run(tmp_path, use)


def test_there_is_no_revision_where_sqlite_shares_no_memory(tmp_path: Path) -> None:
    known = Revision(tmp_path / "index.db")
    assert known.now() is None
    known.close()


def test_a_store_that_is_closed_takes_no_lock_from_another_of_this_process(tmp_path: Path) -> None:
    def locked() -> bool:
        shared = tmp_path / ".strongroom" / "index.db-shm"
        return subprocess.run([sys.executable, "-c", LOCKED_BY_ANOTHER, shared], check=False).returncode == 0

    async def use(store: LocalStore) -> None:
        other = LocalStore(tmp_path)
        await other.start()
        await other.stop()
        assert locked()

    run(tmp_path, use)
    assert not revision._known


@contextmanager
def opened(directory: Path) -> Iterator[Rows]:
    schema.create(directory / "index.db")
    with closing(schema.connect(directory / "index.db", read_only=True)) as connection:
        known = Revision(directory / "index.db")
        yield Rows(connection, known)
    known.close()


@pytest.mark.parametrize("size", [10, 5000, 60_000])
def test_rows_are_remembered_in_bounded_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    most = 2 * 1024**2
    monkeypatch.setattr(rows, "MOST", most)
    monkeypatch.setattr(rows, "SETTLED", 0)

    def read_row(connection: object, bucket: str, key: str, with_data: bool) -> index.Row:
        record = {"a": bytes(40), "b": os.urandom(200)}
        extents = Extents(encode_extents([Extent(bytes(16), 1)] * (size // 50)))
        list(extents.within(0, 1))
        return index.Row(Stored(key, size, 1, record, "id" * 12), None, 1, os.urandom(size), extents, None, True)

    monkeypatch.setattr(rows, "find_object", read_row)
    with opened(tmp_path) as known:

        def fill() -> Rows:
            for number in range(4000):
                known.object("bucket", f"{number:06}é" * 10, True)
            return known

        assert most // 3 < taken(fill) < 1.5 * most
