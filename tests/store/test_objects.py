"""What every store promises of objects and buckets (strongroom.store.base)."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from strongroom.store.base import Condition, Store
from strongroom.store.errors import BucketExists, BucketNotEmpty, ConditionFailed, NoSuchBucket, NoSuchObject
from tests.store.conftest import Run
from tests.store.kinds import PLAIN, SEALED, Kind, content_of, get, put

SIZES = [0, 1, 5000, 131_072, 131_073, 3_000_000]
BOTH = pytest.mark.parametrize("record", [PLAIN, SEALED], ids=["plain", "encrypted"])


@BOTH
@pytest.mark.parametrize("size", SIZES)
def test_bytes_record_and_annex_come_back_together(run: Run, record: dict[str, bytes], size: int) -> None:
    content, annex = os.urandom(size), os.urandom(70_000)

    async def use(store: Store) -> None:
        stored = await put(store, "a/key", content, record, annex=annex)
        assert (stored.key, stored.size, stored.record) == ("a/key", size, record)
        assert await store.head("bucket", "a/key") == stored
        reader = await store.open("bucket", "a/key")
        assert reader.stored == stored
        assert reader.cached(0, size) in (None, content)
        assert await reader.annex() == annex
        assert await content_of(reader) == content
        for start, length in [(0, 0), (0, min(7, size)), (size // 2, size - size // 2)]:
            assert b"".join([c async for c in reader.stream(start, length)]) == content[start : start + length]
        await reader.close()
        await reader.close()

    run(use)


@BOTH
def test_a_record_may_be_large(run: Run, record: dict[str, bytes]) -> None:
    large = {**record, "x-amz-meta-a": b"x" * 2000, ":tags": b"t" * 9000}

    async def use(store: Store) -> None:
        await put(store, "k", b"content", large, annex=b"annex")
        assert (await store.head("bucket", "k")).record == large
        (listed,) = (await store.list("bucket", "", "", "", 10)).objects
        assert listed.record == large
        await put(store, "k", b"content", record)
        assert (await store.head("bucket", "k")).record == record

    run(use)


def test_nothing_is_seen_before_commit_nor_after_abort(run: Run) -> None:
    async def use(store: Store) -> None:
        for size in (10, 1_000_000):
            writer = await store.writer("bucket", "k", size)
            await writer.write(bytes(size))
            with pytest.raises(NoSuchObject):
                await store.head("bucket", "k")
            await writer.abort()
            await writer.abort()
        assert (await store.list("bucket", "", "", "", 10)).objects == []

    run(use)


def test_an_object_is_replaced_whole_and_its_identity_changes(run: Run) -> None:
    async def use(store: Store) -> None:
        identities = set()
        for content, record in [(b"1" * 200_000, PLAIN), (b"2", SEALED), (b"3" * 9, PLAIN), (b"3" * 9, PLAIN)]:
            identities.add((await put(store, "k", content, record)).identity)
            assert await get(store, "k") == content
            assert (await store.head("bucket", "k")).record == record
        assert len(identities) == 4

    run(use)


@BOTH
def test_a_reader_goes_on_reading_what_it_opened(run: Run, record: dict[str, bytes]) -> None:
    old = os.urandom(3_000_000)

    async def use(store: Store) -> None:
        await put(store, "k", old, record, annex=b"old annex")
        first = await store.open("bucket", "k")
        await put(store, "k", b"new", record)
        second = await store.open("bucket", "k")
        assert await store.delete("bucket", "k") is True
        assert await content_of(first) == old
        assert await content_of(second) == b"new"
        for reader in (first, second):
            await reader.close()
        with pytest.raises(NoSuchObject):
            await store.open("bucket", "k")

    run(use)


def test_writes_happen_only_where_their_conditions_hold(run: Run) -> None:
    async def use(store: Store) -> None:
        absent = Condition(absent=True)
        with pytest.raises(ConditionFailed):
            await put(store, "f/k", b"x", when=Condition(identity="other"))
        first = await put(store, "f/k", b"1", when=absent)
        for when in (absent, Condition(identity="other")):
            with pytest.raises(ConditionFailed):
                await put(store, "f/k", b"2", when=when)
            with pytest.raises(ConditionFailed):
                await store.delete("bucket", "f/k", when)
        second = await put(store, "f/k", b"2", when=Condition(identity=first.identity))
        with pytest.raises(ConditionFailed):
            await store.delete("bucket", "f/k", Condition(identity=first.identity))
        assert await get(store, "f/k") == b"2"
        assert await store.delete("bucket", "f/k", Condition(identity=second.identity)) is True
        assert await store.delete("bucket", "f/k") is False
        with pytest.raises(ConditionFailed):
            await store.delete("bucket", "f/k", Condition(identity=second.identity))

    run(use)


def test_of_many_writers_on_one_condition_one_wins_also_between_stores(kind: Kind, directory: Path) -> None:
    async def use(store: Store) -> None:
        other = kind.make(directory)
        await other.start()
        try:
            identity = None
            for turn in range(5):
                when = Condition(absent=True) if identity is None else Condition(identity=identity)
                tries = [put([store, other][n % 2], "k", bytes([turn, n]), when=when) for n in range(12)]
                results = await asyncio.gather(*tries, return_exceptions=True)
                won = [(n, result) for n, result in enumerate(results) if not isinstance(result, BaseException)]
                assert len(won) == 1
                assert all(isinstance(result, ConditionFailed) for n, result in enumerate(results) if n != won[0][0])
                assert await get(other, "k") == bytes([turn, won[0][0]])
                identity = won[0][1].identity
        finally:
            await other.stop()

    kind.run(directory, use)


@BOTH
def test_a_rewrite_changes_the_record_alone(run: Run, record: dict[str, bytes]) -> None:
    content = os.urandom(300_000)

    async def use(store: Store) -> None:
        old = await put(store, "k", content, record, annex=b"annex")
        tagged = {**record, ":tags": b"a=b"}
        with pytest.raises(ConditionFailed):
            await store.rewrite("bucket", "k", tagged, None, Condition(identity="other"))
        new = await store.rewrite("bucket", "k", tagged, None, Condition(identity=old.identity))
        assert (new.record, new.modified, new.size) == (tagged, old.modified, old.size)
        assert new.identity != old.identity
        large = {**tagged, ":large": b"x" * 20_000}
        await store.rewrite("bucket", "k", large, b"other annex", Condition())
        reader = await store.open("bucket", "k")
        assert (reader.stored.record, reader.stored.modified) == (large, old.modified)
        assert await reader.annex() == b"other annex"
        assert await content_of(reader) == content
        await reader.close()
        await store.rewrite("bucket", "k", record, b"", Condition())
        assert (await store.head("bucket", "k")).record == record
        with pytest.raises(NoSuchObject):
            await store.rewrite("bucket", "no", record, None, Condition())

    run(use)


@BOTH
@pytest.mark.parametrize("size", [0, 100, 1_000_003])
def test_a_copy_has_the_bytes_of_its_source_and_a_record_of_its_own(
    run: Run, record: dict[str, bytes], size: int
) -> None:
    content = os.urandom(size)

    async def use(store: Store) -> None:
        await store.create_bucket("other")
        await put(store, "source", content, record)
        reader = await store.open("bucket", "source")
        mine = {**record, "x-amz-meta-mine": b"1"}
        copied = await store.copy(reader, "other", "f/copy", mine, b"annex")
        with pytest.raises(ConditionFailed):
            await store.copy(reader, "other", "f/copy", mine, b"", Condition(absent=True))
        await store.delete("bucket", "source")
        again = await store.copy(reader, "other", "again", mine, b"")  # its bytes can still be read
        await reader.close()
        assert (copied.record, copied.size, again.size) == (mine, size, size)
        assert await get(store, "f/copy", "other") == await get(store, "again", "other") == content
        onto = await store.open("other", "again")
        await store.copy(onto, "other", "again", record, b"", Condition(identity=again.identity))
        await onto.close()
        assert (await store.head("other", "again")).record == record

    run(use)


def test_buckets_are_made_listed_and_removed(run: Run) -> None:
    async def use(store: Store) -> None:
        made = await store.create_bucket("another")
        assert [bucket.name for bucket in await store.buckets()] == ["another", "bucket"]
        assert await store.bucket("another") == made
        with pytest.raises(BucketExists):
            await store.create_bucket("another")
        await put(store, "a/b/c", b"x", bucket="another")
        with pytest.raises(BucketNotEmpty):
            await store.delete_bucket("another")
        await store.delete("another", "a/b/c")
        await store.create_upload("another", "open", PLAIN, os.urandom(16))
        await store.delete_bucket("another")
        await store.create_bucket("another")
        assert (await store.uploads("another", "", "", ("", ""), 10)).uploads == []

    run(use)


def test_settings_of_a_bucket_are_kept_and_go_with_it(run: Run) -> None:
    async def use(store: Store) -> None:
        await store.set_bucket("bucket", "encryption", b"one")
        await store.set_bucket("bucket", "other", b"\x00two")
        await store.set_bucket("bucket", "encryption", b"three")
        assert (await store.bucket("bucket")).settings == {"encryption": b"three", "other": b"\x00two"}
        await store.set_bucket("bucket", "other", None)
        await store.set_bucket("bucket", "never", None)
        assert (await store.bucket("bucket")).settings == {"encryption": b"three"}
        await store.delete_bucket("bucket")
        await store.create_bucket("bucket")
        assert (await store.bucket("bucket")).settings == {}

    run(use)


def test_a_setting_that_is_left_takes_the_place_of_none(run: Run) -> None:
    async def use(store: Store) -> None:
        await store.set_bucket("bucket", "other", b"1")
        left = await asyncio.gather(*(store.leave_setting("bucket", "s", bytes((number,))) for number in range(4)))
        assert len(set(left)) == 1
        assert (await store.bucket("bucket")).settings == {"other": b"1", "s": left[0]}
        await store.set_bucket("bucket", "s", None)
        assert await store.leave_setting("bucket", "s", b"again") == b"again"

    run(use)


def test_what_is_in_no_bucket_is_said_to_be_so(run: Run) -> None:
    async def use(store: Store) -> None:
        calls = [
            store.bucket("none"), store.delete_bucket("none"), store.set_bucket("none", "a", b""),
            store.leave_setting("none", "a", b""),
            store.writer("none", "k", None), store.head("none", "k"), store.open("none", "k"),
            store.delete("none", "k"), store.list("none", "", "", "", 10),
            store.create_upload("none", "k", PLAIN, os.urandom(16)),
            store.uploads("none", "", "", ("", ""), 10), store.upload("none", "k", "0" * 32),
        ]  # fmt: skip
        for call in calls:
            with pytest.raises(NoSuchBucket):
                await call
        writer = await store.writer("bucket", "k", None)
        await writer.write(b"x")
        await store.delete_bucket("bucket")
        with pytest.raises(NoSuchBucket):
            await writer.commit(PLAIN)

    run(use)


@BOTH
def test_all_is_still_there_when_it_is_opened_anew(kind: Kind, directory: Path, record: dict[str, bytes]) -> None:
    content = os.urandom(500_000)

    async def write(store: Store) -> None:
        await put(store, "a/k", content, record, annex=b"annex")
        await store.set_bucket("bucket", "s", b"1")

    async def read() -> None:
        store = kind.make(directory)
        await store.start()
        reader = await store.open("bucket", "a/k")
        assert (reader.stored.record, await reader.annex(), await content_of(reader)) == (record, b"annex", content)
        await reader.close()
        assert (await store.bucket("bucket")).settings == {"s": b"1"}
        await store.stop()

    kind.run(directory, write)
    asyncio.run(read())


def test_a_store_that_stops_leaves_nothing_at_work(kind: Kind, directory: Path) -> None:
    async def work() -> None:
        store = kind.make(directory)
        await store.start()
        await store.create_bucket("bucket")
        for number in range(20):
            await put(store, f"o{number}", os.urandom(200_000))
        reader = await store.open("bucket", "o0")
        for number in range(20):
            await store.delete("bucket", f"o{number}")
        await reader.close()
        await store.stop()
        assert asyncio.all_tasks() == {asyncio.current_task()}

    asyncio.run(work())
