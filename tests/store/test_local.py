"""The local store where others do something at the same moment, refuse half-way, or have lost a part of it."""

from __future__ import annotations

import asyncio
import errno
import fcntl
import logging
import os
import shutil
import sqlite3
from collections.abc import Awaitable, Callable
from contextlib import closing
from pathlib import Path
from threading import Event, Timer
from typing import Any

import pytest

from strongroom.store.base import ALWAYS
from strongroom.store.errors import (
    Damaged,
    MetadataRefused,
    NoSuchObject,
    NoSuchUpload,
    ObjectChanged,
    StoreError,
    StoreFull,
)
from strongroom.store.local import LocalStore, index, schema, trash
from strongroom.store.local import store as local
from strongroom.store.local.blobs import Blobs
from tests.store.kinds import PLAIN, get, put
from tests.store.test_uploads import put_part
from tests.waiting import until

REFUSED = {"x-amz-meta-" + "n" * 300: b"v"}
LARGE_ANNEX = os.urandom(70_000)
TABLES = ("objects", "data", "annexes", "blobs", "trash")


def run(directory: Path, use: Callable[[LocalStore], Awaitable[None]]) -> None:
    async def main() -> None:
        store = LocalStore(directory)
        await store.start()
        try:
            if not await store.buckets():
                await store.create_bucket("bucket")
            await use(store)
        finally:
            await store.stop()

    asyncio.run(main())


def rows(directory: Path) -> dict[str, list[tuple[object, ...]]]:
    with closing(sqlite3.connect(directory / ".strongroom" / "index.db")) as found:
        return {table: found.execute(f"SELECT * FROM {table}").fetchall() for table in TABLES}


async def large(store: LocalStore, key: str, parts: int = 2, annex: bytes = b"annex") -> None:
    upload = await store.create_upload("bucket", key, PLAIN, os.urandom(16))
    made = [await put_part(store, key, upload.upload_id, number, b"x") for number in range(1, parts + 1)]
    await store.complete("bucket", key, upload.upload_id, made, PLAIN, annex)


@pytest.mark.parametrize("before", [1, 2, 3])
def test_parts_that_are_listed_while_their_upload_is_completed_are_not_told_to_be_missing(
    tmp_path: Path, before: int
) -> None:
    async def use(store: LocalStore) -> None:
        upload = await store.create_upload("bucket", "o", PLAIN, os.urandom(16))
        part = await put_part(store, "o", upload.upload_id, 1, b"x")
        statements: list[str] = []

        def between(statement: str) -> None:
            statements.append(statement)
            if len(statements) == before:
                index.complete(writing, index.NewObject("bucket", "o", PLAIN, b"", ALWAYS), upload.upload_id, [part])

        with (
            closing(schema.connect(tmp_path / ".strongroom" / "index.db", read_only=True)) as reading,
            closing(schema.connect(tmp_path / ".strongroom" / "index.db", read_only=False)) as writing,
        ):
            reading.set_trace_callback(between)
            with pytest.raises(NoSuchUpload):
                index.list_parts(reading, "bucket", "o", upload.upload_id, 0, 10)
        assert len(statements) >= before

    run(tmp_path, use)


@pytest.mark.parametrize("size", [10, 300_000], ids=["small", "large"])
def test_a_write_that_is_refused_half_way_leaves_all_as_it_was(tmp_path: Path, size: int) -> None:
    async def use(store: LocalStore) -> None:
        await large(store, "o")
        before = rows(tmp_path)
        writer = await store.writer("bucket", "o", size)
        await writer.write(bytes(size))
        others = [asyncio.create_task(put(store, f"other{number}", b"y")) for number in range(3)]
        with pytest.raises(MetadataRefused):
            await writer.commit(REFUSED)
        await writer.abort()
        await asyncio.gather(*others)
        source = await store.open("bucket", "o")
        with pytest.raises(MetadataRefused):
            await store.copy(source, "bucket", "o", REFUSED, b"")
        assert await source.annex() == b"annex"
        await source.close()
        for number in range(3):
            assert await get(store, f"other{number}") == b"y"
            await store.delete("bucket", f"other{number}")
        assert rows(tmp_path) == before

    run(tmp_path, use)


def test_what_is_being_read_holds_up_the_removal_of_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local, "_TRASH_BATCH", 4)
    monkeypatch.setattr(local, "_LEASED_SECONDS", 0.01)

    async def use(store: LocalStore) -> None:
        await large(store, "read", parts=12)
        for number in range(20):
            await put(store, f"o{number}", bytes(300_000))
        reader = await store.open("bucket", "read")
        await store.delete("bucket", "read")
        for number in range(20):
            await store.delete("bucket", f"o{number}")
        blobs = tmp_path / ".strongroom" / "blobs"
        await until(lambda: len(list(blobs.glob("*/*"))) == 12)
        assert b"".join([chunk async for chunk in reader.stream(0, 12)]) == b"x" * 12
        await reader.close()
        del reader
        await until(lambda: not list(blobs.glob("*/*")))

    run(tmp_path, use)


def test_an_object_in_parts_is_read_and_held_where_there_is_no_room_for_a_lease(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local, "_LEASED_SECONDS", 0.01)
    opened = os.open

    def full(path: Any, flags: int, mode: int = 0o777) -> int:
        if flags & os.O_CREAT and "/leases/" in str(path):
            raise OSError(errno.ENOSPC, "No space left on device")
        return opened(path, flags, mode)

    async def use(store: LocalStore) -> None:
        await large(store, "o")
        await large(store, "other")
        with monkeypatch.context() as patched:
            patched.setattr(os, "open", full)
            reader = await store.open("bucket", "o")
        await store.delete("bucket", "o")
        await asyncio.sleep(0.1)
        assert b"".join([chunk async for chunk in reader.stream(0, 2)]) == b"xx"
        await reader.close()
        del reader
        await until(lambda: len(list((tmp_path / ".strongroom" / "blobs").glob("*/*"))) == 2)
        assert await get(store, "other") == b"xx"

    run(tmp_path, use)


def test_others_go_on_while_an_object_is_opened_whose_blobs_somebody_removes(tmp_path: Path) -> None:
    """Another process may have been about to, when the row was read."""
    released = Event()

    async def use(store: LocalStore) -> None:
        await large(store, "o")
        await get(store, "o")
        (lease,) = (tmp_path / ".strongroom" / "leases").iterdir()
        removing = lease.open("rb")
        fcntl.flock(removing, fcntl.LOCK_EX)

        def release() -> None:
            released.set()
            removing.close()

        timer = Timer(3, release)  # where it holds up everybody, this test too
        timer.start()
        opening = asyncio.create_task(store.open("bucket", "o"))
        await asyncio.sleep(0)
        assert not released.is_set() and not opening.done()
        timer.cancel()
        release()
        reader = await opening
        assert b"".join([chunk async for chunk in reader.stream(0, 2)]) == b"xx"
        await reader.close()

    run(tmp_path, use)


def test_blobs_that_cannot_be_begun_leave_no_markers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = os.open

    def exhausted(path: Any, *arguments: Any) -> int:
        if "/blobs/" in str(path):
            raise OSError(errno.EMFILE, "Too many open files")
        return opened(path, *arguments)

    async def use(store: LocalStore) -> None:
        with monkeypatch.context() as patched:
            patched.setattr(os, "open", exhausted)
            for _ in range(5):
                with pytest.raises(OSError, match="Too many open files"):
                    await put(store, "o", bytes(300_000))
        await put(store, "o", bytes(300_000))
        assert len(list((tmp_path / ".strongroom" / "sessions").glob("*/*"))) == 1

    run(tmp_path, use)


def test_an_opened_object_whose_large_annex_is_gone_says_that_it_was_replaced(tmp_path: Path) -> None:
    async def use(store: LocalStore) -> None:
        await large(store, "o", annex=LARGE_ANNEX)
        reader = await store.open("bucket", "o")
        assert await reader.annex() == LARGE_ANNEX
        await store.delete("bucket", "o")
        with pytest.raises(ObjectChanged):
            await reader.annex()
        await reader.close()

    run(tmp_path, use)


def test_the_index_forgets_a_blob_when_its_removal_is_durable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: dict[str, list[str]] = {}
    sync, empty_trash = os.fsync, trash.empty_trash

    def fsync(descriptor: int) -> None:
        sync(descriptor)
        place = os.readlink(f"/proc/self/fd/{descriptor}")
        synced[Path(place).name] = [file.name for file in Path(place).iterdir()]

    def forget(connection: sqlite3.Connection, blobs: list[bytes]) -> None:
        for blob in blobs:
            assert blob.hex() not in synced[blob.hex()[:2]]
        empty_trash(connection, blobs)
        synced["forgotten"] = [blob.hex() for blob in blobs]

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(trash, "empty_trash", forget)

    async def use(store: LocalStore) -> None:
        await put(store, "o", bytes(300_000))
        await store.delete("bucket", "o")
        await until(lambda: bool(synced.get("forgotten")))

    run(tmp_path, use)


def test_sweeping_goes_on_after_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(local, "_SWEEP_SECONDS", 0.01)

    async def use(store: LocalStore) -> None:
        turns = 0

        def sweep(_: object) -> None:
            nonlocal turns
            turns += 1
            raise OSError(5, "Input/output error")

        monkeypatch.setattr(store._blobs, "sweep", sweep)
        await until(lambda: turns >= 3)

    with caplog.at_level(logging.WARNING):
        run(tmp_path, use)
    assert "could not be swept away: [Errno 5] Input/output error" in caplog.text


def test_trash_that_could_not_be_emptied_is_emptied_later_though_sweeping_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(_: object) -> None:
        raise OSError(5, "Input/output error")

    async def use(store: LocalStore) -> None:
        await put(store, "o", bytes(300_000))
        monkeypatch.setattr(store._blobs, "sweep", fail)
        with monkeypatch.context() as patched:
            patched.setattr(store._blobs, "remove", fail)
            await store.delete("bucket", "o")
            await until(lambda: "could not be removed: [Errno 5] Input/output error" in caplog.text)
        await store._try_to_sweep()
        await until(lambda: not list((tmp_path / ".strongroom" / "blobs").glob("*/*")))

    with caplog.at_level(logging.WARNING):
        run(tmp_path, use)
    assert not [record for record in caplog.records if record.levelno > logging.WARNING]


def test_what_comes_into_the_trash_just_after_the_last_look_does_not_wait_for_the_next_sweep(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def use(store: LocalStore) -> None:
        loop, look = asyncio.get_running_loop(), trash.page
        await put(store, "o", bytes(300_000))

        def meanwhile(*arguments: Any, **how: Any) -> Any:
            found = look(*arguments, **how)
            monkeypatch.setattr(trash, "page", look)
            asyncio.run_coroutine_threadsafe(store.delete("bucket", "o"), loop).result(20)
            return found

        monkeypatch.setattr(trash, "page", meanwhile)
        store._empty_trash_soon()
        await until(lambda: not list((tmp_path / ".strongroom" / "blobs").glob("*/*")))

    run(tmp_path, use)


@pytest.mark.parametrize("path", ["{}/precious", "../../../precious"])
def test_a_path_in_the_place_of_a_number_in_the_index_leads_to_no_file(tmp_path: Path, path: str) -> None:
    """A column of integers takes any text that is no number."""
    precious = tmp_path / "precious"
    precious.write_text("not ours")
    path, directory = path.format(tmp_path), tmp_path / "served"
    directory.mkdir()
    there = directory / ".strongroom"

    async def use(store: LocalStore) -> None:
        await put(store, "o", bytes(300_000))
        with closing(sqlite3.connect(there / "index.db", timeout=60)) as found, found:
            found.execute("INSERT INTO trash (id, data) VALUES (?, ?)", (bytes(16), path))
        await store.delete("bucket", "o")
        await until(lambda: not list((there / "blobs").glob("*/*")))  # the rest of the trash does not wait for it

    run(directory, use)
    assert precious.read_text() == "not ours"
    blobs = Blobs(there)
    for data in (path, f"{path}.new"):
        text: Any = data
        with pytest.raises(Damaged):
            blobs.remove_leased(text, [])
        with pytest.raises(Damaged):
            blobs.lease(text)
    blobs.close()
    assert sorted(file.name for file in tmp_path.iterdir()) == ["precious", "served"]


def test_blobs_without_an_index_are_not_taken_for_a_new_place(tmp_path: Path) -> None:
    async def fill(store: LocalStore) -> None:
        await put(store, "o", bytes(300_000))

    run(tmp_path, fill)
    internal, aside = tmp_path / ".strongroom", tmp_path / "aside"
    aside.mkdir()
    for file in internal.glob("index.db*"):
        shutil.move(file, aside)
    for _ in range(2):  # nor is what the first attempt may have begun
        with pytest.raises(StoreError, match=r"index\.db is lost, and what lies beside it cannot be read"):
            run(tmp_path, fill)
    for file in aside.iterdir():
        shutil.move(file, internal / file.name)

    async def use(store: LocalStore) -> None:
        assert await get(store, "o") == bytes(300_000)

    run(tmp_path, use)


def test_what_others_put_among_the_markers_keeps_no_server_from_starting(tmp_path: Path) -> None:
    async def start() -> None:
        store = LocalStore(tmp_path)
        await store.start()
        await store.stop()

    asyncio.run(start())
    session = tmp_path / ".strongroom" / "sessions" / "0123456789abcdef"
    (session / ("ab" * 16)).mkdir(parents=True)
    (session / ".nfs0001").touch()
    asyncio.run(start())
    assert (session / ".nfs0001").exists()


def test_a_check_finds_blobs_that_are_missing_or_cut(tmp_path: Path) -> None:
    async def use(store: LocalStore) -> None:
        await put(store, "one", bytes(300_000))
        await large(store, "many")
        for key in ("one", "many"):
            reader = await store.open("bucket", key)
            await reader.check()
            await reader.close()
        for blob in (tmp_path / ".strongroom" / "blobs").glob("*/*"):
            if blob.stat().st_size == 300_000:
                os.truncate(blob, 1000)
        reader = await store.open("bucket", "one")
        with pytest.raises(Damaged, match="has another length than was recorded"):
            await reader.check()
        await reader.close()
        next(blob for blob in (tmp_path / ".strongroom" / "blobs").glob("*/*") if blob.stat().st_size == 1).unlink()
        reader = await store.open("bucket", "many")
        with pytest.raises(Damaged, match="is missing"):
            await reader.check()
        await reader.close()
        with pytest.raises(NoSuchObject):
            await store.open("bucket", "none")

    run(tmp_path, use)


async def half_committed(store: LocalStore, directory: Path, *wanted: Awaitable[object]) -> None:
    """Write as if the commit had ended before the log counted as longer: it lies there, behind the end.

    What is wanted goes into one transaction; the disk is full to whoever tries again.
    """
    store._stopping.set()  # removes nothing meanwhile
    internal, end, errors = directory / ".strongroom", store._committer._end, [sqlite3.SQLITE_IOERR]
    before = (internal / "index.db-shm").read_bytes()

    def fail(how: str) -> None:
        error = sqlite3.OperationalError("it fails")
        error.sqlite_errorcode = errors.pop() if errors else sqlite3.SQLITE_FULL
        end("ROLLBACK" if error.sqlite_errorcode == sqlite3.SQLITE_FULL else how)
        with (internal / "index.db-shm").open("r+b") as file:
            file.write(before)
        raise error

    store._committer._end = fail  # type: ignore[method-assign]
    try:
        with closing(sqlite3.connect(internal / "index.db", isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            tasks = [asyncio.ensure_future(one) for one in wanted]
            await until(lambda: len(store._committer._waiting) == len(tasks))
        for done in await asyncio.gather(*tasks, return_exceptions=True):
            assert isinstance(done, sqlite3.OperationalError | StoreFull)
    finally:
        store._committer._end = end  # type: ignore[method-assign]
        store._stopping.clear()


def after_power_cut(directory: Path, copy: Path) -> bytes:
    """What the object "o" holds where nothing but the files is left."""
    shutil.copytree(directory, copy, ignore=shutil.ignore_patterns("*-shm"))
    found = []

    async def use(store: LocalStore) -> None:
        found.append(await get(store, "o"))

    run(copy, use)
    return found[0]


OLD, NEW = b"old" * 100_000, b"new" * 100_000


def test_a_commit_that_failed_and_counts_after_a_power_cut_has_its_bytes(tmp_path: Path) -> None:
    found = []

    async def use(store: LocalStore) -> None:
        await put(store, "o", OLD)
        await half_committed(store, tmp_path / "place", put(store, "o", NEW))
        assert await get(store, "o") == OLD
        found.append(await asyncio.to_thread(after_power_cut, tmp_path / "place", tmp_path / "before the sweep"))
        await store._try_to_sweep()
        blobs = tmp_path / "place" / ".strongroom" / "blobs"
        await until(lambda: len(list(blobs.glob("*/*"))) == 1)
        found.append(await asyncio.to_thread(after_power_cut, tmp_path / "place", tmp_path / "after it"))

    (tmp_path / "place").mkdir()
    run(tmp_path / "place", use)
    assert found == [NEW, OLD]


def test_what_failed_with_others_and_counts_after_a_power_cut_has_its_bytes(tmp_path: Path) -> None:
    async def use(store: LocalStore) -> None:
        await put(store, "o", OLD)
        await half_committed(store, tmp_path / "place", put(store, "o", NEW), put(store, "other", NEW))
        assert await get(store, "o") == OLD
        assert await asyncio.to_thread(after_power_cut, tmp_path / "place", tmp_path / "copy") == NEW

    (tmp_path / "place").mkdir()
    run(tmp_path / "place", use)


def test_what_a_process_was_killed_amid_does_not_count_once_its_bytes_are_swept_away(tmp_path: Path) -> None:
    found = []

    async def use(store: LocalStore) -> None:
        await put(store, "o", OLD)
        killed = LocalStore(tmp_path / "place")
        await killed.start()
        await half_committed(killed, tmp_path / "place", put(killed, "o", NEW))
        fcntl.flock(killed._blobs._lock, fcntl.LOCK_UN)
        await store._try_to_sweep()
        blobs = tmp_path / "place" / ".strongroom" / "blobs"
        await until(lambda: len(list(blobs.glob("*/*"))) == 1)
        found.append(await asyncio.to_thread(after_power_cut, tmp_path / "place", tmp_path / "copy"))
        await killed.stop()

    (tmp_path / "place").mkdir()
    run(tmp_path / "place", use)
    assert found == [OLD]


def test_an_index_that_may_not_grow_says_that_it_is_full(tmp_path: Path) -> None:
    async def use(store: LocalStore) -> None:
        await put(store, "o", b"x")
        store._committer._connection.execute("PRAGMA max_page_count = 1")  # as large as it is
        with pytest.raises(StoreFull):
            await put(store, "large", bytes(100_000))
        store._committer._connection.execute("PRAGMA max_page_count = 1000000")
        await put(store, "large", bytes(100_000))

    run(tmp_path, use)
