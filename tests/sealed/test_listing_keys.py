"""Listing keys: a page asks the KMS once. Whatever becomes of the key, a listing shows what it shows without one."""

from __future__ import annotations

import asyncio
import gc
import sqlite3
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

import pytest

from strongroom.kms.base import KMS, Context, KeyDisabled, KMSError, KMSUnavailable, WrappedKey
from strongroom.kms.keyring import Keyring
from strongroom.kms.master import MasterKey
from strongroom.sealed import listing_keys
from strongroom.sealed.encrypting import encrypt
from strongroom.sealed.envelope import MAGIC, Header, decode_header
from strongroom.sealed.keys import Kind, new_object_key
from strongroom.sealed.listed import LISTED, Listed, ListingKey
from strongroom.sealed.objects import Summary
from strongroom.sealed.policy import PLAIN, SSE_S3
from strongroom.sealed.rewrapping import Rewrapper
from strongroom.sealed.store import SealedStore
from strongroom.secret import Secret
from strongroom.store.base import ENCRYPTED
from strongroom.store.errors import NoSuchBucket
from strongroom.store.local import LocalStore
from strongroom.store.local.schema import decode_mapping, encode_mapping
from tests.kms.elsewhere import KMSElsewhere
from tests.sealed.test_listing import page, put, run

SETTING = "listing-key"


def another(store: SealedStore, kms: KMS | None) -> SealedStore:
    """Another worker at the same store, which remembers nothing."""
    return SealedStore(store.store, kms, upload_secret=Secret("x"))


def alter(directory: Path, change: Callable[[dict[bytes, dict[str, bytes]]], None]) -> None:
    """Alter the records behind the server's back."""
    index = sqlite3.connect(directory / ".strongroom" / "index.db", isolation_level=None)
    found = {key: decode_mapping(record) for key, record in index.execute("SELECT key, record FROM objects")}
    change(found)
    for key, record in found.items():
        index.execute("UPDATE objects SET record = ? WHERE key = ?", (encode_mapping(record), key))
    index.close()


async def written(store: SealedStore, count: int = 3) -> list[Summary]:
    return [await put(store, f"{number:03}") for number in range(count)]


def test_a_page_is_one_question_to_a_kms_that_may_say_no_and_so_is_the_next_worker_s(tmp_path: Path) -> None:
    async def work(store: SealedStore, kms: KMSElsewhere) -> None:
        objects = await written(store, 300)
        for _ in range(2):
            other = another(store, kms)
            kms.unwrapped.clear()
            assert await page(other, 150) == objects[:150]
            assert await page(other) == objects
            assert kms.unwrapped == [1, 1]

    run(tmp_path, work)


def test_objects_that_were_encrypted_in_place_are_listed_by_it_too(tmp_path: Path) -> None:
    async def work(store: SealedStore, kms: KMSElsewhere) -> None:
        objects = [await put(store, f"{number}", PLAIN) for number in range(3)]
        for shown in objects:
            assert await encrypt(store, "bucket", shown.key)
        kms.unwrapped.clear()
        etags = [shown.etag for shown in await page(another(store, kms))]
        assert (etags, kms.unwrapped) == ([shown.etag for shown in objects], [1])

    run(tmp_path, work)


def test_what_is_written_asks_for_no_more_than_its_own_key_while_the_listing_key_is_remembered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def work(store: SealedStore, kms: KMSElsewhere) -> None:
        await put(store, "first")
        kms.generated.clear()
        kms.unwrapped.clear()
        await written(store)
        assert (kms.generated, kms.unwrapped) == ([1, 1, 1], [])
        monkeypatch.setattr(time, "monotonic", lambda now=time.monotonic: now() + 301)
        await written(store)
        assert kms.unwrapped == [1]

    run(tmp_path, work)


def test_it_is_forgotten_when_its_time_is_over_whether_anybody_comes_or_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listing_keys, "_SECONDS", 1.0)
    monkeypatch.setattr(listing_keys, "_SWEEP_SECONDS", 0.2, raising=False)

    def keys() -> int:
        return sum(isinstance(found, ListingKey) for found in gc.get_objects())

    async def work(store: SealedStore, kms: KMSElsewhere) -> None:
        for _ in range(2):
            await put(store, "object")
            assert keys()
            for _ in range(200):
                if keys():
                    await asyncio.sleep(0.1)
            assert not keys()

    gc.freeze()  # the objects that are there already, of which there may be a million, are not gone through each time
    try:
        run(tmp_path, work)
    finally:
        gc.unfreeze()


def test_one_that_could_not_be_had_is_not_asked_for_again_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def work(store: SealedStore, kms: KMSElsewhere) -> None:
        await written(store)
        other = another(store, kms)
        kms.refusal = KMSUnavailable("it is away")
        kms.unwrapped.clear()
        for _ in range(2):
            await page(other)
        assert kms.unwrapped == [1, 3, 3], "once the listing key, and each time the objects' own"
        monkeypatch.setattr(time, "monotonic", lambda now=time.monotonic: now() + 11)
        await page(other)
        assert kms.unwrapped == [1, 3, 3, 1, 3]

    run(tmp_path, work)


def test_a_kms_that_takes_long_to_fail_is_not_asked_for_it_again_at_once_either(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Hanging(KMSElsewhere):
        async def unwrap(self, keys: Sequence[tuple[WrappedKey, Context]]) -> Sequence[bytes | KMSError]:
            if len(keys) == 1:  # the listing key
                monkeypatch.setattr(time, "monotonic", lambda now=time.monotonic: now() + 11)
            return await super().unwrap(keys)

    async def work(store: SealedStore, kms: KMSElsewhere) -> None:
        await written(store)
        hanging = Hanging()
        hanging.refusal = KMSUnavailable("no answer within 10 s")
        other = another(store, hanging)
        for _ in range(2):
            await page(other)
        assert hanging.unwrapped == [1, 3, 3]

    run(tmp_path, work)


def test_workers_that_write_first_at_the_same_time_share_one_key(tmp_path: Path) -> None:
    async def work(store: SealedStore, kms: KMSElsewhere) -> None:
        workers = [SealedStore(LocalStore(tmp_path), kms, upload_secret=Secret("x")) for _ in range(3)]
        for worker in workers:
            await worker.start()
        objects = await asyncio.gather(*(put(worker, f"{n}{i}") for n, worker in enumerate(workers) for i in range(5)))
        kms.unwrapped.clear()
        assert await page(another(store, kms)) == objects
        assert kms.unwrapped == [1]
        for worker in workers:
            await worker.stop()

    run(tmp_path, work)


def test_a_kms_that_refuses_the_listing_key_refuses_the_page(tmp_path: Path) -> None:
    async def work(store: SealedStore, kms: KMSElsewhere) -> None:
        objects = await written(store)
        for refusal in (KeyDisabled("disabled"), KMSUnavailable("gone")):
            other = another(store, kms)
            kms.refusal = refusal
            assert all(shown.etag.endswith("-1") for shown in await page(other))
            kms.refusal = None
            assert await page(other) == objects

    run(tmp_path, work)


def swap(records: dict[bytes, dict[str, bytes]]) -> None:
    first, second = records[b"000"], records[b"001"]
    first[LISTED], second[LISTED] = second[LISTED], first[LISTED]


def spoil(records: dict[bytes, dict[str, bytes]]) -> None:
    for record, entry in zip(records.values(), (b"", b"short", bytes(60)), strict=True):
        record[LISTED] = entry


def lose(records: dict[bytes, dict[str, bytes]]) -> None:
    del records[b"001"][LISTED]


@pytest.mark.parametrize("change", [swap, spoil, lose])
def test_an_entry_that_is_not_this_object_s_is_passed_over(
    tmp_path: Path, change: Callable[[dict[bytes, dict[str, bytes]]], None]
) -> None:
    async def work(store: SealedStore, kms: KMSElsewhere) -> None:
        objects = await written(store)
        alter(tmp_path, change)
        assert await page(another(store, kms)) == objects

    run(tmp_path, work)


async def lost(store: SealedStore) -> None:
    await store.store.set_bucket("bucket", SETTING, None)


async def damaged(store: SealedStore) -> None:
    await store.store.set_bucket("bucket", SETTING, b"SRE1 damaged")


async def of_another_bucket(store: SealedStore) -> None:
    await store.create_bucket("other")
    writer = await store.begin("other", "o", SSE_S3, 0)
    await writer.abort()
    document = (await store.bucket("other")).settings[SETTING]
    await store.store.set_bucket("bucket", SETTING, document)


async def of_a_client(store: SealedStore) -> None:
    document = bytearray((await store.bucket("bucket")).settings[SETTING])
    document[len(MAGIC)] = Kind.SSE_C
    await store.store.set_bucket("bucket", SETTING, bytes(document))


@pytest.mark.parametrize("change", [lost, damaged, of_another_bucket, of_a_client])
def test_without_its_key_a_listing_shows_the_same_and_objects_are_written(
    tmp_path: Path, change: Callable[[SealedStore], Awaitable[None]]
) -> None:
    async def work(store: SealedStore, kms: KMSElsewhere) -> None:
        objects = await written(store)
        await change(store)
        other = another(store, kms)
        assert await page(other) == objects
        objects[1] = await put(other, "001")
        assert await page(another(store, kms)) == objects
        await other.replace_listing_keys(MasterKey("static", "new", 0), ["bucket"])

    run(tmp_path, work)


def test_a_bucket_that_was_made_anew_has_another_key(tmp_path: Path) -> None:
    async def work(store: SealedStore, kms: KMSElsewhere) -> None:
        await put(store, "o")
        before = (await store.bucket("bucket")).settings[SETTING]
        await store.delete("bucket", "o")
        await store.delete_bucket("bucket")
        await store.create_bucket("bucket")
        objects = await written(store)
        assert (await store.bucket("bucket")).settings[SETTING] != before
        kms.unwrapped.clear()
        assert await page(another(store, kms)) == objects
        assert kms.unwrapped == [1]

    run(tmp_path, work)


@pytest.mark.parametrize("old_key_is_there", [True, False])
def test_with_another_master_key_it_is_another_under_which_rewrapping_seals_etags(
    tmp_path: Path, old_key_is_there: bool
) -> None:
    new = KMSElsewhere("new", bytes([1]) * 32)

    async def work(store: SealedStore, kms: KMSElsewhere) -> None:
        objects = await written(store)
        before = await listing_key(store)
        rotated = another(store, Keyring(new, [kms]))
        rewrapper = Rewrapper(rotated, {})
        active = await rewrapper.active()
        await (rotated if old_key_is_there else another(store, new)).replace_listing_keys(active, ["bucket"])
        after = (await store.bucket("bucket")).settings[SETTING]
        header = decode_header(after)
        assert header.wrapped is not None and header.wrapped.key_id == "new"
        assert await page(another(store, Keyring(new, [kms]))) == objects  # those of no object are sealed under it yet
        for key in ("000", "001"):
            assert await rewrapper.rewrap("bucket", key)
            assert not await rewrapper.rewrap("bucket", key)
        new.unwrapped.clear()
        kms.unwrapped.clear()
        assert await page(another(store, Keyring(new, [kms]))) == objects
        # For the listing key, and for the object that has not been rewrapped, which the new one is asked for first.
        assert (new.unwrapped, kms.unwrapped) == ([1, 1], [1])
        record = (await store.stored("bucket", "000")).record
        assert before.open("bucket/000", record) is None  # nor what is written from now on
        await rotated.replace_listing_keys(active, ["bucket"])
        assert (await store.bucket("bucket")).settings[SETTING] == after

    run(tmp_path, work)


def test_an_object_whose_etag_is_sealed_under_a_former_listing_key_is_rewrapped(tmp_path: Path) -> None:
    """A server writes with the former key for as long as it remembers that."""
    new = KMSElsewhere("new", bytes([1]) * 32)

    async def work(store: SealedStore, kms: KMSElsewhere) -> None:
        await written(store)
        serving = another(store, Keyring(new, [kms]))
        late = await put(serving, "late")
        job = another(store, Keyring(new, [kms]))
        rewrapper = Rewrapper(job, {})
        await job.replace_listing_keys(await rewrapper.active(), ["bucket"])
        later = await put(serving, "later")
        for key in ("late", "later"):
            assert await rewrapper.rewrap("bucket", key)
            assert not await rewrapper.rewrap("bucket", key)
        shown = {summary.key: summary for summary in await page(another(store, Keyring(new, [kms])))}
        assert (shown["late"], shown["later"]) == (late, later)

    run(tmp_path, work)


def test_the_look_at_what_is_to_be_rewrapped_makes_no_key(tmp_path: Path) -> None:
    """It is all that a dry run does."""

    async def work(store: SealedStore, kms: KMSElsewhere) -> None:
        await put(store, "o")
        await lost(store)
        job = another(store, kms)
        assert not await Rewrapper(job, {}).is_due("bucket", await store.stored("bucket", "o"))
        assert SETTING not in (await store.bucket("bucket")).settings

    run(tmp_path, work)


async def listing_key(store: SealedStore) -> ListingKey:
    """The listing key of the bucket."""
    header = decode_header((await store.bucket("bucket")).settings[SETTING])
    return ListingKey(await store.keyholder.open_by_kms("bucket", "", header))


def test_a_kms_that_is_away_replaces_no_key(tmp_path: Path) -> None:
    async def work(store: SealedStore, kms: KMSElsewhere) -> None:
        await put(store, "o")
        kept = (await store.bucket("bucket")).settings[SETTING]
        new = KMSElsewhere("new", bytes([1]) * 32)
        rotated = another(store, Keyring(new, [kms]))
        active = await Rewrapper(rotated, {}).active()
        new.refusal = KMSUnavailable("gone")
        with pytest.raises(KMSUnavailable):
            await rotated.replace_listing_keys(active, ["bucket"])
        assert (await store.bucket("bucket")).settings[SETTING] == kept

    run(tmp_path, work)


def test_where_etags_are_opaque_or_plain_no_key_is_made(tmp_path: Path) -> None:
    async def work(store: SealedStore, kms: KMSElsewhere) -> None:
        opaque = SealedStore(store.store, kms, compat=False, upload_secret=Secret("x"))
        await put(opaque, "o")
        assert (await store.bucket("bucket")).settings == {}

    run(tmp_path, work)


def test_a_bucket_that_is_not_there_is_not_remembered_as_one_without(tmp_path: Path) -> None:
    async def work(store: SealedStore, kms: KMSElsewhere) -> None:
        with pytest.raises(NoSuchBucket):
            await store.list("gone", "", "", "", 10)
        assert await listing_keys.ListingKeys(store.store, store.keyholder).reading("bucket") is None
        objects = await written(store)
        assert await page(another(store, kms)) == objects

    run(tmp_path, work)


def test_a_header_of_a_later_format_is_not_read_though_its_entry_opens() -> None:
    header = Header(Kind.SSE_S3, 1234, bytes(32), bytes(64), None).encode()
    key = ListingKey(new_object_key())
    for opening, shown in ((MAGIC, ("etag", 1234)), (b"SRE2", None)):
        other = opening + header[len(MAGIC) :]
        record = {ENCRYPTED: other, LISTED: Listed(key, "bucket/key").entry(other, "etag")}
        assert key.open("bucket/key", record) == shown
