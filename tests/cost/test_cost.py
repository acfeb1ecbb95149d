"""What an operation costs, counted and not timed: statements, syncs, calls to the KMS, hops to threads, turns of the
event loop.

A figure that grows here is a slower server. One that shrinks is to be written down.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import selectors
import sqlite3
import sys
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from strongroom.buffers import Buffer
from strongroom.kms.static import StaticKMS
from strongroom.s3.handlers import objects
from strongroom.sealed import dare
from strongroom.sealed.keys import Kind, ObjectKey, part_key
from strongroom.sealed.parts import PartTable
from strongroom.sealed.policy import SSE_S3, Protection
from strongroom.sealed.resealing import share
from strongroom.sealed.store import SealedStore
from strongroom.sealed.writing import Description
from strongroom.secret import Secret
from strongroom.store.local import LocalStore, listing, rows, scans, schema, trash
from strongroom.store.local import store as local
from strongroom.store.local.blobs import OpenFile
from strongroom.store.nas import NasStore
from strongroom.store.writeback import PIECE
from tests.kms.elsewhere import KMSElsewhere
from tests.waiting import until

MIB = 1024 * 1024
PACKAGES = ("strongroom/sealed/", "strongroom/kms/")


@pytest.fixture
def counts(monkeypatch: pytest.MonkeyPatch) -> Iterator[Counter[str]]:
    """What is counted, in all threads, from now on."""
    counts: Counter[str] = Counter()
    connect, submit, append = sqlite3.connect, ThreadPoolExecutor.submit, dare.Sealer.seal_into

    def counting_connect(*args: Any, **options: Any) -> sqlite3.Connection:
        connection: sqlite3.Connection = connect(*args, **options)

        def statement(text: str) -> None:
            if not text.startswith(("BEGIN", "PRAGMA")):  # a thread opens its connection once, whenever that is
                counts["transactions" if text == "COMMIT" else "statements"] += 1

        connection.set_trace_callback(statement)
        return connection

    def counting_submit(self: Any, function: Any, /, *args: Any, **options: Any) -> Any:
        counts["hops"] += 1
        return submit(self, function, *args, **options)

    def counting_seal(self: Any, plaintext: Any, final: bool, out: Any) -> int:
        counts["sealed bytes"] += len(plaintext)
        return append(self, plaintext, final, out)

    for name in ("fsync", "fdatasync"):
        real = getattr(os, name)

        def counting_sync(descriptor: int, real: Callable[[int], None] = real) -> None:
            counts["syncs"] += 1
            real(descriptor)

        monkeypatch.setattr(os, name, counting_sync)
    for name in ("generate", "unwrap"):
        ask = getattr(KMSElsewhere, name)

        def counting_ask(self: Any, *asked: Any, ask: Callable[..., Any] = ask) -> Any:
            counts["KMS calls"] += 1
            return ask(self, *asked)

        monkeypatch.setattr(KMSElsewhere, name, counting_ask)
    monkeypatch.setattr(scans, "PATIENCE", 60)  # a slow machine is no reason for another count
    monkeypatch.setattr(sqlite3, "connect", counting_connect)
    monkeypatch.setattr(ThreadPoolExecutor, "submit", counting_submit)
    monkeypatch.setattr(dare.Sealer, "seal_into", counting_seal)
    yield counts


@pytest.fixture
def turns(counts: Counter[str], monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """The counts, and among them the turns of the event loop."""
    select = selectors.EpollSelector.select

    def turn(self: selectors.EpollSelector, timeout: float | None = None) -> Any:
        counts["turns"] += 1
        return select(self, timeout)

    monkeypatch.setattr(selectors.EpollSelector, "select", turn)
    return counts


def cost(
    counts: Counter[str], directory: Path, work: Callable[[SealedStore], Awaitable[object]], **before: int
) -> dict[str, int]:
    """The counts of ``work`` with a store in which there are objects of these names and sizes."""
    return cost_in(LocalStore, counts, directory, work, **before)


def cost_in(
    make: type[LocalStore] | type[NasStore],
    counts: Counter[str],
    directory: Path,
    work: Callable[[SealedStore], Awaitable[object]],
    **before: int,
) -> dict[str, int]:
    """As :func:`cost`, with a store of this type."""

    async def run() -> dict[str, int]:
        inner = make(directory)
        store = SealedStore(inner, KMSElsewhere(), auto_encrypt=True, upload_secret=Secret("x"), bucket_key_seconds=60)
        await store.start()
        await store.create_bucket("bucket")
        for name, size in before.items():
            await put(store, name, size)
        if isinstance(inner, LocalStore) and inner._emptying is not None:  # the trash, looked at behind the start
            await asyncio.wait([inner._emptying])
        counts.clear()
        await work(store)
        seen = {name: count for name, count in counts.items() if count}
        await store.stop()
        return seen

    return asyncio.run(run())


async def put(store: SealedStore, key: str, size: int) -> None:
    writer = await store.begin("bucket", key, None, size)
    for start in range(0, size, 65_536):
        await writer.write(bytes(min(65_536, size - start)))
    await writer.finish()
    await writer.commit(Description({"content-type": "text/plain"}))


async def put_parts(store: SealedStore, count: int, size: int) -> None:
    upload = await store.uploads.create("bucket", "m", SSE_S3, Description({}))
    for number in range(1, count + 1):
        _, writer = await store.uploads.begin_part("bucket", "m", upload.upload_id, number, size)
        await writer.write(bytes(size))
        await writer.finish()
        await writer.commit()
    _, parts, _ = await store.uploads.parts("bucket", "m", upload.upload_id, 0, 1000)
    await store.uploads.complete("bucket", "m", upload.upload_id, parts, None)


async def get(store: SealedStore, key: str, start: int = 0, length: int | None = None) -> None:
    source = await store.open("bucket", key)
    wanted = source.info.size - start if length is None else length
    if await source.at_once(start, wanted) is None:
        async for _ in source.stream(start, wanted):
            pass
    await source.close()


def test_a_small_get_is_one_statement_one_call_to_the_kms_and_no_hop(counts: Counter[str], tmp_path: Path) -> None:
    assert cost(counts, tmp_path, lambda store: get(store, "o"), o=4096) == {"statements": 1, "KMS calls": 1}


def test_a_head_is_one_statement_and_one_call_to_the_kms(counts: Counter[str], tmp_path: Path) -> None:
    assert cost(counts, tmp_path, lambda store: store.head("bucket", "o"), o=5 * MIB) == {
        "statements": 1,
        "KMS calls": 1,
    }


def test_where_the_bucket_has_a_key_of_its_own_the_kms_is_asked_once(counts: Counter[str], tmp_path: Path) -> None:
    async def work(store: SealedStore) -> None:
        await store.set_default_encryption("bucket", Protection(Kind.SSE_KMS, bucket_key=True))
        for number in range(3):
            await put(store, f"o{number}", 4096)
            await get(store, f"o{number}")

    assert cost(counts, tmp_path, work)["KMS calls"] == 1


async def calls(work: Awaitable[object]) -> int:
    """How many calls of functions in ``sealed`` and ``kms`` some work takes in this thread."""
    seen = 0

    def watch(frame: FrameType, event: str, _: object) -> None:
        nonlocal seen
        seen += event == "call" and any(package in frame.f_code.co_filename for package in PACKAGES)

    sys.setprofile(watch)
    try:
        await work
    finally:
        sys.setprofile(None)
    return seen


def test_a_small_object_takes_few_calls_which_are_most_of_what_its_encryption_costs(
    counts: Counter[str], tmp_path: Path
) -> None:
    async def work(store: SealedStore) -> None:
        await put(store, "before", 1)  # the first one of a bucket makes its listing key
        assert await calls(put(store, "o", 4096)) <= 64
        assert await calls(get(store, "o")) <= 51
        assert await calls(get(store, "o")) <= 40  # its metadata are remembered
        assert await calls(store.head("bucket", "o")) <= 29

    cost(counts, tmp_path, work)


def test_an_object_under_a_static_key_that_was_read_before_takes_no_key_and_no_statement(
    counts: Counter[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(KMSElsewhere, "in_memory", StaticKMS.in_memory)
    monkeypatch.setattr(rows, "SETTLED", 0)

    async def work(store: SealedStore) -> None:
        await get(store, "o")
        counts.clear()
        assert await calls(get(store, "o")) <= 19
        assert await calls(store.head("bucket", "o")) <= 8

    assert cost(counts, tmp_path, work, o=4096) == {}


def test_a_small_put_is_one_transaction_and_no_file(counts: Counter[str], tmp_path: Path) -> None:
    assert cost(counts, tmp_path, lambda store: put(store, "o", 4096), before=1) == {
        "statements": 5,
        "transactions": 1,
        "hops": 1,  # to wait for the disk; nobody else holds the lock
        "KMS calls": 1,
        "sealed bytes": 4096,
    }


def test_a_small_put_takes_few_turns_of_the_event_loop_in_each_of_which_others_come_first(
    turns: Counter[str], tmp_path: Path
) -> None:
    # One more to begin the transaction, and, once the thread has committed it, one to tell who waits, who goes on then.
    assert cost(turns, tmp_path, lambda store: put(store, "o", 4096), before=1)["turns"] <= 4


@pytest.mark.parametrize(("size", "hops"), [(4096, 2), (MIB, 2 + 3), (8 * MIB, 16 + 3)])
def test_a_put_to_a_shared_folder_takes_few_hops(counts: Counter[str], tmp_path: Path, size: int, hops: int) -> None:
    """To look up the bucket (again if the body is large, so that it is not sent in vain), to hash each MiB, to write
    it, and to commit.
    """
    assert cost_in(NasStore, counts, tmp_path, lambda store: put(store, "o", size), before=1)["hops"] == hops


def test_a_small_put_to_a_shared_folder_takes_two_turns_for_each_hop(turns: Counter[str], tmp_path: Path) -> None:
    assert cost_in(NasStore, turns, tmp_path, lambda store: put(store, "o", 4096), before=1)["turns"] <= 4


def test_a_get_from_a_shared_folder_takes_a_hop_and_two_turns(turns: Counter[str], tmp_path: Path) -> None:
    seen = cost_in(NasStore, turns, tmp_path, lambda store: get(store, "o"), o=4096)
    assert (seen["hops"], seen["turns"]) == (1, 2)


def test_small_puts_at_the_same_time_share_transactions(counts: Counter[str], tmp_path: Path) -> None:
    async def many(store: SealedStore) -> None:
        await asyncio.gather(*(put(store, f"o{number}", 100) for number in range(64)))

    assert cost(counts, tmp_path, many)["transactions"] <= 8


def test_a_large_put_syncs_a_file_and_its_directory_once(counts: Counter[str], tmp_path: Path) -> None:
    seen = cost(counts, tmp_path, lambda store: put(store, "o", 8 * MIB), first=MIB)
    assert (seen["syncs"], seen["transactions"], seen["KMS calls"]) in ((2, 1, 1), (3, 1, 1))  # a new directory: 3
    assert seen["sealed bytes"] == 8 * MIB
    # For each MiB, to hash and to write it; the last one makes it durable, too. One for the commit.
    assert seen["hops"] == 8 + 1


def test_a_large_put_writes_no_more_than_a_piece_in_a_call(
    counts: Counter[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[int] = []
    write = os.write

    def counting(descriptor: int, data: Buffer) -> int:
        written.append(len(data))
        return write(descriptor, data)

    monkeypatch.setattr(os, "write", counting)
    cost(counts, tmp_path, lambda store: put(store, "o", 8 * MIB))
    assert max(written) == PIECE and len(written) <= 8 * MIB // PIECE + 8 + 1


def test_a_large_get_of_what_is_in_memory_is_no_hop(counts: Counter[str], tmp_path: Path) -> None:
    seen = cost(counts, tmp_path, lambda store: get(store, "o"), o=8 * MIB)
    assert seen == {"statements": 1, "KMS calls": 1}


def test_a_large_get_of_what_is_not_in_memory_is_a_hop_a_mebibyte(
    counts: Counter[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(OpenFile, "cached", lambda self, size, at, room=None: None)
    seen = cost(counts, tmp_path, lambda store: get(store, "o"), o=8 * MIB)
    assert seen["hops"] == 8


def test_a_range_reads_only_the_packages_that_hold_it(
    counts: Counter[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[int] = []
    cached = OpenFile.cached

    def counting(self: OpenFile, size: int, at: int, room: bytearray | None = None) -> Buffer | None:
        read.append(size)
        return cached(self, size, at, room)

    monkeypatch.setattr(OpenFile, "cached", counting)
    cost(counts, tmp_path, lambda store: get(store, "o", 100_000, 70_000), o=8 * MIB)
    assert sum(read) == 2 * dare.PACKAGE


def test_a_small_range_of_many_parts_is_two_statements_and_no_hop(
    counts: Counter[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys: list[int] = []

    def counting(object_key: ObjectKey, number: int) -> bytes:
        keys.append(number)
        return part_key(object_key, number)

    async def ranged(store: SealedStore) -> None:
        await put_parts(store, 40, 200_000)
        counts.clear()
        await get(store, "m", 30 * 200_000 + 10_000, 65_536)

    monkeypatch.setattr("strongroom.sealed.reading.part_key", counting)
    assert cost(counts, tmp_path, ranged) == {"statements": 2, "KMS calls": 1}
    assert keys == [31]


def test_where_a_part_lies_is_found_without_looking_at_the_others(
    counts: Counter[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[int | slice] = []
    look = PartTable.__getitem__

    def counting(self: PartTable, index: Any) -> Any:
        seen.append(index)
        return look(self, index)

    async def last(store: SealedStore) -> None:
        await put_parts(store, 40, 10)
        source = await store.open("bucket", "m")
        monkeypatch.setattr(PartTable, "__getitem__", counting)
        span, _, _ = await objects._part_span(source, 40)
        assert (span.start, span.length) == (39 * 10, 10)
        await source.close()

    cost(counts, tmp_path, last)
    assert seen == [39]


def test_a_page_of_a_listing_is_one_call_to_the_kms_and_none_when_it_comes_again_and_no_hop(
    counts: Counter[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = {f"o{number:04}": 10 for number in range(300)}

    async def twice(store: SealedStore) -> None:
        await store.list("bucket", "", "", "", 100)
        assert (counts["statements"], counts["KMS calls"], counts["hops"]) == (2, 1, 0)
        monkeypatch.setattr(listing, "decode_record", None)  # what is remembered needs no record
        await store.list("bucket", "", "", "", 100)

    assert cost(counts, tmp_path, twice, **names) == {"statements": 3, "KMS calls": 1}


def test_a_page_of_a_folder_is_one_statement(counts: Counter[str], tmp_path: Path) -> None:
    names = {f"dir/{number:04}": 10 for number in range(300)}
    seen = cost(counts, tmp_path, lambda store: store.list("bucket", "dir/", "/", "", 1000), **names)
    assert seen["statements"] == 1 + 1


def test_common_prefixes_that_follow_each_other_are_one_statement_however_much_lies_under_them(
    counts: Counter[str], tmp_path: Path
) -> None:
    names = {f"dir{number % 30:02}/{number:04}": 10 for number in range(300)}
    seen = cost(counts, tmp_path, lambda store: store.list("bucket", "", "/", "", 1000), **names)
    assert seen["statements"] == 1 + 1 + 1 + 1  # the bucket, the first of them, the others, what comes behind


def test_a_short_page_that_comes_again_is_no_statement(counts: Counter[str], tmp_path: Path) -> None:
    async def twice(store: SealedStore) -> None:
        await store.list("bucket", "", "/", "", 1000)
        before = counts["statements"]
        await store.list("bucket", "", "/", "", 1000)
        assert counts["statements"] == before

    cost(counts, tmp_path, twice, **{f"dir{number % 30:02}/{number:04}": 10 for number in range(300)})


def test_a_copy_moves_no_byte(counts: Counter[str], tmp_path: Path) -> None:
    async def copy(store: SealedStore) -> None:
        source = await store.open("bucket", "o")
        protection = await store.protection("bucket", None)
        await share(store, source, "bucket", "copy", protection, Description({}))
        await source.close()

    seen = cost(counts, tmp_path, copy, o=8 * MIB)
    assert "sealed bytes" not in seen and "syncs" not in seen
    assert (seen["transactions"], seen["KMS calls"]) == (1, 2)


def test_an_object_of_many_parts_is_removed_in_a_thread(counts: Counter[str], tmp_path: Path) -> None:
    async def hops(store: SealedStore, key: str) -> int:
        store.store._empty_trash_soon = lambda: None  # type: ignore[attr-defined]
        counts.clear()
        await store.delete("bucket", key)
        return counts["hops"]

    async def work(store: SealedStore) -> None:
        await put_parts(store, 3, 10)
        assert await hops(store, "o") == 1  # to wait for the disk
        assert await hops(store, "m") == 2

    cost(counts, tmp_path, work, o=10)


def test_the_trash_is_looked_through_once_for_many_objects(counts: Counter[str], tmp_path: Path) -> None:
    schema.create(tmp_path / "index.db")
    with contextlib.closing(schema.connect(tmp_path / "index.db")) as connection:
        rows = [(bytes((blob, data)), data) for data in range(1, 51) for blob in range(3)]
        connection.executemany("INSERT INTO trash (id, data) VALUES (?, ?)", [*rows, (b"alone", 0)])
        counts.clear()
        found, last = trash.page(connection, b"", 60)
    assert counts["statements"] == 2 and last is not None
    assert {len(blobs) for data, blobs in found.items() if data} == {3} and len(found) >= 50


def test_the_blobs_of_a_large_object_are_forgotten_in_several_transactions(
    counts: Counter[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local, "_TRASH_BATCH", 4)
    forgotten: list[int] = []
    empty_trash = trash.empty_trash

    def counting(connection: sqlite3.Connection, blobs: Sequence[bytes]) -> None:
        forgotten.append(len(blobs))
        empty_trash(connection, blobs)

    async def work(store: SealedStore) -> None:
        await put_parts(store, 10, 10)
        monkeypatch.setattr(trash, "empty_trash", counting)
        await store.delete("bucket", "m")
        await until(lambda: sum(forgotten) == 10)

    cost(counts, tmp_path, work)
    assert max(forgotten) == 4
