"""What listings show of objects: read in batches, remembered, never another object's."""

from __future__ import annotations

import asyncio
import os
import sqlite3
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from strongroom.kms.base import KMS, KeyDisabled
from strongroom.sealed.envelope import decode_header
from strongroom.sealed.keys import Kind
from strongroom.sealed.listing_keys import ListingKeys
from strongroom.sealed.objects import Summary, stand_in_etag
from strongroom.sealed.policy import PLAIN, SSE_S3, Protection
from strongroom.sealed.remembered import Remembered
from strongroom.sealed.store import SealedStore
from strongroom.sealed.writing import Description
from strongroom.secret import Secret
from strongroom.store.base import ENCRYPTED, Stored
from strongroom.store.local import LocalStore
from strongroom.store.local.schema import decode_mapping, encode_mapping
from tests.kms.elsewhere import KMSElsewhere

SSE_C = Protection(Kind.SSE_C, Secret(bytes(32)))


def run(directory: Path, work: Callable[[SealedStore, KMSElsewhere], Awaitable[None]]) -> None:
    kms = KMSElsewhere()
    with_kms(kms, directory, lambda store: work(store, kms))


@pytest.fixture
def earlier(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is written has the records of earlier releases, which no listing key opens."""

    async def none(self: ListingKeys, bucket: str) -> None:
        return None

    monkeypatch.setattr(ListingKeys, "writing", none)


def with_kms(kms: KMS, directory: Path, work: Callable[[SealedStore], Awaitable[None]]) -> None:
    async def begin() -> None:
        store = SealedStore(LocalStore(directory), kms, upload_secret=Secret("x"))
        await store.start()
        try:
            await store.create_bucket("bucket")
            await work(store)
        finally:
            await store.stop()

    asyncio.run(begin())


async def put(store: SealedStore, key: str, protection: Protection = SSE_S3, size: int = 10) -> Summary:
    """Put an object; what a listing is to show of it."""
    writer = await store.begin("bucket", key, protection, size)
    await writer.write(os.urandom(size))
    await writer.finish()
    info = await writer.commit(Description({}))
    return Summary(key, size, info.modified, info.etag)


async def page(store: SealedStore, limit: int = 1000) -> list[Summary]:
    return list((await store.list("bucket", "", "", "", limit)).objects)


def test_objects_of_all_kinds_show_their_own_etags_and_sizes_read_or_remembered(earlier: None, tmp_path: Path) -> None:
    async def work(store: SealedStore, kms: KMSElsewhere) -> None:
        kinds = (PLAIN, SSE_S3, SSE_C, SSE_S3, SSE_S3)
        names = [f"{number:03}" for number in range(400)]
        puts = [put(store, name, kinds[int(name) % 5], int(name)) for name in names]
        written = await asyncio.gather(*puts)
        assert await page(store, 250) == written[:250]
        assert await page(store) == written
        assert await page(store) == written
        assert sum(kms.unwrapped) == 400 * 3 // 5

    run(tmp_path, work)


def test_an_overwritten_object_shows_its_new_etag(tmp_path: Path) -> None:
    async def work(store: SealedStore, kms: KMSElsewhere) -> None:
        for protection in (SSE_S3, PLAIN, SSE_S3):
            written = await put(store, "a", protection)
            assert await page(store) == await page(store) == [written]

    run(tmp_path, work)


def test_what_the_kms_refuses_has_a_stand_in_until_it_does_not(tmp_path: Path) -> None:
    async def work(store: SealedStore, kms: KMSElsewhere) -> None:
        written = [await put(store, name) for name in "abc"]
        kms.refusal = KeyDisabled("the key is disabled")
        refused = await page(store)
        assert [item._replace(etag="") for item in refused] == [item._replace(etag="") for item in written]
        assert all(item.etag.endswith("-1") for item in refused) and refused == await page(store)
        kms.refusal = None
        assert await page(store) == written
        kms.refusal = KeyDisabled("the key is disabled")
        assert await page(store) == written

    run(tmp_path, work)


def test_without_a_kms_a_listing_still_answers(tmp_path: Path) -> None:
    async def work(store: SealedStore, kms: KMSElsewhere) -> None:
        sealed, plain = await put(store, "a"), await put(store, "b", PLAIN)
        other = SealedStore(store.store, None, upload_secret=Secret("x"))
        shown = await page(other)
        assert shown == [sealed._replace(etag=shown[0].etag), plain] and shown[0].etag.endswith("-1")

    run(tmp_path, work)


@pytest.mark.parametrize("remembered", [False, True])
def test_an_object_that_was_copied_behind_our_back_does_not_show_the_etag_of_its_source(
    tmp_path: Path, remembered: bool
) -> None:
    async def work(store: SealedStore, kms: KMSElsewhere) -> None:
        written = await put(store, "a")
        if remembered:
            await page(store)
        with sqlite3.connect(tmp_path / ".strongroom" / "index.db") as index:
            index.execute(
                "INSERT INTO objects SELECT bucket, ?, size, modified, identity, data, annex, record FROM objects",
                (b"b",),
            )
        index.close()
        identity = (await store.store.head("bucket", "a")).identity
        copied = written._replace(key="b", etag=stand_in_etag(identity))
        assert await page(store) == [written, copied]
        assert await page(store) == [written, copied]

    run(tmp_path, work)


def test_a_damaged_record_has_a_stand_in_beside_others(tmp_path: Path) -> None:
    async def work(store: SealedStore, kms: KMSElsewhere) -> None:
        a, _, c = [await put(store, name) for name in "abc"]
        with sqlite3.connect(tmp_path / ".strongroom" / "index.db") as index:
            index.execute("UPDATE objects SET record = x'ff00' WHERE key = ?", (b"b",))
        index.close()
        shown = await page(store)
        assert (shown[0], shown[2]) == (a, c) and shown[1].etag.endswith("-1")

    run(tmp_path, work)


def test_one_that_names_no_data_key_has_a_stand_in_beside_others(earlier: None, tmp_path: Path) -> None:
    async def work(store: SealedStore, kms: KMSElsewhere) -> None:
        a, _, c = [await put(store, name) for name in "abc"]
        with sqlite3.connect(tmp_path / ".strongroom" / "index.db") as index:
            (record,) = index.execute("SELECT record FROM objects WHERE key = ?", (b"b",)).fetchone()
            entries = decode_mapping(record)
            altered = decode_header(entries[ENCRYPTED])._replace(kind=Kind.SSE_C, wrapped=None)
            encoded = encode_mapping({**entries, ENCRYPTED: altered.encode()})
            index.execute("UPDATE objects SET record = ? WHERE key = ?", (encoded, b"b"))
        index.close()
        shown = await page(store)
        assert (shown[0], shown[2]) == (a, c) and shown[1].etag.endswith("-1")
        assert kms.unwrapped == [2]

    run(tmp_path, work)


def test_a_long_page_is_read_in_batches_between_which_others_have_their_turn(earlier: None, tmp_path: Path) -> None:
    async def work(store: SealedStore, kms: KMSElsewhere) -> None:
        await asyncio.gather(*(put(store, f"{number:04}") for number in range(1000)))
        turns: list[int] = []

        async def other() -> None:
            while True:
                turns.append(len(kms.unwrapped))
                await asyncio.sleep(0)

        task = asyncio.create_task(other())
        await page(store)
        task.cancel()
        assert sum(kms.unwrapped) == 1000 and max(kms.unwrapped) <= 128
        assert set(turns) >= set(range(1, len(kms.unwrapped) + 1))

    run(tmp_path, work)


def test_what_is_remembered_is_bounded_and_what_is_asked_for_stays() -> None:
    remembered = Remembered(most=100_000)

    def stored(name: str) -> Stored:
        return Stored(name, 10, 5, {}, f"identity of {name}")

    def keep(name: str) -> None:
        remembered.keep("bucket", stored(name), Summary(name, 7, 5, f"etag of {name}"))

    def found(name: str, bucket: str = "bucket") -> Summary | None:
        return remembered.find(bucket, [stored(name)])[0]

    keep("asked for")
    for number in range(10_000):
        keep(str(number))
        if number % 50 == 0:
            assert found("asked for") == Summary("asked for", 7, 5, "etag of asked for")
    assert 100 < sum(found(str(number)) is not None for number in range(10_000)) < 1000
    assert found("9999") is not None and found("9999", "another bucket") is None
